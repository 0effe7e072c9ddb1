"""One connection to the database as the door's role, made again when it broke, with back-off.

Whatever goes wrong below PostgreSQL (no route, a half-open socket, a server that stalls) turns into
psycopg.OperationalError within seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from events.collector.copy import Bigints, BigintsDumper, Uuids, UuidsDumper

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECT_SECONDS: Final = 3
# The role's statement_timeout is 5 s, and ends what is slow. Past that the server or the road to it is dead.
SILENCE_SECONDS: Final = 7.0
# A restart takes a second or so: ask often at first, but with many collectors not in step.
BACK_OFF_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)

_PARAMETERS: Final = {
    "connect_timeout": str(CONNECT_SECONDS),
    "application_name": "partnerhub collector",
    # A peer that vanished without a word is noticed while idle within 20 s, and while sending within 7 s.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "7000",
}
# Each statement of the collector is a handful of look-ups by index. A plan that was cached while a table was
# small must not become a scan once it has grown. Commits hold a pixel's row for milliseconds: who waits for
# it longer than a second waits for a stray lock. (Set after connecting: a pooler may not pass on `options`.)
_SESSION: Final = """
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false),
    set_config('lock_timeout', '1s', false)
"""


class Link:
    """A connection that `get` makes when there is none. Used by one task at a time."""

    def __init__(self, url: str) -> None:
        self._conninfo = make_conninfo(url, **_PARAMETERS)
        self._connection: Connection | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last attempt to connect failed."""
        return self._failures > 0

    async def get(self) -> Connection:
        """The connection, in autocommit. Raises psycopg.OperationalError at once while backing off."""
        if self._connection is not None:
            if not self._connection.closed:
                return self._connection
            await self.drop()
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            raise psycopg.OperationalError("the database was away a moment ago")
        try:
            self._connection = connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True
            )
            connection.adapters.register_dumper(Bigints, BigintsDumper)
            connection.adapters.register_dumper(Uuids, UuidsDumper)
            with self.limit(connection):
                await connection.execute(_SESSION)
        except psycopg.Error:
            await self.drop()
            pause = BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
            self._not_before = loop.time() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            self._failures += 1
            raise
        self._failures = 0
        return connection

    @property
    def seconds_to_wait(self) -> float:
        """How long `get` would still refuse to try."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    async def drop(self) -> None:
        """Close the connection, whatever state it is in; the next `get` makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()

    @contextmanager
    def limit(self, connection: Connection) -> Iterator[None]:
        """Cut the connection if the block takes longer than SILENCE_SECONDS: what waits in it raises.

        Cancelling would not do: psycopg then asks the server to cancel, and waits for it.
        """
        handle = asyncio.get_running_loop().call_later(SILENCE_SECONDS, _cut, connection)
        try:
            yield
        finally:
            handle.cancel()


def _cut(connection: Connection) -> None:
    if connection.closed:
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as line, suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
