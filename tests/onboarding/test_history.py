"""Tests of many pixels, by the clock, and their history."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from onboarding import services
from onboarding.models import ConnectionTest, Credential, Pixel
from onboarding.selectors import fresh_test_event_code
from onboarding.services import proofs
from tenants.models import Person
from tenants.roles import AdvertiserRole
from tests.support.factories import hold, join_advertiser, make_credential, make_person, make_pixel
from tests.support.site import Site, messages_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]


@pytest.fixture
def pixel() -> Pixel:
    """A pixel whose token works, a day old."""
    pixel = make_pixel()
    make_credential(pixel)
    Credential.objects.update(state=Credential.State.WORKING)
    Pixel.objects.update(created_at=timezone.now() - timedelta(hours=25))
    pixel.refresh_from_db()
    return pixel


def admin_of(pixel: Pixel) -> Person:
    person = make_person()
    join_advertiser(person, pixel.advertiser, AdvertiserRole.ADMIN)
    return person


def finished(pixel: Pixel, state: str = "passed", **fields: object) -> ConnectionTest:
    return ConnectionTest.objects.create(
        advertiser=pixel.advertiser,
        pixel=pixel,
        meta_id=pixel.meta_id,
        credential=pixel.credentials.get(),
        state=state,
        **fields,
    )


def test_a_working_pixel_is_tested_once_a_day(pixel: Pixel) -> None:
    assert services.request_scheduled_tests() == 1
    assert services.request_scheduled_tests() == 0

    test = ConnectionTest.objects.get()
    assert (test.trigger, test.requested_by, test.test_event_code) == ("schedule", None, "")
    ConnectionTest.objects.update(state="passed", created_at=timezone.now() - timedelta(hours=23))
    assert services.request_scheduled_tests() == 0
    ConnectionTest.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert services.request_scheduled_tests() == 1


def test_what_is_held_refused_or_switched_off_is_not_tested_by_itself(pixel: Pixel) -> None:
    services.set_test_schedule(pixel=pixel, every_hours=0)
    assert services.request_scheduled_tests() == 0

    services.set_test_schedule(pixel=pixel, every_hours=24)
    hold(pixel)
    assert services.request_scheduled_tests() == 0


def test_a_tick_asks_for_a_few_and_the_longest_untested_first(
    pixel: Pixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "SCHEDULED_A_TICK", 1)
    older = make_pixel()
    make_credential(older)
    Pixel.objects.filter(pk=older.pk).update(created_at=timezone.now() - timedelta(days=3))

    assert services.request_scheduled_tests() == 1
    assert ConnectionTest.objects.get().pixel == older


def test_a_pixel_is_not_tested_in_a_loop(pixel: Pixel) -> None:
    for _ in range(proofs.TESTS_A_MINUTE):
        finished(pixel)

    with pytest.raises(services.TestTooSoon):
        services.request_connection_test(pixel=pixel, requested_by=None)
    ConnectionTest.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    services.request_connection_test(pixel=pixel, requested_by=None)


def test_a_test_event_code_is_kept_for_a_day_and_never_used_by_the_clock(pixel: Pixel) -> None:
    services.request_connection_test(pixel=pixel, requested_by=None, test_event_code="TEST1")
    ConnectionTest.objects.update(state="passed", created_at=timezone.now() - timedelta(hours=25))
    pixel.refresh_from_db()
    now = timezone.now()

    assert fresh_test_event_code(pixel, now=now) == "TEST1"
    assert fresh_test_event_code(pixel, now=now + timedelta(hours=25)) == ""
    services.request_scheduled_tests()
    assert ConnectionTest.objects.latest("pk").test_event_code == ""


def test_the_pixels_page_says_that_a_code_has_expired(site: Site, pixel: Pixel) -> None:
    services.request_connection_test(pixel=pixel, requested_by=None, test_event_code="TEST1")
    page = site.sign_in(admin_of(pixel))
    assert 'value="TEST1"' in page.get(f"/pixels/{pixel.pk}/").content.decode()

    Pixel.objects.update(test_event_code_until=timezone.now() - timedelta(minutes=1))

    body = page.get(f"/pixels/{pixel.pk}/")
    assert "The code TEST1 has expired" in text_of(body)
    assert 'value="TEST1"' not in body.content.decode()


def test_the_history_shows_what_each_test_came_to(site: Site, pixel: Pixel) -> None:
    person = admin_of(pixel)
    finished(pixel, latency_ms=120, requested_by=person)
    finished(pixel, "failed", failure_class="credential", code=190, subcode=463, trigger="schedule")

    page = site.sign_in(person).get(f"/pixels/{pixel.pk}/tests/")

    words = text_of(page)
    assert "1 of 2 passed" in words
    assert "Meta counted the test event." in words
    assert "Daily" in words
    assert "120 ms" in words
    assert site.queries < 20


def test_a_long_history_comes_in_pages(site: Site, pixel: Pixel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onboarding.selectors.TESTS_A_PAGE", 2)
    tests = [finished(pixel) for _ in range(3)]

    page = site.sign_in(admin_of(pixel)).get(f"/pixels/{pixel.pk}/tests/")

    assert f"?before={tests[1].pk}" in page.content.decode()
    older = site.get(f"/pixels/{pixel.pk}/tests/?before={tests[1].pk}").content.decode()
    assert f"/tests/{tests[0].pk}/" in older
    assert f"/tests/{tests[2].pk}/" not in older


def test_all_pixels_of_an_advertiser_are_tested_at_one_press(site: Site, pixel: Pixel) -> None:
    unconnected = make_pixel(pixel.advertiser)

    page = site.sign_in(admin_of(pixel)).post(f"/advertisers/{pixel.advertiser_id}/tests/")

    assert ConnectionTest.objects.get().pixel == pixel
    [asked, left_out] = messages_of(page)
    assert "1 pixel is being tested" in asked
    assert unconnected.name in left_out


def test_the_schedule_is_set_on_the_history_page(site: Site, pixel: Pixel) -> None:
    signed_in = site.sign_in(admin_of(pixel))

    signed_in.post(f"/pixels/{pixel.pk}/tests/schedule/", {"every_hours": "168"})
    pixel.refresh_from_db()
    assert pixel.test_every_hours == 168

    signed_in.post(f"/pixels/{pixel.pk}/tests/schedule/", {"every_hours": "5"})
    pixel.refresh_from_db()
    assert pixel.test_every_hours == 168
