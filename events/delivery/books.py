"""The statements by which a delivery's fate is written. Each runs in the transaction of whoever calls it.

All are conditional on the lease's token: who holds an old one changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from events.delivery import watch
from events.delivery.claim import Claim
from events.pace import APP_WIDEST, WIDEST


class Rejected(Protocol):
    """What a rejection keeps of an event."""

    @property
    def log_offset(self) -> int: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def event_name(self) -> str: ...
    @property
    def event_id(self) -> str: ...


# What was ever in doubt waits as in doubt, whatever an attempt after it came to.
_PUT_BACK: Final = """
UPDATE events_delivery
SET state = CASE WHEN doubts > 0 THEN 'doubt' ELSE 'waiting' END, lease_until = NULL, lease_token = NULL,
    due_at = clock_timestamp() + %s * interval '1 second'
WHERE id = %s AND lease_token = %s AND state = 'claimed'
"""
_HOLD_DOUBT: Final = """
UPDATE events_delivery SET state = 'doubt', lease_until = NULL, lease_token = NULL, due_at = NULL
WHERE id = %s AND lease_token = %s AND state = 'claimed'
"""
_CLOSE_REJECTED: Final = """
UPDATE events_delivery
SET state = 'rejected', lease_until = NULL, lease_token = NULL, settled_at = clock_timestamp()
WHERE id = %s AND lease_token = %s AND state = 'claimed'
"""
_REJECT: Final = """
INSERT INTO events_rejection
    (advertiser_id, pixel_id, log_offset, received_at, reason, delivery_id, event_name, event_id, code,
     subcode, field)
SELECT %(advertiser)s, %(pixel)s, rejected.log_offset, rejected.received_at, %(reason)s, %(delivery)s,
    rejected.event_name, rejected.event_id, %(code)s, %(subcode)s, %(field)s
FROM unnest(%(offsets)s::bigint[], %(times)s::timestamptz[], %(names)s::text[], %(ids)s::text[])
    AS rejected (log_offset, received_at, event_name, event_id)
ON CONFLICT DO NOTHING
"""
# What was rejected and is at Meta after all, by a replay, counts with the delivery that covered it first.
_LIFT: Final = """
WITH lifted AS (
    DELETE FROM events_rejection
    WHERE pixel_id = %(pixel)s AND log_offset = ANY (%(offsets)s) RETURNING log_offset)
UPDATE events_delivery AS delivery SET state = 'accepted'
FROM lifted
WHERE delivery.pixel_id = %(pixel)s AND delivery.state = 'rejected' AND delivery.replay_id IS NULL
  AND lifted.log_offset BETWEEN delivery.first_offset AND delivery.last_offset
  AND (delivery.offsets IS NULL OR lifted.log_offset = ANY (delivery.offsets))
"""
_FIND: Final = """
INSERT INTO events_deliveryfinding
    (advertiser_id, pixel_id, delivery_id, kind, events_sent, events_received, fbtrace_id)
VALUES (%s, %s, %s, 'events_received', %s, %s, %s)
"""
# Not sooner than somebody else has said.
_PAUSE: Final = """
UPDATE events_pixellog
SET due_at = greatest(due_at, clock_timestamp() + %s * interval '1 second')
WHERE pixel_id = %s
"""
# Others of the pixel's sends may have learnt something meanwhile: a step, not a value.
_SET_PACE: Final = """
UPDATE events_pixellog
SET width = least(greatest(width + %s, 1), %s),
    slow_since = CASE WHEN %s THEN coalesce(slow_since, clock_timestamp()) END
WHERE pixel_id = %s
"""
# Half of what was under way at the first refusal, itself included; those behind it on their way say nothing new.
_PAUSE_APP: Final = """
INSERT INTO events_appflow AS flow (partner_id, due_at, width, code)
SELECT %(partner)s, clock_timestamp() + %(wait)s * interval '1 second', greatest((leases + 1) / 2, 1),
    %(code)s
FROM events_leases_of_partner(%(partner)s) AS leases
ON CONFLICT (partner_id) DO UPDATE
SET due_at = greatest(flow.due_at, excluded.due_at), code = excluded.code, limited_at = clock_timestamp(),
    width = CASE WHEN flow.due_at > clock_timestamp() THEN flow.width
        ELSE least(excluded.width, greatest(coalesce(flow.width, excluded.width) / 2, 1)) END
"""
_SET_APP_WIDTH: Final = """
UPDATE events_appflow
SET width = CASE WHEN width + 1 < %(widest)s THEN width + 1 END
WHERE partner_id = %(partner)s AND width IS NOT NULL AND due_at <= clock_timestamp()
"""


def put_back(cursor: Any, claim: Claim, *, wait_seconds: float = 0.0) -> None:
    """A claim that was not sent waits again."""
    cursor.execute(_PUT_BACK, [wait_seconds, claim.delivery_id, claim.lease_token])


def hold_doubt(cursor: Any, claim: Claim) -> None:
    """What is in doubt stays so, and is not sent again by itself."""
    cursor.execute(_HOLD_DOUBT, [claim.delivery_id, claim.lease_token])


def close_rejected(cursor: Any, claim: Claim) -> None:
    """A claim of which every event has its rejection needs no sending."""
    cursor.execute(_CLOSE_REJECTED, [claim.delivery_id, claim.lease_token])


@watch.rejecting
def reject(
    cursor: Any,
    claim: Claim,
    events: Sequence[Rejected],
    *,
    reason: str,
    code: int | None = None,
    subcode: int | None = None,
    field: str = "",
) -> None:
    """A rejection for each of the events; one that has one keeps it."""
    if not events:
        return
    cursor.execute(
        _REJECT,
        {
            "advertiser": claim.advertiser_id,
            "pixel": claim.pixel_id,
            "reason": reason,
            "delivery": claim.delivery_id,
            "offsets": [event.log_offset for event in events],
            "times": [event.received_at for event in events],
            "names": [event.event_name for event in events],
            "ids": [event.event_id for event in events],
            "code": code,
            "subcode": subcode,
            "field": field,
        },
    )


def lift_rejections(cursor: Any, pixel_id: int, offsets: Sequence[int]) -> None:
    """These events are at Meta: what of them was rejected is accepted."""
    cursor.execute(_LIFT, {"pixel": pixel_id, "offsets": list(offsets)})


def pause_pixel(cursor: Any, pixel_id: int, seconds: float) -> None:
    """Nothing of the pixel is claimed for so long."""
    cursor.execute(_PAUSE, [seconds, pixel_id])


def set_pace(cursor: Any, pixel_id: int, *, step: int, is_slow: bool) -> None:
    """The pixel sends so many more or fewer requests at a time from now on, and Graph is slow for it or not."""
    cursor.execute(_SET_PACE, [step, WIDEST, is_slow, pixel_id])


def pause_app(cursor: Any, partner_id: int, seconds: float, *, code: int | None) -> None:
    """Nothing of the partner's app is claimed for so long, and then half as much at a time."""
    cursor.execute(_PAUSE_APP, {"partner": partner_id, "wait": seconds, "code": code})


def widen_app(cursor: Any, partner_id: int) -> None:
    """One more at a time for an app that was limited; at last as many as there are."""
    cursor.execute(_SET_APP_WIDTH, {"widest": APP_WIDEST, "partner": partner_id})


def find_other_count(
    cursor: Any, claim: Claim, *, sent: int, received: int | None, fbtrace_id: str | None
) -> None:
    """A finding: Graph accepted the delivery, and counted other than was sent."""
    cursor.execute(
        _FIND,
        [claim.advertiser_id, claim.pixel_id, claim.delivery_id, sent, received, (fbtrace_id or "")[:64]],
    )
