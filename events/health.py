"""How a pixel is doing, in one word, one sentence and one next action. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Health(StrEnum):
    """States of a pixel, worst first: the order of the partner's list."""

    HELD = "held"
    FAILING = "failing"
    LATE = "late"
    NOT_CONNECTED = "not_connected"
    UNTESTED = "untested"
    WORKING = "working"


WORDS = {
    Health.HELD: "Paused",
    Health.FAILING: "Failing",
    Health.LATE: "Late",
    Health.NOT_CONNECTED: "Not connected",
    Health.UNTESTED: "Not tested",
    Health.WORKING: "Working",
}
# The badge component's kinds (docs/design-system.md).
BADGES = {
    Health.HELD: "failing",
    Health.FAILING: "failing",
    Health.LATE: "late",
    Health.NOT_CONNECTED: "neutral",
    Health.UNTESTED: "waiting",
    Health.WORKING: "working",
}
# Why a pixel is held → what Meta refused, and what makes it go on.
HOLDS = {
    "credential": ("the token", "Connect it again to go on."),
    "permission": ("access to the pixel", "Give access again to go on."),
    "partner": (
        "the partner's token",
        "The partner was told, and mends it: there is nothing that you need to do.",
    ),
}
RANK = {state: rank for rank, state in enumerate(Health)}

# Meta asks for events within the hour ("Best Practices", read 2026-11-24); somebody should look well before.
LATE_AFTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the state is derived from."""

    has_credential: bool
    credential_refused: bool
    last_test_passed: bool | None  # None: no finished test of the credential in use
    hold: str  # "", "credential", "permission" or "partner"
    waiting: int
    waiting_since: datetime | None
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state with the words for it."""

    state: Health
    sentence: str

    @property
    def word(self) -> str:
        """One or two words."""
        return WORDS[self.state]

    @property
    def badge(self) -> str:
        """The badge component's kind."""
        return BADGES[self.state]

    @property
    def rank(self) -> int:
        """0 is worst."""
        return RANK[self.state]


def judge(facts: Facts, *, now: datetime) -> Verdict:
    """The pixel's state at `now`."""
    if not facts.has_credential:
        return Verdict(Health.NOT_CONNECTED, "Paste an access token to connect this pixel.")
    if facts.hold:
        reason, remedy = HOLDS.get(facts.hold, HOLDS["permission"])
        kept = f" {_waiting(facts.waiting)} safely." if facts.waiting else " Events that come in wait safely."
        return Verdict(Health.HELD, f"Meta refused {reason}.{kept} {remedy}")
    if facts.credential_refused or facts.last_test_passed is False:
        return Verdict(Health.FAILING, "The last connection test failed. Open it to see what to do.")
    if facts.waiting and facts.waiting_since and now - facts.waiting_since > LATE_AFTER:
        return Verdict(Health.LATE, f"{_waiting(facts.waiting)} to be delivered longer than usual.")
    if facts.last_test_passed is None:
        return Verdict(Health.UNTESTED, "Test the connection before you send events.")
    if facts.waiting:
        return Verdict(Health.WORKING, f"{_waiting(facts.waiting)} to be sent to Meta.")
    return Verdict(Health.WORKING, "Events are arriving at Meta.")


def _waiting(count: int) -> str:
    return "1 event waits" if count == 1 else f"{count:,} events wait"
