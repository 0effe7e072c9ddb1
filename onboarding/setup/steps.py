"""The steps of a partner's set-up, in order, and which of the offered options needs which. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Way(StrEnum):
    """The auth options, as onboarding.models.Option names them; a test holds the two together."""

    BUSINESS_EXTENSION = "business_extension"
    LOGIN_FOR_BUSINESS = "login_for_business"
    PASTED_TOKEN = "pasted_token"  # noqa: S105  # an option's name
    SHARED_PIXEL = "shared_pixel"


OF_OUR_APP: Final = frozenset({Way.BUSINESS_EXTENSION, Way.LOGIN_FOR_BUSINESS, Way.SHARED_PIXEL})


@dataclass(frozen=True, slots=True)
class Step:
    """One page of the set-up. `needed_by` empty: always."""

    key: str
    title: str
    why: str
    needed_by: frozenset[Way] = frozenset()
    # Graph is asked, by a worker; else what is typed is all there is to check.
    asks_graph: bool = False


STEPS: Final = (
    Step(
        "options",
        "Ways to connect",
        "Your advertisers choose from the ways that you switch on. Each asks a little more of this set-up.",
    ),
    Step(
        "agent",
        "partner_agent",
        "Every event names the platform that sent it. Meta gives you the word, or agrees to yours.",
    ),
    Step(
        "app",
        "Meta app",
        "The app through which you reach your advertisers' pixels: type Business, live, owned by your business.",
        OF_OUR_APP,
        asks_graph=True,
    ),
    Step(
        "assigning",
        "Business and the system user that assigns",
        "An admin system user of your business: it looks up shared pixels and gives them to the one that sends.",
        OF_OUR_APP,
        asks_graph=True,
    ),
    Step(
        "sending",
        "System user that sends",
        "An employee system user: its token sends the events of the pixels that are shared with you.",
        OF_OUR_APP,
        asks_graph=True,
    ),
    Step(
        "login",
        "Facebook Login for Business",
        "The configuration that Meta's log-in opens: what your advertisers are asked for stands in it.",
        frozenset({Way.LOGIN_FOR_BUSINESS}),
    ),
    Step(
        "branding",
        "Name, logo and colour",
        "What your advertisers see on our pages.",
    ),
    Step(
        "own_pixel",
        "Test event to your own pixel",
        "Meta asks a platform to send for itself, with its own system user, before it sends for others.",
        OF_OUR_APP,
        asks_graph=True,
    ),
)
BY_KEY: Final = {step.key: step for step in STEPS}


def needed(ways: Collection[str]) -> list[Step]:
    """The steps that the switched-on options need, in order."""
    return [step for step in STEPS if not step.needed_by or step.needed_by & set(ways)]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a set-up is."""

    steps: tuple[tuple[Step, str], ...]

    @property
    def done(self) -> int:
        """Steps that have passed."""
        return sum(state == "passed" for _, state in self.steps)

    @property
    def is_done(self) -> bool:
        """Whether all have."""
        return self.done == len(self.steps)

    @property
    def next_key(self) -> str:
        """The first that has not passed; the last where all have."""
        return next((step.key for step, state in self.steps if state != "passed"), self.steps[-1][0].key)

    def after(self, key: str) -> str:
        """The first step behind this one that has not passed; the first open one before it; else nothing."""
        keys = [step.key for step, _ in self.steps]
        open_keys = [step.key for step, state in self.steps if state != "passed" and step.key != key]
        place = keys.index(key) if key in keys else -1
        behind = [other for other in open_keys if keys.index(other) > place]
        return (behind or open_keys or [""])[0]


def progress(ways: Collection[str], states: Mapping[str, str]) -> Progress:
    """How far the set-up for these options is; `states` by step's key: waiting, running, passed, failed."""
    return Progress(tuple((step, states.get(step.key, "")) for step in needed(ways)))
