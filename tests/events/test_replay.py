"""What a replay does with an event, and where a moment lies in a log: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.replay import Fact, Fate, Filter, Tally, Verdict, chunks, judge, offset_at

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def fact(**changes: object) -> Fact:
    known = {
        "log_offset": 1,
        "received_at": NOW,
        "expires_at": NOW + timedelta(days=7),
        "event_name": "Lead",
        "size": 100,
        "fate": Fate.REJECTED,
        "code": 100,
    }
    return Fact(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "wanted", "verdict"),
    [
        ({}, Filter(), Verdict.NEW),
        ({"fate": Fate.ACCEPTED}, Filter(), Verdict.AGAIN),
        ({"fate": Fate.DOUBT}, Filter(), Verdict.FILTERED),
        ({"fate": Fate.DOUBT}, Filter(fates=["doubt"]), Verdict.DOUBT),
        ({"fate": Fate.WAITING}, Filter(), Verdict.UNDER_WAY),
        ({"fate": Fate.SENDING}, Filter(), Verdict.UNDER_WAY),
        ({"expires_at": NOW + timedelta(minutes=1)}, Filter(), Verdict.TOO_OLD),
        ({"size": 0}, Filter(), Verdict.ERASED),
        ({}, Filter(event_names=["Purchase"]), Verdict.FILTERED),
        ({}, Filter(code=190), Verdict.FILTERED),
        ({}, Filter(code=100), Verdict.NEW),
        ({"fate": Fate.ACCEPTED}, Filter(fates=["rejected"]), Verdict.FILTERED),
    ],
)
def test_each_event_gets_its_verdict(changes: dict[str, object], wanted: Filter, verdict: Verdict) -> None:
    assert judge(fact(**changes), wanted, now=NOW) is verdict


def test_a_tally_says_what_is_sendable_and_what_may_count_twice() -> None:
    tally = Tally()
    for verdict, count in ((Verdict.NEW, 3), (Verdict.AGAIN, 2), (Verdict.DOUBT, 1), (Verdict.TOO_OLD, 9)):
        tally.add(verdict, count)
    tally.add(Verdict.GONE, 0)

    assert (tally.sendable, tally.may_count_twice, len(tally.counts)) == (6, 3, 4)


@given(
    seconds=st.lists(st.integers(min_value=0, max_value=50), max_size=40).map(sorted),
    moment=st.integers(min_value=-1, max_value=51),
)
def test_a_moment_is_found_as_a_walk_would_find_it(seconds: list[int], moment: int) -> None:
    times = [NOW + timedelta(seconds=one) for one in seconds]
    asked = NOW + timedelta(seconds=moment)

    found = offset_at(times.__getitem__, first=0, end=len(times), moment=asked)

    assert found == next((at for at, time in enumerate(times) if time >= asked), len(times))


@given(first=st.integers(0, 50), length=st.integers(0, 50), size=st.integers(1, 9))
def test_chunks_tile_the_range(first: int, length: int, size: int) -> None:
    ranges = list(chunks(first, first + length, size))

    assert [at for begin, end in ranges for at in range(begin, end + 1)] == [
        *range(first, first + length + 1)
    ]
    assert all(end - begin < size for begin, end in ranges)
