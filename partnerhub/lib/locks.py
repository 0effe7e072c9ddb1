"""SQL of the second lock, for migrations: row-level security and grants, for the roles of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.migrations import RunPython
from django.db.migrations.state import StateApps
from psycopg import sql

from partnerhub.lib.db import role_names

# Table → policies of it: (role, command, USING, WITH CHECK). What is named is protected, also from its owner.
Policies = Mapping[str, Sequence[tuple[str, str, str | None, str | None]]]
# Table (or `FUNCTION name(types)`) → role → privileges in PostgreSQL's words; columns in brackets if not all.
Grants = Mapping[str, Mapping[str, str]]


def protect(policies: Policies) -> RunPython:
    """Force row-level security on each table and make its policies."""

    def forwards(apps: StateApps, schema_editor: Any) -> None:
        roles = role_names()
        for table, rules in policies.items():
            name = sql.Identifier(table)
            for word in ("ENABLE", "FORCE"):
                statement = sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY").format(name, sql.SQL(word))
                schema_editor.execute(statement.as_string(), params=None)
            for role, command, using, check in rules:
                statement = sql.SQL("CREATE POLICY {} ON {} FOR {} TO {}").format(
                    sql.Identifier(f"{role}_{command.lower()}"),
                    name,
                    sql.SQL(command),
                    sql.Identifier(getattr(roles, role)),
                )
                if using is not None:
                    statement += sql.SQL(" USING ({})").format(sql.SQL(using))
                if check is not None:
                    statement += sql.SQL(" WITH CHECK ({})").format(sql.SQL(check))
                schema_editor.execute(statement.as_string(), params=None)

    return RunPython(forwards, RunPython.noop)


def grant(grants: Grants) -> RunPython:
    """Give each role what its list says. Sequences go with INSERT.

    A function is first taken from everybody, to whom PostgreSQL gives it when it is made.
    """

    def forwards(apps: StateApps, schema_editor: Any) -> None:
        roles = role_names()
        for thing, by_role in grants.items():
            is_function = thing.startswith("FUNCTION ")
            if is_function:
                schema_editor.execute(f"REVOKE ALL ON {thing} FROM PUBLIC", params=None)
            for role, privileges in by_role.items():
                statement = sql.SQL("GRANT {} ON {} TO {}").format(
                    sql.SQL(privileges),
                    sql.SQL(thing) if is_function else sql.Identifier(thing),
                    sql.Identifier(getattr(roles, role)),
                )
                schema_editor.execute(statement.as_string(), params=None)

    return RunPython(forwards, RunPython.noop)
