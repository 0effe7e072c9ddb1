"""Taking messages: Celery's consumer less what we do not use, and a task that takes ids and nothing else.

Gossip, mingle, events, remote control and delayed delivery are left out here rather than by flags, so that a
worker started without flags is the same worker. What is no task of ours is dropped with one line, which holds
nothing of what it said.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from celery import Task, bootsteps
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.connection import Connection
from celery.worker.consumer.tasks import Tasks as CeleryTasks
from structlog.contextvars import bound_contextvars

logger = structlog.get_logger(__name__)

LARGEST_ID: Final = 2**63 - 1

# How late a worker over RabbitMQ or Redis notices that it shall end.
LOOP_SECONDS: Final = 0.5


class IdTask(Task):  # type: ignore[type-arg]  # generic in the stubs alone
    """A task whose arguments are ids. A message that has others is dropped."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, where each argument is an id and there are as many as it takes."""
        is_ours = not kwargs and len(args) == self.run.__code__.co_argcount
        if not is_ours or not all(type(one) is int and 0 < one <= LARGEST_ID for one in args):
            logger.warning("message dropped", reason="Its arguments are not the task's ids.", task=self.name)
            return None
        # Each line that the task writes says of what it is.
        names = self.run.__code__.co_varnames
        with bound_contextvars(
            task=self.name, request_id=self.request.id, **dict(zip(names, args, strict=False))
        ):
            return self.run(*args)


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

    def register_with_event_loop(self, hub: Any) -> None:
        """As Celery does; and have the loop turn now and then, to see that it shall end.

        A signal does not end its waiting (PEP 475), and of Celery's own timers we have none.
        """
        super().register_with_event_loop(hub)
        hub.call_repeatedly(LOOP_SECONDS, lambda: None)

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
