"""How much of one pixel, and in which order: pure arithmetic over what the rows say.

A pixel has three kinds of work: deliveries that are due again, the live lane of its log, and what was set aside.
None of them may starve another, and fresh events stand behind neither a pile nor the halving of a refused batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Sends of a pixel at a time: enough to use two cores, until Graph's answers say more or less.
FIRST_WIDTH: Final = 4
WIDEST: Final = 16

# Of an app that was limited and has worked its way up to this, the budget is forgotten.
APP_WIDEST: Final = 64

# An answer within the first is quick enough to try one more at a time; one that takes the second asks for fewer.
QUICK_SECONDS: Final = 2.0
LATE_SECONDS: Final = 5.0
# Of Meta's call limits, in the usage headers: below the first there is room, from the second on there is none.
ROOMY_PERCENT: Final = 50.0
TIGHT_PERCENT: Final = 75.0

# More than so many requests' worth in the live lane are a pile: fresh events would wait seconds behind it.
PILE_REQUESTS: Final = 10
# And more than one request's worth that has waited so long: whatever held it up, it is no longer fresh.
PILE_SECONDS: Final = 30.0
# Another turn beside the running ones pays with so many requests' worth behind them.
WIDE_REQUESTS: Final = 2


class Word(StrEnum):
    """What an answer says of how wide to send."""

    TAKEN = "taken"  # an answer of Graph's, whatever it says of the content
    LIMITED = "limited"  # a rate limit
    FAULT = "fault"  # a fault of Graph's, or no connection
    SILENCE = "silence"  # no answer of Graph's


@dataclass(frozen=True, slots=True)
class Sign:
    """An answer, as far as it matters here. `app_wide`: a limit of the whole app's, not of the pixel's."""

    word: Word
    seconds: float = 0.0
    usage_percent: float = 0.0
    app_wide: bool = False


def next_width(width: int, sign: Sign, *, is_full: bool) -> int:
    """How many requests at a time a pixel sends after this answer to one of `width`.

    One more after a quick answer while all places are taken, one fewer where it was late or the limits are near, half
    as many where Graph refuses, one alone where it is silent.
    """
    match sign.word:
        case Word.SILENCE:
            return 1
        case Word.LIMITED | Word.FAULT:
            return max(1, width // 2)
        case Word.TAKEN:
            if sign.usage_percent >= TIGHT_PERCENT or sign.seconds >= LATE_SECONDS:
                return max(1, width - 1)
            has_room = sign.usage_percent < ROOMY_PERCENT and sign.seconds < QUICK_SECONDS
            return min(WIDEST, width + 1) if is_full and has_room and width < WIDEST else width


def is_app_wider(sign: Sign, *, is_full: bool) -> bool:
    """Whether an app that was limited may send one more at a time, after this answer to one that took its last place.

    A limit halves it (books.pause_app), so it works its way up as a pixel does.
    """
    return is_full and sign.word is Word.TAKEN and sign.usage_percent < TIGHT_PERCENT


class Lane(StrEnum):
    """Where a pixel's next delivery may come from."""

    DUE = "due"  # a delivery that waits for another attempt
    LIVE = "live"  # the log, from its tail on
    BACKLOG = "backlog"  # what was set aside
    REPLAY = "replay"  # what a person wants sent once more


# By the place of a delivery in its turn. What is due again is oldest, and comes first; each lane comes first at
# least once in four, and the live one twice. A replay comes behind all of them, always.
_ORDERS: Final = (
    (Lane.DUE, Lane.LIVE, Lane.BACKLOG, Lane.REPLAY),
    (Lane.LIVE, Lane.BACKLOG, Lane.DUE, Lane.REPLAY),
    (Lane.BACKLOG, Lane.DUE, Lane.LIVE, Lane.REPLAY),
    (Lane.LIVE, Lane.DUE, Lane.BACKLOG, Lane.REPLAY),
)
FIRST_LANES: Final = _ORDERS[0]


def lanes(step: int) -> tuple[Lane, ...]:
    """Where the delivery at this place of a turn is looked for, in this order."""
    return _ORDERS[step % len(_ORDERS)]


def is_pile(waiting: int, *, oldest_seconds: float, request_events: int) -> bool:
    """Whether so many events of the live lane are set aside, to drain beside it."""
    if waiting > PILE_REQUESTS * request_events:
        return True
    return waiting > request_events and oldest_seconds > PILE_SECONDS


def is_wider(waiting: int, *, turns: int, leases: int, width: int, request_events: int) -> bool:
    """Whether another turn of the pixel is worth asking for, beside `turns` that are asked for or at work.

    `waiting` are the events behind this claim, `leases` the sends beside it.
    """
    return max(turns, leases + 1) < width and waiting > WIDE_REQUESTS * request_events
