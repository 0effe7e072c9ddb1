"""The doctor finds each thing that can be wrong, one at a time, and nothing where nothing is."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from events import doctor
from events.delivery import sweep
from events.doctor import CHECKS, neighbours, rights, settings, stored
from events.doctor import database as tables
from events.doctor.database import Server, judge_server
from events.doctor.finding import Finding
from onboarding.models import SealedToken
from partnerhub.lib.config import config, read_config
from partnerhub.lib.pulse import Pulse
from tests.events.delivery.conftest import forget_events
from tests.support.beat import BeatProcess
from tests.support.brokers import prepared_broker
from tests.support.environment import ROLES, TestDatabase
from tests.support.factories import make_connected_pixel
from tests.support.log import append_count
from tests.support.raw_server import RawConnection, RawServer
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until

NOBODY = "127.0.0.1:9"


@pytest.fixture
def with_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Other variables, for the doctor alone."""

    def change(**variables: str) -> None:
        changed = read_config(os.environ | variables)
        for room in (neighbours, rights, settings, stored):
            monkeypatch.setattr(room, "config", lambda: changed)

    return change


def findings(name: str) -> list[Finding]:
    """What one check finds. Every problem and every remedy is a sentence."""
    (check,) = [one for one in CHECKS if one.name == name]
    found = list(check.look())
    for finding in found:
        assert finding.problem[0].isupper() or finding.problem.startswith("synchronous_commit")
        assert finding.problem.endswith(".")
        assert finding.remedy.endswith((".", "?"))
    return found


def problem(name: str) -> str:
    """The one thing that a check finds."""
    (finding,) = findings(name)
    return finding.problem


@contextmanager
def broken(*statements: str) -> Iterator[None]:
    """The database, broken by these for as long as the block."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield
        transaction.set_rollback(True)


# The whole.


def test_in_a_healthy_installation_nothing_is_wrong(
    transactional_db: None, with_settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_connected_pixel()
    append_count(target.pixel, 3)
    out = io.StringIO()
    with SandboxProcess() as sandbox, prepared_broker("pgmq") as broker:
        with_settings(
            **broker.environment,
            GRAPH_API_BASE_URL=sandbox.base_url,
            PUBLIC_URL="http://localhost:8000",
            COLLECTOR_URL="http://localhost:8001",
        )
        monkeypatch.setattr(django_settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        monkeypatch.setattr(django_settings, "EMAIL_PORT", sandbox.smtp_port)
        with (
            WorkerProcess(broker.environment, GRAPH_API_BASE_URL=sandbox.base_url),
            BeatProcess(broker.environment, DELIVERY_SWEEP_SECONDS="0.2"),
        ):
            wait_until(lambda: not findings("beat"))
            call_command("doctor", stdout=out)
    forget_events()

    lines = out.getvalue().splitlines()
    assert lines[-1] == "Nothing is wrong."
    assert lines[:-1] == [f"{check.name}: well" for check in CHECKS]


def test_with_findings_it_ends_with_1_and_says_what_to_do(
    transactional_db: None, with_settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_settings(PUBLIC_URL="http://hub.example")
    monkeypatch.setattr(django_settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--quick", stdout=out)

    assert ended.value.code == 1
    assert "settings: see below" in out.getvalue()
    assert "  - PUBLIC_URL does not begin with https://" in out.getvalue()
    assert "    Put it behind TLS" in out.getvalue()
    # No worker, no beat, no Graph, no mail server: all are told at once.
    assert all(f"{name}: see below" in out.getvalue() for name in ("workers", "beat", "Graph", "mail"))
    assert "vault:" not in out.getvalue()


def test_it_looks_as_the_tables_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_settings, "PROCESS", "worker")

    with pytest.raises(CommandError, match="as the tables' owner"):
        call_command("doctor")


def test_while_the_database_is_away_what_asks_it_is_left_out(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "PORT", "9")
        patched.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        found = dict(doctor.examine(quick=True))

    assert [one.problem for one in found["database"]] == ["The database does not let the tables' owner in."]
    assert found.keys() == {"settings", "database", "roles", "Graph", "mail"}


# Settings.


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PUBLIC_URL": "http://hub.example"}, "PUBLIC_URL does not begin with https://"),
        ({"COLLECTOR_URL": "http://events.hub.example"}, "COLLECTOR_URL does not begin with https://"),
        ({"DEBUG": "true"}, "DEBUG is on"),
        ({"GRAPH_API_BASE_URL": "https://graph.example"}, "GRAPH_API_BASE_URL is not Meta's"),
    ],
)
def test_settings_that_are_unsafe_in_the_open_are_found(
    variables: dict[str, str], words: str, with_settings: Callable[..., None]
) -> None:
    good = {
        "PUBLIC_URL": "https://hub.example",
        "COLLECTOR_URL": "https://events.hub.example",
        "GRAPH_API_BASE_URL": "https://graph.facebook.com",
    }
    with_settings(**good)
    assert findings("settings") == []

    with_settings(**(good | variables))

    assert problem("settings").startswith(words)


# Roles and their rights.


@pytest.mark.parametrize(
    "variable", ["DATABASE_URL_APP", "DATABASE_URL_WORKER", "DATABASE_URL_DOOR", "DATABASE_URL_OWNER"]
)
def test_a_role_that_cannot_log_in_is_found(variable: str, with_settings: Callable[..., None]) -> None:
    assert findings("roles") == []

    with_settings(**{variable: f"postgresql://canary:canary-secret@{NOBODY}/x"})

    assert problem("roles") == f"The role of {variable} cannot log in."


def test_a_superuser_is_found(database: TestDatabase, with_settings: Callable[..., None]) -> None:
    with_settings(DATABASE_URL_APP=database.admin_url())

    assert problem("roles").startswith("The role of DATABASE_URL_APP is a superuser")


def test_one_role_for_two_kinds_of_process_is_found(
    database: TestDatabase, with_settings: Callable[..., None]
) -> None:
    with_settings(DATABASE_URL_WORKER=database.url("owner"))

    problems = [finding.problem for finding in findings("roles")]

    assert (
        "The role of DATABASE_URL_WORKER bypasses row-level security, which keeps tenants apart." in problems
    )
    assert "DATABASE_URL_OWNER and DATABASE_URL_WORKER name the same role." in problems


def test_a_role_that_does_not_wait_for_its_commits_is_found(
    database: TestDatabase, with_settings: Callable[..., None]
) -> None:
    url = database.url("door")
    mark = "&" if "?" in url else "?"
    with_settings(DATABASE_URL_DOOR=f"{url}{mark}options=-csynchronous_commit%3Doff")

    assert problem("roles").startswith("synchronous_commit is off for the role of DATABASE_URL_DOOR")


def test_roles_of_different_databases_are_found(
    database: TestDatabase, with_settings: Callable[..., None]
) -> None:
    with database.server.admin() as admin:
        admin.execute(f'GRANT CONNECT ON DATABASE postgres TO "{ROLES.door}"')
    with_settings(DATABASE_URL_DOOR=database.server.url(ROLES.door, "postgres"))

    assert "name different databases" in problem("roles")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("REVOKE INSERT ON events_delivery FROM {worker}", "{worker} cannot INSERT events_delivery"),
        ("GRANT SELECT ON onboarding_sealedtoken TO {app}", "{app} can SELECT onboarding_sealedtoken"),
        ("ALTER TABLE events_delivery NO FORCE ROW LEVEL SECURITY", "not forced on events_delivery"),
        ("ALTER TABLE onboarding_pixel DISABLE ROW LEVEL SECURITY", "not forced on onboarding_pixel"),
    ],
)
def test_rights_that_are_missing_or_too_many_are_found(db: None, statement: str, words: str) -> None:
    names = {"app": ROLES.app, "worker": ROLES.worker}
    assert findings("rights") == []

    with broken(statement.format(**names)):
        assert words.format(**names) in problem("rights")


# The database.


def test_a_migration_that_is_not_applied_is_found(db: None) -> None:
    assert findings("migrations") == []

    with broken("DELETE FROM django_migrations WHERE app = 'events' AND name LIKE '0003%'"):
        assert problem("migrations") == "Migrations are not applied: events.0003_locks_and_grants."


GOOD_SERVER = {
    "fsync": True,
    "full_page_writes": True,
    "version": 180_000,
    "encoding": "UTF8",
    "is_replica": False,
    "transactions": 200_000_000,
    "unlogged": None,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fsync": False}, "fsync off"),
        ({"full_page_writes": False}, "full_page_writes off"),
        ({"version": 140_009}, "PostgreSQL 14 is too old"),
        ({"encoding": "SQL_ASCII"}, "encoding is SQL_ASCII"),
        ({"is_replica": True}, "is a replica"),
        ({"transactions": 1_500_000_000}, "1,500,000,000 transactions old"),
        ({"unlogged": "events_delivery"}, "events_delivery"),
    ],
)
def test_a_server_that_does_not_keep_what_it_was_told_is_found(
    changes: dict[str, object], words: str
) -> None:
    assert list(judge_server(Server(**GOOD_SERVER))) == []  # type: ignore[arg-type]

    (finding,) = judge_server(Server(**(GOOD_SERVER | changes)))  # type: ignore[arg-type]

    assert words in finding.problem


def test_the_server_is_asked_itself(db: None) -> None:
    assert findings("server") == []

    with broken("CREATE UNLOGGED TABLE forgotten (id bigint)"):
        assert problem("server") == "Tables are unlogged: forgotten. A crash empties them."


@pytest.mark.parametrize(
    ("day", "words"), [(0, "Today has none"), (2, "Days after today that have theirs: 1")]
)
def test_partitions_that_are_missing_soon_are_found(db: None, day: int, words: str) -> None:
    assert findings("partitions") == []
    leaf = (datetime.now(UTC) + timedelta(days=day)).strftime("events_event_%Y%m%d")

    with broken(f"DROP TABLE {leaf}"):
        assert words in problem("partitions")


def test_dead_rows_and_forgotten_slots_are_found(
    transactional_db: None, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings("bloat") == []
    monkeypatch.setattr(tables, "DEAD_ROWS", 50)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE dying WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 100) AS n"
        )
        try:
            cursor.execute("DELETE FROM dying")
            cursor.execute("SELECT pg_stat_force_next_flush()")
            wait_until(lambda: bool(findings("bloat")))
            assert "dying (100)" in problem("bloat")
        finally:
            cursor.execute("DROP TABLE dying")


# What runs beside.


def test_queues_that_were_not_prepared_are_found(
    transactional_db: None, with_settings: Callable[..., None]
) -> None:
    with_settings(BROKER_PREFIX="nowhere_")

    assert [finding.problem for finding in findings("broker")] == [
        "The queue nowhere_hints is not in the database.",
        "The queue nowhere_jobs is not in the database.",
    ]


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_is_away_is_found_and_its_password_not_told(
    scheme: str, with_settings: Callable[..., None]
) -> None:
    with_settings(BROKER_URL=f"{scheme}://guest:canary-secret@{NOBODY}//")

    (finding,) = findings("broker")

    assert finding.problem.startswith("The broker does not answer")
    assert "canary" not in f"{finding}"


def test_without_a_worker_it_says_so_and_what_waits(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_connected_pixel()
    append_count(target.pixel, 1)
    asked: list[float] = []

    def due(*, limit: int, age_seconds: float) -> list[int]:
        asked.append(age_seconds)
        return sweep.due_pixels(limit=limit, age_seconds=0.0)

    monkeypatch.setattr(neighbours, "due_pixels", due)

    problems = [finding.problem for finding in findings("workers")]

    forget_events()
    assert problems == [
        "No worker is connected to the database: nothing is delivered.",
        "Work has waited for 60 s or longer that no worker is at. Pixels: 1.",
    ]
    assert asked == [60.0]


def test_beats_that_are_missing_silent_or_two_are_found(
    transactional_db: None, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problem("beat").startswith("No beat is connected")
    first, second = Pulse(database.url("worker")), Pulse(database.url("worker"))

    first.beat()
    assert findings("beat") == []
    second.beat()
    assert problem("beat") == "More than one beat is connected: 2."
    assert second._session is not None
    second._session.close()
    monkeypatch.setattr(neighbours, "SILENT_SECONDS", -1.0)
    monkeypatch.setattr(neighbours, "FEWEST_TICKS", -1)
    wait_until(lambda: "More" not in "".join(finding.problem for finding in findings("beat")))
    assert problem("beat").startswith("Beat has not ticked for")
    assert first._session is not None
    first._session.close()


def test_clocks_that_are_apart_are_found(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings("clock") == []

    for seconds in (-5, 5):
        monkeypatch.setattr(neighbours, "time", ShiftedClock(seconds))
        assert problem("clock") == "This host's clock and PostgreSQL's are 5.0 s apart."


class ShiftedClock:
    """A clock that goes wrong by so much."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def time(self) -> float:
        return time.time() + self._seconds


# Graph and mail.


@contextmanager
def graph(with_settings: Callable[..., None], *headers: str) -> Iterator[None]:
    """A Graph that refuses with these headers."""

    def answer(line: RawConnection) -> None:
        while line.read_request() is not None:
            head = "\r\n".join(("HTTP/1.1 400 Bad Request", "content-length: 2", *headers, "", "{}"))
            line.send(head.encode())

    with RawServer(answer) as server:
        with_settings(GRAPH_API_BASE_URL=f"http://127.0.0.1:{server.port}")
        yield


def date(seconds: float) -> str:
    return f"date: {format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)}"


def version() -> str:
    return f"facebook-api-version: {config().graph_api_version}"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (["NOW"], "does not say which version"),
        (["facebook-api-version: v19.0", "NOW"], "Graph answers in v19.0, not in GRAPH_API_VERSION"),
        (["VERSION", "LATE"], "This host's clock and Graph's are"),
        (["VERSION", "EARLY"], "This host's clock and Graph's are"),
    ],
)
def test_a_graph_of_another_version_or_another_time_is_found(
    headers: list[str], words: str, with_settings: Callable[..., None]
) -> None:
    with graph(with_settings, version(), date(0)):
        assert findings("Graph") == []

    meant = {"VERSION": version(), "NOW": date(0), "LATE": date(600), "EARLY": date(-600)}
    with graph(with_settings, *(meant.get(header, header) for header in headers)):
        assert words in problem("Graph")


def test_a_graph_that_cannot_be_reached_is_found(with_settings: Callable[..., None]) -> None:
    with_settings(GRAPH_API_BASE_URL=f"http://{NOBODY}")

    assert problem("Graph").startswith("Graph does not answer from here.")


def test_a_worker_says_at_its_start_that_graph_speaks_another_version(
    transactional_db: None,
) -> None:
    def answer(line: RawConnection) -> None:
        while line.read_request() is not None:
            line.send(
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nfacebook-api-version: v19.0\r\n\r\n{}"
            )

    with (
        prepared_broker("pgmq") as broker,
        RawServer(answer) as server,
        WorkerProcess(broker.environment, GRAPH_API_BASE_URL=f"http://127.0.0.1:{server.port}") as worker,
    ):
        wait_until(lambda: "Graph does not speak GRAPH_API_VERSION" in worker.log)

        assert "v19.0" in worker.log


def test_a_mail_server_that_is_away_or_refuses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
    monkeypatch.setattr(django_settings, "EMAIL_HOST", "127.0.0.1")
    monkeypatch.setattr(django_settings, "EMAIL_PORT", 9)
    assert problem("mail").startswith("The mail server takes nothing from here (ConnectionRefusedError)")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(django_settings, "EMAIL_PORT", listener.getsockname()[1])
        monkeypatch.setattr(django_settings, "EMAIL_TIMEOUT", 0.3)
        assert "(SMTPServerDisconnected)" in problem("mail")


# What is stored.


def test_a_secret_that_does_not_open_is_found(transactional_db: None) -> None:
    make_connected_pixel()
    assert findings("vault") == []

    SealedToken.objects.update(vault_identity="another")

    assert problem("vault").startswith("Secrets do not open (1): onboarding_sealedtoken ")


def test_books_that_disagree_are_found(transactional_db: None) -> None:
    target = make_connected_pixel()
    append_count(target.pixel, 2)
    try:
        assert findings("ledger") == []
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM events_event WHERE log_offset = 0")

        assert problem("ledger").startswith("The books disagree with the log: L")
    finally:
        forget_events()
