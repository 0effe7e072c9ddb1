"""Large logs, made in seconds: real rows that PostgreSQL copies by itself from a thousand that a door wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection

from onboarding.models import Pixel
from tests.benchmarks.sides import raw_event, shop_events
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import append_events

# As many rows share a receive time: a door's commit.
COMMIT: Final = 1000
_RUN: Final = "pattern"

_TAKE_PATTERN: Final = """
CREATE TABLE bench_pattern AS
SELECT row_number() OVER (ORDER BY log_offset) - 1 AS number, expires_at, event_name, event_id,
    convert_from(payload, 'UTF8') AS text
FROM events_event WHERE pixel_id = %s;
"""
# Each copy has an id of its own, also within its payload, so that it is another event to Graph as well.
_LAY: Final = """
INSERT INTO events_event
    (advertiser_id, pixel_id, log_offset, received_at, expires_at, origin, event_name, event_id, payload, notices)
SELECT pixel.advertiser_id, pixel.id, laid, %(from)s + laid / %(commit)s * interval '1 millisecond',
    pattern.expires_at, 1, pattern.event_name, pixel.id || '-' || laid,
    convert_to(replace(pattern.text, pattern.event_id, pixel.id || '-' || laid), 'UTF8'), ''
FROM onboarding_pixel AS pixel
CROSS JOIN generate_series(%(first)s, %(last)s) AS laid
JOIN bench_pattern AS pattern ON pattern.number = laid %% 1000
WHERE pixel.id = ANY (%(pixels)s)
ORDER BY pixel.id, laid
"""
_MOVE_HEAD: Final = """
INSERT INTO events_pixellog AS log (advertiser_id, pixel_id, head, tail, head_received_at, tail_received_at, awake)
SELECT advertiser_id, id, %(head)s, 0, %(to)s, %(from)s, true FROM onboarding_pixel WHERE id = ANY (%(pixels)s)
ON CONFLICT (pixel_id) DO UPDATE
SET head = excluded.head, head_received_at = excluded.head_received_at, awake = true,
    tail_received_at = CASE WHEN log.tail = log.head THEN excluded.tail_received_at ELSE log.tail_received_at END
"""


def take_pattern() -> None:
    """A thousand events of a shop, written by a door's own code, for `lay` to copy."""
    source = make_connected_pixel()
    append_events(source.pixel, [raw_event(one) for one in shop_events(_RUN, 1000)])
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_PATTERN, [source.pixel.pk])


@dataclass(slots=True)
class Pile:
    """Logs of some pixels that all have the same number of rows. Receive times lie a millisecond a commit apart."""

    pixels: Sequence[Pixel]
    head: int = 0

    def lay(self, count: int) -> None:
        """So many events more for each, waiting."""
        with connection.cursor() as cursor:
            # Behind all that was laid before, and in the past.
            cursor.execute("SELECT clock_timestamp() - interval '60 seconds'")
            (begun,) = cursor.fetchone()
            asked = {
                "pixels": [pixel.pk for pixel in self.pixels],
                "from": begun,
                "commit": COMMIT,
                "first": self.head,
                "last": self.head + count - 1,
                "head": self.head + count,
            }
            cursor.execute(_LAY, asked)
            cursor.execute(
                "SELECT %(from)s + %(first)s / %(commit)s * interval '1 millisecond',"
                " %(from)s + %(last)s / %(commit)s * interval '1 millisecond'",
                asked,
            )
            asked["from"], asked["to"] = cursor.fetchone()
            cursor.execute(_MOVE_HEAD, asked)
        self.head += count


def make_deep_pixel(count: int) -> tuple[ConnectedPixel, Pile, float]:
    """A pixel with so many events waiting, and how many seconds it took to lay them."""
    target = make_connected_pixel()
    pile = Pile([target.pixel])
    begun = time.perf_counter()
    pile.lay(count)
    return target, pile, time.perf_counter() - begun


def waiting(pixel: Pixel) -> int:
    """Events of the pixel that no delivery covers yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT head - tail + coalesce((SELECT sum(last_offset - next_offset + 1) FROM events_backlog"
            " WHERE pixel_id = %(pixel)s AND drained_at IS NULL), 0) FROM events_pixellog WHERE pixel_id = %(pixel)s",
            {"pixel": pixel.pk},
        )
        return int(cursor.fetchone()[0])
