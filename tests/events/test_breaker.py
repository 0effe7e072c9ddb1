"""The breaker over Graph as a whole: what opens it, what trickles through, what closes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from events.breaker import (
    FAILED_PIXELS,
    GOOD_PROBES,
    JUDGED_OUTCOMES,
    PROBE_SECONDS,
    WINDOW_SECONDS,
    Breaker,
    Outcome,
    may_send,
    record,
)

steps = st.lists(st.tuples(st.floats(0.01, 5), st.integers(1, 30), st.booleans()), max_size=120)


def after(outcomes: list[Outcome]) -> Breaker:
    breaker = Breaker()
    for outcome in outcomes:
        breaker = record(breaker, outcome)
    return breaker


def outage(*, pixels: int = JUDGED_OUTCOMES) -> Breaker:
    return after([Outcome(float(number), number, True) for number in range(pixels)])


@given(steps)
def test_few_pixels_trouble_opens_nothing_however_long_it_lasts(
    seen: list[tuple[float, int, bool]],
) -> None:
    breaker, now = Breaker(), 0.0
    for pause, pixel_id, failed in seen:
        now += pause
        breaker = record(breaker, Outcome(now, pixel_id % (FAILED_PIXELS - 1), failed))
        assert not breaker.is_open


@given(steps)
def test_while_answers_come_for_a_third_of_what_is_sent_it_stays_closed(
    seen: list[tuple[float, int, bool]],
) -> None:
    breaker, now = Breaker(), 0.0
    for number, (pause, pixel_id, _) in enumerate(seen):
        now += pause
        breaker = record(breaker, Outcome(now, pixel_id, number % 3 != 0))
        assert not breaker.is_open


def test_failures_of_many_pixels_open_it_and_too_few_outcomes_do_not() -> None:
    assert outage().is_open
    assert not outage(pixels=JUDGED_OUTCOMES - 1).is_open


def test_what_was_long_ago_counts_no_more() -> None:
    spread = [Outcome(number * (WINDOW_SECONDS / 5), number, True) for number in range(50)]

    assert not after(spread).is_open


@given(st.lists(st.floats(0.001, 3), min_size=1, max_size=200))
def test_while_it_is_open_no_more_than_a_trickle_goes_out(pauses: list[float]) -> None:
    breaker = outage()
    began = now = breaker.probed_at
    allowed = 0
    for pause in pauses:
        now += pause
        is_allowed, breaker = may_send(breaker, now=now)
        allowed += is_allowed
        if is_allowed:
            breaker = record(breaker, Outcome(now, 1, True))
    # Sums of floats: a hair beside the whole.
    assert allowed <= (now - began) / PROBE_SECONDS + 1e-6
    assert breaker.is_open
    assert may_send(breaker, now=now + PROBE_SECONDS + 1e-6)[0]


@given(st.lists(st.booleans(), max_size=40))
def test_it_closes_after_good_probes_in_a_row_and_not_before(probes: list[bool]) -> None:
    breaker, good = outage(), 0
    for failed in probes:
        breaker = record(breaker, Outcome(100.0, 1, failed))
        good = 0 if failed else good + 1
        assert breaker.is_open == (good < GOOD_PROBES)
        if good == GOOD_PROBES:
            assert breaker == Breaker()
            return
