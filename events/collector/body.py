"""The body of a request, read in pieces: never more of it in memory than the limit, nor longer than the
deadline.

Room is what all requests of this process hold together; past it new ones are turned away before they are
read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from events import refusals
from events.inflate import Inflater

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

# As sent, and as inflated.
BODY_BYTES: Final = 8 * 1024 * 1024


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Room:
    """Bytes that the requests of this process may hold between them, from the first piece to the answer."""

    def __init__(self, size: int) -> None:
        self.free = size

    def hold(self) -> Hold:
        """A request's share, empty yet, to be used as a context: given back when the block ends."""
        return Hold(self)


class Hold:
    """What one request holds."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    def grow_to(self, size: int) -> None:
        """Hold at least so many bytes. Raises the refusal 503 where there is no room for them."""
        if size > self._size:
            if size - self._size > self._room.free:
                raise refusals.unavailable()
            self._room.free -= size - self._size
            self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.free += self._size


async def read_body(receive: Receive, hold: Hold, *, encoding: str | None, seconds: float) -> bytes:
    """The body, inflated.

    Raises a refusal where it is larger than BODY_BYTES, takes longer than `seconds` or is not in its
    `encoding`, and ClientGone.
    """
    inflater = Inflater(encoding, limit=BODY_BYTES) if encoding else None
    pieces: list[bytes] = []
    sent = size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece: bytes = message.get("body", b"")
                sent += len(piece)
                if sent > BODY_BYTES:
                    raise refusals.body_too_large()
                if inflater is not None:
                    piece = inflater.feed(piece)
                pieces.append(piece)
                size += len(piece)
                hold.grow_to(size)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise refusals.body_too_slow() from None
    if inflater is not None:
        inflater.finish()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
