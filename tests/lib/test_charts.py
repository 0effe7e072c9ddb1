"""The geometry of charts: what stands where, and what it is called."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.charts import hour_bars, sparkline

START = datetime(2026, 11, 23, 11, tzinfo=UTC)


def day(*last: int) -> list[tuple[datetime, int]]:
    """24 hours from 11:00 to 11:00, all quiet but the `last` ones."""
    counts = [0] * (24 - len(last)) + list(last)
    return [(START + timedelta(hours=hour), count) for hour, count in enumerate(counts)]


def test_the_day_ends_with_the_unfinished_hour() -> None:
    chart = hour_bars(day(5, 3), zone=UTC)

    assert [(bar.label, bar.count, bar.unfinished) for bar in chart.bars[-2:]] == [
        ("09:00–10:00", 5, False),
        ("10:00–11:00", 3, True),
    ]
    assert (len(chart.bars), chart.bars[0].label) == (24, "11:00–12:00")
    assert chart.total == 8


def test_hours_are_named_in_the_viewers_zone() -> None:
    chart = hour_bars(day(1), zone=zoneinfo.ZoneInfo("Asia/Kolkata"))

    assert chart.bars[-1].label == "15:30–16:30"
    assert chart.ticks == ("16:30", "22:30", "04:30", "10:30")


def test_a_repeated_hour_of_autumn_is_two_bars() -> None:
    start = datetime(2026, 10, 25, 0, tzinfo=UTC)
    hours = [(start + timedelta(hours=hour), 1) for hour in range(3)]

    chart = hour_bars(hours, zone=zoneinfo.ZoneInfo("Europe/Rome"))

    assert [bar.label for bar in chart.bars] == ["02:00–02:00", "02:00–03:00", "03:00–04:00"]


def test_a_bar_is_as_high_as_its_share_of_the_scale() -> None:
    chart = hour_bars(day(400, 100, 0), zone=UTC)

    eight, nine, ten = chart.bars[-3:]
    assert (chart.top, chart.middle, chart.height) == (400, 200, 140)
    assert (eight.y, eight.height) == (0, 140)
    assert (nine.y, nine.height) == (105, 35)
    assert (ten.y, ten.height) == (140, 0)


def test_one_event_beside_a_million_is_still_seen() -> None:
    chart = hour_bars(day(1_000_000, 1), zone=UTC)

    assert chart.bars[-1].height == 2


def test_the_busiest_hour_is_the_latest_of_equals() -> None:
    chart = hour_bars(day(5, 0, 5, 0), zone=UTC)

    assert chart.busiest is not None
    assert chart.busiest.label == "09:00–10:00"


def test_an_empty_day_has_no_busiest_hour_and_no_height() -> None:
    chart = hour_bars(day(), zone=UTC)

    assert chart.busiest is None
    assert chart.top == 2
    assert {bar.height for bar in chart.bars} == {0}


def test_no_hours_are_no_chart() -> None:
    with pytest.raises(ValueError, match="an hour"):
        hour_bars([], zone=UTC)


@pytest.mark.parametrize(
    ("highest", "top"),
    [
        (0, 2),
        (2, 2),
        (3, 4),
        (9, 10),
        (10, 10),
        (11, 20),
        (99, 100),
        (401, 500),
        (2232, 3000),
        (1000, 1000),
        (8001, 10000),
    ],
)
def test_the_scale_ends_at_a_round_number(highest: int, top: int) -> None:
    assert hour_bars(day(highest), zone=UTC).top == top


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=48))
def test_every_bar_stays_in_the_picture(counts: list[int]) -> None:
    hours = [(START + timedelta(hours=hour), count) for hour, count in enumerate(counts)]

    chart = hour_bars(hours, zone=UTC)

    assert chart.total == sum(counts)
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
