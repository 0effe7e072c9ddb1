"""The geometry of charts: what stands where, and what it is called."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.charts import HOURS, hour_bars, hour_counts, sparkline

NOW = datetime(2026, 11, 24, 10, 41, 7, tzinfo=UTC)
MOMENTS = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def at(hour: int, *, day: int = 24) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


def test_the_day_ends_with_the_unfinished_hour() -> None:
    chart = hour_bars({at(10): 3, at(9): 5}, now=NOW, zone=UTC)

    assert len(chart.bars) == HOURS
    assert [(bar.label, bar.count, bar.unfinished) for bar in chart.bars[-2:]] == [
        ("09:00–10:00", 5, False),
        ("10:00–11:00", 3, True),
    ]
    assert chart.bars[0].label == "11:00–12:00"
    assert chart.total == 8


def test_an_hour_of_yesterday_is_not_taken_for_today() -> None:
    chart = hour_bars({at(10, day=23): 7, at(11, day=23): 2}, now=NOW, zone=UTC)

    assert chart.total == 2
    assert chart.bars[0].count == 2


def test_hours_are_named_in_the_viewers_zone() -> None:
    chart = hour_bars({at(10): 1}, now=NOW, zone=zoneinfo.ZoneInfo("Asia/Kolkata"))

    assert chart.bars[-1].label == "15:30–16:30"
    assert chart.ticks == ("16:30", "22:30", "04:30", "10:30")


def test_counts_may_be_keyed_in_any_zone() -> None:
    rome = zoneinfo.ZoneInfo("Europe/Rome")

    assert hour_counts({at(9).astimezone(rome): 4}, now=NOW)[-2:] == [4, 0]


def test_a_bar_is_as_high_as_its_share_of_the_scale() -> None:
    chart = hour_bars({at(8): 400, at(9): 100, at(10): 0}, now=NOW, zone=UTC)

    eight, nine, ten = chart.bars[-3:]
    assert (chart.top, chart.middle, chart.height) == (400, 200, 140)
    assert (eight.y, eight.height) == (0, 140)
    assert (nine.y, nine.height) == (105, 35)
    assert (ten.y, ten.height) == (140, 0)


def test_one_event_beside_a_million_is_still_seen() -> None:
    chart = hour_bars({at(8): 1_000_000, at(9): 1}, now=NOW, zone=UTC)

    assert chart.bars[-2].height == 2


def test_the_busiest_hour_is_the_latest_of_equals() -> None:
    chart = hour_bars({at(7): 5, at(9): 5}, now=NOW, zone=UTC)

    assert chart.busiest is not None
    assert chart.busiest.label == "09:00–10:00"


def test_an_empty_day_has_no_busiest_hour_and_no_height() -> None:
    chart = hour_bars({}, now=NOW, zone=UTC)

    assert chart.busiest is None
    assert chart.top == 2
    assert {bar.height for bar in chart.bars} == {0}


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0, 2), (2, 2), (3, 4), (9, 10), (10, 10), (11, 20), (99, 100), (401, 600), (1000, 1000), (8001, 10000)],
)
def test_the_scale_ends_at_a_round_number(highest: int, top: int) -> None:
    assert hour_bars({at(9): highest}, now=NOW, zone=UTC).top == top


@given(st.dictionaries(st.integers(0, HOURS - 1), st.integers(0, 10**18)), MOMENTS)
def test_every_bar_stays_in_the_picture(hours_back: dict[int, int], now: datetime) -> None:
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    counts = {this_hour - timedelta(hours=back): count for back, count in hours_back.items()}

    chart = hour_bars(counts, now=now, zone=UTC)

    assert chart.total == sum(hours_back.values())
    for bar in chart.bars:
        assert bar.y >= 0
        assert bar.y + bar.height == chart.height
        assert bar.slot_x <= bar.x
        assert bar.x + bar.width <= bar.slot_x + bar.slot_width <= chart.width
        assert bar.count <= chart.top
        assert bool(bar.height) == bool(bar.count)


def test_a_sparkline_runs_from_its_first_value_to_its_last() -> None:
    spark = sparkline([0, 5, 10])

    assert (spark.width, spark.height) == (8, 24)
    assert spark.line == "M0 23L4 12L8 1"
    assert spark.area == "M0 23L4 12L8 1L8 24L0 24Z"


def test_a_quiet_day_is_a_line_on_the_ground() -> None:
    assert sparkline([0, 0]).line == "M0 23L4 23"


def test_one_value_is_no_line() -> None:
    with pytest.raises(ValueError, match="two values"):
        sparkline([3])
