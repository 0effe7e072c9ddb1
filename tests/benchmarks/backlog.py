"""From the log on: draining a million, claiming beside two millions, a neighbour with a pile, and the memory of it."""

from __future__ import annotations

import time
from typing import Final

from django.db import connection

from events.delivery.claim import Claim, claim_next
from events.delivery.send import take_up
from events.delivery.settle import settle
from partnerhub.lib.graph import GraphAnswer
from tests.benchmarks.figures import Figure, Rounds
from tests.benchmarks.piles import Pile, make_deep_pixel, waiting
from tests.benchmarks.sides import Sides, Unmeasured, hold, let_go, median_ratio, peak_memory_mib, percentile
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.roles import logged_in_as

BACKLOG: Final = 1_000_000
WAITING: Final = 2_000_000
FEW: Final = 10_000
CLAIMS: Final = 12
# Of the pile, what one round of its neighbour may drain.
DRAINED: Final = 250_000
QUIET_PER_SECOND: Final = 60
QUIET_SECONDS: Final = 6.0

TO_SDK: Final = Figure("backlog of 1 million ÷ SDK, 1 event a request", "×", floor=15, aim=40)
TO_BARE: Final = Figure("backlog of 1 million ÷ bare requests", "×", floor=1 / 8, aim=1 / 3)
DELIVERY: Final = Figure("· delivery from the backlog", "events/s")
BARE: Final = Figure("· bare requests, bodies of 1,000", "events/s")
MEMORY: Final = Figure("peak memory of a worker draining it", "MiB", better="lower", floor=200, aim=120)
DEPTH: Final = Figure(
    "claim, read, settle: 2 million waiting ÷ 10 thousand", "×", better="lower", floor=1.3, aim=1.0
)
CYCLE: Final = Figure("· claim, read, settle a thousand, of 2 million", "ms", better="lower")
BESIDE: Final = Figure("quiet pixel beside a pile, p99 ÷ alone", "×", better="lower", floor=3, aim=1.5)
ALONE_P99: Final = Figure("· quiet pixel alone, p99", "ms", better="lower")
BESIDE_P99: Final = Figure("· quiet pixel beside a pile, p99", "ms", better="lower")


def delivery(sides: Sides) -> Rounds:
    """A backlog of a million, a part of it a round; the SDK and bare requests beside it."""
    count = int(BACKLOG * sides.scale)
    target, pile, seconds = make_deep_pixel(count)
    hold(target.pixel.pk)
    sides.admit(target)
    sides.say(f"  {count:,} events laid in {seconds:.0f} s")
    part = count // sides.rounds
    while True:
        before = sides.stored(target)
        left = min(part, pile.head - before)
        begun = time.perf_counter()
        let_go(target.pixel.pk)
        sides.hint(target.pixel)
        sides.wait_for(before + left, target)
        rate = left / (time.perf_counter() - begun)
        # What is left waits for the next round.
        hold(target.pixel.pk)
        bare = sides.with_bare_requests(20)
        sdk = sides.with_the_sdk(1, 400)
        yield {
            TO_SDK: rate / sdk,
            TO_BARE: rate / bare,
            DELIVERY: rate,
            BARE: bare,
            MEMORY: peak_memory_mib(sides.worker.pid),
        }


def claims(sides: Sides) -> Rounds:
    """Claim, read and settle batches of a thousand in turn from a log with millions waiting and one with thousands."""
    deep = _make_pile(sides)
    shallow = make_connected_pixel()
    pile = Pile([shallow.pixel])
    hold(shallow.pixel.pk)
    while True:
        pile.lay(int(FEW + CLAIMS * 500) - (waiting(shallow.pixel) if pile.head else 0))
        for target in (deep, shallow):
            let_go(target.pixel.pk)
        with logged_in_as(sides.database, "worker"):
            # The first of each opens the connection and sets a pile aside.
            _cycle(deep)
            _cycle(shallow)
            pairs = [(_cycle(deep), _cycle(shallow)) for _ in range(CLAIMS)]
        for target in (deep, shallow):
            hold(target.pixel.pk)
        yield {DEPTH: median_ratio(pairs), CYCLE: 1000 * sorted(one for one, _ in pairs)[len(pairs) // 2]}


def _cycle(target: ConnectedPixel) -> float:
    begun = time.perf_counter()
    claim = claim_next(target.pixel.pk)
    assert isinstance(claim, Claim), claim
    parcel = take_up(claim)
    assert parcel is not None
    assert len(parcel.pieces) == 1000
    answer = GraphAnswer(200, {"events_received": 1000}, "A-bench", 1000, None, 5)
    assert settle(parcel, answer)
    return time.perf_counter() - begun


def neighbour(sides: Sides) -> Rounds:
    """Single events of a quiet pixel, alone and while a pile of another pixel drains."""
    deep = _make_pile(sides)
    quiet = make_connected_pixel()
    sides.admit(quiet)
    sides.paced(quiet, QUIET_PER_SECOND, 1.0)
    while True:
        alone = sides.paced(quiet, QUIET_PER_SECOND, QUIET_SECONDS)
        let_go(deep.pixel.pk)
        sides.hint(deep.pixel)
        time.sleep(0.5)
        beside = sides.paced(quiet, QUIET_PER_SECOND, QUIET_SECONDS)
        if not waiting(deep.pixel):
            raise Unmeasured("The pile was drained before the neighbour was measured: make it larger.")
        hold(deep.pixel.pk)
        yield {
            BESIDE: percentile(beside, 0.99) / percentile(alone, 0.99),
            ALONE_P99: 1000 * percentile(alone, 0.99),
            BESIDE_P99: 1000 * percentile(beside, 0.99),
        }


def _make_pile(sides: Sides) -> ConnectedPixel:
    """The pixel with the pile, made once a run: two millions stay when all rounds have taken theirs."""
    if sides.pile is None:
        count = int((WAITING + sides.rounds * DRAINED) * sides.scale)
        sides.pile, _, seconds = make_deep_pixel(count)
        hold(sides.pile.pixel.pk)
        sides.admit(sides.pile)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE events_event")
        sides.say(
            f"  {count:,} events laid in {seconds:.0f} s; they stand for the neighbour's 10 million, of which a round"
            f" drains at most {DRAINED:,}: what lies behind them is not read"
        )
    return sides.pile
