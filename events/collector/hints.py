"""Hints to the workers that a pixel has work: after the commit, beside the loop, and never in anybody's way.

A hint may be lost: the workers' sweep finds what is awake. So a full queue drops, and a broker that is away
costs its time-out on this thread only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

DELIVER: Final = "events.deliver"
# Ten thousand pixels that wake in one second; beyond that the sweep is as fast.
QUEUE_PIXELS: Final = 10_000

Send = Callable[..., None]


class Hints:
    """One thread that sends `events.deliver` for each pixel it is told of, a pixel that waits only once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[int] = deque()
        self._known: set[int] = set()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self, pixel_ids: Iterable[int]) -> None:
        """Queue a hint for each pixel. Never blocks, never raises."""
        with self._changed:
            for pixel_id in pixel_ids:
                if pixel_id not in self._known and len(self._known) < QUEUE_PIXELS:
                    self._known.add(pixel_id)
                    self._waiting.append(pixel_id)
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Send what waits, for so long at the most; the rest is left to the sweep."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if not self._open:
                        return
                    self._changed.wait()
                pixel_id = self._waiting.popleft()
                # Before it is sent: news that comes meanwhile needs a hint of its own.
                self._known.discard(pixel_id)
            self._send(DELIVER, pixel_id)
