"""The geometry of charts that the server draws: counts in, whole numbers for SVG out.

Holds where each bar stands and what it is called. Refuses markup, colours and the clock: the components
`c-bar-chart` and `c-sparkline` draw it, and the caller says which hours there are. All lengths are in units of
the chart's own view box, which the page stretches to the width it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

_HOUR = timedelta(hours=1)

# One bar's slot is 20 units wide, of which 14 are bar: a gap that stays visible at 390 px of screen.
_SLOT_WIDTH = 20
_BAR_WIDTH = 14
_HEIGHT = 140
# A count of one beside a count of a million is still seen.
_LEAST_BAR = 2
_TICK_EVERY = 6

_STRIP_HEIGHT = 60
# A quick one is still seen, and its colour told.
_LEAST_OUTCOME = 10
_LEAST_SLOTS = 30

_SPARK_STEP = 4
_SPARK_HEIGHT = 24
# The line is drawn with its middle on the path: half a stroke of room keeps it inside the view box.
_SPARK_MARGIN = 1


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour: its name in the viewer's zone, its count, and its place."""

    label: str
    count: int
    unfinished: bool
    slot_x: int
    slot_width: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars from the oldest to the newest, under a scale that ends at a round number."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    ticks: tuple[str, ...]
    top: int

    @property
    def half(self) -> int:
        """Where the middle grid line runs."""
        return self.height // 2

    @property
    def middle(self) -> int:
        """The count at the middle grid line."""
        return self.top // 2

    @property
    def total(self) -> int:
        """All the bars together."""
        return sum(bar.count for bar in self.bars)

    @property
    def busiest(self) -> Bar | None:
        """The highest bar, the latest of equals; None where nothing was counted."""
        highest = max(self.bars, key=lambda bar: (bar.count, bar.slot_x))
        return highest if highest.count else None


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A line and the area under it, as SVG path data."""

    width: int
    height: int
    line: str
    area: str


def hour_bars(hours: Sequence[tuple[datetime, int]], *, zone: tzinfo) -> BarChart:
    """A bar for each (start of an hour, count), the oldest first and the last one still unfinished; named in `zone`.

    Raises ValueError where there is no hour at all.
    """
    if not hours:
        raise ValueError("a chart takes an hour")
    chart = count_bars(
        [(f"{_clock(start, zone)}–{_clock(start + _HOUR, zone)}", count) for start, count in hours],
        tick_every=_TICK_EVERY,
        is_last_unfinished=True,
    )
    return replace(chart, ticks=tuple(_clock(start, zone) for start, _ in hours[::_TICK_EVERY]))


def count_bars(
    counts: Sequence[tuple[str, int]], *, tick_every: int, is_last_unfinished: bool = False
) -> BarChart:
    """A bar for each (name, count), from the left on; every so many a name stands under it.

    Raises ValueError where there is none at all.
    """
    if not counts:
        raise ValueError("a chart takes a bar")
    top = _round_up(max(count for _, count in counts))
    bars = []
    for index, (label, count) in enumerate(counts):
        height = max(_LEAST_BAR, round(_HEIGHT * count / top)) if count else 0
        slot_x = index * _SLOT_WIDTH
        bars.append(
            Bar(
                label=label,
                count=count,
                unfinished=is_last_unfinished and index == len(counts) - 1,
                slot_x=slot_x,
                slot_width=_SLOT_WIDTH,
                x=slot_x + (_SLOT_WIDTH - _BAR_WIDTH) // 2,
                y=_HEIGHT - height,
                width=_BAR_WIDTH,
                height=height,
            )
        )
    return BarChart(
        width=len(counts) * _SLOT_WIDTH,
        height=_HEIGHT,
        bars=tuple(bars),
        ticks=tuple(label for label, _ in counts[::tick_every]),
        top=top,
    )


def sparkline(values: Sequence[int]) -> Sparkline:
    """The values as a line, the first at the left. The highest touches the top; all zero lies on the ground.

    Raises ValueError for fewer than two values: one is no line.
    """
    if len(values) < 2:
        raise ValueError("a line takes two values")
    ground = _SPARK_HEIGHT - _SPARK_MARGIN
    highest = max(values) or 1
    room = ground - _SPARK_MARGIN
    points = [
        f"{index * _SPARK_STEP} {ground - round(room * value / highest)}"
        for index, value in enumerate(values)
    ]
    width = (len(values) - 1) * _SPARK_STEP
    line = "M" + "L".join(points)
    return Sparkline(
        width=width,
        height=_SPARK_HEIGHT,
        line=line,
        area=f"{line}L{width} {_SPARK_HEIGHT}L0 {_SPARK_HEIGHT}Z",
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that was tried: when, whether it went well, how long it took, and its place."""

    at: datetime
    went_well: bool
    ms: int | None
    slot_x: int
    slot_width: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class OutcomeStrip:
    """Outcomes from the oldest to the newest: as high as they took long; one without a time is full height."""

    width: int
    height: int
    outcomes: tuple[Outcome, ...]
    slowest_ms: int

    @property
    def good(self) -> int:
        """How many went well."""
        return sum(outcome.went_well for outcome in self.outcomes)


def outcome_strip(outcomes: Sequence[tuple[datetime, bool, int | None]]) -> OutcomeStrip:
    """A bar for each (when, whether it went well, milliseconds), the oldest first.

    Raises ValueError where there is none.
    """
    if not outcomes:
        raise ValueError("a strip takes an outcome")
    slowest = max((ms for _, _, ms in outcomes if ms is not None), default=0)
    drawn = []
    for index, (at, went_well, ms) in enumerate(outcomes):
        height = _STRIP_HEIGHT
        if ms is not None and slowest:
            height = max(_LEAST_OUTCOME, round(_STRIP_HEIGHT * ms / slowest))
        slot_x = index * _SLOT_WIDTH
        drawn.append(
            Outcome(
                at=at,
                went_well=went_well,
                ms=ms,
                slot_x=slot_x,
                slot_width=_SLOT_WIDTH,
                x=slot_x + (_SLOT_WIDTH - _BAR_WIDTH) // 2,
                y=_STRIP_HEIGHT - height,
                width=_BAR_WIDTH,
                height=height,
            )
        )
    # A few stand at the right size, not stretched over the page.
    slots = max(len(outcomes), _LEAST_SLOTS)
    return OutcomeStrip(slots * _SLOT_WIDTH, _STRIP_HEIGHT, tuple(drawn), slowest)


def _clock(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).strftime("%H:%M")


def _round_up(value: int) -> int:
    """The least even number of the form 1, 2, 3, 4, 5, 6, 8 or 10 × 10ⁿ that is not below `value`, and at least 2.

    Even, so that the middle of the scale is a whole number, too.
    """
    if value <= 2:
        return 2
    power: int = 10 ** (len(str(value)) - 1)
    return next(
        step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value and step * power % 2 == 0
    )
