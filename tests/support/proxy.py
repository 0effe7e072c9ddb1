"""A TCP proxy of our own that breaks connections where a test says so. It runs on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from tests.support.environment import TestDatabase

T = TypeVar("T")

PIECE_BYTES = 64 * 1024


class Proxy:
    """`with Proxy(("host", port)) as proxy:` forwards `proxy.port` there; a path is a Unix socket.

    Faults are set at any time and hold for what is sent from then on, on all connections:

    - `swallow`: an answer that holds these bytes is not passed on, and its connection is cut: once;
    - `cut_after`: so many bytes from the clients from now on, then every connection is cut: once;
    - `is_mute`: nothing is passed on, either way, and nothing is closed: a half-open line;
    - `refuses`: new connections are closed at once.
    """

    def __init__(self, upstream: tuple[str, int] | str) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.swallow: bytes | None = None
        self.cut_after: int | None = None
        self.is_mute = False
        self.refuses = False
        # How often a fault struck.
        self.struck = 0

    def cut(self) -> None:
        """Cut every connection now."""
        self._loop.call_soon_threadsafe(self._cut)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        if isinstance(self._upstream, str):
            there = await asyncio.open_unix_connection(self._upstream)
        else:
            there = await asyncio.open_connection(*self._upstream)
        lines = (writer, there[1])
        self._writers.update(lines)
        for source, target, filter_piece in (
            (reader, there[1], self._sent),
            (there[0], writer, self._answered),
        ):
            task = asyncio.get_running_loop().create_task(self._pump(source, target, filter_piece, lines))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        passes: Callable[[bytes], bool],
        lines: tuple[asyncio.StreamWriter, ...],
    ) -> None:
        try:
            while piece := await source.read(PIECE_BYTES):
                while self.is_mute:  # noqa: ASYNC110 - set from the test's thread
                    await asyncio.sleep(0.05)
                if not passes(piece):
                    break
                target.write(piece)
                await target.drain()
        except OSError:
            pass
        finally:
            for writer in lines:
                writer.transport.abort()
                self._writers.discard(writer)

    def _sent(self, piece: bytes) -> bool:
        if self.cut_after is None:
            return True
        self.cut_after -= len(piece)
        if self.cut_after > 0:
            return True
        self.cut_after = None
        self.struck += 1
        self._cut()
        return False

    def _answered(self, piece: bytes) -> bool:
        if self.swallow is None or self.swallow not in piece:
            return True
        self.swallow = None
        self.struck += 1
        return False


def database_proxy(database: TestDatabase) -> Proxy:
    """A proxy before the run's PostgreSQL server."""
    parameters = database.server.parameters
    host, port = parameters.get("host", "127.0.0.1"), int(parameters.get("port", "5432"))
    return Proxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))


def proxied_url(database: TestDatabase, role: str, proxy: Proxy) -> str:
    """The libpq address of the run's database for the role, through the proxy."""
    parts = conninfo_to_dict(database.url(role))
    secret = f":{quote(str(parts['password']), safe='')}" if parts.get("password") else ""
    return f"postgresql://{parts['user']}{secret}@127.0.0.1:{proxy.port}/{parts['dbname']}?sslmode=disable"
