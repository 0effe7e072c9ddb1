"""The gauges that stand in the database: what waits, for how long, and how it is with pixels and credentials.

Read at a scrape by one process, as the workers' role, which reads them over all tenants. They hold no tenant's name
or key. Each is a statement of its own, cut off after seconds; one that fails leaves the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from django.db import DatabaseError, InterfaceError, connection
from psycopg import sql

from partnerhub.lib import metrics, pulse
from partnerhub.lib.broker import QUEUES, queue_name
from partnerhub.lib.config import config

logger = structlog.get_logger(__name__)

# A gauge that takes longer is not worth what it costs the database.
STATEMENT_SECONDS: Final = 2
# Past it, how many more makes no difference to anybody who has to look.
COUNTED_MESSAGES: Final = 100_000

# Of each gauge: label values and the amount.
Amounts = dict[tuple[str, ...], float]
Readings = dict[metrics.Reading, Amounts]

# Ranges of offsets that wait, each with since when and why. A few events of them may have their rejection already.
_WAITING: Final = """
SELECT why, sum(events)::float8, max(extract(epoch FROM clock_timestamp() - since))::float8
FROM (
    SELECT waits.events, waits.since,
        CASE WHEN pixel.held_at IS NOT NULL THEN 'held'
             WHEN log.due_at > now() OR waits.due_at > now() THEN 'backing_off'
             ELSE 'ready' END AS why
    FROM (
        SELECT pixel_id, head - tail AS events, tail_received_at AS since, NULL::timestamptz AS due_at
        FROM events_pixellog WHERE head > tail
        UNION ALL
        SELECT pixel_id, last_offset - next_offset + 1, next_received_at, NULL
        FROM events_backlog WHERE drained_at IS NULL
        UNION ALL
        -- What a replay sends has its fate already.
        SELECT pixel_id, coalesce(cardinality(offsets), last_offset - first_offset + 1), first_received_at, due_at
        FROM events_delivery WHERE state = 'waiting' AND replay_id IS NULL
    ) AS waits
    JOIN events_pixellog AS log ON log.pixel_id = waits.pixel_id
    JOIN onboarding_pixel AS pixel ON pixel.id = waits.pixel_id
) AS parts
GROUP BY why
"""
_LEASED: Final = """
SELECT coalesce(sum(coalesce(cardinality(offsets), last_offset - first_offset + 1))
    FILTER (WHERE lease_until > now() AND replay_id IS NULL), 0)::float8,
    count(*) FILTER (WHERE lease_until <= now())
FROM events_delivery WHERE state IN ('claimed', 'sending')
"""
_DOUBT: Final = """
SELECT CASE WHEN due_at IS NULL THEN 'kept' ELSE 'again' END,
    sum(coalesce(cardinality(offsets), last_offset - first_offset + 1))::float8
FROM events_delivery WHERE state = 'doubt' GROUP BY 1
"""
_AWAKE: Final = "SELECT count(*) FROM events_pixellog WHERE awake"
_HELD: Final = "SELECT hold, count(*) FROM onboarding_pixel WHERE held_at IS NOT NULL GROUP BY hold"
_CREDENTIALS: Final = """
SELECT state, count(*) FROM onboarding_credential WHERE state <> 'retired' GROUP BY state
"""
_EXPIRING: Final = """
SELECT CASE WHEN expiry <> 'dated' THEN expiry
            WHEN expires_at <= now() THEN 'over'
            WHEN expires_at <= now() + interval '1 day' THEN '1'
            WHEN expires_at <= now() + interval '7 days' THEN '7'
            WHEN expires_at <= now() + interval '30 days' THEN '30'
            ELSE 'later' END, count(*)
FROM onboarding_credential WHERE state <> 'retired' GROUP BY 1
"""
_TESTS: Final = """
SELECT coalesce(latest.state, 'none'), count(*)
FROM onboarding_pixel AS pixel
LEFT JOIN LATERAL (
    SELECT state FROM onboarding_connectiontest WHERE pixel_id = pixel.id ORDER BY id DESC LIMIT 1
) AS latest ON true
GROUP BY 1
"""
# As many days after today as are there without a gap.
_DAYS_AHEAD: Final = """
SELECT coalesce(min(day) FILTER (WHERE to_regclass(leaf || to_char(today + day, 'YYYYMMDD')) IS NULL), 32) - 1
FROM unnest(ARRAY['events_event_', 'events_repeat_']) AS leaf,
    (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS now,
    generate_series(0, 31) AS day
"""


def read() -> Readings:
    """Every gauge that could be read; DATABASE_UP says whether that was all of them."""
    readings: Readings = {}
    is_up = True
    for reading in _ALL:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
                readings |= reading(cursor)
        except (DatabaseError, InterfaceError) as error:
            is_up = False
            logger.warning("gauge not read", gauge=reading.__name__, error=type(error).__name__)
            if not connection.is_usable():
                connection.close()
    readings[metrics.DATABASE_UP] = {(): float(is_up)}
    return readings


def days_ahead(cursor: Any) -> int:
    """Days after today whose partitions of the log are there, without a gap; -1 where today's are missing."""
    cursor.execute(_DAYS_AHEAD)
    days: int = cursor.fetchone()[0]
    return days


def _rows(cursor: Any, statement: str) -> list[tuple[Any, ...]]:
    cursor.execute(statement)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _by_word(cursor: Any, statement: str, family: metrics.Reading) -> Amounts:
    """Amounts by the family's one label, of which each value is there, and an unknown one is `other`."""
    (allowed,) = family.labels.values()
    amounts: Amounts = {(word,): 0.0 for word in allowed}
    for word, amount in _rows(cursor, statement):
        key = (word if word in allowed else metrics.OTHER,)
        amounts[key] = amounts.get(key, 0.0) + amount
    return amounts


def _waiting(cursor: Any) -> Readings:
    (reasons,) = metrics.WAITING_EVENTS.labels.values()
    events: Amounts = {(why,): 0.0 for why in reasons}
    seconds = dict(events)
    for why, count, age in _rows(cursor, _WAITING):
        events[(why,)], seconds[(why,)] = count, max(0.0, age)
    return {metrics.WAITING_EVENTS: events, metrics.WAITING_SECONDS: seconds}


def _leased(cursor: Any) -> Readings:
    ((in_flight, expired),) = _rows(cursor, _LEASED)
    return {metrics.IN_FLIGHT: {(): in_flight}, metrics.EXPIRED_LEASES: {(): expired}}


def _doubt(cursor: Any) -> Readings:
    return {metrics.DOUBT_EVENTS: _by_word(cursor, _DOUBT, metrics.DOUBT_EVENTS)}


def _pixels(cursor: Any) -> Readings:
    ((awake,),) = _rows(cursor, _AWAKE)
    return {
        metrics.AWAKE_PIXELS: {(): awake},
        metrics.HELD_PIXELS: _by_word(cursor, _HELD, metrics.HELD_PIXELS),
    }


def _credentials(cursor: Any) -> Readings:
    return {
        metrics.CREDENTIALS: _by_word(cursor, _CREDENTIALS, metrics.CREDENTIALS),
        metrics.EXPIRING_CREDENTIALS: _by_word(cursor, _EXPIRING, metrics.EXPIRING_CREDENTIALS),
    }


def _tests(cursor: Any) -> Readings:
    return {metrics.CONNECTION_TESTS: _by_word(cursor, _TESTS, metrics.CONNECTION_TESTS)}


def _days(cursor: Any) -> Readings:
    return {metrics.LOG_DAYS_AHEAD: {(): days_ahead(cursor)}}


def _messages(cursor: Any) -> Readings:
    settings = config()
    if urlsplit(settings.broker_url.get_secret_value()).scheme != "pgmq":
        # RabbitMQ and Redis have exporters of their own.
        return {}
    amounts: Amounts = {}
    for queue in QUEUES:
        table = sql.Identifier("pgmq", f"q_{queue_name(settings, queue)}")
        statement = sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS messages").format(
            table, sql.Literal(COUNTED_MESSAGES)
        )
        ((amounts[(queue,)],),) = _rows(cursor, statement.as_string())
    return {metrics.BROKER_MESSAGES: amounts}


def _beat(cursor: Any) -> Readings:
    ages = pulse.ages(cursor)
    return {metrics.BEAT_SECONDS: {(): max(0.0, ages[0])}} if ages else {}


def _size(cursor: Any) -> Readings:
    ((size,),) = _rows(cursor, "SELECT pg_database_size(current_database())")
    return {metrics.DATABASE_BYTES: {(): size}}


_ALL: Final[tuple[Callable[[Any], Readings], ...]] = (
    _waiting,
    _leased,
    _doubt,
    _pixels,
    _credentials,
    _tests,
    _days,
    _messages,
    _beat,
    _size,
)
