"""This process's view of Graph's health: the breaker's state, kept under a lock, and what the log says of it.

Each process judges by what it sends itself, and needs no row and no message for it: what opens one opens the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from events.breaker import Breaker, Outcome, may_send, record
from events.pace import Sign, Word

logger = structlog.get_logger(__name__)


class Outage:
    """Whether deliveries may go out, by a breaker that all threads share."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._breaker = Breaker()

    def is_on(self) -> bool:
        """Whether Graph is taken for away."""
        return self._breaker.is_open

    def may_send(self) -> bool:
        """Whether one delivery may go out now."""
        with self._lock:
            is_allowed, self._breaker = may_send(self._breaker, now=self._clock())
        return is_allowed

    def record(self, pixel_id: int, sign: Sign) -> None:
        """A delivery came to its end. A limit is an answer: Graph is there."""
        failed = sign.word in (Word.FAULT, Word.SILENCE)
        with self._lock:
            before = self._breaker
            self._breaker = after = record(before, Outcome(self._clock(), pixel_id, failed))
        if after.is_open and not before.is_open:
            logger.error("Graph is away: deliveries wait, and a few probe")
        elif before.is_open and not after.is_open:
            logger.warning("Graph is back: deliveries go on")

    def forget(self) -> None:
        """Take Graph for healthy."""
        with self._lock:
            self._breaker = Breaker()


OUTAGE: Final = Outage()
