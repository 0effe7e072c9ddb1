"""What is packed here is what PostgreSQL reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from django.db import connection

from events.collector.copy import (
    EVENT_COLUMNS,
    REPEAT_COLUMNS,
    Bigints,
    EventRow,
    RepeatRow,
    Uuids,
    microseconds,
    pack_events,
    pack_repeats,
)
from events.collector.link import Link
from tests.support.environment import TestDatabase

MOMENT = datetime(2026, 11, 24, 23, 59, 59, 999_999, tzinfo=UTC)


def copied(table: str, columns: str, pieces: list[bytes]) -> list[tuple[Any, ...]]:
    """The rows that a table like `table` holds after the stream, with text for uuids."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE packed ON COMMIT DROP AS TABLE {table} WITH NO DATA")
        with cursor.copy(f"COPY packed ({columns}) FROM STDIN (FORMAT binary)") as copy:
            for piece in pieces:
                copy.write(piece)
        cursor.execute(f"SELECT {columns} FROM packed")  # noqa: S608 - our own names
        return list(cursor.fetchall())


@pytest.mark.django_db
def test_an_event_is_read_back_as_it_was() -> None:
    row = EventRow(
        2**62, 2**31, 2**33, 1_795_000_000, 1, "Købt ✓", "id\\N\t\n", b'{"a":"\x01"}', "value:number"
    )

    rows = copied("events_event", EVENT_COLUMNS, pack_events([row], MOMENT))

    expires_at = datetime.fromtimestamp(1_795_000_000, UTC)
    assert [tuple(bytes(v) if isinstance(v, memoryview) else v for v in found) for found in rows] == [
        (2**62, 2**31, 2**33, MOMENT, expires_at, 1, "Købt ✓", "id\\N\t\n", b'{"a":"\x01"}', "value:number")
    ]


@pytest.mark.django_db
def test_a_repeat_is_read_back_as_it_was() -> None:
    key, content = bytes(range(16)), bytes(range(16, 32))

    rows = copied("events_repeat", REPEAT_COLUMNS, pack_repeats([RepeatRow(7, 8, key, content, 9)], MOMENT))

    assert [(*found[:2], found[2].bytes, found[3].bytes, *found[4:]) for found in rows] == [
        (7, 8, key, content, 9, MOMENT)
    ]


def test_a_moment_is_the_same_in_every_zone() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=9)))

    assert microseconds(elsewhere) == microseconds(MOMENT) == 848_879_999_999_999


@pytest.mark.parametrize("name", ["\ud800", "broken \udfff"])
def test_a_lone_surrogate_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        pack_events([EventRow(1, 1, 0, 0, 1, name, "id", b"{}", "")], MOMENT)


def test_arrays_arrive_as_they_were(database: TestDatabase, django_db_setup: None) -> None:
    keys = [bytes(16), bytes(range(16))]

    async def ask(query: str, parameter: Bigints | Uuids) -> Any:
        link = Link(database.url("door"))
        row = await (await (await link.get()).execute(query, [parameter])).fetchone()
        await link.drop()
        assert row is not None
        return row[0]

    assert asyncio.run(ask("SELECT %s", Bigints([1, -(2**63), 2**63 - 1]))) == [1, -(2**63), 2**63 - 1]
    assert asyncio.run(ask("SELECT cardinality(%s)", Bigints([]))) == 0
    assert [key.bytes for key in asyncio.run(ask("SELECT %s", Uuids(keys)))] == keys


def test_a_row_that_was_cut_short_is_refused_by_the_server(db: None) -> None:
    stream = pack_events([EventRow(1, 1, 0, 0, 1, "Lead", "id", b"{}", "")], MOMENT)

    with pytest.raises(psycopg.DataError):
        copied("events_event", EVENT_COLUMNS, [stream[0], stream[1][:-1], stream[2]])
