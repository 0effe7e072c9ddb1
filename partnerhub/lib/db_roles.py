"""The four database roles that keep tenants apart, and the database that belongs to the first of them.

Used by the demo, the tests and the operator's command, always over a superuser's connection (or one that may
make roles with BYPASSRLS and databases). What each role may do with which table is not here: the migrations
grant that. It refuses to make any of them a superuser, and takes that away where it finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


@dataclass(frozen=True, slots=True)
class RoleNames:
    """The roles' names in PostgreSQL; they belong to the whole server, not to one database."""

    owner: str
    app: str
    worker: str
    door: str

    @classmethod
    def with_prefix(cls, prefix: str) -> RoleNames:
        return cls(*(f"{prefix}_{role}" for role in ("owner", "app", "worker", "door")))

    def all(self) -> tuple[str, str, str, str]:
        return (self.owner, self.app, self.worker, self.door)


DEFAULT_NAMES = RoleNames.with_prefix("partnerhub")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until PostgreSQL ends a statement, a wait for a lock, a transaction that idles; 0 is never.

    Every role has them, because one forgotten snapshot keeps dead versions of the hottest rows alive for all
    (46 % slower in half a minute), and one forgotten lock stops a pixel.
    """

    statement: int
    lock: int
    idle_in_transaction: int


# A migration may scan a table of any size. But while it waits for a lock, everybody queues behind it: it
# fails soon and is started again. Between its statements it runs Python over rows, for minutes at most.
OWNER_TIMEOUTS = Timeouts(statement=0, lock=10, idle_in_transaction=300)
# A page whose query takes longer is gone from the browser, and gunicorn ends a request at 30 s.
APP_TIMEOUTS = Timeouts(statement=15, lock=5, idle_in_transaction=15)
# The longest work is a slice of a search or of retention. No network inside a transaction: no idling either.
WORKER_TIMEOUTS = Timeouts(statement=60, lock=10, idle_in_transaction=15)
# Clients wait for the answer, and those behind them in a bounded queue: better a 503 that they repeat.
DOOR_TIMEOUTS = Timeouts(statement=5, lock=3, idle_in_transaction=5)

# Any number, the same in every process: two of them at once would fail with "tuple concurrently updated".
_ADVISORY_LOCK = 0x7061_7274_6E65_7268


def ensure_roles(
    admin: psycopg.Connection,
    *,
    database: str,
    names: RoleNames = DEFAULT_NAMES,
    passwords: Mapping[str, str] | None = None,
) -> RoleNames:
    """The four roles as they must be, and `database`, owned by the owner role.

    `admin` is in autocommit, on any other database than the new one. `passwords` maps a role's name to its
    password, of which only the SCRAM verifier travels; a role that is not in it keeps what it has. A second
    call changes nothing. Runs side by side wait for each other.
    """
    admin.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
    try:
        for name, timeouts in (
            (names.owner, OWNER_TIMEOUTS),
            (names.app, APP_TIMEOUTS),
            (names.worker, WORKER_TIMEOUTS),
            (names.door, DOOR_TIMEOUTS),
        ):
            _ensure_role(admin, name, bypasses=name == names.owner, timeouts=timeouts)
        for name, password in (passwords or {}).items():
            verifier = admin.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            _execute(admin, "ALTER ROLE {} PASSWORD {}", sql.Identifier(name), sql.Literal(verifier.decode()))
        _ensure_database(admin, database, names)
    finally:
        admin.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
    return names


def drop_database(admin: psycopg.Connection, database: str) -> None:
    """Drops `database` with everything in it, cutting off who is connected; the roles stay."""
    _execute(admin, "DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(database))


def _execute(connection: psycopg.Connection, statement: str, *parts: sql.Composable) -> None:
    # `statement` is always one of this module's own texts.
    connection.execute(sql.SQL(statement).format(*parts))


def _ensure_role(admin: psycopg.Connection, name: str, *, bypasses: bool, timeouts: Timeouts) -> None:
    wanted = (True, False, bypasses, False, False, False)
    query = (
        "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
        " FROM pg_roles WHERE rolname = %s"
    )
    found = admin.execute(query, [name]).fetchone()
    if found is None:
        _execute(admin, "CREATE ROLE {}", sql.Identifier(name))
    if found != wanted:
        _execute(
            admin,
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION {}",
            sql.Identifier(name),
            sql.SQL("BYPASSRLS" if bypasses else "NOBYPASSRLS"),
        )
    for setting, seconds in (
        ("statement_timeout", timeouts.statement),
        ("lock_timeout", timeouts.lock),
        ("idle_in_transaction_session_timeout", timeouts.idle_in_transaction),
    ):
        _execute(
            admin,
            "ALTER ROLE {} SET {} = {}",
            sql.Identifier(name),
            sql.Identifier(setting),
            sql.Literal(f"{seconds}s"),
        )


def _ensure_database(admin: psycopg.Connection, database: str, names: RoleNames) -> None:
    query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
    found = admin.execute(query, [database]).fetchone()
    if found is None:
        statement = "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0"
        _execute(admin, statement, sql.Identifier(database), sql.Identifier(names.owner))
    elif found != (names.owner,):
        _execute(
            admin, "ALTER DATABASE {} OWNER TO {}", sql.Identifier(database), sql.Identifier(names.owner)
        )
    # By default everybody may connect to a database and fill its disk with temporary tables.
    _execute(admin, "REVOKE ALL ON DATABASE {} FROM PUBLIC", sql.Identifier(database))
    _execute(
        admin,
        "GRANT CONNECT ON DATABASE {} TO {}",
        sql.Identifier(database),
        sql.SQL(", ").join(map(sql.Identifier, names.all())),
    )
    inside = make_conninfo(admin.info.dsn, dbname=database, password=admin.info.password or None)
    with psycopg.connect(inside, autocommit=True) as connection:
        # Done by PostgreSQL 15 and later, but not for a database that was upgraded from an older one.
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
