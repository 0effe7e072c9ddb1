"""The flow picture's geometry: five numbers in, whole numbers for SVG out. Pure.

What was taken in stands left, what became of it right, as high as it is many; a ribbon joins the two. A part that is
not nothing is seen, whatever it is beside the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 200
_BAR: Final = 12
_GAP: Final = 8
_LEAST: Final = 4


@dataclass(frozen=True, slots=True)
class Ribbon:
    """One part: its name, its number, the badge component's state, and where it is drawn."""

    key: str
    label: str
    state: str
    count: int
    y: int
    height: int
    path: str


@dataclass(frozen=True, slots=True)
class FlowChart:
    """Ribbons from the whole to its parts, the first at the top."""

    width: int
    height: int
    bar: int
    right: int
    # Of the bar for the whole: its ribbons lie there end to end.
    start_height: int
    taken: int
    ribbons: tuple[Ribbon, ...]


def flow_chart(taken: int, parts: Sequence[tuple[str, str, str, int]]) -> FlowChart:
    """A chart of (key, label, state, count) parts of what was taken in."""
    shown = [part for part in parts if part[3] > 0]
    whole = sum(part[3] for part in shown)
    room = HEIGHT - _GAP * max(0, len(shown) - 1) - _LEAST * len(shown)
    ribbons: list[Ribbon] = []
    left, right = 0, 0
    for key, label, state, count in parts:
        if count <= 0:
            ribbons.append(Ribbon(key, label, state, count, right, 0, ""))
            continue
        height = _LEAST + room * count // whole
        ribbons.append(Ribbon(key, label, state, count, right, height, _ribbon(left, right, height)))
        left += height
        right += height + _GAP
    return FlowChart(WIDTH, HEIGHT, _BAR, WIDTH - _BAR, left or HEIGHT, taken, tuple(ribbons))


def _ribbon(left: int, right: int, height: int) -> str:
    """From the left bar to the right one, as a path that bends once."""
    start, end, middle = _BAR, WIDTH - _BAR, WIDTH // 2
    return (
        f"M{start} {left}C{middle} {left} {middle} {right} {end} {right}V{right + height}"
        f"C{middle} {right + height} {middle} {left + height} {start} {left + height}Z"
    )
