"""The table of transitions: whole, without a dead end, and drawn in the docs as it is."""

from __future__ import annotations

import pytest

from onboarding.journey import (
    ENDS,
    PAGE,
    TRANSITIONS,
    WORKING,
    Move,
    NoSuchMove,
    State,
    after,
    with_drawing,
)

OPEN = [state for state in State if state not in ENDS]


def reached_from(state: State) -> set[State]:
    """Every state to which moves lead on from it."""
    seen: set[State] = set()
    ahead = [state]
    while ahead:
        for end in TRANSITIONS[ahead.pop()].values():
            if end not in seen:
                seen.add(end)
                ahead.append(end)
    return seen


def test_every_state_is_in_the_table_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert reached_from(State.CHOOSING) == set(State)
    assert {how for moves in TRANSITIONS.values() for how in moves} == set(Move)


@pytest.mark.parametrize("state", OPEN)
def test_from_every_open_state_the_pixel_can_still_be_connected_or_given_up(state: State) -> None:
    assert State.CONNECTED in reached_from(state)
    assert after(state, Move.ABANDON) == State.ABANDONED
    if state != State.CHOOSING:
        assert after(state, Move.LEAVE) == State.CHOOSING


@pytest.mark.parametrize("state", sorted(WORKING))
def test_a_worker_may_always_wait_or_come_to_a_stop(state: State) -> None:
    assert after(state, Move.WAIT) == state
    assert after(state, Move.REFUSE) == State.STUCK


@pytest.mark.parametrize("state", sorted(ENDS))
def test_from_an_end_nothing_leads_on(state: State) -> None:
    for how in Move:
        with pytest.raises(NoSuchMove):
            after(state, how)


def test_the_docs_draw_the_table_as_it_is() -> None:
    page = PAGE.read_text()

    assert page == with_drawing(page), "Run .venv/bin/python -m onboarding.journey --write-docs."
