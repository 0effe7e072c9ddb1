"""The wizard's question, and how far a session is: for whatever a partner offers, and in every state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from typing import Any

import pytest

from onboarding.journey import ENDS, State
from onboarding.models import OnboardingSession, Option
from onboarding.selectors import choices_of
from onboarding.wizard import COLLEAGUE, WAITS_FOR, answers, brief, outline, place_in, ways

OFFERS = [set(some) for some in chain(*(combinations(Option, size) for size in range(len(Option) + 1)))]


@pytest.mark.parametrize("offered", OFFERS, ids=lambda some: "+".join(sorted(some)) or "nothing")
def test_each_answer_leads_to_a_way_that_is_offered(offered: set[Option]) -> None:
    found = answers(offered, "Datapartner")

    leads = {Option.PASTED_TOKEN if answer.way == COLLEAGUE else answer.way for answer in found}
    assert leads <= offered
    assert bool(found) == (len(offered) > 1)
    assert {way.option for way in ways(offered, "Datapartner")} == offered


def test_who_can_log_in_is_led_there_and_who_cannot_to_a_colleague() -> None:
    found = {answer.text: answer.way for answer in answers(set(Option), "Datapartner")}

    assert found == {
        "Yes, I can": "business_extension",
        "No, but a colleague can": "colleague",
        "Yes, but I would rather share the pixel": "shared_pixel",
        "I have an access token": "pasted_token",
    }


@pytest.mark.parametrize("option", ["", *Option])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("is_tested", [False, True])
def test_a_session_is_at_one_place_of_its_way(option: str, state: State, is_tested: bool) -> None:
    stages = outline(option, state, is_tested=is_tested)

    at = place_in(stages) - 1
    assert [stage.mark for stage in stages[:at]] == ["done"] * at
    assert stages[at].mark == ("failed" if state == State.STUCK else "current")
    assert {stage.mark for stage in stages[at + 1 :]} <= {"todo"}


def test_what_is_stuck_stands_where_it_stopped() -> None:
    def place(*, is_tested: bool) -> str:
        stages = outline(Option.LOGIN_FOR_BUSINESS, State.STUCK, is_tested=is_tested)
        return stages[place_in(stages) - 1].title

    assert place(is_tested=False) == "Log in at Meta"
    assert place(is_tested=True) == "Test the connection"


def test_every_state_but_the_ends_says_what_it_waits_for() -> None:
    assert set(WAITS_FOR) == set(State) - ENDS


def test_a_while_is_said_in_the_unit_that_fits() -> None:
    spans = [timedelta(seconds=seconds) for seconds in (-3, 0, 12.4, 59, 60, 3_599, 3_600, 90_000)]

    assert [brief(span) for span in spans] == ["0 s", "0 s", "12 s", "59 s", "1 min", "59 min", "1 h", "25 h"]


def found(name: str, fired: str = "", *, usable: bool = True) -> dict[str, Any]:
    return {
        "id": name,
        "name": "",
        "owner": "Shop",
        "business_id": "8001",
        "last_fired": fired,
        "usable": usable,
    }


def test_the_pixel_with_the_latest_activity_is_offered_first_and_what_may_not_be_used_last() -> None:
    pixels = [
        found("closed", "2026-11-24T12:00:00+0000", usable=False),
        found("silent"),
        found("old", "1700000000"),
        found("fresh", "2026-11-24T10:00:00+0000"),
        found("nonsense", "yesterday"),
        found("beyond", "9" * 30),
    ]

    choices = choices_of(OnboardingSession(facts={"pixels": pixels}))

    assert [choice.id for choice in choices] == ["fresh", "old", "silent", "nonsense", "beyond", "closed"]
    assert choices[0].last_fired == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert choices[0].name == "fresh"
    assert choices_of(OnboardingSession()) == []
