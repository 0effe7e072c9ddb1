"""Figures without a floor of the table's: what explains the others, and what a refusal costs."""

from __future__ import annotations

import time
from typing import Final

from events.payload import prepare_events
from tests.benchmarks.bench_door import refused_cpu_ms
from tests.benchmarks.bench_guardian import measure_guardian
from tests.benchmarks.figures import Figure, Rounds, Values
from tests.benchmarks.sides import RULES, Sides, raw_event, shop_events

PREPARED: Final = Figure("check, normalise and hash one event", "µs of CPU", better="lower")
PREPARED_EVENTS: Final = 1_000
REFUSED_MS: Final = 50


def context(sides: Sides) -> Rounds:
    """The pure part of taking in, each round; the refusals and the guardian's look once, for they hardly vary."""
    yield _prepare() | _once(sides)
    while True:
        yield _prepare()


def _prepare() -> Values:
    raws: list[object] = [raw_event(one) for one in shop_events("context", PREPARED_EVENTS)]
    begun = time.process_time()
    prepare_events(raws, rules=RULES, now=time.time(), make_id=str)
    return {PREPARED: 1e6 * (time.process_time() - begun) / PREPARED_EVENTS}


def _once(sides: Sides) -> Values:
    found: Values = {}
    for name, spent in refused_cpu_ms(sides.collector, sides.path(), sides.target.ingest_token):
        found[Figure(f"refused: {name}", "ms of CPU", better="lower", floor=REFUSED_MS)] = spent
    for name, value, unit in measure_guardian(sides.sandbox, sides.database):
        found[Figure(name, unit, better="higher" if unit.endswith("/s") else "lower")] = value
    return found
