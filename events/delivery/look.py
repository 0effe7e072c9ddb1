"""Each worker's own look into the database, and the watch over its progress.

A broker's messages are hints, and Celery workers have been seen alive and deaf for days after a broker's
hiccup (celery 10205, 10302). So a worker that has had nothing to do for a while looks by itself: without any
broker, delivery is slower and never stops. And one that takes no work while work waits ends itself, for its
supervisor to start anew: a ping or a timer would prove nothing.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Final

import structlog
from celery import bootsteps
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from events.delivery.engine import deliver_pixel
from events.delivery.leases import BEATS_A_LEASE, LEASES
from events.delivery.progress import PROGRESS
from events.delivery.sweep import due_pixels, make_partitions, take_over_expired
from partnerhub.lib.config import config
from partnerhub.lib.graph import graph_client

logger = structlog.get_logger(__name__)

# Of one look; then it looks again.
LOOK_PIXELS: Final = 20
# What runs may take so long to end, once the watch has given the process up: longer than any send's deadline.
DRAIN_SECONDS: Final = 45.0
WATCH_SECONDS: Final = 1.0
# The exit code of a process that could not drain: sysexits.h, EX_SOFTWARE.
STUCK_EXIT_CODE: Final = 70


class Look(bootsteps.StartStopStep):
    """A step of the worker's blueprint: its threads run from before the broker is connected to the end."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._ends = threading.Event()
        self._looker: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        """Start looking and watching."""
        logger.info("this worker looks by itself", every_seconds=config().delivery_idle_seconds)
        self._looker = threading.Thread(target=self._look_on, name="look", daemon=True)
        self._looker.start()
        threading.Thread(target=self._watch, args=(worker,), name="watch", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def stop(self, worker: Any) -> None:
        """Look no more, and wait for the send that is under way."""
        self._ends.set()
        if self._looker is not None:
            self._looker.join(DRAIN_SECONDS)

    def terminate(self, worker: Any) -> None:
        """Look no more."""
        self._ends.set()

    def _look_on(self) -> None:
        idle = config().delivery_idle_seconds
        has_partitions = False
        while not self._ends.wait(min(idle, max(0.05, idle - PROGRESS.idle_seconds()))):
            try:
                if not has_partitions:
                    make_partitions()
                    has_partitions = True
                if PROGRESS.idle_seconds() >= idle:
                    self._look()
            except (DatabaseError, InterfaceError) as error:
                # It is away, for everybody: no fault of this process.
                logger.warning("no look into the database", error=type(error).__name__)
                PROGRESS.looked(has_worked=False)
                connection.close()
            except Exception:
                logger.exception("a look failed")
            finally:
                close_old_connections()
        connection.close()

    def _look(self) -> None:
        take_over_expired()
        deliveries = 0
        for pixel_id in due_pixels(limit=LOOK_PIXELS):
            if self._ends.is_set():
                return
            deliveries += deliver_pixel(pixel_id, graph_client()).deliveries
        PROGRESS.looked(has_worked=deliveries > 0)

    def _beat(self) -> None:
        """Keep the leases of what this process works on; also while it drains, to its last send."""
        while True:
            time.sleep(config().delivery_lease_seconds / BEATS_A_LEASE)
            try:
                LEASES.beat()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("no heartbeat", error=type(error).__name__)
                connection.close()

    def _watch(self, worker: Any) -> None:
        limit = config().delivery_stuck_seconds
        # Until it has been idle for so long, a process that has nothing to do does not look either.
        idle = config().delivery_idle_seconds
        while not self._ends.wait(WATCH_SECONDS):
            if PROGRESS.stuck_seconds() > idle + limit:
                reason = "work waits and is not taken"
            elif PROGRESS.deaf_seconds() > limit and _is_connected(worker):
                reason = "no message comes from the broker"
            else:
                continue
            logger.critical("this worker ends itself", reason=reason)
            # Warm shutdown: what runs is finished. Where that cannot be, the process ends all the same.
            os.kill(os.getpid(), signal.SIGTERM)
            if not self._ends.wait(DRAIN_SECONDS):
                os._exit(STUCK_EXIT_CODE)
            return


def _is_connected(worker: Any) -> bool:
    """Whether the worker believes that it hears its broker."""
    consumer = getattr(worker, "consumer", None)
    return getattr(consumer, "connection", None) is not None
