"""The four roles: what they may do on the server, and that nobody else gets into the database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from partnerhub.dev.postgres import Server, server_for_tests
from partnerhub.lib.db_roles import RoleNames, drop_database, ensure_roles

pytestmark = pytest.mark.usefixtures("made")

NAMES = RoleNames.with_prefix(f"roles_{secrets.token_hex(4)}")
DATABASE = f"{NAMES.owner}_database"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = server_for_tests({role: role for role in NAMES.all()})
    yield server
    with server.admin() as admin:
        drop_database(admin, DATABASE)
        for role in NAMES.all():
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture(scope="module")
def made(server: Server) -> None:
    with server.admin() as admin:
        ensure_roles(admin, database=DATABASE, names=NAMES, passwords=server.passwords)


def attributes(server: Server) -> dict[str, list[bool]]:
    query = (
        "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
        " FROM pg_roles WHERE rolname = ANY(%s)"
    )
    with server.admin() as admin:
        return {name: list(rest) for name, *rest in admin.execute(query, [list(NAMES.all())])}


EXPECTED = {
    NAMES.owner: [True, False, True, False, False, False],
    NAMES.app: [True, False, False, False, False, False],
    NAMES.worker: [True, False, False, False, False, False],
    NAMES.door: [True, False, False, False, False, False],
}


def test_owner_alone_passes_row_level_security_and_none_is_a_superuser(server: Server) -> None:
    assert attributes(server) == EXPECTED


def test_second_call_takes_back_what_a_role_was_given_in_between(server: Server) -> None:
    with server.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} SUPERUSER BYPASSRLS").format(sql.Identifier(NAMES.door)))

        ensure_roles(admin, database=DATABASE, names=NAMES)

    assert attributes(server) == EXPECTED


def test_owner_owns_the_database_and_makes_tables_in_it(server: Server) -> None:
    with psycopg.connect(server.url(NAMES.owner, DATABASE)) as connection:
        connection.execute("CREATE TABLE made (n int)")
        connection.rollback()


@pytest.mark.parametrize("role", [NAMES.app, NAMES.worker, NAMES.door])
@pytest.mark.parametrize("statement", ["CREATE TABLE made (n int)", "CREATE TEMPORARY TABLE made (n int)"])
def test_other_roles_make_no_table(server: Server, role: str, statement: str) -> None:
    with (
        psycopg.connect(server.url(role, DATABASE)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (NAMES.owner, ("0", "10s", "5min")),
        (NAMES.app, ("15s", "5s", "15s")),
        (NAMES.worker, ("1min", "10s", "15s")),
        (NAMES.door, ("5s", "3s", "5s")),
    ],
)
def test_every_role_has_its_time_outs(server: Server, role: str, expected: tuple[str, str, str]) -> None:
    with psycopg.connect(server.url(role, DATABASE)) as connection:
        found = connection.execute(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
            " current_setting('idle_in_transaction_session_timeout')"
        ).fetchone()

    assert found == expected


def test_stranger_does_not_get_into_the_database(server: Server) -> None:
    with server.admin() as admin:
        query = "SELECT has_database_privilege('pg_monitor', %s, 'CONNECT')"
        assert admin.execute(query, [DATABASE]).fetchone() == (False,)


def test_password_travels_as_a_verifier(server: Server) -> None:
    with server.admin() as admin:
        ensure_roles(admin, database=DATABASE, names=NAMES, passwords={NAMES.app: "open sesame"})
        query = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
        (stored,) = admin.execute(query, [NAMES.app]).fetchone() or ("",)
        ensure_roles(admin, database=DATABASE, names=NAMES, passwords=server.passwords)

    assert stored.startswith("SCRAM-SHA-256$")
