"""Where a pixel's events are, in numbers that add up: taken in = accepted + rejected + waiting + in flight + in doubt.

No number is what the others leave over: each is read from rows of its own, in one statement and so of one moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Sum

from events.flow_chart import FlowChart, flow_chart
from events.models import DoorRefusal
from events.replay import Fate

# Deliveries' sizes by state, less the rejections that lie in them; replays are beside the books.
_BOOKS = """
WITH pixels AS (SELECT unnest(%(pixels)s::bigint[]) AS pixel_id),
sizes AS (
    SELECT pixel_id, state, sum(coalesce(cardinality(offsets), last_offset - first_offset + 1)) AS events,
        min(first_offset) AS first_offset
    FROM events_delivery
    WHERE pixel_id = ANY (%(pixels)s) AND state NOT IN ('split', 'cancelled') AND replay_id IS NULL
    GROUP BY 1, 2),
rejected AS (
    SELECT rejection.pixel_id, covering.state, count(*) AS events, min(rejection.log_offset) AS first_offset
    FROM events_rejection AS rejection
    LEFT JOIN LATERAL (
        SELECT state FROM events_delivery AS delivery
        WHERE delivery.pixel_id = rejection.pixel_id
          AND delivery.first_offset BETWEEN rejection.log_offset - 10000 AND rejection.log_offset
          AND delivery.last_offset >= rejection.log_offset
          AND (delivery.offsets IS NULL OR rejection.log_offset = ANY (delivery.offsets))
          AND delivery.state NOT IN ('split', 'cancelled') AND delivery.replay_id IS NULL
        ORDER BY delivery.first_offset DESC LIMIT 1) AS covering ON true
    WHERE rejection.pixel_id = ANY (%(pixels)s)
    GROUP BY 1, 2),
piles AS (
    SELECT pixel_id, sum(last_offset - next_offset + 1) AS events, min(next_offset) AS first_offset
    FROM events_backlog WHERE pixel_id = ANY (%(pixels)s) AND drained_at IS NULL GROUP BY 1),
lying AS (
    SELECT pixel_id, state, events FROM sizes
    UNION ALL SELECT pixel_id, state, -events FROM rejected
    UNION ALL SELECT pixel_id, NULL, events FROM piles
    UNION ALL SELECT pixel_id, NULL, head - tail FROM events_pixellog WHERE pixel_id = ANY (%(pixels)s)
    UNION ALL SELECT pixel_id, 'counted', events FROM rejected)
SELECT log.pixel_id,
    log.head - least(log.tail,
        (SELECT min(first_offset) FROM sizes WHERE sizes.pixel_id = log.pixel_id),
        (SELECT min(first_offset) FROM piles WHERE piles.pixel_id = log.pixel_id)),
    coalesce(sum(events) FILTER (WHERE state = 'accepted'), 0),
    coalesce(sum(events) FILTER (WHERE state = 'counted'), 0),
    coalesce(sum(events) FILTER (WHERE state = 'waiting' OR state IS NULL), 0),
    coalesce(sum(events) FILTER (WHERE state IN ('claimed', 'sending')), 0),
    coalesce(sum(events) FILTER (WHERE state = 'doubt'), 0)
FROM pixels JOIN events_pixellog AS log USING (pixel_id) LEFT JOIN lying USING (pixel_id)
GROUP BY log.pixel_id, log.head, log.tail
"""


@dataclass(frozen=True, slots=True)
class Flow:
    """Where the events are that are in the books."""

    taken: int = 0
    accepted: int = 0
    rejected: int = 0
    waiting: int = 0
    in_flight: int = 0
    in_doubt: int = 0

    @property
    def accounted(self) -> int:
        """What the parts come to."""
        return self.accepted + self.rejected + self.waiting + self.in_flight + self.in_doubt

    @property
    def adds_up(self) -> bool:
        """Whether the parts are the whole."""
        return self.taken == self.accounted

    def __add__(self, other: Flow) -> Flow:
        return Flow(
            self.taken + other.taken,
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            self.waiting + other.waiting,
            self.in_flight + other.in_flight,
            self.in_doubt + other.in_doubt,
        )


def flows_of(pixel_ids: Iterable[int]) -> dict[int, Flow]:
    """The flow of each pixel that has a log."""
    with connection.cursor() as cursor:
        cursor.execute(_BOOKS, {"pixels": list(pixel_ids)})
        return {
            pixel_id: Flow(*(int(number) for number in numbers)) for pixel_id, *numbers in cursor.fetchall()
        }


def chart_of(flow: Flow) -> FlowChart:
    """The flow, drawn; each part by the fate that its events have in the log."""
    return flow_chart(
        flow.taken,
        [
            (Fate.ACCEPTED, "Accepted", "working", flow.accepted),
            (Fate.REJECTED, "Rejected", "failing", flow.rejected),
            (Fate.WAITING, "Waiting", "waiting", flow.waiting),
            (Fate.SENDING, "In flight", "waiting", flow.in_flight),
            (Fate.DOUBT, "In doubt", "late", flow.in_doubt),
        ],
    )


@dataclass(frozen=True, slots=True)
class Refused:
    """Requests that a door refused within a day, for one reason, and the latest of them."""

    reason: str
    field: str
    requests: int
    sample: list[dict[str, object]]

    @property
    def words(self) -> str:
        """The reason, as a door titles it."""
        return self.reason.replace("_", " ").capitalize()


def refused_at_doors(pixel_ids: Iterable[int], *, now: datetime) -> list[Refused]:
    """What doors refused of the pixels within 24 hours, by reason, the most first."""
    rows = DoorRefusal.objects.filter(pixel__in=list(pixel_ids), hour__gt=now - timedelta(hours=24))
    totals = (
        rows.values_list("reason", "field").annotate(sum=Sum("requests")).order_by("-sum", "reason", "field")
    )
    samples: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in rows.order_by("-hour", "-pk"):
        samples.setdefault((row.reason, row.field), []).extend(row.sample)
    return [
        Refused(reason, field, requests, samples[reason, field][:5]) for reason, field, requests in totals
    ]
