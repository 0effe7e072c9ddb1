"""Claiming: what of a pixel is to be sent next, taken under a lease. No payload is read and nothing is sent.

A claim holds the pixel's row in events_pixellog for one short transaction, so the claims of a pixel, and the
doors' commits to it, take turns.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from django.db import connection

from events.delivery import watch
from events.pace import FIRST_LANES, Lane, is_pile, is_wider
from partnerhub.lib.config import config
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import limits

# Of one request. Meta publishes no limit; the doors take bodies of 8 MiB.
REQUEST_BYTES: Final = 8 * 1024 * 1024
# A pixel without a credential is looked at again so often.
UNCONNECTED_SECONDS: Final = 30
# What an operator changes of a partner's share counts within so long. Asked at each claim it would cost 0.2 ms.
PARTNER_SECONDS: Final = 15.0
PARTNERS_KEPT: Final = 10_000
# Over so long the pixels behind an app come back, when Meta lets it send again.
APP_SPREAD_SECONDS: Final = 5.0


class Idle(StrEnum):
    """Why a pixel has nothing to claim now."""

    UNKNOWN = "unknown"  # no such pixel, or no log: a forged or a late hint
    NOT_DUE = "not_due"  # the whole pixel backs off
    HELD = "held"  # a person must mend it first
    UNCONNECTED = "unconnected"  # no credential yet
    BUSY = "busy"  # as many sends as the pixel may have
    SLOW = "slow"  # as many sends to slow pixels as this process has
    CEILING = "ceiling"  # as many sends as the partner, or its app, may have
    APP_LIMIT = "app_limit"  # Meta limited the partner's app: all its pixels wait
    OUTAGE = "outage"  # Graph is away, and others probe
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
    # The offsets of the range that it holds; None: all of them.
    offsets: Sequence[int] | None
    # Set where it is of a replay: beside the books, which know of its events already.
    replay_id: int | None
    # Turns of its partner's pixels are so many times as long.
    weight: int
    # Set where the token is of the partner's own app, whose limits all its pixels share.
    app_partner_id: int | None
    # Sends at a time that the app may have, where it was limited; and whether this one takes the last place.
    app_width: int | None
    is_app_full: bool
    # Set where the partner or its app has a ceiling: who ends its turn hands its place to another of its pixels.
    capped_partner_id: int | None
    # As many requests at a time as the pixel may send, and whether this one takes the last place.
    width: int
    is_full: bool
    # Graph has been slow to answer for the pixel.
    is_slow: bool
    # There is work for another turn beside this one, which has been counted and is to be hinted at.
    is_widened: bool


class LogDamaged(Exception):
    """The log lacks events between its ends. Nothing is claimed; a person must look."""


class _Log(NamedTuple):
    head: int
    tail: int
    head_received_at: datetime | None
    tail_received_at: datetime | None
    awake: bool
    is_due: bool
    width: int
    turns: int
    is_slow: bool
    oldest_seconds: float


class _View(NamedTuple):
    is_held: bool
    is_connected: bool
    is_of_app: bool
    leases: int
    app_is_due: bool
    app_width: int | None
    has_replay: bool
    backlog_id: int | None
    next_offset: int
    last_offset: int
    next_received_at: datetime
    last_received_at: datetime
    is_urgent: bool


class _Partner(NamedTuple):
    id: int
    weight: int
    ceiling: int | None


class _Range(NamedTuple):
    """Offsets from one on, up to another one and not with it, and between which receive times they lie."""

    start: int
    end: int
    first_received_at: datetime | None
    last_received_at: datetime | None


_LOCK: Final = """
SELECT head, tail, head_received_at, tail_received_at, awake, due_at <= clock_timestamp(), width, turns,
    slow_since IS NOT NULL, coalesce(extract(epoch FROM clock_timestamp() - tail_received_at), 0)::float8
FROM events_pixellog WHERE pixel_id = %s FOR NO KEY UPDATE
"""
# A statement of its own: its snapshot is younger than the lock.
_LOOK: Final = """
SELECT pixel.held_at IS NOT NULL, credential.id IS NOT NULL,
    coalesce(credential.option <> 'pasted_token', false),
    (SELECT count(*) FROM events_delivery
     WHERE pixel_id = pixel.id AND state IN ('claimed', 'sending') AND lease_until > clock_timestamp()),
    coalesce(flow.due_at <= clock_timestamp(), true), flow.width,
    EXISTS (SELECT FROM events_delivery
            WHERE pixel_id = pixel.id AND state IN ('waiting', 'doubt') AND due_at <= clock_timestamp()
              AND replay_id IS NOT NULL),
    backlog.id, backlog.next_offset, backlog.last_offset, backlog.next_received_at, backlog.last_received_at,
    backlog.expires_at IS NOT NULL
FROM onboarding_pixel AS pixel
LEFT JOIN onboarding_credential AS credential
    ON credential.pixel_id = pixel.id AND credential.state <> 'retired'
LEFT JOIN events_appflow AS flow
    ON flow.partner_id = %(partner)s AND credential.option <> 'pasted_token'
LEFT JOIN LATERAL (
    SELECT * FROM events_backlog WHERE pixel_id = pixel.id AND drained_at IS NULL
    ORDER BY expires_at NULLS LAST, first_offset LIMIT 1) AS backlog ON true
WHERE pixel.id = %(pixel)s
"""
_PARTNER: Final = """
SELECT partner.id, partner.delivery_weight, partner.delivery_ceiling
FROM tenants_advertiser AS advertiser JOIN tenants_partner AS partner ON partner.id = advertiser.partner_id
WHERE advertiser.id = %s
"""
# Claims of one partner that has a ceiling take turns: each counts those before it.
_LOCK_PARTNER: Final = "SELECT pg_advisory_xact_lock(hashtext('events.ceiling'), %s::integer)"
_PARTNERS_LEASES: Final = "SELECT events_leases_of_partner(%s)"
# Whoever ends a turn of the partner's takes the one that has stood here longest.
_STAND_IN_LINE: Final = "UPDATE events_pixellog SET due_at = clock_timestamp() WHERE pixel_id = %s"
_TAKE_DUE: Final = """
UPDATE events_delivery
SET state = 'claimed', due_at = NULL, lease_token = %(token)s,
    lease_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = (
    SELECT id FROM events_delivery
    WHERE pixel_id = %(pixel)s AND state IN ('waiting', 'doubt') AND due_at <= clock_timestamp()
      AND {kind}
    ORDER BY due_at, id LIMIT 1)
RETURNING id, first_offset, last_offset, first_received_at, last_received_at, attempts, doubts, offsets,
    replay_id
"""
_TAKE_DUE_AGAIN: Final = _TAKE_DUE.format(kind="replay_id IS NULL")
# One at a time, so that fresh events find a place. What is in doubt outlives its replay.
_TAKE_REPLAY: Final = _TAKE_DUE.format(
    kind="""EXISTS (
        SELECT FROM events_replay AS replay WHERE replay.id = replay_id
          AND (replay.state = 'running'
            OR events_delivery.state = 'doubt' AND replay.state IN ('done', 'cancelled')))
      AND NOT EXISTS (
        SELECT FROM events_delivery AS other
        WHERE other.pixel_id = %(pixel)s AND other.state IN ('claimed', 'sending')
          AND other.replay_id IS NOT NULL AND other.lease_until > clock_timestamp())"""
)
# From `tail` on, up to a request's number of events: how many, between which receive times, when the one behind them
# was received; and how large all of that is.
_LANE: Final = """
SELECT {what} FROM events_event
WHERE advertiser_id = %(advertiser)s AND pixel_id = %(pixel)s
  AND log_offset BETWEEN %(tail)s AND %(end)s AND log_offset < %(head)s
  AND received_at BETWEEN %(tail_received_at)s AND %(head_received_at)s
"""
_MEASURE: Final = _LANE.format(
    what="""count(*) FILTER (WHERE log_offset < %(end)s), min(log_offset),
    max(log_offset) FILTER (WHERE log_offset < %(end)s), min(received_at),
    max(received_at) FILTER (WHERE log_offset < %(end)s), min(received_at) FILTER (WHERE log_offset = %(end)s),
    sum(octet_length(payload)) <= %(bytes)s"""
)
_SIZES: Final = _LANE.format(
    what="""log_offset, received_at, log_offset < %(end)s
    AND (log_offset = %(tail)s OR sum(octet_length(payload)) OVER (ORDER BY log_offset) <= %(bytes)s) AS fits"""
)
# The same where that is too large: only as many as fit. It adds up event by event, which takes twice as long.
_MEASURE_BY_SIZE: Final = f"""WITH event AS ({_SIZES})
SELECT count(*) FILTER (WHERE fits), min(log_offset), max(log_offset) FILTER (WHERE fits),
    min(received_at), max(received_at) FILTER (WHERE fits), min(received_at) FILTER (WHERE NOT fits)
FROM event"""  # noqa: S608 - of our own texts
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
# Each some seconds later than the app, so that its pixels do not come back as one wave.
_PAUSE_WITH_APP: Final = """
UPDATE events_pixellog
SET due_at = flow.due_at + random() * %s * interval '1 second'
FROM events_appflow AS flow WHERE flow.partner_id = %s AND pixel_id = %s
"""
_TURNS: Final = "UPDATE events_pixellog SET turns = %s WHERE pixel_id = %s"
_ADVANCE: Final = "UPDATE events_pixellog SET tail = %s, tail_received_at = %s WHERE pixel_id = %s"
_ADVANCE_BACKLOG: Final = """
UPDATE events_backlog
SET next_offset = %(next)s, next_received_at = %(next_received_at)s,
    drained_at = CASE WHEN %(next)s > last_offset THEN clock_timestamp() END
WHERE id = %(backlog)s
"""
# The pile that was set aside last goes on where nothing was claimed since.
_SET_ASIDE: Final = """
WITH extended AS (
    UPDATE events_backlog SET last_offset = %(head)s - 1, last_received_at = %(head_received_at)s
    WHERE pixel_id = %(pixel)s AND drained_at IS NULL AND expires_at IS NULL AND last_offset = %(tail)s - 1
    RETURNING id)
INSERT INTO events_backlog
    (advertiser_id, pixel_id, first_offset, next_offset, last_offset, next_received_at, last_received_at)
SELECT %(advertiser)s, %(pixel)s, %(tail)s, %(tail)s, %(head)s - 1, %(tail_received_at)s, %(head_received_at)s
WHERE NOT EXISTS (SELECT FROM extended)
"""
_EMPTY_LIVE_LANE: Final = "UPDATE events_pixellog SET tail = head WHERE pixel_id = %s"


@watch.claim
def claim_next(
    pixel_id: int, lanes: Sequence[Lane] = FIRST_LANES, *, takes_slow: bool = True
) -> Claim | Idle:
    """The pixel's next delivery, from the first of the lanes that has one; of a slow pixel only if `takes_slow`.

    Where none has, the pixel is put to sleep: the next commit of a door wakes it. Raises LogDamaged.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT advertiser_id FROM events_pixellog WHERE pixel_id = %s", [pixel_id])
        found = cursor.fetchone()
    if found is None:
        return Idle.UNKNOWN
    with tenant_scope(advertiser_id=found[0]), connection.cursor() as cursor:
        cursor.execute(_LOCK, [pixel_id])
        return _Claimer(cursor, pixel_id, found[0], _Log(*cursor.fetchone())).claim(lanes, takes_slow)


# Advertiser → its partner's share, and until when that is believed. Of keys and numbers, none of them a secret.
_partners: dict[int, tuple[_Partner, float]] = {}


def _partner_of(cursor: Any, advertiser_id: int) -> _Partner:
    now = time.monotonic()
    known = _partners.get(advertiser_id)
    if known is not None and now < known[1]:
        return known[0]
    cursor.execute(_PARTNER, [advertiser_id])
    partner = _Partner(*cursor.fetchone())
    if len(_partners) >= PARTNERS_KEPT:
        _partners.clear()
    _partners[advertiser_id] = (partner, now + PARTNER_SECONDS)
    return partner


def forget_partners() -> None:
    """Ask anew for each partner's share."""
    _partners.clear()


class _Claimer:
    """One claim of a pixel whose row is locked."""

    def __init__(self, cursor: Any, pixel_id: int, advertiser_id: int, log: _Log) -> None:
        self._cursor = cursor
        self._pixel_id = pixel_id
        self._advertiser_id = advertiser_id
        self._log = log
        self._token = uuid.uuid4()
        # Counted where there is a ceiling.
        self._partners_leases = 0
        self._partner = _partner_of(cursor, advertiser_id)
        self._view = self._look()

    def claim(self, lanes: Sequence[Lane], takes_slow: bool) -> Claim | Idle:
        """The next delivery, or why there is none."""
        idle = Idle.SLOW if self._log.is_slow and not takes_slow else self._hindrance()
        if idle is None:
            self._set_aside()
            takes: dict[Lane, Callable[[], Claim | None]] = {
                Lane.DUE: self._take_again,
                Lane.LIVE: self._take_live,
                Lane.BACKLOG: self._take_backlog,
                Lane.REPLAY: self._take_replay,
            }
            if self._view.is_urgent:
                # Near Meta's age limit: before all else.
                lanes = (Lane.BACKLOG, *lanes)
            for lane in lanes:
                if (claim := takes[lane]()) is not None:
                    return claim
            idle = Idle.ASLEEP
            if self._log.awake:
                self._run("UPDATE events_pixellog SET awake = false WHERE pixel_id = %s", [self._pixel_id])
        if self._log.turns > 1:
            # This turn ends. Where there is nothing to do at all, the others find that, too.
            left = self._log.turns - 1 if idle is Idle.BUSY else 1
            self._run(_TURNS, [left, self._pixel_id])
        return idle

    def _look(self) -> _View:
        self._run(_LOOK, {"pixel": self._pixel_id, "partner": self._partner.id})
        return _View(*self._cursor.fetchone())

    @property
    def _ceilings(self) -> list[int]:
        return [most for most in (self._partner.ceiling, self._view.app_width) if most is not None]

    def _run(self, statement: str, parameters: Any) -> None:
        self._cursor.execute(statement, parameters)

    def _hindrance(self) -> Idle | None:
        if self._view.is_held:
            return Idle.HELD
        if not self._log.is_due:
            return Idle.NOT_DUE
        if self._view.leases >= self._log.width:
            return Idle.BUSY
        if not self._view.is_connected:
            self._run(_PAUSE, [UNCONNECTED_SECONDS, self._pixel_id])
            return Idle.UNCONNECTED
        if not self._view.app_is_due:
            self._run(_PAUSE_WITH_APP, [APP_SPREAD_SECONDS, self._partner.id, self._pixel_id])
            return Idle.APP_LIMIT
        if self._ceilings:
            self._run(_LOCK_PARTNER, [self._partner.id])
            self._run(_PARTNERS_LEASES, [self._partner.id])
            self._partners_leases = self._cursor.fetchone()[0]
            if self._partners_leases >= min(self._ceilings):
                self._run(_STAND_IN_LINE, [self._pixel_id])
                return Idle.CEILING
        return None

    def _set_aside(self) -> None:
        """Put a pile of the live lane into a backlog, so that what comes in from now on does not wait behind it."""
        log = self._log
        if not is_pile(
            log.head - log.tail,
            oldest_seconds=log.oldest_seconds,
            request_events=limits.EVENTS_PER_REQUEST,
        ):
            return
        self._run(
            _SET_ASIDE,
            {
                "advertiser": self._advertiser_id,
                "pixel": self._pixel_id,
                "head": log.head,
                "tail": log.tail,
                "head_received_at": log.head_received_at,
                "tail_received_at": log.tail_received_at,
            },
        )
        self._run(_EMPTY_LIVE_LANE, [self._pixel_id])
        self._log = log._replace(tail=log.head)
        self._view = self._look()

    def _take_again(self) -> Claim | None:
        return self._take_due(_TAKE_DUE_AGAIN)

    def _take_replay(self) -> Claim | None:
        return self._take_due(_TAKE_REPLAY) if self._view.has_replay else None

    def _take_due(self, statement: str) -> Claim | None:
        lease = config().delivery_lease_seconds
        self._run(statement, {"token": self._token, "lease": lease, "pixel": self._pixel_id})
        if (row := self._cursor.fetchone()) is None:
            return None
        return self._claimed(row, behind=0)

    def _take_live(self) -> Claim | None:
        log = self._log
        if log.tail == log.head:
            return None
        lane = _Range(log.tail, log.head, log.tail_received_at, log.head_received_at)
        row, next_received_at = self._measure(lane)
        # Behind the last event there is none yet: the door that appends one sets its time.
        self._run(_ADVANCE, [row[2] + 1, next_received_at or row[4], self._pixel_id])
        return self._claimed(row, behind=log.head - row[2] - 1)

    def _take_backlog(self) -> Claim | None:
        view = self._view
        if view.backlog_id is None:
            return None
        lane = _Range(view.next_offset, view.last_offset + 1, view.next_received_at, view.last_received_at)
        row, next_received_at = self._measure(lane)
        self._run(
            _ADVANCE_BACKLOG,
            {
                "next": row[2] + 1,
                "next_received_at": next_received_at or row[4],
                "backlog": view.backlog_id,
            },
        )
        return self._claimed(row, behind=view.last_offset - row[2])

    def _measure(self, lane: _Range) -> tuple[tuple[Any, ...], datetime | None]:
        """A new delivery at the lane's start, as _TAKE_DUE returns one, and when the event behind it came."""
        asked = {
            "advertiser": self._advertiser_id,
            "pixel": self._pixel_id,
            "tail": lane.start,
            "head": lane.end,
            "end": lane.start + limits.EVENTS_PER_REQUEST,
            "bytes": REQUEST_BYTES,
            "tail_received_at": lane.first_received_at,
            "head_received_at": lane.last_received_at,
        }
        self._run(_MEASURE, asked)
        *found, fits = self._cursor.fetchone()
        if fits is False:
            self._run(_MEASURE_BY_SIZE, asked)
            found = self._cursor.fetchone()
        count, first, last, first_received_at, last_received_at, next_received_at = found
        if first != lane.start or last - first + 1 != count:
            raise LogDamaged(
                f"The log of pixel {self._pixel_id} lacks events at or after offset {lane.start}."
            )
        claimed = {
            "advertiser": self._advertiser_id,
            "pixel": self._pixel_id,
            "first": first,
            "last": last,
            "first_received_at": first_received_at,
            "last_received_at": last_received_at,
            "lease": config().delivery_lease_seconds,
            "token": self._token,
        }
        self._run(_CLAIM, claimed)
        (delivery_id,) = self._cursor.fetchone()
        row = (delivery_id, first, last, first_received_at, last_received_at, 0, 0, None, None)
        return row, next_received_at

    def _claimed(self, row: tuple[Any, ...], *, behind: int) -> Claim:
        (
            delivery_id,
            first,
            last,
            first_received_at,
            last_received_at,
            attempts,
            doubts,
            offsets,
            replay_id,
        ) = row
        view = self._view
        is_widened = is_wider(
            behind,
            turns=self._log.turns,
            leases=view.leases,
            width=self._log.width,
            request_events=limits.EVENTS_PER_REQUEST,
        )
        if is_widened:
            self._run(_TURNS, [self._log.turns + 1, self._pixel_id])
        return Claim(
            delivery_id=delivery_id,
            pixel_id=self._pixel_id,
            advertiser_id=self._advertiser_id,
            lease_token=self._token,
            first_offset=first,
            last_offset=last,
            first_received_at=first_received_at,
            last_received_at=last_received_at,
            attempts=attempts,
            doubts=doubts,
            offsets=offsets,
            replay_id=replay_id,
            weight=self._partner.weight,
            app_partner_id=self._partner.id if view.is_of_app else None,
            app_width=view.app_width,
            is_app_full=view.app_width is not None and self._partners_leases + 1 >= view.app_width,
            capped_partner_id=self._partner.id if self._ceilings else None,
            width=self._log.width,
            is_full=view.leases + 1 >= self._log.width,
            is_slow=self._log.is_slow,
            is_widened=is_widened,
        )


def end_turn(pixel_id: int) -> None:
    """Count a turn of the pixel less: it ended before it claimed anything."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_pixellog SET turns = turns - 1 WHERE pixel_id = %s AND turns > 1", [pixel_id]
        )


def next_of_partner(pixel_id: int, partner_id: int) -> int | None:
    """Which of a capped partner's pixels is to have the place that this one's turn leaves: the longest in line.

    This pixel goes to the end of the line.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_pixellog SET due_at = clock_timestamp() WHERE pixel_id = %s"
            " AND due_at < clock_timestamp()",
            [pixel_id],
        )
        cursor.execute("SELECT events_next_of_partner(%s)", [partner_id])
        found: int | None = cursor.fetchone()[0]
    return found
