"""Connecting a pixel and testing it, page by page, as the web's role."""

from __future__ import annotations

import logging

import pytest
from django.core.cache import cache

from onboarding import services
from onboarding.ladder import TestOutcome
from onboarding.models import ConnectionTest, Credential, Option, Pixel
from tenants.models import Person
from tenants.roles import AdvertiserRole
from tests.support.factories import join_advertiser, make_advertiser, make_credential, make_person, make_pixel
from tests.support.site import Site, messages_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]

CANARY = "EAAcanary0123456789abcdefZDZD"
GOOD = {
    "meta_id": "1234567890123456",
    "name": "Web shop",
    "default_action_source": "physical_store",
    "access_token": CANARY,
}


@pytest.fixture(autouse=True)
def _unlimited() -> None:
    """The limits on requests begin anew."""
    cache.clear()


@pytest.fixture
def pixel() -> Pixel:
    """A pixel with CANARY for its token."""
    pixel = make_pixel()
    make_credential(pixel, token=CANARY)
    return pixel


def make_admin(pixel: Pixel) -> Person:
    """Somebody who may connect and test the pixel."""
    person = make_person()
    join_advertiser(person, pixel.advertiser, AdvertiserRole.ADMIN)
    return person


def finished_test(pixel: Pixel, outcome: TestOutcome) -> ConnectionTest:
    """A test of the pixel with this outcome."""
    waiting = services.request_connection_test(pixel=pixel, requested_by=None)
    test = services.start_connection_test(test_id=waiting.pk)
    assert test is not None
    services.finish_connection_test(test=test, outcome=outcome)
    return test


def test_a_connected_pixel_is_tested_at_once(site: Site, hints: list[tuple[object, ...]]) -> None:
    advertiser = make_advertiser()
    person = make_person()
    join_advertiser(person, advertiser, AdvertiserRole.ADMIN)

    page = site.sign_in(person).post(f"/advertisers/{advertiser.pk}/pixels/add/", GOOD)

    test = ConnectionTest.objects.get()
    pixel = test.pixel
    assert pixel is not None
    assert page.url == f"/tests/{test.pk}/"
    assert (pixel.meta_id, pixel.name, pixel.default_action_source) == (
        "1234567890123456",
        "Web shop",
        "physical_store",
    )
    assert (test.state, test.requested_by) == ("waiting", person)
    assert hints == [("onboarding.run_connection_test", test.pk)]


@pytest.mark.parametrize("wrong", [{"meta_id": "12x"}, {"name": ""}, {"default_action_source": "moon"}])
def test_a_wrong_form_keeps_what_was_typed_but_for_the_token(site: Site, wrong: dict[str, str]) -> None:
    advertiser = make_advertiser()
    person = make_person()
    join_advertiser(person, advertiser, AdvertiserRole.ADMIN)
    data = GOOD | wrong

    page = site.sign_in(person).post(f"/advertisers/{advertiser.pk}/pixels/add/", data)

    html = page.content.decode()
    assert page.status_code == 422
    assert f'value="{data["meta_id"]}"' in html
    assert CANARY not in html
    assert not Pixel.objects.exists()


def test_a_pixel_that_is_there_already_is_said_at_its_field(site: Site, pixel: Pixel) -> None:
    data = GOOD | {"meta_id": pixel.meta_id}

    page = site.sign_in(make_admin(pixel)).post(f"/advertisers/{pixel.advertiser_id}/pixels/add/", data)

    assert page.status_code == 422
    assert f"{pixel.advertiser} already has a pixel with this ID." in text_of(page)
    assert Credential.objects.count() == 1


def test_a_new_token_takes_the_place_of_the_old_one_and_is_tested(site: Site, pixel: Pixel) -> None:
    new = "EAAanother0123456789abcdefWXYZ"

    page = site.sign_in(make_admin(pixel)).post(f"/pixels/{pixel.pk}/token/", {"access_token": new})

    test = ConnectionTest.objects.get()
    assert page.url == f"/tests/{test.pk}/"
    assert test.credential is not None
    assert test.credential.last_four == "WXYZ"
    assert sorted(Credential.objects.values_list("state", flat=True)) == ["retired", "untested"]


def test_a_wrong_token_is_not_shown_again_and_the_old_one_stays(site: Site, pixel: Pixel) -> None:
    page = site.sign_in(make_admin(pixel)).post(f"/pixels/{pixel.pk}/token/", {"access_token": f"{CANARY} ü"})

    assert page.status_code == 422
    assert CANARY not in page.content.decode()
    assert Credential.objects.get().state == "untested"


def test_pressing_twice_leads_to_the_one_test(site: Site, pixel: Pixel) -> None:
    site.sign_in(make_admin(pixel))

    first = site.post(f"/pixels/{pixel.pk}/test/")
    second = site.post(f"/pixels/{pixel.pk}/test/")

    assert first.url == second.url == f"/tests/{ConnectionTest.objects.get().pk}/"


def test_without_a_token_the_way_leads_to_pasting_one(site: Site) -> None:
    pixel = make_pixel()

    page = site.sign_in(make_admin(pixel)).post(f"/pixels/{pixel.pk}/test/")

    assert page.url == f"/pixels/{pixel.pk}/token/"
    assert messages_of(page) == ["There is no token to test with yet. Paste one first."]


def test_a_wrong_test_event_code_starts_nothing(site: Site, pixel: Pixel) -> None:
    page = site.sign_in(make_admin(pixel)).post(f"/pixels/{pixel.pk}/test/", {"test_event_code": "a-b"})

    assert page.url == f"/pixels/{pixel.pk}/"
    assert messages_of(page) == ["A test event code is one word of letters and digits, such as TEST12345."]
    assert not ConnectionTest.objects.exists()


def test_a_page_under_way_asks_again_and_a_finished_one_does_not(site: Site, pixel: Pixel) -> None:
    site.sign_in(make_admin(pixel))
    waiting = services.request_connection_test(pixel=pixel, requested_by=None)

    page = site.get(f"/tests/{waiting.pk}/").content.decode()
    assert 'data-state="waiting"' in page
    assert f'hx-get="/tests/{waiting.pk}/"' in page

    test = services.start_connection_test(test_id=waiting.pk)
    assert test is not None
    services.finish_connection_test(test=test, outcome=TestOutcome(http_status=200, events_received=1))
    fragment = site.get(f"/tests/{waiting.pk}/", **{"HX-Request": "true"}).content.decode()
    assert 'data-state="passed"' in fragment
    assert "hx-get" not in fragment
    assert "<html" not in fragment


def test_a_failure_says_what_happened_and_what_to_do(site: Site, pixel: Pixel) -> None:
    outcome = TestOutcome(failure_class="credential", pixel_read="refused", code=190, subcode=463)
    test = finished_test(pixel, outcome)

    words = text_of(site.sign_in(make_admin(pixel)).get(f"/tests/{test.pk}/"))

    assert "The access token has expired" in words
    assert "What you can do" in words
    assert "Paste a new token" in words


def test_a_failure_is_said_in_the_browsers_language(site: Site, pixel: Pixel) -> None:
    test = finished_test(pixel, TestOutcome(failure_class="credential", code=190, subcode=463))

    page = site.sign_in(make_admin(pixel)).get(f"/tests/{test.pk}/", **{"Accept-Language": "it-IT,en;q=0.5"})

    words = text_of(page)
    assert "Il token d'accesso è scaduto" in words
    assert "Che cosa puoi fare" in words
    assert "Incolla un nuovo token" in words
    assert page.content.decode().count('lang="it"') == 3


def test_a_failure_is_mended_by_the_option_of_the_credential(site: Site, pixel: Pixel) -> None:
    test = finished_test(pixel, TestOutcome(failure_class="credential", code=190, subcode=463))
    assert test.credential is not None
    Credential.objects.filter(pk=test.credential.pk).update(option=Option.LOGIN_FOR_BUSINESS)

    words = text_of(site.sign_in(make_admin(pixel)).get(f"/tests/{test.pk}/"))

    assert "Meta has ended our access" in words
    assert "Paste a new token" not in words


def test_the_token_is_on_no_page_and_in_no_log(
    site: Site, pixel: Pixel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.sign_in(make_admin(pixel))
    advertiser = pixel.advertiser_id
    data = GOOD | {"meta_id": "9876543210987654"}
    site.post(f"/advertisers/{advertiser}/pixels/add/", data)
    site.post(f"/pixels/{pixel.pk}/token/", {"access_token": CANARY})
    test = ConnectionTest.objects.latest("pk")

    paths = [
        f"/advertisers/{advertiser}/",
        f"/advertisers/{advertiser}/pixels/add/",
        f"/pixels/{pixel.pk}/",
        f"/pixels/{pixel.pk}/token/",
        f"/tests/{test.pk}/",
    ]

    for path in paths:
        page = site.get(path)
        assert page.status_code == 200
        assert CANARY not in page.content.decode(), path
    assert "…ZDZD" in site.get(f"/pixels/{pixel.pk}/").content.decode()
    assert CANARY not in caplog.text
    assert all(CANARY not in repr(vars(record)) for record in caplog.records)
