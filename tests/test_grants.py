"""What the running processes' roles may do is what the migration's list says, and no more."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
from django.db import connection

from tests.support.environment import ROLES

GRANTS = importlib.import_module("events.migrations.0003_locks_and_grants").GRANTS
RUNNING = {ROLES.app: "app", ROLES.worker: "worker", ROLES.door: "door"}
# The broker's queues: their grants are partnerhub.lib.postgres_queue's, and held where it is tested.
BROKERS_SCHEMA = "pgmq"

# A grant: the thing (a table, table.column, or function), the role, the privilege.
Grant = tuple[str, str, str]

ACTUAL = """
    SELECT class.relname, grants.grantee, grants.privilege_type
    FROM pg_class AS class, aclexplode(class.relacl) AS grants
    WHERE class.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT class.relname || '.' || attribute.attname, grants.grantee, grants.privilege_type
    FROM pg_attribute AS attribute JOIN pg_class AS class ON class.oid = attribute.attrelid,
         aclexplode(attribute.attacl) AS grants
    WHERE class.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT proc.oid::regprocedure::text, grants.grantee, grants.privilege_type
    FROM pg_proc AS proc, aclexplode(coalesce(proc.proacl, acldefault('f', proc.proowner))) AS grants
    WHERE proc.pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'schema ' || space.nspname, grants.grantee, grants.privilege_type
    FROM pg_namespace AS space,
         aclexplode(coalesce(space.nspacl, acldefault('n', space.nspowner))) AS grants
    WHERE space.nspname !~ '^pg_' AND space.nspname NOT IN ('information_schema', %s)
    UNION ALL
    SELECT 'database', grants.grantee, grants.privilege_type
    FROM pg_database AS base, aclexplode(coalesce(base.datacl, acldefault('d', base.datdba))) AS grants
    WHERE base.datname = current_database()
    UNION ALL
    SELECT 'default of ' || defaults.defaclobjtype::text, grants.grantee, grants.privilege_type
    FROM pg_default_acl AS defaults, aclexplode(defaults.defaclacl) AS grants
    WHERE defaults.defaclobjtype IN ('r', 'S', 'f', 'n')
      AND defaults.defaclnamespace IS DISTINCT FROM to_regnamespace(%s)
"""


def listed() -> set[Grant]:
    """The migration's list, a privilege at a time."""
    found: set[Grant] = set()
    for thing, by_role in GRANTS.items():
        name = re.sub(r",\s*", ",", thing.removeprefix("FUNCTION "))
        for role, privileges in by_role.items():
            for privilege, columns in re.findall(r"(\w+)(?: \(([^)]*)\))?", privileges):
                names = [f"{name}.{column.strip()}" for column in columns.split(",")] if columns else [name]
                found.update((one, role, privilege) for one in names)
    return found


def rows(statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """What the statement returns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


@pytest.fixture
def partitions(db: None) -> set[str]:
    """The names of the log's days."""
    return {name for (name,) in rows("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")}


@pytest.fixture
def actual(db: None) -> set[Grant]:
    """Every privilege in the database, but for the owner's own."""
    names = {oid: RUNNING.get(name, name) for oid, name in rows("SELECT oid, rolname FROM pg_roles")}
    found = {
        (thing, names.get(grantee, "PUBLIC"), privilege)
        for thing, grantee, privilege in rows(ACTUAL, [BROKERS_SCHEMA, BROKERS_SCHEMA])
    }
    owners = {ROLES.owner, "pg_database_owner"}
    return {grant for grant in found if grant[1] not in owners}


def test_each_role_has_the_grants_on_its_list_and_no_other(actual: set[Grant], partitions: set[str]) -> None:
    of_rooms = {grant for grant in actual if grant[0] not in partitions and not is_common(grant)}

    assert of_rooms - listed() == set()
    assert listed() - of_rooms == set()


def test_everybody_may_enter_and_nobody_may_make_anything(actual: set[Grant]) -> None:
    common = {grant for grant in actual if is_common(grant)}

    assert common == {("schema public", "PUBLIC", "USAGE")} | {
        ("database", role, "CONNECT") for role in RUNNING.values()
    }


def test_the_door_may_add_to_a_day_and_do_nothing_else_there(
    actual: set[Grant], partitions: set[str]
) -> None:
    of_days = {grant for grant in actual if grant[0] in partitions}

    assert len(partitions) >= 2 * 8
    assert of_days == {(day, "door", "INSERT") for day in partitions}


def test_a_new_day_has_the_same_grants(actual: set[Grant]) -> None:
    before = {thing for thing, *_ in actual}
    rows("SELECT events_make_partitions('2031-03-01', 1)")

    names = dict(rows("SELECT oid, rolname FROM pg_roles"))
    made = [
        (thing, names.get(grantee, "PUBLIC"), privilege)
        for thing, grantee, privilege in rows(ACTUAL, [BROKERS_SCHEMA, BROKERS_SCHEMA])
        if thing not in before and names.get(grantee) != ROLES.owner
    ]

    assert sorted(made) == [
        ("events_event_20310301", ROLES.door, "INSERT"),
        ("events_repeat_20310301", ROLES.door, "INSERT"),
    ]


def test_no_running_process_owns_anything_or_passes_by_the_policies(db: None) -> None:
    owned = rows("SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = ANY (%s)", [list(RUNNING)])
    powers = rows(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND (rolsuper OR rolbypassrls OR rolcreaterole"
        " OR rolcreatedb OR rolreplication)",
        [list(RUNNING)],
    )
    memberships = rows(
        "SELECT member::regrole, roleid::regrole FROM pg_auth_members WHERE member::regrole::text = ANY (%s)",
        [list(RUNNING)],
    )

    assert (owned, powers, memberships) == ([], [], [])


def test_functions_that_act_as_the_owner_find_their_tables_in_one_place(db: None) -> None:
    found = rows(
        "SELECT oid::regprocedure::text, proconfig FROM pg_proc"
        " WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )

    assert len(found) >= 6
    assert {tuple(settings or ()) for _, settings in found} == {("search_path=public, pg_temp",)}


def is_common(grant: Grant) -> bool:
    """Whether it is a privilege on the database, a schema, or on what will be made."""
    return grant[0] == "database" or grant[0].startswith(("schema ", "default of "))
