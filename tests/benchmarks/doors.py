"""From the door on: end to end in thousands, durable singles, and how long a single event takes at half load."""

from __future__ import annotations

import statistics
from typing import Final

from tests.benchmarks.figures import Figure, Rounds
from tests.benchmarks.sides import Sides, hold, let_go, percentile

END_TO_END: Final = Figure("end to end ÷ SDK, 1,000 events a request", "×", floor=4, aim=8)
THROUGH: Final = Figure("· end to end, 1,000 events a request", "events/s")
ANSWERED: Final = Figure("· door meanwhile, 1,000 events a request", "events/s")
SDK: Final = Figure("· SDK, 1,000 events a request", "events/s")
STAND_IN: Final = Figure("· stand-in alone ÷ end to end", "×")

INGEST: Final = Figure("durable ingest ÷ SDK, 1 event a request", "×", floor=8, aim=16)
INGESTED: Final = Figure("· door, 1 event a request, durable", "events/s")
SINGLES: Final = Figure("· end to end, 1 event a request", "events/s")
SDK_SINGLES: Final = Figure("· SDK, 1 event a request", "events/s")

P99: Final = Figure("door to Graph at half load, p99", "ms", better="lower", floor=1000, aim=250)
MEDIAN: Final = Figure("· door to Graph at half load, median", "ms", better="lower")
RATE: Final = Figure("· half load", "events/s")

INGESTED_EVENTS: Final = 6_000


def end_to_end(sides: Sides) -> Rounds:
    """Requests of a thousand events, from the first byte to the door until the last event is at Graph."""
    sides.through_partnerhub(1000, 4, 4)
    while True:
        answered, through = sides.through_partnerhub(1000, 40, 8)
        sdk = sides.with_the_sdk(1000, 6)
        alone = sides.sandbox_alone(20)
        yield {
            END_TO_END: through / sdk,
            THROUGH: through,
            ANSWERED: answered,
            SDK: sdk,
            STAND_IN: alone / through,
        }


def ingest(sides: Sides) -> Rounds:
    """Requests of one event. First the door alone, its pixel held; then through to Graph."""
    while True:
        pixel = sides.target.pixel
        before = sides.stored()
        hold(pixel.pk)
        try:
            ingested = sides.into_the_door(1, INGESTED_EVENTS, 128)
        finally:
            let_go(pixel.pk)
        sides.hint(pixel)
        sides.wait_for(before + INGESTED_EVENTS)
        _, through = sides.through_partnerhub(1, 4_000, 64)
        sides.singles.append(through)
        sdk = sides.with_the_sdk(1, 400)
        yield {INGEST: ingested / sdk, INGESTED: ingested, SINGLES: through, SDK_SINGLES: sdk}


def half_load(sides: Sides) -> Rounds:
    """Single events at half of the rate that went from the door to Graph in this run, evenly spread."""
    while True:
        rate = statistics.median(sides.singles) / 2 if sides.singles else 2_000
        waits = sides.paced(sides.target, rate, 4.0)
        yield {
            P99: 1000 * percentile(waits, 0.99),
            MEDIAN: 1000 * percentile(waits, 0.5),
            RATE: rate,
        }
