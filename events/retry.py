"""When to try again: pure arithmetic. The draw of chance is an argument, from 0 to 1."""

from __future__ import annotations

from typing import Final

from partnerhub.lib.graph import limits

# Meta's faults pass in seconds or in an hour: doubled at each attempt from two seconds to five minutes.
FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 300.0
# A header's wait is honoured, but not one that is longer than any window of Meta's.
LONGEST_ASKED_SECONDS: Final = 86_400.0
# While one range of a pixel backs off, the others wait so long at the most: Meta may be down, or only that
# range may be cursed, and then fresh events shall not stand behind it.
LONGEST_PIXEL_PAUSE_SECONDS: Final = 10.0

# Meta limits an app by the hour; where it names no wait, less than this is no pause.
APP_PAUSE_SECONDS: Final = 5.0

# Soon, while a browser's event of the same id can still be matched, and not at once, into the same fault.
FIRST_DOUBT_SECONDS: Final = 5.0
LONGEST_DOUBT_SECONDS: Final = 60.0


# One guilty event of a thousand takes 11 refused calls to find, ten take some 90. A batch with more is likely refused
# for what all its events have in common: what is left of it is taken apart slowly, at a call every few seconds, until
# somebody has mended what sends it.
REFUSALS_AT_ONCE: Final = 100
SLOW_HALVES_SECONDS: Final = 600.0


def halves_wait_seconds(refusals: int, *, draw: float) -> float:
    """How long the halves of a refused batch wait, when so many calls of the batch were refused before."""
    return 0.0 if refusals < REFUSALS_AT_ONCE else draw * SLOW_HALVES_SECONDS


def wait_seconds(attempts: int, *, asked_seconds: float | None = None, draw: float) -> float:
    """How long to wait after the `attempts`-th attempt was not taken.

    Full jitter, so that what failed together does not come back together, on top of what Meta asked for.
    """
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(max(attempts, 1) - 1, 30))
    return min(asked_seconds or 0.0, LONGEST_ASKED_SECONDS) + draw * longest


def pixel_pause_seconds(wait: float, *, asked_seconds: float | None) -> float:
    """How long the whole pixel waits with a delivery that waits `wait`: as Meta asked, else shortly."""
    return wait if asked_seconds else min(wait, LONGEST_PIXEL_PAUSE_SECONDS)


def doubt_wait_seconds(
    doubts: int, *, retries: int, first_doubt_seconds_ago: float, draw: float
) -> float | None:
    """How long until what is in doubt for the `doubts`-th time is sent again; None: never by itself.

    Each time may count the events twice, and after 48 hours Meta matches them with nothing.
    """
    if doubts > retries:
        return None
    wait = min(LONGEST_DOUBT_SECONDS, FIRST_DOUBT_SECONDS * 4.0 ** (max(doubts, 1) - 1)) * (0.5 + draw / 2)
    if first_doubt_seconds_ago + wait >= limits.DEDUPLICATION_SECONDS:
        return None
    return wait
