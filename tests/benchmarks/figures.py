"""What is measured, against which floor and aim; and how the result is shown: a table, a picture, a file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs" / "performance.md"
PICTURE = CHECKOUT / "docs" / "img" / "performance.svg"
RESULT = CHECKOUT / ".partnerhub" / "bench.json"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

MEBIBYTE = 2**20

# Of the picture: a bar ends at twice the aim, or at a third of the floor, whatever the value is beyond.
_MOST = 2.0
_ROW, _BAR, _LEFT, _WIDTH = 34, 12, 380, 860


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is measured. Without a floor it only explains the others."""

    name: str
    unit: str
    better: Literal["higher", "lower"] = "higher"
    floor: float | None = None
    aim: float | None = None

    def meets(self, value: float, mark: float | None) -> bool:
        """Whether the value is as good as the mark; without a mark, any is."""
        if mark is None:
            return True
        return value >= mark if self.better == "higher" else value <= mark


# A round's values. A group of figures is a generator of them.
Values = dict[Figure, float]
Rounds = Iterator[Values]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with the values of its rounds."""

    figure: Figure
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def is_missed(self) -> bool:
        """Whether its floor is not reached."""
        return not self.figure.meets(self.median, self.figure.floor)

    @property
    def verdict(self) -> str:
        """In a word."""
        figure = self.figure
        if figure.floor is None:
            return ""
        if self.is_missed:
            return "below the floor"
        return (
            "aim reached"
            if figure.aim is not None and figure.meets(self.median, figure.aim)
            else "above the floor"
        )

    def row(self) -> tuple[str, ...]:
        """Name, median with its unit, spread, floor, aim, verdict."""
        figure = self.figure
        return (
            figure.name,
            f"{short(self.median)} {figure.unit}",
            f"{short(min(self.values))} … {short(max(self.values))}",
            "" if figure.floor is None else short(figure.floor),
            "" if figure.aim is None else short(figure.aim),
            self.verdict,
        )


def short(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(measured: Iterable[Measured]) -> str:
    """The figures as Markdown, its columns aligned for a terminal."""
    rows = [("figure", "median", "spread", "floor", "aim", ""), *(one.row() for one in measured)]
    widths = [max(3, *(len(row[place]) for row in rows)) for place in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def write_result(measured: Iterable[Measured]) -> None:
    """Keep them for other programs."""
    RESULT.parent.mkdir(exist_ok=True)
    found = [
        {
            "figure": one.figure.name,
            "unit": one.figure.unit,
            "value": round(one.median, 4),
            "values": [round(value, 4) for value in one.values],
            "floor": one.figure.floor,
            "aim": one.figure.aim,
            "better": one.figure.better,
        }
        for one in measured
    ]
    RESULT.write_text(json.dumps(found, indent=2) + "\n")


def write_docs(text: str) -> None:
    """Put the figures between the marks of docs/performance.md."""
    head, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCS.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def picture(measured: Iterable[Measured], caption: str) -> str:
    """An SVG: a row for each figure that has a floor and an aim, the longer the bar the better, the aim at 1."""
    rows = [one for one in measured if one.figure.floor is not None and one.figure.aim is not None]
    height = _ROW * len(rows) + 96
    scale = (_WIDTH - _LEFT - 100) / _MOST
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
            ' font-family="system-ui, sans-serif" font-size="13">'
        ),
        f"<title>Measured against floor and aim. {escape(caption)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="16" font-weight="600" fill="#1c2430">Against floor and aim</text>',
        f'<text x="16" y="46" font-size="11" fill="#586172">{escape(caption)}</text>',
    ]
    for place, one in enumerate(rows):
        parts += _picture_row(one, 64 + place * _ROW, scale)
    aim_x = _LEFT + scale
    parts.append(
        f'<line x1="{aim_x:g}" y1="58" x2="{aim_x:g}" y2="{height - 30}" stroke="#1c2430" stroke-width="1"/>'
    )
    parts.append(
        f'<text x="{aim_x:g}" y="{height - 14}" fill="#1c2430" text-anchor="middle">aim</text>'
        f'<text x="16" y="{height - 14}" fill="#586172">Longer is better; the tick on each bar is its floor.</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _picture_row(one: Measured, top: int, scale: float) -> Iterator[str]:
    figure = one.figure
    assert figure.floor is not None
    assert figure.aim is not None
    reached, floor = _goodness(figure, one.median), _goodness(figure, figure.floor)
    colour = "#b3261e" if one.is_missed else "#1f6f54" if reached >= 1 else "#2f6fb0"
    length = scale * min(reached, _MOST)
    tick = _LEFT + scale * min(floor, _MOST)
    yield f'<text x="16" y="{top + 15}" fill="#1c2430">{escape(figure.name)}</text>'
    yield f'<rect x="{_LEFT}" y="{top + 4}" width="{scale * _MOST:g}" height="{_BAR}" rx="3" fill="#eef1f5"/>'
    yield f'<rect x="{_LEFT}" y="{top + 4}" width="{max(2.0, length):.1f}" height="{_BAR}" rx="3" fill="{colour}"/>'
    yield f'<line x1="{tick:.1f}" y1="{top}" x2="{tick:.1f}" y2="{top + 20}" stroke="#1c2430" stroke-width="2"/>'
    yield (
        f'<text x="{_WIDTH - 12}" y="{top + 15}" fill="{colour}" font-weight="600" text-anchor="end">'
        f"{escape(short(one.median))} {escape(figure.unit)}</text>"
    )


def _goodness(figure: Figure, value: float) -> float:
    """The value as a share of the aim, so that more is better whichever way the figure goes."""
    assert figure.aim is not None
    if figure.better == "higher":
        return value / figure.aim
    return figure.aim / value if value else _MOST


def gather(rounds: Iterable[Mapping[Figure, float]]) -> list[Measured]:
    """Each figure with its values, in the order of their first appearance."""
    values: dict[Figure, list[float]] = {}
    for one in rounds:
        for figure, value in one.items():
            values.setdefault(figure, []).append(value)
    return [Measured(figure, tuple(found)) for figure, found in values.items()]
