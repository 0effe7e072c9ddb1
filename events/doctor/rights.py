"""The roles: whether each gets in, and may do what it must and no more. It logs in as each of them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from django.db import connection
from pydantic import SecretStr

from events.doctor.finding import Finding, some
from partnerhub.lib.broker import CONNECT_SECONDS
from partnerhub.lib.config import config
from partnerhub.lib.db import role_names


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


def look_at_roles() -> Iterator[Finding]:
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


def look_at_rights() -> Iterator[Finding]:
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
            f"Roles lack what they need: {some([f'{who} cannot {what} {table}' for table, who, what in lacking])}.",
            "Run `manage.py migrate`. If it has nothing to do, rights were taken by hand: grant them again.",
        )
    if surplus := sorted(granted - wanted):
        yield Finding(
            f"Roles may do too much: {some([f'{who} can {what} {table}' for table, who, what in surplus])}.",
            "Nothing of ours granted that: revoke it.",
        )
    if unlocked:
        yield Finding(
            f"Row-level security is not forced on {some(unlocked)}: one lock between tenants is open.",
            "Run `ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY` on each, as the owner.",
        )
