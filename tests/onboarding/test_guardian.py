"""What the guardian decides: looks, reminders, refreshes, and when Graph is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.guardian import (
    GUESSED_LIFE,
    LOOK_EVERY,
    LOOK_JITTER,
    REMINDER_DAYS,
    SUSPECT_ADVERTISERS,
    SUSPECT_REFUSED,
    WINDOW,
    End,
    Evidence,
    Finding,
    Outcome,
    end_of,
    finding,
    is_graph_suspect,
    is_to_be_refreshed,
    next_look,
    outage_outcome,
    reminder_due,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("is_valid", "reach", "has_scope", "found"),
    [
        (True, "readable", True, Finding.ALIVE),
        (True, "untold", None, Finding.ALIVE),
        (True, "unreadable", None, Finding.ALIVE),
        # debug_token says no, whatever the pixel's door says.
        (False, "readable", True, Finding.DEAD),
        (False, "untold", None, Finding.DEAD),
        # A pasted token: only what it can do tells.
        (None, "readable", None, Finding.ALIVE),
        (None, "unreadable", None, Finding.ALIVE),
        (None, "refused", None, Finding.DEAD),
        (None, "untold", None, Finding.UNTOLD),
        # A valid token is not access.
        (True, "lost", True, Finding.LOST),
        (True, "readable", False, Finding.SHORT),
    ],
)
def test_two_answers_come_to_one_finding(
    is_valid: bool | None, reach: str, has_scope: bool | None, found: Finding
) -> None:
    assert finding(is_valid=is_valid, reach=reach, has_sending_scope=has_scope) == found


def end(expiry: str, days: float | None = None, data_access: float | None = None) -> End | None:
    def moment(of: float | None) -> datetime | None:
        return None if of is None else NOW + timedelta(days=of)

    return end_of(
        expiry=expiry,
        expires_at=moment(days),
        data_access_expires_at=moment(data_access),
        created_at=NOW,
    )


def test_a_token_ends_at_the_sooner_of_its_dates() -> None:
    assert end("dated", 30) == End(NOW + timedelta(days=30))
    assert end("dated", 30, 20) == End(NOW + timedelta(days=20), is_data_access=True)
    assert end("never") is None
    assert end("never", None, 90) == End(NOW + timedelta(days=90), is_data_access=True)


def test_an_unknown_end_is_taken_for_60_days_and_called_a_guess() -> None:
    assert end("unknown") == End(NOW + GUESSED_LIFE, is_guess=True)
    assert timedelta(days=60) == GUESSED_LIFE


@pytest.mark.parametrize(
    ("days_left", "due"),
    [(15, None), (14.01, None), (14, 14), (7.01, 14), (7, 7), (3.5, 7), (3, 3), (1.01, 3), (1, 1), (0.01, 1)],
)
def test_the_reminder_is_the_one_whose_day_has_come(days_left: float, due: int | None) -> None:
    assert reminder_due(End(NOW + timedelta(days=days_left)), now=NOW) == due


def test_nobody_is_reminded_of_what_is_over_or_has_no_end() -> None:
    assert reminder_due(End(NOW), now=NOW) is None
    assert reminder_due(End(NOW - timedelta(days=1)), now=NOW) is None
    assert reminder_due(None, now=NOW) is None


@given(
    days=st.none() | st.floats(min_value=0, max_value=100),
    is_first=st.booleans(),
    draw=st.floats(min_value=0, max_value=1),
)
def test_a_look_comes_within_a_day_and_not_after_a_reminder_is_due(
    days: float | None, is_first: bool, draw: float
) -> None:
    at = None if days is None else End(NOW + timedelta(days=days))

    look = next_look(at, now=NOW, is_first=is_first, draw=draw)

    assert NOW <= look <= NOW + LOOK_EVERY
    if at is not None:
        due = [at.at - timedelta(days=before) for before in REMINDER_DAYS]
        assert all(look <= moment for moment in due if moment > NOW)
    elif not is_first:
        assert look >= NOW + LOOK_EVERY - LOOK_JITTER


def test_what_came_together_is_looked_at_over_the_whole_day() -> None:
    looks = [next_look(None, now=NOW, is_first=True, draw=place / 240) for place in range(240)]

    hours = [int((look - NOW) / timedelta(hours=1)) for look in looks]
    assert {hours.count(hour) for hour in range(24)} == {10}


def test_only_the_second_half_of_a_dated_life_is_refreshed() -> None:
    def is_due(expiry: str, days: float | None) -> bool:
        at = None if days is None else NOW + timedelta(days=days)
        return is_to_be_refreshed(expiry=expiry, expires_at=at, now=NOW)

    assert is_due("dated", 30)
    assert not is_due("dated", 30.1)
    assert not is_due("dated", 0)
    # It would become one that expires.
    assert not is_due("never", None)
    assert not is_due("unknown", None)


def test_graph_is_suspect_when_many_of_different_advertisers_are_refused_at_once() -> None:
    assert is_graph_suspect(Evidence(refused=20, advertisers=5, good=380))
    # Fewer, or of too few, or few of those that answered: these died.
    assert not is_graph_suspect(Evidence(refused=19, advertisers=19, good=0))
    assert not is_graph_suspect(Evidence(refused=500, advertisers=4, good=0))
    assert not is_graph_suspect(Evidence(refused=20, advertisers=20, good=381))


@given(good=st.integers(min_value=0, max_value=10_000))
def test_a_bad_hour_is_recognised_before_a_twentieth_of_the_pixels_is_held(good: int) -> None:
    held = next(refused for refused in range(1, 10_000) if is_graph_suspect(Evidence(refused, refused, good)))

    assert held <= max(SUSPECT_REFUSED, SUSPECT_ADVERTISERS, good // 19 + 1)


def test_an_outage_is_over_when_those_that_were_refused_answer_again() -> None:
    began = NOW - timedelta(hours=1)
    bad, few = Evidence(800, 400, 0), Evidence(19, 19, 981)

    assert outage_outcome(bad, began_at=began, now=NOW) is None
    assert outage_outcome(few, began_at=began, now=NOW) == Outcome.PASSED
    # Not in its first minutes: between two answers it looks over, too.
    assert outage_outcome(few, began_at=NOW - WINDOW / 2, now=NOW) is None


def test_what_goes_on_for_too_long_is_believed() -> None:
    bad = Evidence(800, 400, 0)

    assert outage_outcome(bad, began_at=NOW - timedelta(hours=6), now=NOW) == Outcome.BELIEVED
