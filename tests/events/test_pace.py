"""Which lane comes first, what a pile is, and when another turn pays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from events.pace import (
    PILE_REQUESTS,
    PILE_SECONDS,
    WIDE_REQUESTS,
    WIDEST,
    Lane,
    Sign,
    Word,
    is_pile,
    is_wider,
    lanes,
    next_width,
)


@given(step=st.integers(0, 1_000))
def test_every_lane_is_looked_into_and_comes_first_once_in_four(step: int) -> None:
    turn = [lanes(place) for place in range(step, step + 4)]

    assert all(set(order) == set(Lane) for order in turn)
    assert sorted(order[0] for order in turn) == sorted([Lane.BACKLOG, Lane.DUE, Lane.LIVE, Lane.LIVE])


@given(step=st.integers(0, 1_000))
def test_fresh_events_wait_for_one_delivery_of_their_turn_at_the_most(step: int) -> None:
    assert Lane.LIVE in (lanes(step)[0], lanes(step + 1)[0])


@given(size=st.integers(1, 1_000), seconds=st.floats(0, 1e6))
def test_what_fits_one_request_is_never_a_pile(size: int, seconds: float) -> None:
    assert not is_pile(size, oldest_seconds=seconds, request_events=size)


def test_a_pile_is_long_or_old() -> None:
    many = 1000 * PILE_REQUESTS

    assert is_pile(many + 1, oldest_seconds=0, request_events=1000)
    assert not is_pile(many, oldest_seconds=PILE_SECONDS, request_events=1000)
    assert is_pile(1001, oldest_seconds=PILE_SECONDS + 1, request_events=1000)


@given(turns=st.integers(0, 50), leases=st.integers(0, 50), width=st.integers(1, 16))
def test_a_pixel_asks_for_no_more_turns_than_its_width(turns: int, leases: int, width: int) -> None:
    if is_wider(10**6, turns=turns, leases=leases, width=width, request_events=1000):
        assert turns + 1 <= width
        assert leases + 2 <= width


def test_what_a_turn_clears_by_itself_asks_for_no_other() -> None:
    some = 1000 * WIDE_REQUESTS

    assert not is_wider(some, turns=1, leases=0, width=4, request_events=1000)
    assert is_wider(some + 1, turns=1, leases=0, width=4, request_events=1000)


signs = st.builds(Sign, word=st.sampled_from(Word), seconds=st.floats(0, 60), usage_percent=st.floats(0, 200))


@given(width=st.integers(1, WIDEST), seen=st.lists(st.tuples(signs, st.booleans()), max_size=60))
def test_a_pixel_never_stops_and_never_takes_all(width: int, seen: list[tuple[Sign, bool]]) -> None:
    for sign, is_full in seen:
        following = next_width(width, sign, is_full=is_full)
        assert 1 <= following <= WIDEST
        assert following <= width + 1
        if sign.word is not Word.TAKEN:
            assert following <= max(1, width // 2)
        width = following


def test_quick_answers_widen_only_where_every_place_is_taken() -> None:
    quick = Sign(Word.TAKEN, seconds=0.3, usage_percent=10)

    assert next_width(4, quick, is_full=True) == 5
    assert next_width(4, quick, is_full=False) == 4
    assert next_width(WIDEST, quick, is_full=True) == WIDEST


def test_late_answers_and_near_limits_narrow() -> None:
    assert next_width(4, Sign(Word.TAKEN, seconds=6), is_full=True) == 3
    assert next_width(4, Sign(Word.TAKEN, usage_percent=80), is_full=True) == 3
    assert next_width(4, Sign(Word.TAKEN, seconds=3, usage_percent=60), is_full=True) == 4
    assert next_width(9, Sign(Word.LIMITED), is_full=True) == 4
    assert next_width(9, Sign(Word.SILENCE), is_full=False) == 1
