"""Claiming: what of a pixel is to be sent next, taken under a lease. No payload is read and nothing is sent.

A claim holds the pixel's row in events_pixellog for one short transaction, so the claims of a pixel, and the
doors' commits to it, take turns.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.db import connection

from partnerhub.lib.config import config
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import limits

# Of one request. Meta publishes no limit; the doors take bodies of 8 MiB.
REQUEST_BYTES: Final = 8 * 1024 * 1024
# Sends of one pixel at a time: enough to use two cores, and no pixel takes all threads for itself.
PIXEL_LEASES: Final = 4
# A pixel without a credential is looked at again so often.
UNCONNECTED_SECONDS: Final = 30


class Idle(StrEnum):
    """Why a pixel has nothing to claim now."""

    UNKNOWN = "unknown"  # no such pixel, or no log: a forged or a late hint
    NOT_DUE = "not_due"  # the whole pixel backs off
    HELD = "held"  # a person must mend it first
    UNCONNECTED = "unconnected"  # no credential yet
    BUSY = "busy"  # as many sends as one pixel may have
    DAMAGED = "damaged"  # the log lacks events; a person must look
    ASLEEP = "asleep"  # nothing unclaimed, and nothing due


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery under this worker's lease."""

    delivery_id: int
    pixel_id: int
    advertiser_id: int
    lease_token: uuid.UUID
    first_offset: int
    last_offset: int
    first_received_at: datetime
    last_received_at: datetime
    attempts: int
    doubts: int


class LogDamaged(Exception):
    """The log lacks events between its ends. Nothing is claimed; a person must look."""


_LOCK: Final = """
SELECT head, tail, head_received_at, tail_received_at, awake, due_at <= clock_timestamp()
FROM events_pixellog WHERE pixel_id = %s FOR NO KEY UPDATE
"""
# A statement of its own: its snapshot is younger than the lock.
_LOOK: Final = """
SELECT held_at IS NOT NULL,
    EXISTS (SELECT FROM onboarding_credential WHERE pixel_id = pixel.id AND state <> 'retired'),
    (SELECT count(*) FROM events_delivery
     WHERE pixel_id = pixel.id AND state IN ('claimed', 'sending') AND lease_until > clock_timestamp())
FROM onboarding_pixel AS pixel WHERE id = %s
"""
_TAKE_DUE: Final = """
UPDATE events_delivery
SET state = 'claimed', due_at = NULL, lease_token = %(token)s,
    lease_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = (
    SELECT id FROM events_delivery
    WHERE pixel_id = %(pixel)s AND state IN ('waiting', 'doubt') AND due_at <= clock_timestamp()
    ORDER BY due_at, id LIMIT 1)
RETURNING id, first_offset, last_offset, first_received_at, last_received_at, attempts, doubts
"""
# From the tail on, as many events as fit into one request, and when the one behind them was received.
_MEASURE: Final = """
WITH event AS (
    SELECT log_offset, received_at,
        log_offset < %(end)s
        AND (log_offset = %(tail)s
            OR sum(octet_length(payload)) OVER (ORDER BY log_offset) <= %(bytes)s) AS fits
    FROM events_event
    WHERE advertiser_id = %(advertiser)s AND pixel_id = %(pixel)s
      AND log_offset BETWEEN %(tail)s AND %(end)s AND log_offset < %(head)s
      AND received_at BETWEEN %(tail_received_at)s AND %(head_received_at)s
)
SELECT count(*) FILTER (WHERE fits), min(log_offset), max(log_offset) FILTER (WHERE fits),
    min(received_at), max(received_at) FILTER (WHERE fits), min(received_at) FILTER (WHERE NOT fits)
FROM event
"""
_CLAIM: Final = """
INSERT INTO events_delivery
    (advertiser_id, pixel_id, kind, first_offset, last_offset, first_received_at, last_received_at, state,
     lease_until, lease_token)
VALUES (%(advertiser)s, %(pixel)s, 'original', %(first)s, %(last)s, %(first_received_at)s,
    %(last_received_at)s, 'claimed', clock_timestamp() + %(lease)s * interval '1 second', %(token)s)
RETURNING id
"""
_PAUSE: Final = """
UPDATE events_pixellog SET due_at = clock_timestamp() + %s * interval '1 second' WHERE pixel_id = %s
"""
_ADVANCE: Final = """
UPDATE events_pixellog SET tail = %s, tail_received_at = %s WHERE pixel_id = %s
"""


def claim_next(pixel_id: int) -> Claim | Idle:
    """The pixel's next delivery: one that is due for another attempt, else a new range of its log.

    Where there is neither, the pixel is put to sleep: the next commit of a door wakes it. Raises LogDamaged.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT advertiser_id FROM events_pixellog WHERE pixel_id = %s", [pixel_id])
        found = cursor.fetchone()
    if found is None:
        return Idle.UNKNOWN
    with tenant_scope(advertiser_id=found[0]), connection.cursor() as cursor:
        return _claim(cursor, pixel_id, found[0])


def _claim(cursor: Any, pixel_id: int, advertiser_id: int) -> Claim | Idle:
    cursor.execute(_LOCK, [pixel_id])
    head, tail, head_received_at, tail_received_at, awake, is_due = cursor.fetchone()
    cursor.execute(_LOOK, [pixel_id])
    is_held, is_connected, leases = cursor.fetchone()
    if is_held:
        return Idle.HELD
    if not is_due:
        return Idle.NOT_DUE
    if leases >= PIXEL_LEASES:
        return Idle.BUSY
    if not is_connected:
        cursor.execute(_PAUSE, [UNCONNECTED_SECONDS, pixel_id])
        return Idle.UNCONNECTED
    token = uuid.uuid4()
    lease = config().delivery_lease_seconds
    cursor.execute(_TAKE_DUE, {"token": token, "lease": lease, "pixel": pixel_id})
    if (row := cursor.fetchone()) is not None:
        return Claim(row[0], pixel_id, advertiser_id, token, *row[1:])
    if tail == head:
        if awake:
            cursor.execute("UPDATE events_pixellog SET awake = false WHERE pixel_id = %s", [pixel_id])
        return Idle.ASLEEP
    asked = {
        "advertiser": advertiser_id,
        "pixel": pixel_id,
        "head": head,
        "tail": tail,
        "end": tail + limits.EVENTS_PER_REQUEST,
        "bytes": REQUEST_BYTES,
        "head_received_at": head_received_at,
        "tail_received_at": tail_received_at,
    }
    cursor.execute(_MEASURE, asked)
    count, first, last, first_received_at, last_received_at, next_received_at = cursor.fetchone()
    if first != tail or last - first + 1 != count:
        raise LogDamaged(f"The log of pixel {pixel_id} lacks events at or after offset {tail}.")
    claimed = {
        **asked,
        "first": first,
        "last": last,
        "first_received_at": first_received_at,
        "last_received_at": last_received_at,
        "lease": lease,
        "token": token,
    }
    cursor.execute(_CLAIM, claimed)
    (delivery_id,) = cursor.fetchone()
    # Behind the last event there is none yet: the door that appends one sets its time.
    cursor.execute(_ADVANCE, [last + 1, next_received_at or last_received_at, pixel_id])
    return Claim(
        delivery_id=delivery_id,
        pixel_id=pixel_id,
        advertiser_id=advertiser_id,
        lease_token=token,
        first_offset=first,
        last_offset=last,
        first_received_at=first_received_at,
        last_received_at=last_received_at,
        attempts=0,
        doubts=0,
    )
