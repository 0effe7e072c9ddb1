"""Waits: bounded below by what Meta asked, above by what we know, and spread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from events.retry import (
    FIRST_WAIT_SECONDS,
    LONGEST_ASKED_SECONDS,
    LONGEST_DOUBT_SECONDS,
    LONGEST_PIXEL_PAUSE_SECONDS,
    LONGEST_WAIT_SECONDS,
    REFUSALS_AT_ONCE,
    SLOW_HALVES_SECONDS,
    doubt_wait_seconds,
    halves_wait_seconds,
    pixel_pause_seconds,
    wait_seconds,
)
from partnerhub.lib.graph import limits

draws = st.floats(0, 1)
attempts = st.integers(0, 2**31)
asked = st.none() | st.floats(0, 1e9)


@given(attempts, asked, draws)
def test_a_wait_is_what_meta_asked_and_some_chance_on_top(
    attempts: int, asked: float | None, draw: float
) -> None:
    wait = wait_seconds(attempts, asked_seconds=asked, draw=draw)

    floor = min(asked or 0.0, LONGEST_ASKED_SECONDS)
    assert floor <= wait <= floor + LONGEST_WAIT_SECONDS


@given(attempts, draws)
def test_waits_grow_with_the_attempts(attempts: int, draw: float) -> None:
    assert wait_seconds(attempts, draw=draw) <= wait_seconds(attempts + 1, draw=draw)


def test_first_waits_are_short_and_later_ones_are_five_minutes_at_the_most() -> None:
    assert [wait_seconds(n, draw=1.0) for n in (1, 2, 3, 8, 9, 1000)] == [2, 4, 8, 256, 300, 300]
    assert wait_seconds(1, draw=0.25) == FIRST_WAIT_SECONDS / 4
    assert wait_seconds(1, asked_seconds=90.0, draw=0.5) == 91


@given(st.floats(0, 1e6), st.none() | st.floats(1e-3, 1e6))
def test_a_pixel_pauses_as_long_as_meta_asked_and_else_shortly(wait: float, asked: float | None) -> None:
    pause = pixel_pause_seconds(wait, asked_seconds=asked)

    assert pause == (min(wait, LONGEST_PIXEL_PAUSE_SECONDS) if asked is None else wait)


@given(st.integers(1, 100), st.integers(0, 10), st.floats(0, 1e6), draws)
def test_a_doubt_is_sent_again_few_times_soon_and_never_after_48_hours(
    doubts: int, retries: int, ago: float, draw: float
) -> None:
    wait = doubt_wait_seconds(doubts, retries=retries, first_doubt_seconds_ago=ago, draw=draw)

    if doubts > retries or ago >= limits.DEDUPLICATION_SECONDS:
        assert wait is None
    if wait is not None:
        assert 0 < wait <= LONGEST_DOUBT_SECONDS
        assert ago + wait < limits.DEDUPLICATION_SECONDS


def test_two_retries_of_a_doubt_come_within_half_a_minute() -> None:
    waits = [doubt_wait_seconds(n, retries=2, first_doubt_seconds_ago=0.0, draw=1.0) for n in (1, 2, 3)]

    assert waits == [5, 20, None]


@given(st.integers(0, 5_000), draws)
def test_a_batch_is_taken_apart_at_once_until_many_of_its_calls_were_refused(
    refusals: int, draw: float
) -> None:
    wait = halves_wait_seconds(refusals, draw=draw)

    assert wait == (0.0 if refusals < REFUSALS_AT_ONCE else draw * SLOW_HALVES_SECONDS)
