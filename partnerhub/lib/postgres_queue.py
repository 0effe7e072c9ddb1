"""Our own PostgreSQL as the broker: kombu's pgmq transport, with the rights that a running process has.

The queues are made beforehand, by the tables' owner (`manage.py broker prepare`): no running process may make
tables or triggers, which kombu's transport does whenever it declares a queue. So here declaring does nothing.
A process that only publishes may add messages and read none.
"""

from __future__ import annotations

from collections.abc import Iterable
from queue import Empty
from typing import Any, Final

import psycopg
from kombu.transport import pgmq as kombu_pgmq
from kombu.transport.pgmq import _NotifyWaiter
from pgmq import PGMQueue, get_embedded_install_sql
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

# A message that a worker took and did not acknowledge is seen again after this. Taken is as good as started
# (task_acks_late is off): this is for the moment between the two.
VISIBILITY_SECONDS: Final = 60
# A notification may be lost with its connection, so we look all the same.
LOOK_SECONDS: Final = 1.0
# With all threads at work nothing can be taken; the next acknowledgement, in another thread, tells nobody.
FULL_SECONDS: Final = 0.02
# A worker's: one for taking, and one for acknowledging from its threads meanwhile.
CONNECTIONS: Final = 2
# Until a connection that is away or silent is given up. TCP only; a Unix socket breaks with its server.
TIMEOUTS: Final = {
    "connect_timeout": "3",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


class Channel(kombu_pgmq.Channel):
    """Queues that are there already."""

    connection: Any

    default_visibility_timeout = VISIBILITY_SECONDS

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        pass

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        return True

    def _size(self, queue: str) -> int:
        # Asked for when a queue is declared, and then thrown away. Counting is a scan, and a right to read.
        return 0

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        pass

    def _maybe_enable_notify(self, queue: str, queue_name: str | None = None) -> None:
        self.connection.listen(queue_name or self._queue_name(queue))

    @property
    def wait_time_seconds(self) -> int:
        """None: waiting inside a statement would hold a snapshot that keeps dead rows alive."""
        return 0


class Transport(kombu_pgmq.Transport):
    """Kombu's, over connections with time-outs, and one look at a time."""

    Channel = Channel
    client: Any
    cycle: Any
    _pool: ConnectionPool[Any] | None = None
    _waiter: _NotifyWaiter | None = None

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        """Take what is there; else wait for news once and raise TimeoutError: the worker's loop turns."""
        try:
            self.cycle.get(self._deliver, timeout=0)
        except Empty:
            is_full = any(not channel.qos.can_consume() for channel in connection.channels)
            wait = FULL_SECONDS if is_full else LOOK_SECONDS
            self._listener().wait(wait if timeout is None else min(wait, timeout))
            raise TimeoutError from None

    def listen(self, queue_name: str) -> None:
        """Be woken by what is added to the queue."""
        self._listener().register(queue_name)

    def establish_connection(self) -> Any:
        """As kombu does, less its listing of the queues."""
        self._get_pgmq_client()
        self._check()
        return super(kombu_pgmq.Transport, self).establish_connection()

    def verify_connection(self, connection: Any) -> bool:
        """Whether the database answers."""
        try:
            self._check()
        except psycopg.Error:
            return False
        return True

    def close_connection(self, connection: Any) -> None:
        """Close it with all that it stood on."""
        super().close_connection(connection)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _create_pgmq_client(self) -> PGMQueue:
        self._pool = ConnectionPool(
            self._conninfo,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=self.client.connect_timeout,
            num_workers=1,
            kwargs={"autocommit": True},
            configure=_relax,
            open=True,
        )
        return PGMQueue(pool=self._pool, vt=VISIBILITY_SECONDS, init_extension=False)

    def _check(self) -> None:
        assert self._pool is not None
        with self._pool.connection() as connection:
            connection.execute("SELECT 1")

    def _listener(self) -> _NotifyWaiter:
        if self._waiter is None:
            self._waiter = _NotifyWaiter(self._conninfo)
        return self._waiter

    @property
    def _conninfo(self) -> str:
        address = self.client.transport_options["address"]
        return make_conninfo(address, application_name="partnerhub queue", **TIMEOUTS)


def _relax(connection: psycopg.Connection[Any]) -> None:
    # A hint may be lost: no commit of one waits for the disk.
    connection.execute("SET synchronous_commit TO off")


def prepare(
    connection: psycopg.Connection[Any], *, queues: Iterable[str], worker: str, publishers: Iterable[str]
) -> None:
    """Install pgmq's SQL, make the queues with their notifications, and grant to the roles.

    As the database's owner, in one transaction. A second call changes nothing.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('partnerhub.broker'))")
        found = connection.execute("SELECT to_regclass('pgmq.meta')").fetchone()
        if found == (None,):
            connection.execute(get_embedded_install_sql().encode())
        for queue in queues:
            _make_queue(connection, queue)
            _grant_queue(connection, queue, worker=worker, publishers=publishers)
        for role in (worker, *publishers):
            _execute(connection, "GRANT USAGE ON SCHEMA pgmq TO {}", sql.Identifier(role))
            # The trigger that notifies keeps there when it last did.
            _execute(
                connection,
                "GRANT SELECT, UPDATE ON pgmq.notify_insert_throttle TO {}",
                sql.Identifier(role),
            )


def drop(connection: psycopg.Connection[Any], *, queues: Iterable[str]) -> None:
    """Drop the queues with what is in them."""
    for queue in queues:
        connection.execute("SELECT pgmq.drop_queue(queue_name => %s)", [queue])


def _make_queue(connection: psycopg.Connection[Any], queue: str) -> None:
    known = connection.execute("SELECT FROM pgmq.meta WHERE queue_name = %s", [queue])
    if known.rowcount:
        return
    connection.execute("SELECT pgmq.create(queue_name => %s)", [queue])
    # Each hint at once: they are few, one a pixel that wakes.
    connection.execute(
        "SELECT pgmq.enable_notify_insert(queue_name => %s, throttle_interval_ms => 0)", [queue]
    )
    # A queue's table is all turnover: it stays small only where it is vacuumed early.
    _execute(
        connection,
        "ALTER TABLE pgmq.{} SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000,"
        " autovacuum_vacuum_cost_delay = 0)",
        sql.Identifier(f"q_{queue}"),
    )


def _grant_queue(
    connection: psycopg.Connection[Any], queue: str, *, worker: str, publishers: Iterable[str]
) -> None:
    table = sql.Identifier("pgmq", f"q_{queue}")
    _execute(connection, "GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}", table, sql.Identifier(worker))
    for role in publishers:
        # The number of what it has just added is all that it may read.
        _execute(connection, "GRANT INSERT, SELECT (msg_id) ON {} TO {}", table, sql.Identifier(role))


def _execute(connection: psycopg.Connection[Any], statement: str, *parts: sql.Composable) -> None:
    # `statement` is always one of this module's own texts.
    connection.execute(sql.SQL(statement).format(*parts))
