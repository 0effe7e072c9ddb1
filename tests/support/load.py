"""A cheap HTTP client for load: some connections, each with one request on its way, counted by status.

It parses no more of an answer than its length and status, so that the box is left to what it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


@dataclass(slots=True)
class Load:
    """What a run of load saw. Latencies in seconds; status 0 is a connection that broke."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers with 200 a second."""
        return self.statuses[200] / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that `share` of the answers stayed within, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Client(asyncio.Protocol):
    def __init__(self, load: Load, next_request: Callable[[], bytes | None], done: asyncio.Event) -> None:
        self._load = load
        self._next_request = next_request
        self._done = done
        self._answer = b""
        self._sent_at = 0.0
        self._waits = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data
        end = answer.find(_END)
        if end < 0:
            return
        start = answer.index(_LENGTH) + len(_LENGTH)
        if len(answer) < end + len(_END) + int(answer[start : answer.index(b"\r\n", start)]):
            return
        self._load.statuses[int(answer[9:12])] += 1
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._answer, self._waits = b"", False
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            self._load.statuses[0] += 1
        self._done.set()

    def _send(self) -> None:
        assert self._transport is not None
        request = self._next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_at, self._waits = time.perf_counter(), True
        self._transport.write(request)


async def run_load(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Load:
    """Send what `requests` yields until it ends or the time is up, and wait for the last answers."""
    load = Load()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()

    def next_request() -> bytes | None:
        return next(requests, None) if time.perf_counter() - started < seconds else None

    waits = [asyncio.Event() for _ in range(connections)]
    for done in waits:
        await loop.create_connection(lambda done=done: _Client(load, next_request, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(done.wait() for done in waits))
    load.seconds = time.perf_counter() - started
    return load


def post(path: str, body: bytes, *, content_type: str = "application/json") -> bytes:
    """The bytes of a POST on a connection that stays open."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
