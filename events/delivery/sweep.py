"""What mends the rest: pixels whose hint was lost, deliveries whose worker died, days without partitions.

Everything here is bounded, may run twice and anywhere, and finds its work by an index.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from django.db import connection, transaction

from events.delivery import watch
from events.delivery.doubts import follow_policy
from events.delivery.settle import doubt_wait
from onboarding.services import DELIVER
from partnerhub.lib.config import config
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.hints import send_hint

logger = structlog.get_logger(__name__)

# Of one sweep. With more at hand the workers are busy anyway, and the next sweep is near.
SWEPT_PIXELS: Final = 1_000
SWEPT_DELIVERIES: Final = 500
# A day without beat, or a week-end of it, leaves days to spare.
DAYS_AHEAD: Final = 8

_EXPIRED: Final = """
SELECT id, advertiser_id FROM events_delivery
WHERE state IN ('claimed', 'sending') AND lease_until < clock_timestamp()
ORDER BY lease_until LIMIT %s
"""
_LOCK_EXPIRED: Final = """
SELECT pixel_id, state, doubts FROM events_delivery
WHERE id = %s AND state IN ('claimed', 'sending') AND lease_until < clock_timestamp()
FOR UPDATE SKIP LOCKED
"""
_WAIT_AGAIN: Final = """
UPDATE events_delivery
SET state = CASE WHEN doubts > 0 THEN 'doubt' ELSE 'waiting' END, due_at = clock_timestamp(),
    lease_until = NULL, lease_token = NULL
WHERE id = %s
"""
_FIND_IN_DOUBT: Final = """
UPDATE events_delivery
SET state = 'doubt', doubts = doubts + 1, due_at = clock_timestamp() + %s * interval '1 second',
    lease_until = NULL, lease_token = NULL, failure_class = 'in_doubt', code = NULL, subcode = NULL,
    fbtrace_id = ''
WHERE id = %s
"""
_ATTEMPT_IN_DOUBT: Final = """
UPDATE events_attempt SET outcome = 'doubt', failure_class = 'in_doubt', finished_at = clock_timestamp()
WHERE delivery_id = %s AND outcome = 'sending'
"""
# Awake for longer than a hint takes, or with a delivery due; not held, not backing off, nobody at work on it.
_DUE: Final = """
SELECT log.pixel_id
FROM (
    SELECT pixel_id FROM events_pixellog
    WHERE awake AND due_at <= now()
      AND (tail = head OR tail_received_at <= now() - %(age)s * interval '1 second')
    UNION
    SELECT pixel_id FROM events_delivery
    WHERE state IN ('waiting', 'doubt') AND due_at <= now() - %(age)s * interval '1 second'
      AND (replay_id IS NULL
        OR EXISTS (SELECT FROM events_replay WHERE id = replay_id AND state <> 'paused'))
) AS due
JOIN events_pixellog AS log ON log.pixel_id = due.pixel_id AND log.due_at <= now()
JOIN onboarding_pixel AS pixel ON pixel.id = log.pixel_id AND pixel.held_at IS NULL
WHERE NOT EXISTS (
    SELECT FROM events_delivery AS live
    WHERE live.pixel_id = log.pixel_id AND live.state IN ('claimed', 'sending') AND live.lease_until > now())
ORDER BY log.tail_received_at NULLS LAST
LIMIT %(limit)s
"""


# Nobody is at them: turns that are still counted were lost. A row that somebody holds is not waited for.
_COUNT_TURNS_ANEW: Final = """
UPDATE events_pixellog SET turns = 1
WHERE pixel_id IN (
    SELECT pixel_id FROM events_pixellog WHERE pixel_id = ANY (%s) AND turns > 1
    ORDER BY pixel_id FOR UPDATE SKIP LOCKED)
"""


def due_pixels(*, limit: int, age_seconds: float = 0.0) -> list[int]:
    """Pixels with work for `age_seconds` or longer that nobody is at, the longest waiting first."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"age": age_seconds, "limit": limit})
        return [pixel_id for (pixel_id,) in cursor.fetchall()]


def take_over_expired(*, limit: int = SWEPT_DELIVERIES) -> int:
    """How many deliveries of dead workers are free again.

    One that was claimed and not marked was never sent, and waits. One that was marked may have been: in
    doubt.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRED, [limit])
        expired = cursor.fetchall()
    taken = 0
    for delivery_id, advertiser_id in expired:
        with tenant_scope(advertiser_id=advertiser_id), connection.cursor() as cursor:
            taken += _take_over(cursor, delivery_id)
    return taken


def _take_over(cursor: Any, delivery_id: int) -> int:
    cursor.execute(_LOCK_EXPIRED, [delivery_id])
    if (found := cursor.fetchone()) is None:
        return 0
    pixel_id, state, doubts = found
    if state == "claimed":
        cursor.execute(_WAIT_AGAIN, [delivery_id])
    else:
        wait = doubt_wait(cursor, delivery_id, pixel_id, doubts + 1)
        cursor.execute(_FIND_IN_DOUBT, [wait, delivery_id])
        cursor.execute(_ATTEMPT_IN_DOUBT, [delivery_id])
        follow_policy(cursor, delivery_id, pixel_id, wait)
    watch.taking_over(state)
    logger.warning("delivery taken over", delivery_id=delivery_id, pixel_id=pixel_id, found=state)
    return 1


@watch.sweeping
def sweep() -> int:
    """Take over what dead workers left, and hint at pixels that nobody was told of. How many pixels.

    Two sweeps at once are one: the second finds the lock taken and does nothing.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('events.sweep'))")
        if cursor.fetchone() != (True,):
            return 0
        age = config().delivery_sweep_seconds
        pixels = due_pixels(limit=SWEPT_PIXELS, age_seconds=age)
        cursor.execute(_COUNT_TURNS_ANEW, [pixels])
    take_over_expired()
    for pixel_id in pixels:
        send_hint(DELIVER, pixel_id)
    return len(pixels)


def make_partitions() -> int:
    """How many partitions of the log were missing, from yesterday to a week ahead, and are there now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT events_make_partitions((now() AT TIME ZONE 'UTC')::date - 1, %s)", [DAYS_AHEAD + 1]
        )
        made: int = cursor.fetchone()[0]
    if made:
        logger.info("partitions made", count=made)
    return made
