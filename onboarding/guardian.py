"""What the token guardian decides: how long a token lives, whom to tell when, and when Graph is not to be believed.

Pure: the clock and the draws of chance are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

# Days before its end at which people are told of a token that nobody but they can renew.
REMINDER_DAYS: Final = (14, 7, 3, 1)
# What most pasted tokens live by now (META's system-user tokens: 60 days from their issue, read 2026-11-24).
GUESSED_LIFE: Final = timedelta(days=60)
# Half of a 60-day token's life is left, and two weeks for Graph to be away before anybody must be told.
REFRESH_BEFORE: Final = timedelta(days=30)

# Meta announces no end of a token: it asks to look daily at least.
LOOK_EVERY: Final = timedelta(hours=24)
# How much sooner than that a look may come, so that what came together does not stay together.
LOOK_JITTER: Final = timedelta(hours=6)
# A look that Graph did not answer, and one at what was refused and may come back.
LOOK_AGAIN: Final = timedelta(minutes=5)
# What is refused and confirmed: it may be mended at Meta, where nobody tells us.
LOOK_AT_REFUSED: Final = timedelta(hours=1)
# A delivery was refused: looked at before anybody is told. Long enough for the others of a bad hour to show.
CONFIRM_AFTER: Final = timedelta(seconds=60)
# A refusal that no look could confirm, for Graph did not answer: people are told all the same.
TELL_ANYWAY_AFTER: Final = timedelta(hours=1)


class Finding(StrEnum):
    """What a look found."""

    ALIVE = "alive"
    DEAD = "dead"  # the token: nothing opens with it
    SHORT = "short"  # the token lives, and lacks every permission to send
    LOST = "lost"  # the token lives, and the pixel is out of its reach
    UNTOLD = "untold"  # Graph did not say: nothing changes


def finding(*, is_valid: bool | None, reach: str, has_sending_scope: bool | None) -> Finding:
    """What Graph's two answers come to: on the token, and on the pixel.

    `reach`: `readable`; `refused`, the token itself, by the pixel's door; `lost`, the pixel is out of reach;
    `unreadable`, the token may not read, which says nothing; `untold`, no answer. A scope list that Graph keeps to
    itself is None.
    """
    if is_valid is False or reach == "refused":
        return Finding.DEAD
    if has_sending_scope is False:
        return Finding.SHORT
    if reach == "lost":
        return Finding.LOST
    # A refusal to read names a permission and not the token: so the token was looked at, and lives.
    return Finding.ALIVE if is_valid or reach in ("readable", "unreadable") else Finding.UNTOLD


@dataclass(frozen=True, slots=True)
class End:
    """When a token ends, as far as it is known."""

    at: datetime
    # Nobody said: as if it lived 60 days.
    is_guess: bool = False
    # The token goes on, and the person's consent to it ends.
    is_data_access: bool = False


def end_of(
    *,
    expiry: str,
    expires_at: datetime | None,
    data_access_expires_at: datetime | None,
    created_at: datetime,
) -> End | None:
    """When the token ends: the sooner of its two dates; a guess where its expiry is unknown; None: never."""
    ends = []
    if expiry == "dated" and expires_at is not None:
        ends.append(End(expires_at))
    if data_access_expires_at is not None:
        ends.append(End(data_access_expires_at, is_data_access=True))
    if expiry == "unknown":
        ends.append(End(created_at + GUESSED_LIFE, is_guess=True))
    return min(ends, key=lambda end: end.at, default=None)


def reminder_due(end: End | None, *, now: datetime) -> int | None:
    """The days of the reminder that is due: the least of REMINDER_DAYS that is not yet passed.

    None: it is too early, there is no end, or it is over: then the refusal itself is told.
    """
    if end is None or end.at <= now:
        return None
    return min((days for days in REMINDER_DAYS if end.at - now <= timedelta(days=days)), default=None)


def next_look(end: End | None, *, now: datetime, is_first: bool, draw: float) -> datetime:
    """When to look next after a look that was answered: within a day, and when a reminder falls due.

    The first look is followed by one anywhere in the day after it, so that 10,000 tokens that were taken in together
    are looked at over the whole day. `draw` is a chance from 0 to 1.
    """
    look = now + (LOOK_EVERY * draw if is_first else LOOK_EVERY - LOOK_JITTER * draw)
    if end is None:
        return look
    moments = [end.at - timedelta(days=days) for days in REMINDER_DAYS]
    return min([look, *(moment for moment in moments if moment > now)])


def look_again(*, wait: timedelta, now: datetime, draw: float) -> datetime:
    """`wait` from now, or up to twice as long."""
    return now + wait * (1 + draw)


def is_to_be_refreshed(*, expiry: str, expires_at: datetime | None, now: datetime) -> bool:
    """Whether the token is in the second half of its life. One that never expires would become one that does."""
    return expiry == "dated" and expires_at is not None and now < expires_at <= now + REFRESH_BEFORE


# Graph's bad hour.

# Refusals are counted over so long: a fault of Meta's shows in minutes, and dead tokens do not come in crowds.
WINDOW: Final = timedelta(minutes=10)
# In ten thousand tokens of 60 days, 7 end in an hour: twenty within ten minutes are no coincidence.
SUSPECT_REFUSED: Final = 20
# One system user's death takes all the pixels of one advertiser with it; not those of five.
SUSPECT_ADVERTISERS: Final = 5
# Of those that answered: twenty in ten thousand are the year's bad day, and not Meta's.
SUSPECT_SHARE: Final = 0.05
# No fault of this kind that was reported lasted longer; past it, Graph means what it says.
LONGEST_OUTAGE: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Graph said of credentials lately: each counts once, by its last word."""

    refused: int
    advertisers: int
    good: int

    @property
    def share(self) -> float:
        """Refused of all that answered."""
        return self.refused / max(1, self.refused + self.good)


def is_graph_suspect(evidence: Evidence) -> bool:
    """Whether so many are refused at once that it is Graph's fault and not theirs."""
    return (
        evidence.refused >= SUSPECT_REFUSED
        and evidence.advertisers >= SUSPECT_ADVERTISERS
        and evidence.share >= SUSPECT_SHARE
    )


class Outcome(StrEnum):
    """Why an outage is over."""

    PASSED = "passed"  # those that were refused are answered again
    BELIEVED = "believed"  # it went on for too long to be a fault of Graph's


def outage_outcome(evidence: Evidence, *, began_at: datetime, now: datetime) -> Outcome | None:
    """Whether the outage is over, and why; None: it goes on."""
    if now - began_at >= LONGEST_OUTAGE:
        return Outcome.BELIEVED
    # A whole window of quiet, so that it does not end between two answers.
    return Outcome.PASSED if now - began_at >= WINDOW and not is_graph_suspect(evidence) else None
