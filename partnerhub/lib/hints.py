"""Hints to the workers: a task's name and ids, published beside whoever gives them.

Giving one costs its caller microseconds and never fails. One thread a process publishes, so that a broker
that is away or silent holds up that thread and nobody else; meanwhile hints are dropped, for PostgreSQL is
the truth and the workers' sweep finds what is left. No Django.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from partnerhub.lib import metrics
from partnerhub.lib.config import Config, config

if TYPE_CHECKING:
    from partnerhub.lib.broker import Process

logger = structlog.get_logger(__name__)

Hint = tuple[str, tuple[int, ...]]

# Ten thousand pixels that wake in one second; what is more is left to the sweep, which is as fast then.
QUEUED_HINTS: Final = 10_000
# After a failure hints are dropped for so long, doubled with each failure in a row.
REST_SECONDS: Final = 1.0
LONGEST_REST_SECONDS: Final = 30.0
# A process that ends gives what it has queued so long to get out.
FLUSH_SECONDS: Final = 0.2


class Publisher:
    """A queue of hints, a thread that publishes them, and a breaker for when that fails."""

    def __init__(
        self, publish: Callable[[Hint], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._publish = publish
        self._clock = clock
        # A dictionary for its order: a hint that waits already is not queued again.
        self._waiting: dict[Hint, None] = {}
        self._changed = threading.Condition()
        self._busy = False
        self._failures = 0
        self._rests_until = 0.0
        self._thread: threading.Thread | None = None

    def send(self, hint: Hint) -> bool:
        """Queue the hint; whether it was. Not while the breaker is open or the queue is full."""
        with self._changed:
            if hint in self._waiting:
                return True
            if len(self._waiting) >= QUEUED_HINTS or self._clock() < self._rests_until:
                metrics.HINTS.add("lost")
                return False
            self._waiting[hint] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    def flush(self, seconds: float) -> bool:
        """Wait until all that was queued is published or dropped; whether it came to that in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                hint = next(iter(self._waiting))
                # Before it is published: news that comes meanwhile needs a hint of its own.
                del self._waiting[hint]
                self._busy = True
            try:
                self._publish(hint)
            except Exception as error:  # noqa: BLE001 - whatever it is, a hint may be lost
                self._failed(error)
            else:
                self._failures = 0
                metrics.HINTS.add("sent")

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self._failures += 1
            rest = min(REST_SECONDS * 2 ** (self._failures - 1), LONGEST_REST_SECONDS)
            self._rests_until = self._clock() + rest
            dropped = len(self._waiting) + 1
            self._waiting.clear()
        metrics.HINTS.add("lost", by=dropped)
        # The error's text may hold the broker's address.
        logger.warning(
            "hints dropped, the sweep will find the work",
            error=type(error).__name__,
            dropped=dropped,
            rest_seconds=rest,
        )


class Line:
    """Publishing to the broker of the settings, for one thread: one connection, made anew after a failure."""

    def __init__(self, settings: Config, process: Process) -> None:
        # Who gives no hints does without Celery.
        from partnerhub.lib.broker import make_app

        self._app = make_app(settings, process, publishes_only=True)
        self._connection: Any = None

    def __call__(self, hint: Hint) -> None:
        """Publish it. Raises whatever the broker's client raises."""
        task, ids = hint
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        try:
            self._app.send_task(task, ids, connection=self._connection, ignore_result=True)
        except BaseException:
            broken, self._connection = self._connection, None
            broken.collect()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.release()
            self._connection = None


class _Own:
    """Publishing as this process, whose broker is looked up with the first hint, in the publisher's thread."""

    def __init__(self) -> None:
        self._publish: Callable[[Hint], None] | None = None

    def __call__(self, hint: Hint) -> None:
        if self._publish is None:
            self._publish = Line(config(), cast("Process", os.environ.get("PROCESS", "web")))
        self._publish(hint)


_publisher: Publisher | None = None
_publisher_pid = 0
_lock = threading.Lock()


def _own_publisher() -> Publisher:
    """This process's publisher. A fork has no threads of its parent's, so it makes another."""
    global _publisher, _publisher_pid
    with _lock:
        if _publisher is None or _publisher_pid != os.getpid():
            _publisher, _publisher_pid = Publisher(_Own()), os.getpid()
            atexit.register(_publisher.flush, FLUSH_SECONDS)
        return _publisher


def send_hint(task: str, *ids: int) -> None:
    """Have the task published with these ids, soon, or not at all. Never waits, never raises."""
    _own_publisher().send((task, ids))
