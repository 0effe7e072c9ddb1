"""The one chart: events a minute as SVG bars, drawn on the server. Pure; the clock is an argument."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from partnerhub.sandbox.markup import Html, html, join

MINUTES: Final = 60
BAR_WIDTH: Final = 16
HEIGHT: Final = 120
TOP: Final = 16
LABELS_EVERY: Final = 15


def nice_ceiling(highest: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, … that is not below `highest`."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if factor * step >= highest:
                return factor * step
        step *= 10


def clock_text(moment: float) -> str:
    """The hour and minute of a Unix time, UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M")


def minutes_chart(minutes: Mapping[int, int], now: float) -> Html:
    """Bars for the last hour; `minutes` maps a minute since the epoch to its number of events."""
    last = int(now // 60)
    shown = [(minute, minutes.get(minute, 0)) for minute in range(last - MINUTES + 1, last + 1)]
    ceiling = nice_ceiling(max(1, *(count for _, count in shown)))
    width = MINUTES * BAR_WIDTH
    bars, labels = [], []
    for index, (minute, count) in enumerate(shown):
        tall = max(2.0, HEIGHT * count / ceiling) if count else 0.0
        bars.append(
            html(
                '<rect x="$x" y="$y" width="12" height="$tall" rx="2">'
                "<title>$at UTC: $count events</title></rect>",
                x=index * BAR_WIDTH + 2,
                y=f"{TOP + HEIGHT - tall:.1f}",
                tall=f"{tall:.1f}",
                at=clock_text(minute * 60),
                count=f"{count:,}",
            )
        )
        if minute % LABELS_EVERY == 0 and BAR_WIDTH * 2 <= index * BAR_WIDTH <= width - BAR_WIDTH * 2:
            labels.append(
                html(
                    '<text class="label" x="$x" y="$y" text-anchor="middle">$at</text>',
                    x=index * BAR_WIDTH + BAR_WIDTH // 2,
                    y=TOP + HEIGHT + 16,
                    at=clock_text(minute * 60),
                )
            )
    return html(
        '<svg class="chart" viewBox="0 0 $width $full" role="img" aria-label="$summary">'
        '<line class="grid" x1="0" x2="$width" y1="$top" y2="$top"/>'
        '<line class="grid" x1="0" x2="$width" y1="$half" y2="$half"/>'
        '<line class="axis" x1="0" x2="$width" y1="$floor" y2="$floor"/>'
        '<text class="label" x="0" y="$above">$ceiling a minute</text>$bars$labels</svg>',
        width=width,
        full=TOP + HEIGHT + 24,
        summary=f"{sum(count for _, count in shown):,} events in the last hour, by minute",
        top=TOP,
        half=TOP + HEIGHT // 2,
        floor=TOP + HEIGHT,
        above=TOP - 5,
        ceiling=f"{ceiling:,}",
        bars=join(bars),
        labels=join(labels),
    )
