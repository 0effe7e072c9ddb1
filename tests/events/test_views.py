"""The pages about events, as the web's role: what they say, what they never hold, and in how many queries."""

from __future__ import annotations

import logging
import re

import pytest
from django.core.cache import cache

from events.models import Event, IngestToken, Rejection
from tenants.models import Person
from tenants.roles import AdvertiserRole, PartnerRole
from tests.support.factories import (
    ConnectedPixel,
    join_advertiser,
    join_partner,
    make_advertiser,
    make_connected_pixel,
    make_partner,
    make_person,
)
from tests.support.log import append_count, append_events, make_event
from tests.support.site import Site, messages_of, text_of


@pytest.fixture(autouse=True)
def _unlimited() -> None:
    """The limits on requests begin anew."""
    cache.clear()


def make_admin(connected: ConnectedPixel) -> Person:
    """Somebody who administers the pixel's advertiser."""
    person = make_person()
    join_advertiser(person, connected.pixel.advertiser, AdvertiserRole.ADMIN)
    return person


def shown_token(html: str) -> str:
    """The ingest token in a page."""
    found = re.search(r"pht_[A-Za-z0-9_-]+", html)
    assert found
    return found[0]


def test_an_ingest_token_is_shown_once_and_not_cached(
    site: Site, connected: ConnectedPixel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = f"/pixels/{connected.pixel.pk}/"
    site.sign_in(make_admin(connected))

    made = site.post(f"/pixels/{connected.pixel.pk}/ingest-tokens/", {"name": "Second server"})

    token = shown_token(made.content.decode())
    later = site.get(path).content.decode()
    assert made.status_code == 200
    assert made["Cache-Control"] == "no-store"
    assert "Second server" in later
    assert token not in later
    assert f"…{token[-4:]}" in later
    assert token not in caplog.text


def test_a_token_without_a_name_is_refused_at_its_field(site: Site, connected: ConnectedPixel) -> None:
    page = site.sign_in(make_admin(connected)).post(
        f"/pixels/{connected.pixel.pk}/ingest-tokens/", {"name": ""}
    )

    assert page.status_code == 422
    assert "This field is required." in text_of(page)
    assert IngestToken.objects.count() == 1


def test_a_revoked_token_says_so(site: Site, connected: ConnectedPixel) -> None:
    token = IngestToken.objects.get()
    site.sign_in(make_admin(connected))

    first = site.post(f"/ingest-tokens/{token.pk}/revoke/")
    said = messages_of(first)
    page = text_of(site.get(f"/pixels/{connected.pixel.pk}/"))

    assert said == ["Shop server is revoked. It stops working within five seconds."]
    assert "Revoked" in page


def test_an_events_page_holds_hashes_and_what_was_mended(site: Site, connected: ConnectedPixel) -> None:
    who = {"em": "canary-person@shop.example"}
    append_events(connected.pixel, [make_event(user_data=who, action_source=None)])

    page = site.sign_in(make_admin(connected)).get(f"/pixels/{connected.pixel.pk}/events/0/")

    assert page.status_code == 200
    assert "action_source was missing; the pixel's default was used." in text_of(page)
    assert "canary-person" not in page.content.decode()


def test_the_log_follows_new_events_on_its_newest_page_alone(site: Site, connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 60)
    path = f"/pixels/{connected.pixel.pk}/events/"
    site.sign_in(make_admin(connected))

    newest = site.get(path).content.decode()
    older = site.get(f"{path}?before=10").content.decode()
    rows = site.get(path, **{"HX-Request": "true"}).content.decode()

    assert f'hx-get="{path}"' in newest
    assert "?before=10" in newest
    assert "hx-get" not in older
    assert "<html" not in rows
    assert rows.count("<tr>") == 50


@pytest.mark.parametrize("before", ["-1", "x", "9" * 40, "²", ""])
def test_a_made_up_page_is_the_newest(site: Site, connected: ConnectedPixel, before: str) -> None:
    append_count(connected.pixel, 1)

    page = site.sign_in(make_admin(connected)).get(f"/pixels/{connected.pixel.pk}/events/?before={before}")

    assert page.status_code == 200
    assert "PageView" in text_of(page)


def test_an_access_token_is_on_no_page(site: Site, connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 1)
    pixel = connected.pixel
    person = make_admin(connected)
    join_partner(person, pixel.advertiser.partner, PartnerRole.OWNER)
    site.sign_in(person)

    for path in (
        f"/partners/{pixel.advertiser.partner_id}/",
        f"/advertisers/{pixel.advertiser_id}/",
        f"/pixels/{pixel.pk}/",
        f"/pixels/{pixel.pk}/events/",
        f"/pixels/{pixel.pk}/events/0/",
    ):
        page = site.get(path)
        assert page.status_code == 200
        assert connected.access_token not in page.content.decode(), path
        assert connected.ingest_token not in page.content.decode(), path


@pytest.mark.django_db
def test_the_partners_home_takes_as_many_queries_for_ten_as_for_one(site: Site) -> None:
    counts = []
    for size in (1, 10):
        partner = make_partner()
        owner = make_person()
        join_partner(owner, partner, PartnerRole.OWNER)
        for _ in range(size):
            make_connected_pixel(make_advertiser(partner))
        site.sign_in(owner).get(f"/partners/{partner.pk}/")
        counts.append(site.queries)

    assert counts[0] == counts[1]


@pytest.mark.django_db
def test_the_advertisers_home_takes_as_many_queries_for_ten_as_for_one(site: Site) -> None:
    counts = []
    for size in (1, 10):
        advertiser = make_advertiser()
        admin = make_person()
        join_advertiser(admin, advertiser, AdvertiserRole.ADMIN)
        for _ in range(size):
            make_connected_pixel(advertiser)
        site.sign_in(admin).get(f"/advertisers/{advertiser.pk}/")
        counts.append(site.queries)

    assert counts[0] == counts[1]


def test_a_long_log_takes_as_many_queries_as_a_short_one(site: Site, connected: ConnectedPixel) -> None:
    site.sign_in(make_admin(connected))
    counts = []
    for more in (1, 40):
        append_count(connected.pixel, more)
        site.get(f"/pixels/{connected.pixel.pk}/events/")
        counts.append(site.queries)

    assert counts[0] == counts[1]


def test_a_rejection_is_said_in_the_browsers_language(site: Site, connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 1)
    event = Event.objects.get(pixel=connected.pixel)
    Rejection.objects.create(
        advertiser=connected.pixel.advertiser,
        pixel=connected.pixel,
        log_offset=0,
        received_at=event.received_at,
        reason=Rejection.Reason.CLASH,
        event_name=event.event_name,
        event_id=event.event_id,
    )
    site.sign_in(make_admin(connected))

    for path in (f"/pixels/{connected.pixel.pk}/", f"/pixels/{connected.pixel.pk}/events/0/"):
        italian = site.get(path, **{"Accept-Language": "it"})
        english = site.get(path, **{"Accept-Language": "en"})

        assert "Un altro evento è arrivato con lo stesso event_id" in text_of(italian)
        assert 'lang="it"' in italian.content.decode()
        assert "Another event came with the same event_id" in text_of(english)
