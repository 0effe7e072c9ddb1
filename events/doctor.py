"""What is wrong with an installation, in sentences, each with what to do about it. It changes nothing.

As the tables' owner, who sees all tenants; it logs in as each of the other roles, too. No finding holds a secret, and
none an address with a password.
"""

from __future__ import annotations

import importlib
import re
import smtplib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from django.core import mail
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from pydantic import SecretStr

from events.delivery.sweep import DAYS_AHEAD, due_pixels
from events.ledger import audit_ledger
from events.readings import days_ahead
from partnerhub.lib import pulse
from partnerhub.lib.broker import ANSWER_SECONDS, CONNECT_SECONDS, QUEUES, make_app, queue_name
from partnerhub.lib.config import config
from partnerhub.lib.db import role_names
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import GraphError
from partnerhub.lib.vault import KeyServiceAwayError
from tenants.sealed import check_secrets

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
META: Final = "graph.facebook.com"
# Fewer, and a week-end without beat ends with doors that answer 503.
FEWEST_DAYS_AHEAD: Final = 3
# A beat ticks, and a worker looks, several times in so long, however the tuning is.
FEWEST_TICKS: Final = 6
SILENT_SECONDS: Final = 60.0
# Event times and token dates are judged by these clocks; Graph's Date has whole seconds.
CLOCK_SECONDS: Final = 2.0
GRAPH_CLOCK_SECONDS: Final = 5.0
GRAPH_SECONDS: Final = 10.0
# A table that is mostly dead rows, and large enough to be felt.
DEAD_ROWS: Final = 100_000
# Of two thousand million, at which PostgreSQL stops; autovacuum begins at 200 million.
TRANSACTIONS: Final = 1_000_000_000
OLDEST_POSTGRESQL: Final = 150_000
# Of many findings of one kind, as many are told.
SHOWN: Final = 3
SECRETS_AT_A_TIME: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and what to do about it: a sentence each."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at."""

    name: str
    look: Callable[[], Iterator[Finding]]
    # Reads every secret, or every event.
    is_slow: bool = False
    # Is of no use while the database does not answer.
    asks_database: bool = True


def examine(*, quick: bool = False) -> Iterator[tuple[str, list[Finding]]]:
    """Each check by its name, with its findings; the slow ones left out where it shall be `quick`."""
    is_away = False
    for check in CHECKS:
        if (quick and check.is_slow) or (is_away and check.asks_database):
            continue
        try:
            findings = list(check.look())
        except (DatabaseError, InterfaceError, psycopg.Error) as error:
            findings = [
                Finding(
                    f"The check could not be made: the database answered with {type(error).__name__}.",
                    "Mend what else is found, and run the doctor again; look into PostgreSQL's log.",
                )
            ]
        is_away = is_away or (check.name == "database" and bool(findings))
        yield check.name, findings


def _database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError):
        yield Finding(
            "The database does not let the tables' owner in.",
            "Is PostgreSQL up, and DATABASE_URL_OWNER right? `manage.py roles prepare` makes what is missing.",
        )


def _settings() -> Iterator[Finding]:
    settings = config()
    hosts = {"PUBLIC_URL": settings.public_url, "COLLECTOR_URL": settings.collector_url}
    for name, address in hosts.items():
        if not address.startswith("https://") and not _is_local(address):
            yield Finding(
                f"{name} does not begin with https://: passwords and tokens would travel in the open.",
                f"Put it behind TLS, and give its https:// address in {name}.",
            )
    if _is_local(settings.public_url):
        # On one machine: a stand-in for Meta, and pages of errors for whoever develops.
        return
    if settings.debug:
        yield Finding(
            "DEBUG is on: pages of errors show what is inside to whoever finds one.", "Unset DEBUG."
        )
    if urlsplit(settings.graph_api_base_url).hostname != META:
        yield Finding(
            "GRAPH_API_BASE_URL is not Meta's: events and tokens go elsewhere.",
            f"Unset it, or give https://{META}.",
        )


def _is_local(address: str) -> bool:
    return urlsplit(address).hostname in LOOPBACK


def _addresses() -> dict[str, SecretStr]:
    settings = config()
    addresses = {
        "DATABASE_URL_APP": settings.database_url_app,
        "DATABASE_URL_WORKER": settings.database_url_worker,
        "DATABASE_URL_DOOR": settings.database_url_door,
    }
    return addresses | ({"DATABASE_URL_OWNER": owner} if (owner := settings.database_url_owner) else {})


_WHOSE: Final = """
SELECT rolsuper, rolbypassrls, (SELECT oid FROM pg_database WHERE datname = current_database()),
    (SELECT system_identifier FROM pg_control_system()), current_setting('synchronous_commit'), rolname
FROM pg_roles WHERE rolname = current_user
"""


def _roles() -> Iterator[Finding]:
    """Each role gets in, to the same database, is no superuser, and waits for its commits."""
    databases: dict[tuple[Any, Any], str] = {}
    names: dict[str, str] = {}
    for variable, address in _addresses().items():
        try:
            with psycopg.connect(address.get_secret_value(), connect_timeout=CONNECT_SECONDS) as session:
                row = session.execute(_WHOSE).fetchone()
        except psycopg.Error:
            yield Finding(
                f"The role of {variable} cannot log in.",
                "Is its password right, and does pg_hba.conf let it in? `manage.py roles prepare` sets it anew.",
            )
            continue
        assert row is not None
        is_super, bypasses, database, server, waits, role = row
        databases.setdefault((database, server), variable)
        if is_super:
            yield Finding(
                f"The role of {variable} is a superuser, whom no lock between tenants stops.",
                "Give each kind of process its own role: `manage.py roles prepare` makes them, and takes that away.",
            )
        elif bypasses and variable != "DATABASE_URL_OWNER":
            yield Finding(
                f"The role of {variable} bypasses row-level security, which keeps tenants apart.",
                "`manage.py roles prepare` takes that away.",
            )
        if role in names:
            yield Finding(
                f"{variable} and {names[role]} name the same role.",
                "Give each kind of process its own: none may do what another may.",
            )
        names.setdefault(role, variable)
        if waits not in ("on", "remote_apply", "remote_write", "local"):
            yield Finding(
                f"synchronous_commit is {waits} for the role of {variable}: what is told as stored may be lost.",
                "Set it to on, for this role and for the server.",
            )
    if len(databases) > 1:
        yield Finding(
            f"{' and '.join(databases.values())} name different databases.",
            "Give all of them the same host, port and database.",
        )


_GRANTED: Final = """
SELECT class.relname, role.rolname, acl.privilege_type
FROM pg_class AS class, aclexplode(class.relacl) AS acl JOIN pg_roles AS role ON role.oid = acl.grantee
WHERE class.relnamespace = 'public'::regnamespace AND class.relkind IN ('r', 'p') AND NOT class.relispartition
"""
_PRIVILEGE: Final = re.compile(r"(\w+)(?: \(([^)]*)\))?")
_UNLOCKED: Final = """
SELECT class.relname FROM pg_class AS class
WHERE class.relnamespace = 'public'::regnamespace AND class.relkind IN ('r', 'p') AND NOT class.relispartition
  AND NOT (class.relrowsecurity AND class.relforcerowsecurity)
  AND EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = class.oid AND attname IN ('advertiser_id', 'partner_id')
      AND NOT attisdropped)
ORDER BY 1
"""


def _rights() -> Iterator[Finding]:
    """The roles may do with the tables what the migrations' list says, and no more; each table is locked."""
    grants = importlib.import_module("events.migrations.0003_locks_and_grants").GRANTS
    roles = role_names()
    with connection.cursor() as cursor:
        cursor.execute(_GRANTED)
        granted = {row for row in cursor.fetchall() if row[1] in (roles.app, roles.worker, roles.door)}
        cursor.execute(_UNLOCKED)
        unlocked = [name for (name,) in cursor.fetchall()]
    wanted = {
        (table, getattr(roles, role), privilege)
        for table, by_role in grants.items()
        if not table.startswith("FUNCTION ")
        for role, privileges in by_role.items()
        for privilege, columns in _PRIVILEGE.findall(privileges)
        if not columns
    }
    if lacking := sorted(wanted - granted):
        yield Finding(
            f"Roles lack what they need: {_some([f'{who} cannot {what} {table}' for table, who, what in lacking])}.",
            "Run `manage.py migrate`. If it has nothing to do, rights were taken by hand: grant them again.",
        )
    if surplus := sorted(granted - wanted):
        yield Finding(
            f"Roles may do too much: {_some([f'{who} can {what} {table}' for table, who, what in surplus])}.",
            "Nothing of ours granted that: revoke it.",
        )
    if unlocked:
        yield Finding(
            f"Row-level security is not forced on {_some(unlocked)}: one lock between tenants is open.",
            "Run `ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY` on each, as the owner.",
        )


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        names = [f"{migration.app_label}.{migration.name}" for migration, _ in pending]
        yield Finding(f"Migrations are not applied: {_some(names)}.", "Run `manage.py migrate`.")


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


def _server() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(_SERVER)
        yield from judge_server(Server(*cursor.fetchone()))


def _partitions() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        days = days_ahead(cursor)
    if days < FEWEST_DAYS_AHEAD:
        when = "Today has none" if days < 0 else f"Days after today that have theirs: {days}"
        yield Finding(
            f"The log's partitions end. {when}. Workers make {DAYS_AHEAD} days; without today's, doors answer 503.",
            "Start a worker: it makes them at its start. Its log says why not, where it cannot.",
        )


def _broker() -> Iterator[Finding]:
    settings = config()
    scheme = urlsplit(settings.broker_url.get_secret_value()).scheme
    names = [queue_name(settings, queue) for queue in QUEUES]
    if scheme == "pgmq":
        with connection.cursor() as cursor:
            for name in names:
                # Who may not look into the schema is told that there is no such table, too.
                cursor.execute("SELECT to_regclass(%s)", [f"pgmq.q_{name}"])
                if cursor.fetchone() == (None,):
                    yield Finding(
                        f"The queue {name} is not in the database.", "Run `manage.py broker prepare`."
                    )
        return
    app = make_app(settings, "worker", publishes_only=True)
    try:
        with app.connection_for_write() as line:
            line.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS + ANSWER_SECONDS)
            if scheme.startswith("redis"):
                channel: Any = line.default_channel
                channel.client.ping()
                return
            for name in names:
                # Its own channel: a queue that is missing ends it.
                channel = line.channel()
                with channel:
                    try:
                        channel.queue_declare(name, passive=True)
                    except line.channel_errors:
                        yield Finding(
                            f"The queue {name} is not at the broker.", "Start a worker, which makes it."
                        )
    except Exception as error:  # noqa: BLE001 - each broker's client has errors of its own
        # Not its text, which may hold the address.
        yield Finding(
            f"The broker does not answer ({type(error).__name__}). Events are delivered, and more slowly.",
            "Is it up, and BROKER_URL right, with its name and password?",
        )


def _workers() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'partnerhub worker'"
        )
        (sessions,) = cursor.fetchone()
    if not sessions:
        yield Finding(
            "No worker is connected to the database: nothing is delivered.",
            "Start one: PROCESS=worker celery --app partnerhub worker.",
        )
    seconds = max(SILENT_SECONDS, FEWEST_TICKS * config().delivery_sweep_seconds)
    if pixels := due_pixels(limit=1_000, age_seconds=seconds):
        yield Finding(
            f"Work has waited for {seconds:g} s or longer that no worker is at. Pixels: {len(pixels)}.",
            "Are there enough workers (docs/monitoring.md)? Their logs say what stops them.",
        )


def _beat() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        ages = pulse.ages(cursor)
    seconds = max(SILENT_SECONDS, FEWEST_TICKS * config().delivery_sweep_seconds)
    start = "PROCESS=worker celery --app partnerhub beat"
    if not ages:
        yield Finding(
            "No beat is connected to the database: sweeps, daily tests and new partitions wait for it.",
            f"Start one: {start}.",
        )
    elif ages[0] > seconds:
        yield Finding(
            f"Beat has not ticked for {ages[0]:.0f} s.",
            "Its log says why: as a rule the broker is away to it.",
        )
    if len(ages) > 1:
        yield Finding(
            f"More than one beat is connected: {len(ages)}.", "Run one: two do no harm, and each thing twice."
        )


def _vault() -> Iterator[Finding]:
    try:
        faults = check_secrets(batch=SECRETS_AT_A_TIME).faults
    except KeyServiceAwayError as error:
        yield Finding(f"The secrets could not be opened. {error}", "Run the doctor again when it answers.")
        return
    if faults:
        yield Finding(
            f"Secrets do not open ({len(faults)}): {_some([fault.rstrip('.') for fault in faults])}.",
            "Is a master key missing from VAULT_KEYS? `manage.py vault check` lists them all; see docs/vault.md.",
        )


def _clock() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        before = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        (theirs,) = cursor.fetchone()
        after = time.time()
    # It was read somewhere between the two.
    apart = max(before - theirs, theirs - after, 0.0)
    if apart > CLOCK_SECONDS:
        yield Finding(
            f"This host's clock and PostgreSQL's are {apart:.1f} s apart.",
            "Have both set by NTP: events are judged too old, or in the future, by them.",
        )


def _graph() -> Iterator[Finding]:
    settings = config()
    try:
        client = GraphClient(base_url=settings.graph_api_base_url, version=settings.graph_api_version)
        before = time.time()
        probe = client.probe(deadline_seconds=GRAPH_SECONDS)
        after = time.time()
        client.close()
    except ValueError as error:
        yield Finding(str(error), "See docs/configuration.md.")
        return
    except GraphError as error:
        yield Finding(
            f"Graph does not answer from here. {error}",
            "Do name service, firewall and proxy let this host reach it on port 443?",
        )
        return
    if probe.version is None:
        yield Finding(
            "What answers at GRAPH_API_BASE_URL does not say which version of Graph it speaks.",
            "Something between here and Graph answers in its place: look at proxies, and at GRAPH_API_BASE_URL.",
        )
    elif probe.version != settings.graph_api_version:
        yield Finding(
            f"Graph answers in {probe.version}, not in GRAPH_API_VERSION {settings.graph_api_version}.",
            "Meta has withdrawn the version: update PartnerHub, or give one that Meta still speaks.",
        )
    if probe.date is not None:
        theirs = (probe.date if probe.date.tzinfo else probe.date.replace(tzinfo=UTC)).timestamp()
        apart = max(before - theirs - 1.0, theirs - after, 0.0)
        if apart > GRAPH_CLOCK_SECONDS:
            yield Finding(
                f"This host's clock and Graph's are {apart:.0f} s apart.",
                f"Have it set by NTP: here it is {datetime.fromtimestamp(after, UTC):%Y-%m-%d %H:%M:%S} UTC.",
            )


def _mail() -> Iterator[Finding]:
    server = mail.get_connection(fail_silently=False)
    try:
        server.open()
        server.close()
    except (OSError, smtplib.SMTPException) as error:
        yield Finding(
            f"The mail server takes nothing from here ({type(error).__name__}): invitations and warnings stay unsent.",
            "Is EMAIL_URL right, with its name and password, and does the server let this host in?",
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


def _bloat() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(_DEAD, [DEAD_ROWS])
        dead = cursor.fetchall()
        cursor.execute(_PREPARED)
        (prepared,) = cursor.fetchone()
        cursor.execute(_SLOTS)
        (slots,) = cursor.fetchone()
    if dead:
        yield Finding(
            f"Tables hold more dead rows than live ones: {_some([f'{name} ({rows:,})' for name, rows in dead])}.",
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


def _ledger() -> Iterator[Finding]:
    audit = audit_ledger(None, overdue_seconds=FEWEST_TICKS * config().delivery_sweep_seconds)
    if not audit.holds:
        found = [f"{one.rule} pixel {one.pixel_id}: {one.text}" for one in audit.findings]
        yield Finding(
            f"The books disagree with the log: {_some(found)}.",
            "`manage.py ledger check` lists all. Keep the database as it is, and report it: it is a fault of ours.",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


CHECKS: Final = (
    Check("settings", _settings, asks_database=False),
    Check("database", _database, asks_database=False),
    Check("roles", _roles, asks_database=False),
    Check("rights", _rights),
    Check("migrations", _migrations),
    Check("server", _server),
    Check("partitions", _partitions),
    Check("broker", _broker),
    Check("workers", _workers),
    Check("beat", _beat),
    Check("clock", _clock),
    Check("Graph", _graph, asks_database=False),
    Check("mail", _mail, asks_database=False),
    Check("bloat", _bloat),
    Check("vault", _vault, is_slow=True),
    Check("ledger", _ledger, is_slow=True),
)
