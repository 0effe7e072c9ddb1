"""The database: that it keeps what it was told, has this code's tables and the days to come, and is not bloated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from events.delivery.sweep import DAYS_AHEAD
from events.doctor.finding import Finding, some
from events.readings import days_ahead

# Fewer, and a week-end without beat ends with doors that answer 503.
FEWEST_DAYS_AHEAD: Final = 3
# A table that is mostly dead rows, and large enough to be felt.
DEAD_ROWS: Final = 100_000
# Of two thousand million, at which PostgreSQL stops; autovacuum begins at 200 million.
TRANSACTIONS: Final = 1_000_000_000
OLDEST_POSTGRESQL: Final = 150_000


def look_at_database() -> Iterator[Finding]:
    """Whether the owner gets in."""
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError):
        yield Finding(
            "The database does not let the tables' owner in.",
            "Is PostgreSQL up, and DATABASE_URL_OWNER right? `manage.py roles prepare` makes what is missing.",
        )


def look_at_migrations() -> Iterator[Finding]:
    """Whether the tables are this code's."""
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        names = [f"{migration.app_label}.{migration.name}" for migration, _ in pending]
        yield Finding(f"Migrations are not applied: {some(names)}.", "Run `manage.py migrate`.")


_SERVER: Final = """
SELECT current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean,
    current_setting('server_version_num')::integer, current_setting('server_encoding'), pg_is_in_recovery(),
    (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relpersistence = 'u')
"""


@dataclass(frozen=True, slots=True)
class Server:
    """What PostgreSQL says of itself."""

    fsync: bool
    full_page_writes: bool
    version: int
    encoding: str
    is_replica: bool
    transactions: int
    unlogged: str | None


def judge_server(server: Server) -> Iterator[Finding]:
    """What of it breaks our promise that 200 is durable, or will."""
    for name, is_on in (("fsync", server.fsync), ("full_page_writes", server.full_page_writes)):
        if not is_on:
            yield Finding(
                f"PostgreSQL runs with {name} off: a crash may lose or spoil events that were told as stored.",
                f"Set {name} to on, and reload.",
            )
    if server.unlogged:
        yield Finding(
            f"Tables are unlogged: {server.unlogged}. A crash empties them.",
            "Run `ALTER TABLE … SET LOGGED` on each.",
        )
    if server.is_replica:
        yield Finding(
            "The database is a replica, which can only be read.",
            "Give the primary's address in DATABASE_URL_….",
        )
    if server.version < OLDEST_POSTGRESQL:
        yield Finding(
            f"PostgreSQL {server.version // 10_000} is too old.",
            "Use version 15 or later: see docs/operations.md.",
        )
    if server.encoding != "UTF8":
        yield Finding(
            f"The database's encoding is {server.encoding}, in which some names cannot be stored.",
            "Make a database with ENCODING 'UTF8', and restore into it.",
        )
    if server.transactions > TRANSACTIONS:
        yield Finding(
            f"The oldest row is {server.transactions:,} transactions old; at two thousand million PostgreSQL stops.",
            "Find what holds vacuum up (an old transaction, a prepared one, a dead slot); then VACUUM FREEZE.",
        )


def look_at_server() -> Iterator[Finding]:
    """Whether PostgreSQL keeps what it was told."""
    with connection.cursor() as cursor:
        cursor.execute(_SERVER)
        yield from judge_server(Server(*cursor.fetchone()))


def look_at_partitions() -> Iterator[Finding]:
    """Whether the log has the days to come."""
    with connection.cursor() as cursor:
        days = days_ahead(cursor)
    if days < FEWEST_DAYS_AHEAD:
        when = "Today has none" if days < 0 else f"Days after today that have theirs: {days}"
        yield Finding(
            f"The log's partitions end. {when}. Workers make {DAYS_AHEAD} days; without today's, doors answer 503.",
            "Start a worker: it makes them at its start. Its log says why not, where it cannot.",
        )


_DEAD: Final = """
SELECT relname, n_dead_tup FROM pg_stat_user_tables
WHERE n_dead_tup > %s AND n_dead_tup > n_live_tup ORDER BY n_dead_tup DESC
"""
_PREPARED: Final = """
SELECT count(*) FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < now() - interval '10 minutes'
"""
_SLOTS: Final = "SELECT count(*) FROM pg_replication_slots WHERE NOT active"


def look_at_bloat() -> Iterator[Finding]:
    """Whether dead rows, or what keeps them, pile up."""
    with connection.cursor() as cursor:
        cursor.execute(_DEAD, [DEAD_ROWS])
        dead = cursor.fetchall()
        cursor.execute(_PREPARED)
        (prepared,) = cursor.fetchone()
        cursor.execute(_SLOTS)
        (slots,) = cursor.fetchone()
    if dead:
        yield Finding(
            f"Tables hold more dead rows than live ones: {some([f'{name} ({rows:,})' for name, rows in dead])}.",
            "Vacuum does not keep up, or an old transaction holds it up: look for it in pg_stat_activity.",
        )
    if prepared:
        yield Finding(
            f"Prepared transactions are older than ten minutes ({prepared}), and hold up vacuum.",
            "Nothing of ours prepares any: COMMIT or ROLLBACK PREPARED.",
        )
    if slots:
        yield Finding(
            f"Replication slots have no reader ({slots}): the disk fills with what is kept for them.",
            "Start the replica again, or drop its slot with pg_drop_replication_slot().",
        )
