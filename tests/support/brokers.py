"""The brokers that this run is tested against: our PostgreSQL always, and each whose address is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from django.db import connection
from kombu import Connection

from partnerhub.lib import postgres_queue
from partnerhub.lib.broker import QUEUES, make_app, queue_name
from partnerhub.lib.config import Config, config, read_config
from partnerhub.lib.hints import Line
from tests.support.environment import ROLES

# Name → the variable that gives its address.
GIVEN = {"rabbitmq": "RABBITMQ_URL", "redis": "REDIS_URL"}


def broker_names() -> list[str]:
    """pgmq, and the brokers whose addresses are in the environment."""
    return ["pgmq", *(name for name, variable in GIVEN.items() if os.environ.get(variable))]


def header() -> str:
    """What a test run says of them."""
    missing = [f"{name} (give {variable})" for name, variable in GIVEN.items() if name not in broker_names()]
    without = f"; without {', '.join(missing)}" if missing else ""
    return f"brokers: {', '.join(broker_names())}{without}"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker with queues of this run's own."""

    name: str
    # What chooses it in the environment of a process.
    environment: Mapping[str, str]

    @property
    def settings(self) -> Config:
        """The product's settings with this broker."""
        return read_config(os.environ | self.environment)

    def send_hint(self, task: str, *ids: Any) -> None:
        """Publish at once, as a door does."""
        self.send_hints((task, ids))

    def send_hints(self, *hints: tuple[str, tuple[Any, ...]]) -> None:
        """Publish them over one connection, as a door does."""
        line = Line(self.settings, "door")
        for hint in hints:
            line(hint)
        line.close()

    def publish_raw(self, queue: str, body: Any, **options: Any) -> None:
        """Put a message of any kind into one of QUEUES."""
        app = make_app(self.settings, "operator", publishes_only=True)
        name = queue_name(self.settings, queue)
        with app.connection_for_write() as line:
            producer = line.Producer(auto_declare=False)
            producer.publish(
                body, exchange=name, routing_key=name, declare=[app.amqp.queues[name]], **options
            )


@contextmanager
def prepared_broker(name: str, *, prefix: str | None = None) -> Iterator[Broker]:
    """The broker, its queues made and empty; gone at the end. Raises where it does not answer."""
    prefix = config().broker_prefix if prefix is None else prefix
    url = "pgmq://" if name == "pgmq" else os.environ[GIVEN[name]]
    broker = Broker(name, {"BROKER_URL": url, "BROKER_PREFIX": prefix})
    queues = [queue_name(broker.settings, queue) for queue in QUEUES]
    _REMOVE[name](url, queues)
    if name == "pgmq":
        _prepare_in_postgres(queues)
    try:
        yield broker
    finally:
        _REMOVE[name](url, queues)


def _prepare_in_postgres(queues: list[str]) -> None:
    connection.ensure_connection()
    assert connection.connection is not None
    postgres_queue.prepare(
        connection.connection, queues=queues, worker=ROLES.worker, publishers=[ROLES.app, ROLES.door]
    )


def _remove_from_postgres(url: str, queues: list[str]) -> None:
    connection.ensure_connection()
    assert connection.connection is not None
    found = connection.connection.execute("SELECT to_regclass('pgmq.meta')").fetchone()
    if found != (None,):
        postgres_queue.drop(connection.connection, queues=queues)


def _remove_from_rabbitmq(url: str, queues: list[str]) -> None:
    with Connection(url, connect_timeout=5) as line:
        channel: Any = line.channel()
        for queue in queues:
            channel.queue_delete(queue)
            channel.exchange_delete(queue)


def _remove_from_redis(url: str, queues: list[str]) -> None:
    prefix = queues[0].removesuffix(QUEUES[0])
    with redis.Redis.from_url(url, socket_connect_timeout=5) as server:
        for key in server.scan_iter(match=f"{prefix}*"):
            server.delete(key)


_REMOVE: dict[str, Callable[[str, list[str]], None]] = {
    "pgmq": _remove_from_postgres,
    "rabbitmq": _remove_from_rabbitmq,
    "redis": _remove_from_redis,
}
