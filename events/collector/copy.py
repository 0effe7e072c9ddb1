"""PostgreSQL's binary forms of what the door writes: COPY streams, and arrays as parameters. Pure.

psycopg would dump each value by a Python object of its own, which costs more than all the rest of a commit;
these are packed a row at a time. It refuses, with ValueError or struct.error, what the columns cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from struct import Struct, pack
from typing import Final, NamedTuple

from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

# PostgreSQL's binary forms (protocol documentation, "Binary Format"): integers big-endian, times as
# microseconds from the year 2000, a uuid as its 16 bytes.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_SECONDS: Final = int(_EPOCH.timestamp())
_MICROSECOND: Final = timedelta(microseconds=1)

# Types' numbers in pg_type.dat, which never change.
_INT8: Final = 20
_INT8_ARRAY: Final = 1016
_UUID: Final = 2950
_UUID_ARRAY: Final = 2951

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"

EVENT_COLUMNS: Final = (
    "advertiser_id, pixel_id, log_offset, received_at, expires_at, origin,"
    " event_name, event_id, payload, notices"
)
REPEAT_COLUMNS: Final = "advertiser_id, pixel_id, repeat_key, content_key, log_offset, received_at"


class EventRow(NamedTuple):
    """One row of the log. `expires_at` in seconds of Unix time; `received_at` is the commit's."""

    advertiser_id: int
    pixel_id: int
    log_offset: int
    expires_at: int
    origin: int
    event_name: str
    event_id: str
    payload: bytes
    notices: str


class RepeatRow(NamedTuple):
    """By what an event is known again. Keys have 16 bytes."""

    advertiser_id: int
    pixel_id: int
    repeat_key: bytes
    content_key: bytes
    log_offset: int


def microseconds(moment: datetime) -> int:
    """PostgreSQL's binary form of a moment, as a number."""
    return (moment - _EPOCH) // _MICROSECOND


# Ten columns: five of 8 bytes, one of 2, each behind its length; then the length of the first text.
_EVENT: Final = Struct(">h iq iq iq iq iq ih i")
_LENGTH: Final = Struct(">i")
_REPEAT: Final = Struct(">h iq iq i16s i16s iq iq")


def pack_events(rows: Iterable[EventRow], received_at: datetime) -> list[bytes]:
    """The COPY stream of EVENT_COLUMNS, in pieces: a header, a piece a row, a trailer."""
    received = microseconds(received_at)
    fixed, length = _EVENT.pack, _LENGTH.pack
    pieces = [_HEADER]
    for advertiser_id, pixel_id, offset, expires_at, origin, event_name, event_id, payload, notices in rows:
        name = event_name.encode()
        identity = event_id.encode()
        notes = notices.encode()
        expires = (expires_at - _EPOCH_SECONDS) * 1_000_000
        pieces.append(
            b"".join(
                (
                    fixed(
                        10,
                        8,
                        advertiser_id,
                        8,
                        pixel_id,
                        8,
                        offset,
                        8,
                        received,
                        8,
                        expires,
                        2,
                        origin,
                        len(name),
                    ),
                    name,
                    length(len(identity)),
                    identity,
                    length(len(payload)),
                    payload,
                    length(len(notes)),
                    notes,
                )
            )
        )
    pieces.append(_TRAILER)
    return pieces


def pack_repeats(rows: Iterable[RepeatRow], received_at: datetime) -> list[bytes]:
    """The COPY stream of REPEAT_COLUMNS, in pieces."""
    received = microseconds(received_at)
    fixed = _REPEAT.pack
    pieces = [_HEADER]
    for advertiser_id, pixel_id, repeat_key, content_key, offset in rows:
        pieces.append(
            fixed(6, 8, advertiser_id, 8, pixel_id, 16, repeat_key, 16, content_key, 8, offset, 8, received)
        )
    pieces.append(_TRAILER)
    return pieces


class Bigints:
    """A parameter of type bigint[]."""

    def __init__(self, values: Sequence[int]) -> None:
        count = len(values)
        head = _array_head(_INT8, count)
        self.packed = head + pack(
            ">" + "iq" * count, *chain.from_iterable(zip(repeat(8), values, strict=False))
        )


class Uuids:
    """A parameter of type uuid[], of values of 16 bytes."""

    def __init__(self, values: Sequence[bytes]) -> None:
        width = b"\x00\x00\x00\x10"
        head = _array_head(_UUID, len(values))
        self.packed = head + b"".join(chain.from_iterable(zip(repeat(width), values, strict=False)))


def _array_head(oid: int, count: int) -> bytes:
    # Dimensions, "has NULLs", the elements' type, then length and lower bound of the one dimension.
    return pack(">iiI", 0, 0, oid) if not count else pack(">iiIii", 1, 0, oid, count, 1)


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Bigints | Uuids) -> Buffer:
        return obj.packed


class BigintsDumper(_PackedDumper):
    """Registered on the writer's connection."""

    oid = _INT8_ARRAY


class UuidsDumper(_PackedDumper):
    """Registered on the writer's connection."""

    oid = _UUID_ARRAY
