"""Which events of a range are sent once more, and what Meta will make of each. Pure.

Holds the filter of a replay, the verdict on one event, and how a moment becomes an offset. A replay sends only what
has come to its end: what waits or is on its way is sent anyway, and what is in doubt only if the filter names it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from partnerhub.lib.graph import limits

# The task that goes on with a replay, by its name.
STEP: Final = "events.step_replay"


class Fate(StrEnum):
    """Where an event is. Derived: its delivery's state, unless it has a rejection."""

    WAITING = "waiting"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DOUBT = "doubt"
    REJECTED = "rejected"


class Verdict(StrEnum):
    """What a replay does with one event."""

    NEW = "new"  # rejected before: it is sent, and Meta counts it once
    AGAIN = "again"  # accepted before: it is sent, and Meta may count it twice
    DOUBT = "doubt"  # in doubt, and asked for: it is sent, and Meta may count it twice
    TOO_OLD = "too_old"  # Meta takes it no more
    UNDER_WAY = "under_way"  # it waits or is on its way: it is sent anyway, once
    ERASED = "erased"  # nothing of it is left to send
    FILTERED = "filtered"  # the filter leaves it out
    GONE = "gone"  # past retention: not kept any more


SENT = (Verdict.NEW, Verdict.AGAIN, Verdict.DOUBT)
MAY_COUNT_TWICE = (Verdict.AGAIN, Verdict.DOUBT)
# What a filter may name. What waits is never replayed.
FATES = (Fate.REJECTED, Fate.ACCEPTED, Fate.DOUBT)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events of the range are meant. Empty: all names; all that came to an end, and not what is in doubt."""

    event_names: Collection[str] = ()
    fates: Collection[str] = ()
    code: int | None = None

    def takes(self, fact: Fact) -> bool:
        """Whether the event is meant."""
        if self.event_names and fact.event_name not in self.event_names:
            return False
        if self.code is not None and fact.code != self.code:
            return False
        return not self.fates or fact.fate in self.fates


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one event before it is decided."""

    log_offset: int
    received_at: datetime
    expires_at: datetime
    event_name: str
    size: int
    fate: Fate
    # Of its rejection.
    code: int | None = None


def judge(fact: Fact, wanted: Filter, *, now: datetime) -> Verdict:
    """What a replay does with the event, at `now`."""
    if not wanted.takes(fact):
        return Verdict.FILTERED
    if fact.size == 0:
        return Verdict.ERASED
    if fact.fate in (Fate.WAITING, Fate.SENDING):
        return Verdict.UNDER_WAY
    if fact.expires_at <= now + timedelta(seconds=limits.AGE_MARGIN_SECONDS):
        return Verdict.TOO_OLD
    if fact.fate == Fate.DOUBT:
        return Verdict.DOUBT if Fate.DOUBT in wanted.fates else Verdict.FILTERED
    return Verdict.AGAIN if fact.fate == Fate.ACCEPTED else Verdict.NEW


@dataclass(slots=True)
class Tally:
    """How many events got which verdict."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, verdict: Verdict, by: int = 1) -> None:
        """Count so many more."""
        if by:
            self.counts[verdict] = self.counts.get(verdict, 0) + by

    @property
    def sendable(self) -> int:
        """Events that would be sent."""
        return sum(self.counts.get(verdict, 0) for verdict in SENT)

    @property
    def may_count_twice(self) -> int:
        """Events that Meta may count twice."""
        return sum(self.counts.get(verdict, 0) for verdict in MAY_COUNT_TWICE)


def offset_at(received_at: Callable[[int], datetime], *, first: int, end: int, moment: datetime) -> int:
    """The first offset from `first` up to `end` whose event came at the moment or later; `end` where none did.

    Receive times never go back along a log, so it takes some twenty looks in a million events.
    """
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if received_at(middle) < moment:
            low = middle + 1
        else:
            high = middle
    return low


def chunks(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `size` offsets, end to end from `first` to `last`."""
    while first <= last:
        yield first, min(first + size - 1, last)
        first += size
