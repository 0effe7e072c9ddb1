"""One group of batches into the log, in one transaction of the door's role.

The pixels' rows in events_pixellog are locked in the order of their ids, so two collectors take turns and
never deadlock; under the lock repeats are looked up and offsets are given. The door may COPY only straight
into a day's partition, on which it can read nothing back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection, sql

from events.collector.copy import (
    EVENT_COLUMNS,
    REPEAT_COLUMNS,
    Bigints,
    Uuids,
    pack_events,
    pack_repeats,
)
from events.collector.plan import Batch, Ends, Known, Plan, plan_group
from partnerhub.lib.crashpoints import crash_point

Connection = AsyncConnection[tuple[Any, ...]]

# The clock is read after each row is locked, not before the wait, so receive times follow the order of
# commits.
_LOCK: Final = """
SELECT pixel_id, advertiser_id, head, awake, greatest(clock_timestamp(), head_received_at)
FROM (
    SELECT pixel_id, advertiser_id, head, awake, head_received_at
    FROM events_pixellog WHERE pixel_id = ANY (%s) ORDER BY pixel_id FOR UPDATE {waiting}
) AS locked
"""
_LOCK_OR_WAIT: Final = sql.SQL(_LOCK).format(waiting=sql.SQL(""))
_LOCK_OR_SKIP: Final = sql.SQL(_LOCK).format(waiting=sql.SQL("SKIP LOCKED"))

# OFFSET 0 keeps it a look-up for each event. A statement of its own: its snapshot is younger than the lock. No log has
# a row behind its last commit's time, so the partitions of the days to come are not looked into.
_RECOGNISE: Final = """
SELECT asked.pixel_id, uuid_send(known.repeat_key), uuid_send(known.content_key)
FROM unnest(%s, %s) AS asked (pixel_id, repeat_key)
CROSS JOIN LATERAL (
    SELECT repeat_key, content_key FROM events_repeat
    WHERE pixel_id = asked.pixel_id AND repeat_key = asked.repeat_key
      AND received_at > now() - interval '48 hours'
      AND received_at <= (SELECT max(head_received_at) FROM events_pixellog WHERE pixel_id = ANY (%s))
    OFFSET 0
) AS known
"""

_MOVE_HEADS: Final = """
UPDATE events_pixellog AS log
SET head = moved.head, head_received_at = %(received_at)s, awake = true,
    tail_received_at = CASE WHEN log.tail = log.head THEN %(received_at)s ELSE log.tail_received_at END
FROM unnest(%(pixel_ids)s, %(heads)s) AS moved (pixel_id, head)
WHERE log.pixel_id = moved.pixel_id
"""

_COUNT: Final = """
INSERT INTO events_hourlycount AS counted
    (advertiser_id, pixel_id, hour, event_name, origin, taken, repeated)
SELECT advertiser_id, pixel_id, date_trunc('hour', %(received_at)s, 'UTC'),
    event_name, origin, taken, repeated
FROM unnest(%(advertiser_ids)s, %(pixel_ids)s, %(names)s::text[], %(origins)s, %(taken)s, %(repeated)s)
    AS added (advertiser_id, pixel_id, event_name, origin, taken, repeated)
ON CONFLICT (pixel_id, hour, event_name, origin) DO UPDATE
SET taken = counted.taken + excluded.taken, repeated = counted.repeated + excluded.repeated
"""

_REJECT: Final = """
INSERT INTO events_rejection
    (advertiser_id, pixel_id, log_offset, received_at, reason, event_name, event_id)
SELECT advertiser_id, pixel_id, log_offset, %(received_at)s, 'clash', event_name, event_id
FROM unnest(%(advertiser_ids)s, %(pixel_ids)s, %(offsets)s, %(names)s::text[], %(ids)s::text[])
    AS clash (advertiser_id, pixel_id, log_offset, event_name, event_id)
"""


@dataclass(slots=True)
class Trail:
    """How far a transaction came: what it takes to find out its fate when the connection died."""

    plan: Plan | None = None
    received_at: datetime | None = None
    commit_sent: bool = False
    # On this process's monotonic clock.
    began: float = field(default_factory=time.monotonic)


async def append_group(
    connection: Connection, batches: Sequence[Batch], trail: Trail, *, skip_locked: bool = False
) -> Plan:
    """What was written and committed for `batches`. `trail` is filled on the way.

    With `skip_locked` a pixel whose row somebody else holds is treated as one that is not there. Raises
    psycopg's errors and leaves the transaction open: the caller rolls back. The connection is in autocommit.
    """
    pixel_ids = sorted({batch.pixel_id for batch in batches})
    asked = [(batch.pixel_id, event.repeat_key) for batch in batches for event in batch.events]
    async with connection.pipeline():
        await connection.execute("BEGIN")
        locking = await connection.execute(
            _LOCK_OR_SKIP if skip_locked else _LOCK_OR_WAIT, [Bigints(pixel_ids)], binary=True
        )
        recognising = await connection.execute(
            _RECOGNISE,
            [Bigints([one for one, _ in asked]), Uuids([key for _, key in asked]), Bigints(pixel_ids)],
            binary=True,
        )
    logs: dict[int, Ends] = {}
    moments: list[datetime] = []
    for pixel_id, advertiser_id, head, awake, moment in await locking.fetchall():
        logs[pixel_id] = Ends(advertiser_id, head, awake)
        moments.append(moment)
    known = [Known(*row) for row in await recognising.fetchall()]
    plan = plan_group(batches, logs, known)
    if not plan.counts:
        await connection.execute("ROLLBACK")
        return plan
    received_at = max(moments)
    trail.plan, trail.received_at = plan, received_at
    if plan.events:
        day = received_at.astimezone(UTC).strftime("%Y%m%d")
        crash_point("before_copy")
        events = pack_events(plan.events, received_at)
        await _copy(connection, f"events_event_{day}", EVENT_COLUMNS, events)
        await _copy(
            connection, f"events_repeat_{day}", REPEAT_COLUMNS, pack_repeats(plan.repeats, received_at)
        )
    async with connection.pipeline():
        await _write_books(connection, plan, received_at)
        crash_point("before_commit")
        trail.commit_sent = True
        await connection.execute("COMMIT")
    crash_point("after_commit")
    return plan


async def was_committed(connection: Connection, trail: Trail) -> bool:
    """Whether the transaction that left `trail` on a lost connection is in the log.

    Waits for its lock on the pixel's row, and so for its end (psycopg.errors.LockNotAvailable when that does
    not come), then looks for a row that it alone can have written. Its transaction id would be no proof:
    after a crash of the server it may belong to another transaction.
    """
    if not trail.commit_sent or trail.plan is None or not trail.plan.repeats:
        # Without a new event, nothing is lost or doubled by going through it again.
        return False
    row = trail.plan.repeats[0]
    async with connection.transaction():
        await connection.execute("SELECT FROM events_pixellog WHERE pixel_id = %s FOR UPDATE", [row.pixel_id])
        found = await connection.execute(
            "SELECT FROM events_repeat WHERE pixel_id = %s AND repeat_key = %s AND log_offset = %s"
            " AND received_at = %s AND content_key = %s",
            [row.pixel_id, row.repeat_key.hex(), row.log_offset, trail.received_at, row.content_key.hex()],
        )
        return found.rowcount > 0


async def _copy(connection: Connection, table: str, columns: LiteralString, pieces: Sequence[bytes]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), sql.SQL(columns)
    )
    middle = len(pieces) // 2
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(b"".join(pieces[:middle]))
        crash_point("mid_copy")
        await copy.write(b"".join(pieces[middle:]))


async def _write_books(connection: Connection, plan: Plan, received_at: datetime) -> None:
    if plan.heads:
        await connection.execute(
            _MOVE_HEADS,
            {
                "received_at": received_at,
                "pixel_ids": Bigints(list(plan.heads)),
                "heads": Bigints(list(plan.heads.values())),
            },
        )
    keys, counts = list(plan.counts), list(plan.counts.values())
    await connection.execute(
        _COUNT,
        {
            "received_at": received_at,
            "advertiser_ids": Bigints([key.advertiser_id for key in keys]),
            "pixel_ids": Bigints([key.pixel_id for key in keys]),
            "names": [key.event_name for key in keys],
            "origins": Bigints([key.origin for key in keys]),
            "taken": Bigints([count.taken for count in counts]),
            "repeated": Bigints([count.repeated for count in counts]),
        },
    )
    if plan.clashes:
        await connection.execute(
            _REJECT,
            {
                "received_at": received_at,
                "advertiser_ids": Bigints([clash.advertiser_id for clash in plan.clashes]),
                "pixel_ids": Bigints([clash.pixel_id for clash in plan.clashes]),
                "offsets": Bigints([clash.log_offset for clash in plan.clashes]),
                "names": [clash.event_name for clash in plan.clashes],
                "ids": [clash.event_id for clash in plan.clashes],
            },
        )
