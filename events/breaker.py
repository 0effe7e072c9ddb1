"""When to take Graph as a whole for away, and how to find out that it is back. Pure: the clock is an argument.

One pixel's trouble opens nothing, however long it lasts. While it is open a trickle of real deliveries probes, so that
an outage costs few attempts and few doubts, and its end is found within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

# Outcomes that are remembered, and for how long.
REMEMBERED: Final = 40
WINDOW_SECONDS: Final = 60.0
# It opens where so many outcomes, of so many pixels, are there to judge by, and so large a share of them are failures.
JUDGED_OUTCOMES: Final = 10
FAILED_PIXELS: Final = 5
FAILED_SHARE: Final = 0.8
# One delivery so often, by each process, while it is open.
PROBE_SECONDS: Final = 2.0
# So many of them in a row must have an answer.
GOOD_PROBES: Final = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """A delivery that was sent: when it came to its end, whose it was, and whether Graph failed it."""

    at: float
    pixel_id: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of Graph's health."""

    outcomes: tuple[Outcome, ...] = ()
    opened_at: float | None = None
    probed_at: float = 0.0
    good_probes: int = 0

    @property
    def is_open(self) -> bool:
        """Whether Graph is taken for away."""
        return self.opened_at is not None


def may_send(breaker: Breaker, *, now: float) -> tuple[bool, Breaker]:
    """Whether one delivery may go out now, and what is known after it was allowed."""
    if not breaker.is_open:
        return True, breaker
    if now - breaker.probed_at < PROBE_SECONDS:
        return False, breaker
    return True, replace(breaker, probed_at=now)


def record(breaker: Breaker, outcome: Outcome) -> Breaker:
    """What is known after a delivery came to its end."""
    if breaker.is_open:
        good = 0 if outcome.failed else breaker.good_probes + 1
        return Breaker() if good >= GOOD_PROBES else replace(breaker, good_probes=good)
    recent = [one for one in breaker.outcomes if outcome.at - one.at <= WINDOW_SECONDS]
    outcomes = (*recent, outcome)[-REMEMBERED:]
    failures = [one for one in outcomes if one.failed]
    if (
        len(outcomes) >= JUDGED_OUTCOMES
        and len(failures) >= FAILED_SHARE * len(outcomes)
        and len({one.pixel_id for one in failures}) >= FAILED_PIXELS
    ):
        return Breaker(opened_at=outcome.at, probed_at=outcome.at)
    return replace(breaker, outcomes=outcomes)
