"""What of a pile is near Meta's age limit goes before the rest of it.

A pile drains oldest receipt first, which is oldest event first but for events that were old when they came in. Those
are looked for, in steps, and the ranges they stand in are taken out of the backlog as backlogs of their own that are
claimed before anything else of the pixel. Ranges still tile the log: see the ledger check, L3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog
from django.db import connection

from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import limits

logger = structlog.get_logger(__name__)

# An event is urgent so long before it is too old, and a pile that stands for long is looked through so often.
URGENT_SECONDS: Final = 12 * 3_600
LOOK_AGAIN_SECONDS: Final = 6 * 3_600
# Of one step, and of one run: a step reads so many rows, some hundred milliseconds.
STEP_EVENTS: Final = 20_000
STEPS: Final = 50
# Urgent events with no more than so many others between them go together: a request is worth more than the order.
JOINED_EVENTS: Final = 100

_NEXT: Final = """
SELECT backlog.id, backlog.advertiser_id, backlog.pixel_id, greatest(backlog.next_offset,
    CASE WHEN backlog.looked_to > backlog.last_offset THEN 0 ELSE backlog.looked_to END)
FROM events_backlog AS backlog JOIN onboarding_pixel AS pixel ON pixel.id = backlog.pixel_id
WHERE backlog.drained_at IS NULL AND backlog.expires_at IS NULL AND pixel.held_at IS NULL
  AND (backlog.looked_to <= backlog.last_offset
    OR backlog.looked_at < clock_timestamp() - %s * interval '1 second')
ORDER BY backlog.looked_at NULLS FIRST, backlog.id LIMIT 1
"""
# What is too old already is rejected when its turn comes.
_FIND: Final = """
SELECT event.log_offset, event.received_at, event.expires_at
FROM events_event AS event JOIN events_backlog AS backlog ON backlog.id = %(backlog)s
WHERE event.advertiser_id = %(advertiser)s AND event.pixel_id = %(pixel)s
  AND event.log_offset BETWEEN %(from)s AND %(to)s AND event.log_offset <= backlog.last_offset
  AND event.received_at BETWEEN backlog.next_received_at AND backlog.last_received_at
  AND event.expires_at > clock_timestamp() + %(margin)s * interval '1 second'
  AND event.expires_at <= clock_timestamp() + %(urgent)s * interval '1 second'
ORDER BY event.log_offset
"""
_LOCK: Final = "SELECT FROM events_pixellog WHERE pixel_id = %s FOR NO KEY UPDATE"
_BACKLOG: Final = """
SELECT next_offset, last_offset, next_received_at, last_received_at FROM events_backlog
WHERE id = %s AND drained_at IS NULL
"""
_LOOKED: Final = "UPDATE events_backlog SET looked_to = %s, looked_at = clock_timestamp() WHERE id = %s"
_CUT: Final = """
UPDATE events_backlog
SET last_offset = %(last)s, last_received_at = %(last_received_at)s, looked_to = %(last)s + 1,
    looked_at = clock_timestamp(),
    drained_at = CASE WHEN next_offset > %(last)s THEN clock_timestamp() END
WHERE id = %(backlog)s
"""
_PART: Final = """
INSERT INTO events_backlog (advertiser_id, pixel_id, first_offset, next_offset, last_offset, next_received_at,
    last_received_at, created_at, expires_at, looked_to)
SELECT advertiser_id, pixel_id, %(first)s, %(first)s, %(last)s, %(first_received_at)s, %(last_received_at)s,
    created_at, %(expires_at)s, %(looked_to)s
FROM events_backlog WHERE id = %(backlog)s
"""


class Urgent(NamedTuple):
    """An event near its age limit."""

    log_offset: int
    received_at: datetime
    expires_at: datetime


class Run(NamedTuple):
    """Offsets that go first together, and when the first of them is too old."""

    first: int
    last: int
    first_received_at: datetime
    last_received_at: datetime
    expires_at: datetime


def runs_of(events: Sequence[Urgent]) -> list[Run]:
    """The events, in the order of their offsets, as runs with few others in them. Pure."""
    runs: list[Run] = []
    for event in events:
        if runs and event.log_offset - runs[-1].last <= JOINED_EVENTS:
            run = runs.pop()
            soonest = min(run.expires_at, event.expires_at)
            runs.append(
                run._replace(last=event.log_offset, last_received_at=event.received_at, expires_at=soonest)
            )
        else:
            runs.append(Run(event.log_offset, event.log_offset, event.received_at, *event[1:]))
    return runs


def bring_forward() -> int:
    """Look through what is set aside, as far as one run goes; how many ranges go first now."""
    brought = 0
    for _ in range(STEPS):
        with connection.cursor() as cursor:
            cursor.execute(_NEXT, [LOOK_AGAIN_SECONDS])
            found = cursor.fetchone()
        if found is None:
            break
        brought += _look(*found)
    if brought:
        logger.info("ranges near their age limit go first", count=brought)
    return brought


def _look(backlog_id: int, advertiser_id: int, pixel_id: int, start: int) -> int:
    end = start + STEP_EVENTS
    asked = {
        "backlog": backlog_id,
        "advertiser": advertiser_id,
        "pixel": pixel_id,
        "from": start,
        "to": end - 1,
        "margin": limits.AGE_MARGIN_SECONDS,
        "urgent": URGENT_SECONDS,
    }
    with tenant_scope(advertiser_id=advertiser_id), connection.cursor() as cursor:
        cursor.execute(_FIND, asked)
        events = [Urgent(*row) for row in cursor.fetchall()]
    with tenant_scope(advertiser_id=advertiser_id), connection.cursor() as cursor:
        # Claims take the same lock: what one has taken meanwhile is on its way already.
        cursor.execute(_LOCK, [pixel_id])
        cursor.execute(_BACKLOG, [backlog_id])
        if (backlog := cursor.fetchone()) is None:
            return 0
        runs = runs_of([event for event in events if event.log_offset >= backlog[0]])
        if not runs:
            cursor.execute(_LOOKED, [end, backlog_id])
            return 0
        _take_out(cursor, backlog_id, backlog, runs, looked_to=end)
        return len(runs)


def _take_out(
    cursor: Any, backlog_id: int, backlog: tuple[Any, ...], runs: Sequence[Run], *, looked_to: int
) -> None:
    """The backlog ends before the first run; each run, and what lies between and behind them, is its own."""
    _, last, _, last_received_at = backlog
    cursor.execute(
        _CUT,
        {
            "backlog": backlog_id,
            "last": runs[0].first - 1,
            # Times never go back along a log.
            "last_received_at": runs[0].first_received_at,
        },
    )
    for run, following in zip(runs, [*runs[1:], None], strict=True):
        part = {"backlog": backlog_id, "looked_to": looked_to}
        cursor.execute(_PART, {**part, **run._asdict()})
        end = following.first - 1 if following else last
        if run.last < end:
            rest = {
                "first": run.last + 1,
                "last": end,
                "first_received_at": run.last_received_at,
                "last_received_at": following.first_received_at if following else last_received_at,
                "expires_at": None,
            }
            cursor.execute(_PART, {**part, **rest})
