"""Many pixels with a little each, and a Graph that takes its time: do the threads wait for Graph, or for us?"""

from __future__ import annotations

import time
from typing import Final

from django.db import connection

from onboarding.models import Credential, Option, Pixel, SealedToken
from onboarding.services import DELIVER
from partnerhub.lib.config import config
from partnerhub.lib.hints import send_hint
from partnerhub.lib.vault import Secret
from tenants.secrets import vault
from tests.benchmarks.figures import Figure, Rounds
from tests.benchmarks.piles import Pile
from tests.benchmarks.sides import Sides, Unmeasured
from tests.support.factories import make_advertiser, make_partner

PIXELS: Final = 1_000
EVENTS: Final = 100
LATENCY_MS: Final = 200
# Longer than all of it takes one thread in ten.
DRAIN_SECONDS: Final = 120.0

SHARE: Final = Figure("1,000 pixels, Graph in 200 ms: share of the threads", "%", floor=60, aim=90)
SENDS: Final = Figure("· sends a second meanwhile", "sends/s")

_SPENT: Final = """
SELECT count(*), extract(epoch FROM max(attempt.finished_at) - min(attempt.started_at))::float8
FROM events_attempt AS attempt WHERE attempt.id > %s AND attempt.pixel_id = ANY (%s) AND attempt.outcome = 'accepted'
"""


def fleet(sides: Sides) -> Rounds:
    """Each pixel gets its events at once; timed from the first send to the last answer."""
    count = max(10, int(PIXELS * sides.scale))
    pixels = _make_fleet(sides, count)
    pile = Pile(pixels)
    keys = [pixel.pk for pixel in pixels]
    while True:
        pile.lay(EVENTS)
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(id), 0) FROM events_attempt")
            (last,) = cursor.fetchone()
        knob = sides.sandbox.client.add_knob("latency", latency_ms=LATENCY_MS)
        for key in keys:
            send_hint(DELIVER, key)

        def spent(last: int = last) -> tuple[int, float]:
            with connection.cursor() as cursor:
                cursor.execute(_SPENT, [last, keys])
                found: tuple[int, float] = cursor.fetchone()
            return found

        deadline = time.perf_counter() + DRAIN_SECONDS
        while spent()[0] < count:
            if time.perf_counter() > deadline:
                raise Unmeasured("The fleet's events did not arrive in time.")
            time.sleep(0.1)
        sides.sandbox.client.remove_knob(knob)
        sends, seconds = spent()
        ideal = sends * LATENCY_MS / 1000 / config().worker_threads
        yield {SHARE: 100 * ideal / seconds, SENDS: sends / seconds}


def _make_fleet(sides: Sides, count: int) -> list[Pixel]:
    """So many pixels with tokens of their own, of a hundred advertisers of one partner."""
    partner = make_partner("Fleet")
    advertisers = [make_advertiser(partner) for _ in range(max(1, count // 10))]
    pixels = Pixel.objects.bulk_create(
        Pixel(advertiser=advertisers[place % len(advertisers)], meta_id=str(7 * 10**12 + place), name="Shop")
        for place in range(count)
    )
    tokens = [Secret(f"EAAfleet{pixel.meta_id}") for pixel in pixels]
    secrets = SealedToken.objects.bulk_create(
        SealedToken(
            advertiser_id=pixel.advertiser_id,
            sealed=vault().seal(token, identity=f"token:{pixel.meta_id}"),
            vault_identity=f"token:{pixel.meta_id}",
            last_four=token.last_four,
        )
        for pixel, token in zip(pixels, tokens, strict=True)
    )
    Credential.objects.bulk_create(
        Credential(
            advertiser_id=pixel.advertiser_id,
            pixel=pixel,
            option=Option.PASTED_TOKEN,
            secret=secret,
            state="working",
            last_four=secret.last_four,
        )
        for pixel, secret in zip(pixels, secrets, strict=True)
    )
    sides.sandbox.client.set_world(
        {
            "pixels": {pixel.meta_id: {"name": "Shop"} for pixel in pixels},
            "tokens": {
                token.reveal(): {
                    "app_id": "700700",
                    "type": "SYSTEM_USER",
                    "scopes": [],
                    "pixels": [pixel.meta_id],
                }
                for pixel, token in zip(pixels, tokens, strict=True)
            },
        }
    )
    return pixels
