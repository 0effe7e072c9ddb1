"""What an event costs on disk once it is delivered: every table and index, the repeats' among them."""

from __future__ import annotations

from typing import Final

from django.db import connection

from tests.benchmarks.figures import Figure, Rounds
from tests.benchmarks.sides import Sides, door_requests, raw_event, shop_events
from tests.support.factories import ConnectedPixel, make_connected_pixel

EVENTS: Final = 6_000

STORED: Final = Figure(
    "stored bytes of a shop's events ÷ their JSON", "×", better="lower", floor=1.5, aim=0.5
)
BY_ONE: Final = Figure("· the same, each event sent to Graph by itself", "×", better="lower")
BYTES: Final = Figure("· stored bytes an event", "bytes", better="lower")
JSON_BYTES: Final = Figure("· JSON of an event, as Graph gets it", "bytes", better="lower")

# All of the log and its books; the broker's queues and the people's tables have nothing for each event.
_SIZE: Final = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind = 'r' AND relname LIKE 'events\\_%'
"""
_JSON: Final = "SELECT avg(octet_length(payload)) FROM events_event WHERE pixel_id = %s"


def storage(sides: Sides) -> Rounds:
    """A shop's events in requests of fifty, then one after the other, so that Graph gets each by itself."""
    while True:
        target = make_connected_pixel()
        sides.admit(target)
        batched = _grown(sides, target, 50, EVENTS, connections=4)
        single = _grown(sides, target, 1, EVENTS // 10, connections=1)
        with connection.cursor() as cursor:
            cursor.execute(_JSON, [target.pixel.pk])
            json_bytes = float(cursor.fetchone()[0])
        yield {
            STORED: batched / json_bytes,
            BY_ONE: single / json_bytes,
            BYTES: batched,
            JSON_BYTES: json_bytes,
        }


def _grown(sides: Sides, target: ConnectedPixel, size: int, count: int, *, connections: int) -> float:
    """Bytes an event by which the database has grown."""
    events = [raw_event(one) for one in shop_events(sides.new_run(), count)]
    before, stored = _size(), sides.stored(target)
    sides.load(door_requests(sides.path(target), target.ingest_token, events, size), connections)
    sides.wait_for(stored + count, target)
    return (_size() - before) / count


def _size() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_SIZE)
        return int(cursor.fetchone()[0])
