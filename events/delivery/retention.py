"""Retention: days of the log that nobody keeps any more are dropped, oldest first, each once all of it is settled.

It may die between any two steps and run twice: first the pixels' books say from which offset on events are kept, then
the day leaves the log, then its table is dropped. No door waits for it: see events_drop_day in migration 0002.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

import structlog
from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from partnerhub.lib.config import config

logger = structlog.get_logger(__name__)

# A long report holds the log for minutes at the most (its role's time limit); the next run is a day away.
TRIES: Final = 60
PAUSE_SECONDS: Final = 5.0

_DAYS: Final = """
SELECT DISTINCT to_date(right(relname, 8), 'YYYYMMDD') FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '^events_(event|repeat)_[0-9]{8}$'
ORDER BY 1
"""
_KEEP_FROM: Final = "UPDATE events_pixellog SET kept_from = %s WHERE pixel_id = %s AND kept_from < %s"


def drop_old_days(*, today: dt.date | None = None) -> int:
    """How many days were dropped. A day that holds what is not settled stays, and so do all after it."""
    today = today or dt.datetime.now(dt.UTC).date()
    kept_days = _kept_days()
    longest = max(kept_days.values(), default=config().log_retention_days)
    dropped = 0
    for day in _days():
        if day >= today - dt.timedelta(days=longest):
            break
        if not _drop(day):
            break
        dropped += 1
    for partner_id, days in kept_days.items():
        if days < longest:
            _trim(partner_id, before=today - dt.timedelta(days=days))
    return dropped


def _kept_days() -> dict[int, int]:
    """For how many days each partner keeps its events."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT partner_id, days FROM events_retention_of_partners()")
        return {partner_id: days or config().log_retention_days for partner_id, days in cursor.fetchall()}


def _days() -> list[dt.date]:
    """The days that have a table, also one that was detached and not dropped; oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_DAYS)
        return [day for (day,) in cursor.fetchall()]


def _drop(day: dt.date) -> bool:
    if not _is_settled(day, None):
        logger.error("day kept: not all of it is settled", day=day.isoformat())
        return False
    _keep_from_the_next(day, None)
    for _ in range(TRIES):
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT events_drop_day(%s)", [day])
                done = cursor.fetchone()[0]
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            time.sleep(PAUSE_SECONDS)
            continue
        if done == "unsettled":
            return False
        if done in ("dropped", "gone"):
            logger.info("day dropped", day=day.isoformat())
            return True
    logger.warning("day kept: somebody reads the log all the time", day=day.isoformat())
    return False


def _trim(partner_id: int, *, before: dt.date) -> None:
    """Delete a partner's own rows of the days that others keep for longer."""
    for day in _days():
        if day >= before:
            return
        if not _is_settled(day, partner_id):
            logger.error("day kept: not all of it is settled", day=day.isoformat(), partner_id=partner_id)
            return
        _keep_from_the_next(day, partner_id)
        with connection.cursor() as cursor:
            cursor.execute("SELECT events_trim_day(%s, %s)", [day, partner_id])


def _is_settled(day: dt.date, partner_id: int | None) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_day_is_settled(%s, %s)", [day, partner_id])
        return bool(cursor.fetchone()[0])


def _keep_from_the_next(day: dt.date, partner_id: int | None) -> None:
    """Say in each pixel's books that events of the day may be gone. A row at a time: doors want them, too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pixel_id, next_offset FROM events_ends_of_day(%s, %s)", [day, partner_id])
        for pixel_id, next_offset in cursor.fetchall():
            cursor.execute(_KEEP_FROM, [next_offset, pixel_id, next_offset])
