"""The bodies of requests, read in pieces: never more in memory than the limit, nor longer than the deadline.

What all requests of this process hold together is bounded, too; past that new ones are turned away unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from events import refusals
from events.inflate import Inflater

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

# As sent, and as inflated.
BODY_BYTES: Final = 8 * 1024 * 1024

# What a refused client may still send before the connection is closed: closing at once would reset it, and
# the client would see that instead of our answer.
LINGER_BYTES: Final = 4 * BODY_BYTES
LINGER_SECONDS: Final = 2.0

# When the process is told to end, whoever is still sending has so long.
HURRY_SECONDS: Final = 2.0


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Bodies:
    """All bodies of this process: `size` bytes between them, `seconds` for each."""

    def __init__(self, *, size: int, seconds: float) -> None:
        self.free = size
        self.seconds = seconds
        self.deadlines: set[asyncio.Timeout] = set()

    def open(self, receive: Receive) -> Body:
        """A request's body, not read yet, as a context: what it holds is given back when the block ends."""
        return Body(self, receive)

    def hurry(self) -> None:
        """Give those that are being read, and those that come, HURRY_SECONDS from now."""
        self.seconds = HURRY_SECONDS
        soon = asyncio.get_running_loop().time() + HURRY_SECONDS
        for deadline in self.deadlines:
            if (when := deadline.when()) is None or when > soon:
                deadline.reschedule(soon)


class Body:
    """One request's body, and its share of the memory."""

    def __init__(self, bodies: Bodies, receive: Receive) -> None:
        self._bodies = bodies
        self._receive = receive
        self._held = 0
        # Whether the client still owes bytes of it.
        self.is_unread = True

    def hold(self, size: int) -> None:
        """Hold at least so many bytes. Raises the refusal 503 where there is no room for them."""
        if size > self._held:
            if size - self._held > self._bodies.free:
                raise refusals.unavailable()
            self._bodies.free -= size - self._held
            self._held = size

    async def read(self, encoding: str) -> bytes:
        """All of it, inflated.

        Raises a refusal where it is larger than BODY_BYTES, comes too slowly or is not in its `encoding`, and
        ClientGone.
        """
        inflater = Inflater(encoding, limit=BODY_BYTES) if encoding else None
        pieces: list[bytes] = []
        sent = size = 0
        deadlines = self._bodies.deadlines
        try:
            async with asyncio.timeout(self._bodies.seconds) as deadline:
                deadlines.add(deadline)
                while self.is_unread:
                    piece = await self._next()
                    sent += len(piece)
                    if sent > BODY_BYTES:
                        raise refusals.body_too_large()
                    if inflater is not None:
                        piece = inflater.feed(piece)
                    pieces.append(piece)
                    size += len(piece)
                    self.hold(size)
        except TimeoutError:
            raise refusals.body_too_slow() from None
        finally:
            deadlines.discard(deadline)
        if inflater is not None:
            inflater.finish()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read_over(self, limit: int) -> None:
        """Let what is left go by: at most about `limit` bytes, for LINGER_SECONDS."""
        with suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(LINGER_SECONDS):
                while self.is_unread and limit > 0:
                    limit -= len(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.is_unread = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bodies.free += self._held
        self._held = 0
