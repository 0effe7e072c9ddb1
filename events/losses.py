"""When the first of the events that wait would be lost: Meta takes none that is older than seven days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from partnerhub.lib.graph import limits

# Of each range that waits: events come in roughly in the order of their times, and one request's worth of them tells.
EVENTS_READ: Final = limits.EVENTS_PER_REQUEST
# Of one page; who has more than so many pixels paused has those that hurt most among them.
PIXELS_READ: Final = 200

# What waits begins at: a delivery that has not ended, what is set aside, and the log's own tail.
_FIRST: Final = """
WITH waits AS (
    SELECT advertiser_id, pixel_id, first_offset, first_received_at AS since FROM events_delivery
    WHERE pixel_id = ANY (%(pixels)s) AND state IN ('waiting', 'claimed', 'sending')
    UNION ALL
    SELECT advertiser_id, pixel_id, next_offset, next_received_at FROM events_backlog
    WHERE pixel_id = ANY (%(pixels)s) AND drained_at IS NULL
    UNION ALL
    SELECT advertiser_id, pixel_id, tail, tail_received_at FROM events_pixellog
    WHERE pixel_id = ANY (%(pixels)s) AND tail < head
)
SELECT pixel_id, min(soonest)
FROM waits, LATERAL (
    SELECT min(expires_at) AS soonest
    FROM (
        SELECT expires_at FROM events_event AS event
        WHERE event.advertiser_id = waits.advertiser_id AND event.pixel_id = waits.pixel_id
          AND log_offset >= waits.first_offset AND received_at >= waits.since
        ORDER BY log_offset LIMIT %(events)s) AS oldest) AS events
GROUP BY pixel_id
"""


def first_losses(pixel_ids: Iterable[int]) -> dict[int, datetime]:
    """When the first event that waits would be given up, by pixel; nothing of pixels where none waits.

    One query, bounded. In the scope of whoever may read the events.
    """
    ids = list(pixel_ids)[:PIXELS_READ]
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, {"pixels": ids, "events": EVENTS_READ})
        rows: Sequence[tuple[int, datetime | None]] = cursor.fetchall()
    # We stop before Meta does: one event's age shall not spoil a request on its way.
    margin = timedelta(seconds=limits.AGE_MARGIN_SECONDS)
    return {pixel_id: soonest - margin for pixel_id, soonest in rows if soonest is not None}


def time_left(until: datetime, *, now: datetime) -> str:
    """How long until then, in the one or two units that matter: "6 days 3 hours", "40 minutes"."""
    seconds = int((until - now).total_seconds())
    if seconds < 60:
        return "no time"
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute")]
    shown = [part for part in parts if part[0]]
    shown = shown[:2] if days else shown[:2] if hours and hours < 6 else shown[:1]
    return " ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in shown)
