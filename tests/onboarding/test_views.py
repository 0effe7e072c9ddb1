"""Testing a connection, page by page, as the web's role."""

from __future__ import annotations

import logging

import pytest
from django.core.cache import cache

from onboarding import services
from onboarding.ladder import TestOutcome
from onboarding.models import ConnectionTest, Credential, Option, Pixel
from tenants.models import Person
from tenants.roles import AdvertiserRole
from tests.support.factories import join_advertiser, make_credential, make_person, make_pixel
from tests.support.site import Site, messages_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]

CANARY = "EAAcanary0123456789abcdefZDZD"


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


def test_pressing_twice_leads_to_the_one_test(site: Site, pixel: Pixel) -> None:
    site.sign_in(make_admin(pixel))

    first = site.post(f"/pixels/{pixel.pk}/test/")
    second = site.post(f"/pixels/{pixel.pk}/test/")

    assert first.url == second.url == f"/tests/{ConnectionTest.objects.get().pk}/"


def test_without_a_credential_there_is_nothing_to_test(site: Site) -> None:
    pixel = make_pixel()

    page = site.sign_in(make_admin(pixel)).post(f"/pixels/{pixel.pk}/test/")

    assert page.url == f"/pixels/{pixel.pk}/"
    assert messages_of(page) == ["The pixel is not connected, so there is nothing to test. Connect it first."]


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
    test = services.request_connection_test(pixel=pixel, requested_by=None)

    for path in (
        f"/advertisers/{pixel.advertiser_id}/",
        f"/pixels/{pixel.pk}/",
        f"/pixels/{pixel.pk}/disconnect/",
        f"/tests/{test.pk}/",
    ):
        page = site.get(path)
        assert page.status_code == 200
        assert CANARY not in page.content.decode(), path
    assert "…ZDZD" in site.get(f"/pixels/{pixel.pk}/").content.decode()
    assert CANARY not in caplog.text
    assert all(CANARY not in repr(vars(record)) for record in caplog.records)
