"""The wizard "Connect your pixel": what it asks, which way fits, and how far a session is. No rows, no request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from onboarding.journey import State
from onboarding.models import Option

# The way of a pasted token on which a colleague pastes it; the other ways are named as their options.
COLLEAGUE = "colleague"
LOG_INS = (Option.BUSINESS_EXTENSION, Option.LOGIN_FOR_BUSINESS)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to connect, as it is offered."""

    option: Option
    title: str
    fits: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to the wizard's question, and the way to which it leads."""

    text: str
    note: str
    way: str


def ways(offered: Collection[Option], partner: str) -> list[Way]:
    """What may be chosen directly, the easiest first."""
    words = {
        Option.BUSINESS_EXTENSION: (
            "Log in with Facebook",
            "Meta Business Extension. For an admin of the business; about two minutes, nothing to copy.",
        ),
        Option.LOGIN_FOR_BUSINESS: (
            "Log in with Facebook for Business",
            "Facebook Login for Business. For an admin of the business; about two minutes, nothing to copy.",
        ),
        Option.SHARED_PIXEL: (
            f"Share the pixel with {partner}",
            "In Meta Business settings. For an admin of the business who would rather not log in here.",
        ),
        Option.PASTED_TOKEN: (
            "Paste an access token",
            "From Meta Events Manager. By yourself, or by a colleague through a link that you send.",
        ),
    }
    return [Way(option, *text) for option, text in words.items() if option in offered]


def answers(offered: Collection[Option], partner: str) -> list[Answer]:
    """The answers to: can you sign in to Facebook as an admin of the business? Each leads to what fits best.

    Empty where there is nothing to ask, for one way is offered, or none.
    """
    log_in = next((option for option in LOG_INS if option in offered), None)
    pasted, shared = Option.PASTED_TOKEN in offered, Option.SHARED_PIXEL in offered
    if len(offered) < 2:
        return []
    found: list[Answer] = []
    if log_in:
        found.append(Answer("Yes, I can", "You log in at Meta and choose the pixel there.", log_in))
    elif pasted:
        found.append(Answer("Yes, I can", "You make an access token in Events Manager.", Option.PASTED_TOKEN))
    if pasted:
        found.append(Answer("No, but a colleague can", "You send them a link for one token.", COLLEAGUE))
    if shared:
        text = "Yes, but I would rather share the pixel" if log_in or pasted else "No"
        note = f"Your business lets {partner}'s business send events. No log-in here."
        found.append(Answer(text, note, Option.SHARED_PIXEL))
    if pasted and log_in:
        found.append(Answer("I have an access token", "You paste it here.", Option.PASTED_TOKEN))
    return found


_CHOOSE, _TEST, _DONE = "Choose a way", "Test the connection", "Send events"
_STAGES: dict[str, tuple[str, ...]] = {
    "": (_CHOOSE, "Give access at Meta", _TEST, _DONE),
    Option.BUSINESS_EXTENSION: (_CHOOSE, "Log in at Meta", "Choose the pixel", _TEST, _DONE),
    Option.LOGIN_FOR_BUSINESS: (_CHOOSE, "Log in at Meta", "Choose the pixel", _TEST, _DONE),
    Option.PASTED_TOKEN: (_CHOOSE, "Enter the access token", _TEST, _DONE),
    Option.SHARED_PIXEL: (_CHOOSE, "Share the pixel", _TEST, _DONE),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the outline: `done`, `current`, `failed` or `todo`."""

    title: str
    mark: str


def outline(option: str, state: State, *, is_tested: bool) -> list[Stage]:
    """Where the session stands on its way. `is_tested`: what it is stuck at was said by the test."""
    titles = _STAGES[option]
    if state == State.CONNECTED:
        at = len(titles) - 1
    elif state == State.PROVING or (state == State.STUCK and is_tested):
        at = titles.index(_TEST)
    elif state in (State.PICKING, State.TAKING):
        at = titles.index(_TEST) - 1
    else:
        at = 0 if state == State.CHOOSING else 1
    mark = "failed" if state == State.STUCK else "current"
    return [
        Stage(title, "done" if place < at else mark if place == at else "todo")
        for place, title in enumerate(titles)
    ]


def place_in(stages: Sequence[Stage]) -> int:
    """The number of the stage that is current or failed, from 1."""
    return next(place for place, stage in enumerate(stages, 1) if stage.mark in ("current", "failed"))


# What an unfinished session waits for, in a list of them.
WAITS_FOR: dict[State, str] = {
    State.CHOOSING: "Choose a way",
    State.AT_META: "Go on at Meta",
    State.EXCHANGING: "Meta is being asked",
    State.PICKING: "Choose the pixel",
    State.TAKING: "Meta is being asked",
    State.ENTERING: "Enter the access token",
    State.WITH_COLLEAGUE: "A colleague has the link",
    State.SHARING: "Share the pixel at Meta",
    State.PROVING: "Being tested",
    State.STUCK: "Cannot go on: see why",
}


def brief(span: timedelta) -> str:
    """A short while in words: `12 s`, `3 min`, `2 h`."""
    seconds = max(round(span.total_seconds()), 0)
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
