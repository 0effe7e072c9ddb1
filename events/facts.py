"""What is known of the events of a range before anything is done with them: name, age, size, fate. Reads only.

A range is read a thousand offsets at a time, by index. Replays' own deliveries are beside the books, and not looked at.
"""

from __future__ import annotations

from typing import Any, Final

from events.replay import Fact, Fate

# A delivery's range is never wider: requests hold a thousand events.
WIDEST_RANGE: Final = 10_000

FATES: Final = {
    "waiting": Fate.WAITING,
    "claimed": Fate.SENDING,
    "sending": Fate.SENDING,
    "accepted": Fate.ACCEPTED,
    "doubt": Fate.DOUBT,
    "rejected": Fate.REJECTED,
}

_EVENTS: Final = """
SELECT event.log_offset, event.received_at, event.expires_at, event.event_name, octet_length(event.payload),
    rejection.id IS NOT NULL, rejection.code
FROM events_event AS event
LEFT JOIN events_rejection AS rejection
    ON rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset
WHERE event.advertiser_id = %(advertiser)s AND event.pixel_id = %(pixel)s
  AND event.log_offset BETWEEN %(first)s AND %(last)s
ORDER BY event.log_offset
"""
_COVERS: Final = """
SELECT state, first_offset, last_offset, offsets FROM events_delivery
WHERE pixel_id = %(pixel)s AND first_offset BETWEEN %(first)s - %(widest)s AND %(last)s
  AND last_offset >= %(first)s AND state <> 'split' AND replay_id IS NULL
ORDER BY id
"""


def read_facts(cursor: Any, *, advertiser_id: int, pixel_id: int, first: int, last: int) -> list[Fact]:
    """The facts of each event that is kept of the range, by offset."""
    asked = {
        "advertiser": advertiser_id,
        "pixel": pixel_id,
        "first": first,
        "last": last,
        "widest": WIDEST_RANGE,
    }
    cursor.execute(_COVERS, asked)
    fates: dict[int, Fate] = {}
    for state, begins, ends, offsets in cursor.fetchall():
        held = range(max(begins, first), min(ends, last) + 1) if offsets is None else offsets
        fates.update(dict.fromkeys(held, FATES[state]))
    cursor.execute(_EVENTS, asked)
    return [
        Fact(
            log_offset=at,
            received_at=received_at,
            expires_at=expires_at,
            event_name=name,
            size=size,
            fate=Fate.REJECTED if is_rejected else fates.get(at, Fate.WAITING),
            code=code,
        )
        for at, received_at, expires_at, name, size, is_rejected, code in cursor.fetchall()
    ]
