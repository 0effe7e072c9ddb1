"""Ten thousand pixels are never paused for Meta's bad hour: a thousand of them live through one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from django.db import connection
from django.utils import timezone

from events.collector.append import Trail, append_group
from events.collector.link import Link
from events.collector.plan import Batch
from events.delivery.engine import deliver_pixel
from events.models import Delivery, PixelLog
from onboarding.guardian import SUSPECT_ADVERTISERS, SUSPECT_REFUSED
from onboarding.models import Credential, GraphOutage, Option, Pixel, SealedToken
from onboarding.services.guardian import look_at_due
from onboarding.services.outages import watch_outage
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.secrets import vault
from tests.support.factories import make_advertiser, make_partner
from tests.support.log import make_event, prepare
from tests.support.sandbox import SandboxProcess
from tests.support.size import sized

PIXELS = sized(420, full=1_050)
PIXELS_AN_ADVERTISER = 21


@pytest.fixture
def fleet(transactional_db: None, sandbox: SandboxProcess) -> Iterator[list[Pixel]]:
    """Pixels of many advertisers, each with an event that waits; one token serves them all."""
    partner = make_partner()
    token = Secret("EAAtoken-of-the-fleet")
    advertisers = [make_advertiser(partner) for _ in range(PIXELS // PIXELS_AN_ADVERTISER)]
    pixels = Pixel.objects.bulk_create(
        Pixel(advertiser=advertiser, meta_id=str(2 * 10**12 + place), name="Fleet")
        for place, advertiser in enumerate(advertisers * PIXELS_AN_ADVERTISER)
    )
    secrets = SealedToken.objects.bulk_create(
        SealedToken(
            advertiser_id=pixel.advertiser_id,
            sealed=vault().seal(token, identity=f"token:{pixel.meta_id}"),
            vault_identity=f"token:{pixel.meta_id}",
            last_four=token.last_four,
        )
        for pixel in pixels
    )
    Credential.objects.bulk_create(
        Credential(
            advertiser_id=pixel.advertiser_id,
            pixel=pixel,
            option=Option.PASTED_TOKEN,
            secret=secret,
            state="working",
            last_four=token.last_four,
        )
        for pixel, secret in zip(pixels, secrets, strict=True)
    )
    PixelLog.objects.bulk_create(PixelLog(pixel=pixel, advertiser_id=pixel.advertiser_id) for pixel in pixels)
    sandbox.client.set_world({"pixels": {pixel.meta_id: {"name": "Fleet"} for pixel in pixels}})
    sandbox.client.put_token(token.reveal(), pixels=[pixel.meta_id for pixel in pixels])
    append_one_each(pixels)
    yield pixels
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


def append_one_each(pixels: list[Pixel]) -> None:
    """An event of each pixel, in one commit, as a door makes it."""
    events = prepare([make_event() for _ in pixels])

    async def append() -> None:
        link = Link(os.environ["DATABASE_URL_DOOR"])
        try:
            batches = [
                Batch(pixel.pk, pixel.advertiser_id, [event])
                for pixel, event in zip(pixels, events, strict=True)
            ]
            await append_group(await link.get(), batches, Trail())
        finally:
            await link.drop()

    asyncio.run(append())


def held() -> int:
    return Pixel.objects.exclude(hold="").count()


def time_passes(seconds: float) -> None:
    """All that is kept of what was is so much older, and what waits is due."""
    with connection.cursor() as cursor:
        for table, columns in (
            ("onboarding_credential", ["refused_at", "last_good_at", "looked_at", "look_due_at"]),
            ("onboarding_graphoutage", ["began_at", "ended_at"]),
            ("onboarding_notice", ["due_at"]),
            ("events_pixellog", ["due_at"]),
            ("events_delivery", ["due_at"]),
        ):
            moved = ", ".join(f"{name} = {name} - %(s)s * interval '1 second'" for name in columns)
            cursor.execute(f"UPDATE {table} SET {moved}", {"s": seconds})  # noqa: S608 - names of this list


@pytest.mark.timeout(400)
def test_a_bad_hour_pauses_a_handful_and_leaves_none_paused(
    fleet: list[Pixel],
    sandbox: SandboxProcess,
    monkeypatch: pytest.MonkeyPatch,
    as_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    monkeypatch.setattr("events.delivery.engine.send_hint", lambda *hint: None)
    client = GraphClient(base_url=sandbox.base_url, version="v26.0")

    def turns() -> None:
        waiting = set(Delivery.objects.exclude(state="accepted").values_list("pixel", flat=True))
        with as_role("worker"):
            for pixel in fleet:
                if not waiting or pixel.pk in waiting:
                    deliver_pixel(pixel.pk, client)

    # Before it, every one of them worked: the share is of all of these.
    Credential.objects.update(last_good_at=timezone.now())
    bad_hour = sandbox.client.add_knob("error", endpoint="*", code=190, subcode=460)
    turns()
    first_few = held()

    # The twentieth part, and not one more: of all that were good within the window.
    assert SUSPECT_REFUSED <= first_few <= PIXELS // 19
    outage = GraphOutage.objects.get()
    assert (outage.ended_at, outage.refused) == (None, first_few + 1)
    assert outage.advertisers >= SUSPECT_ADVERTISERS
    # The others wait, each for itself.
    assert Delivery.objects.filter(state="waiting").count() == PIXELS
    assert Credential.objects.filter(state="refused").count() == first_few

    # The hour goes on, and so do deliveries and looks.
    for _ in range(2):
        time_passes(1_800)
        with as_role("worker"):
            look_at_due(client=client)
            watch_outage()
            for pixel in fleet[:100]:
                deliver_pixel(pixel.pk, client)
    assert held() == first_few
    assert GraphOutage.objects.get().ended_at is None

    # Graph works again.
    sandbox.client.remove_knob(bad_hour)
    time_passes(600)
    turns()
    for _ in range(first_few // 20 + 2):
        time_passes(700)
        with as_role("worker"):
            watch_outage()
            look_at_due(client=client)
    assert GraphOutage.objects.get().outcome == "passed"
    assert held() == 0
    time_passes(600)
    turns()

    assert held() == 0
    assert Delivery.objects.exclude(state="accepted").count() == 0
    assert Credential.objects.exclude(state="working").count() == 0
    assert Credential.objects.exclude(refused_at=None).count() == 0
    client.close()
