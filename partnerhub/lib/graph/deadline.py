"""One deadline for a whole call, whatever the other side does with it.

A socket's time-out starts anew with every byte, so a server that drips holds a thread for ever. One thread a process
waits for the earliest deadline and shuts that call's socket down; the call then fails where it stands.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time


class Guard:
    """One call's deadline, and whether it has begun to send."""

    __slots__ = ("_done", "_lock", "_socket", "expired", "sent")

    def __init__(self) -> None:
        self.expired = False
        self.sent = False
        self._done = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def watch(self, sock: socket.socket) -> None:
        """The socket to shut down at the deadline; at once where that has passed."""
        with self._lock:
            self._socket = sock
            if self.expired:
                _shut(sock)

    def finish(self) -> None:
        """The call has ended: its socket goes back to the pool untouched."""
        with self._lock:
            self._done = True
            self._socket = None

    def expire(self) -> None:
        """The deadline has come."""
        with self._lock:
            if self._done:
                return
            self.expired = True
            if self._socket is not None:
                _shut(self._socket)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed by the other side meanwhile


class Watchdog:
    """Expires guards at their times, from one thread that starts with the first of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Guard]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._pid = 0

    def arm(self, seconds: float) -> Guard:
        """A guard that expires in `seconds`."""
        guard = Guard()
        due = time.monotonic() + seconds
        with self._changed:
            if self._pid != os.getpid():
                # A fork has no threads but the one that forked.
                self._pid = os.getpid()
                self._heap.clear()
                threading.Thread(target=self._run, name="graph-deadlines", daemon=True).start()
            heapq.heappush(self._heap, (due, next(self._numbers), guard))
            if self._heap[0][2] is guard:
                self._changed.notify()
        return guard

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    wait = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(wait)
                _, _, guard = heapq.heappop(self._heap)
            guard.expire()


WATCHDOG = Watchdog()
