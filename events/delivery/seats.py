"""Who may take this process's threads: no pixel all of them, and those that answer slowly only some. Pure.

A send that Graph leaves unanswered holds its thread until the deadline. What is known to be slow shares a part of the
threads, so that it cannot stop the rest; what turns slow of a sudden holds its thread once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# An answer that takes as long as this makes a pixel slow, and a faster one ends it. Meta answers most in 0.6 s.
SLOW_SECONDS: Final = 5.0


class Seats:
    """Counts of threads at work, under a lock that is held for no longer than counting takes."""

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        self._of_pixel: Counter[int] = Counter()
        self._slow = 0
        self.pixel_seats = max(1, threads // 2)
        self.slow_seats = max(1, threads // 4)

    @contextmanager
    def take(self, pixel_id: int) -> Iterator[bool]:
        """Whether there was a seat for a turn of the pixel, which is free again after the block."""
        with self._lock:
            has_seat = self._of_pixel[pixel_id] < self.pixel_seats
            if has_seat:
                self._of_pixel[pixel_id] += 1
        try:
            yield has_seat
        finally:
            if has_seat:
                with self._lock:
                    self._of_pixel[pixel_id] -= 1
                    if not self._of_pixel[pixel_id]:
                        del self._of_pixel[pixel_id]

    @contextmanager
    def take_slow(self, is_slow: bool) -> Iterator[bool]:
        """Whether there was a seat for a send to a pixel that is slow, or none was wanted."""
        with self._lock:
            has_seat = not is_slow or self._slow < self.slow_seats
            if is_slow and has_seat:
                self._slow += 1
        try:
            yield has_seat
        finally:
            if is_slow and has_seat:
                with self._lock:
                    self._slow -= 1

    @property
    def has_slow_seat(self) -> bool:
        """Whether a pixel that is slow may be claimed from now."""
        with self._lock:
            return self._slow < self.slow_seats
