"""Charts drawn on the server: numbers in, geometry out; templates write the SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in the chart's own units."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float
    css: str

    @property
    def title(self) -> str:
        """What it says on hover."""
        return f"{self.label}: {self.value:,}"


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart."""

    width: int
    height: int
    bars: list[Bar]
    # Labels for under the axis, evenly spread.
    ticks: list[str]
    summary: str


def bars(values: Sequence[tuple[str, int]], *, width: int = 720, height: int = 120, tick_every: int = 4) -> Bars:
    """A bar for each (label, value), the last one being now. The highest reaches the top; 0 is a hairline.

    The picture may be stretched to any size: it holds no text.
    """
    top = max((value for _, value in values), default=0)
    slot = width / max(len(values), 1)
    gap = slot * 0.18
    drawn = []
    for number, (label, value) in enumerate(values):
        tall = max(height * value / top, 2.0) if value else 1.0
        kind = "none" if not value else "bar now" if number == len(values) - 1 else "bar"
        drawn.append(
            Bar(
                label=label,
                value=value,
                x=round(number * slot + gap / 2, 2),
                y=round(height - tall, 2),
                width=round(slot - gap, 2),
                height=round(tall, 2),
                css=kind,
            )
        )
    total = sum(value for _, value in values)
    return Bars(
        width=width,
        height=height,
        bars=drawn,
        ticks=[label for number, (label, _) in enumerate(values) if number % tick_every == 0],
        summary=f"{total:,} in all, {top:,} at most in an hour",
    )
