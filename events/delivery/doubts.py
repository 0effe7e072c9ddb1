"""What is in doubt, by the pixel's policy: names that are held for a person are parted from those that are sent again.

Runs in the transaction of whoever puts a delivery in doubt or decides about it. A part is a selection of its parent's
offsets, and stays in doubt.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

_HAS_POLICY: Final = "SELECT EXISTS (SELECT FROM events_doubtpolicy WHERE pixel_id = %s AND action = 'hold')"
# A name's own policy, else that of all other names.
_HELD: Final = """
SELECT coalesce(array_agg(event.log_offset) FILTER (WHERE policy.action = 'hold'), '{}'), count(*)
FROM events_delivery AS delivery
JOIN events_event AS event
    ON event.advertiser_id = delivery.advertiser_id AND event.pixel_id = delivery.pixel_id
    AND event.log_offset BETWEEN delivery.first_offset AND delivery.last_offset
    AND event.received_at BETWEEN delivery.first_received_at AND delivery.last_received_at
    AND (delivery.offsets IS NULL OR event.log_offset = ANY (delivery.offsets))
LEFT JOIN LATERAL (
    SELECT action FROM events_doubtpolicy
    WHERE pixel_id = event.pixel_id AND event_name IN (event.event_name, '')
    ORDER BY event_name DESC LIMIT 1) AS policy ON true
WHERE delivery.id = %s
  AND (delivery.replay_id IS NOT NULL OR NOT EXISTS (
    SELECT FROM events_rejection AS rejection
    WHERE rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset))
"""
_HOLD: Final = "UPDATE events_delivery SET due_at = NULL WHERE id = %s AND state = 'doubt'"
_SPLIT: Final = """
UPDATE events_delivery SET state = 'split', due_at = NULL, settled_at = clock_timestamp()
WHERE id = %s AND state = 'doubt'
"""
# Two selections that tile the parent: what was chosen, and the rest.
_PARTS: Final = """
INSERT INTO events_delivery
    (advertiser_id, pixel_id, kind, parent_id, replay_id, first_offset, last_offset, offsets,
     first_received_at, last_received_at, state, due_at, doubts, failure_class)
SELECT whole.advertiser_id, whole.pixel_id, 'part', whole.id, whole.replay_id, min(one), max(one),
    array_agg(one ORDER BY one), whole.first_received_at, whole.last_received_at, 'doubt',
    CASE WHEN one = ANY (%(chosen)s) THEN clock_timestamp() + %(chosen_wait)s * interval '1 second'
         ELSE clock_timestamp() + %(rest_wait)s * interval '1 second' END,
    whole.doubts, whole.failure_class
FROM events_delivery AS whole
CROSS JOIN LATERAL unnest(coalesce(whole.offsets,
    ARRAY (SELECT generate_series(whole.first_offset, whole.last_offset)))) AS one
WHERE whole.id = %(delivery)s
GROUP BY whole.id, one = ANY (%(chosen)s)
"""
_WHOLE: Final = """
SELECT coalesce(offsets, ARRAY (SELECT generate_series(first_offset, last_offset))),
    extract(epoch FROM due_at - clock_timestamp())::float8
FROM events_delivery WHERE id = %s AND state = 'doubt' FOR UPDATE
"""
_SEND_NOW: Final = "UPDATE events_delivery SET due_at = clock_timestamp() WHERE id = %s AND state = 'doubt'"


def follow_policy(cursor: Any, delivery_id: int, pixel_id: int, wait_seconds: float | None) -> None:
    """Hold what of the delivery, which has just come to be in doubt, is not to be sent again by itself.

    The rest of it is due in `wait_seconds`, as the whole was; None: never.
    """
    cursor.execute(_HAS_POLICY, [pixel_id])
    if cursor.fetchone() == (False,):
        return
    cursor.execute(_HELD, [delivery_id])
    held, events = cursor.fetchone()
    if not held:
        return
    if len(held) == events:
        cursor.execute(_HOLD, [delivery_id])
        return
    _part(cursor, delivery_id, held, None, wait_seconds)


def send_again(cursor: Any, delivery_id: int, offsets: Collection[int]) -> bool:
    """Have these events of a delivery in doubt sent again now; the rest stays as it is. False where it is not."""
    cursor.execute(_WHOLE, [delivery_id])
    if (found := cursor.fetchone()) is None:
        return False
    whole, rest_wait = found
    if set(whole) <= set(offsets):
        cursor.execute(_SEND_NOW, [delivery_id])
    else:
        _part(cursor, delivery_id, [one for one in whole if one in set(offsets)], 0.0, rest_wait)
    return True


def _part(
    cursor: Any, delivery_id: int, chosen: list[int], chosen_wait: float | None, rest_wait: float | None
) -> None:
    cursor.execute(_SPLIT, [delivery_id])
    cursor.execute(
        _PARTS,
        {"delivery": delivery_id, "chosen": chosen, "chosen_wait": chosen_wait, "rest_wait": rest_wait},
    )
