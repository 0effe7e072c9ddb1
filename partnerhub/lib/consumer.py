"""Celery's consumer, less what we do not use: no gossip, mingle, events, remote control or delayed delivery.

They are left out here rather than by flags, so that a worker started without flags is the same worker. What
is no task of ours is dropped with one line, which holds nothing of what it said.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import bootsteps
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.connection import Connection
from celery.worker.consumer.tasks import Tasks as CeleryTasks

logger = structlog.get_logger(__name__)


class Tasks(CeleryTasks):
    """The consumer of tasks, which needs a connection and no more."""

    requires = (Connection,)


class Consumer(CeleryConsumer):
    """Takes messages and hands them to the pool."""

    # Celery's steps make one, over a connection of its own.
    event_dispatcher = None
    connection_errors: tuple[type[Exception], ...]

    class Blueprint(bootsteps.Blueprint):
        """What is started with a connection, and again with the next."""

        name = "Consumer"
        default_steps = {
            "celery.worker.consumer.connection:Connection",
            "partnerhub.lib.consumer:Tasks",
            "celery.worker.consumer.consumer:Evloop",
        }

        def shutdown(self, parent: Any) -> None:
            """Shut all steps down."""
            self.send_all(parent, "shutdown")

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Drop what is no task."""
        self._drop(message, "It is no task.")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Drop a task that we do not have."""
        self._drop(message, "It names no task of ours.")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Drop a task that is not put together as Celery does."""
        self._drop(message, "It is ill-made.")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop what cannot be read."""
        self._drop(message, "It cannot be read.")

    def _drop(self, message: Any, reason: str) -> None:
        logger.warning("message dropped", reason=reason, size=len(message.body or b""))
        # Not requeued, and not to be seen again where the broker keeps what is rejected.
        message.ack_log_error(logger, self.connection_errors)
