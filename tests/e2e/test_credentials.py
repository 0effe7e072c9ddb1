"""The pages of tokens in a real browser: the fleet's, an advertiser's, and a paused pixel's countdown."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.db import connection
from django.utils import timezone
from playwright.sync_api import expect
from pytest_django.plugin import DjangoDbBlocker

from onboarding.models import Credential, Pixel
from onboarding.services import hold_pixel
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph.errors import CredentialRefused
from tenants.models import Partner
from tenants.roles import PartnerRole
from tests.e2e.conftest import MakeVisitor
from tests.support.factories import (
    PASSWORD,
    join_partner,
    make_advertiser,
    make_connected_pixel,
    make_partner,
    make_person,
)
from tests.support.log import append_events, make_event

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Fleet:
    """A partner with tokens at every stage of their lives, and one without any."""

    partner: Partner
    paused: Pixel
    empty: Partner
    email: str


def make_fleet() -> Fleet:
    partner, empty = make_partner("Harbour Data"), make_partner("Quiet Platform")
    owner = make_person(name="Ines Owner")
    join_partner(owner, partner, PartnerRole.OWNER)
    join_partner(owner, empty, PartnerRole.OWNER)
    now = timezone.now()
    paused = None
    lives: list[tuple[str, dict[str, object]]] = [
        ("Lantern Books", {"expiry": "dated", "expires_at": now + timedelta(days=2)}),
        ("Oak & Iron", {"expiry": "dated", "expires_at": now + timedelta(days=33)}),
        ("Tidewater Bikes", {"created_at": now - timedelta(days=51)}),
        ("Mistral Coffee", {"expiry": "never"}),
    ]
    for name, facts in lives:
        pixel = make_connected_pixel(make_advertiser(partner, name=name)).pixel
        Pixel.objects.filter(pk=pixel.pk).update(name=f"{name} web shop")
        Credential.objects.filter(pixel=pixel).update(state="working", last_good_at=now, **facts)
        paused = paused or pixel
    assert paused is not None
    stamp = int(time.time())
    append_events(paused, [make_event(event_time=stamp - 4 * DAY), *(make_event() for _ in range(1_203))])
    credential = Credential.objects.get(pixel=paused)
    error = CredentialRefused("Error validating access token", code=190, subcode=460)
    with tenant_scope(advertiser_id=paused.advertiser_id):
        hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.CREDENTIAL, error=error)
    connection.close()
    return Fleet(partner, paused, empty, owner.email)


def picture(page: object, name: str) -> None:
    """Kept where PICTURES_DIR says, to be looked at."""
    if folder := os.environ.get("PICTURES_DIR"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)  # type: ignore[attr-defined]


def test_whose_token_is_dying_and_how_long_its_events_can_wait(
    visit: MakeVisitor, django_db_blocker: DjangoDbBlocker
) -> None:
    def make() -> Fleet:
        with django_db_blocker.unblock():
            return make_fleet()

    visitor = visit()
    with ThreadPoolExecutor(1) as pool:
        fleet = pool.submit(make).result()
    visitor.sign_in(fleet.email, PASSWORD)

    page = visitor.open(f"/partners/{fleet.partner.pk}/credentials/")
    expect(page.locator("main tbody tr").filter(has_text="web shop").first).to_contain_text("Lantern Books")
    picture(page, "fleet")
    visitor.check()
    page.get_by_role("link", name="Dying or dead").click()
    expect(page.locator("main")).not_to_contain_text("Mistral Coffee")
    visitor.check()

    page = visitor.open(f"/partners/{fleet.partner.pk}/")
    expect(page.locator("main")).to_contain_text("first loss in 2 days 22 hours")
    picture(page, "home")
    visitor.check()
    page.get_by_role("link", name="first loss in").click()
    expect(page.locator("main")).to_contain_text(
        "1,204 events wait: the first would be lost in 2 days 22 hours"
    )
    expect(page.locator("main")).to_contain_text("Refused by Meta")
    picture(page, "pixel")
    visitor.check()
    page = visitor.open(f"/advertisers/{fleet.paused.advertiser_id}/credentials/")
    picture(page, "advertiser")
    visitor.check()

    page = visitor.open(f"/partners/{fleet.empty.pk}/credentials/")
    expect(page.locator("main")).to_contain_text("No token yet")
    picture(page, "empty")
    visitor.check()
