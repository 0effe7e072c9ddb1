"""The environment that the tests run in: a database of this run's own, with the four roles, and made-up secrets.

The tests' own connection logs in as the tables' owner and takes another role where a test names it (`as_role`);
processes that tests start log in as the roles that they would have in production.
"""

from __future__ import annotations

import atexit
import base64
import os
import secrets
from dataclasses import dataclass

from partnerhub.dev.postgres import Server, server_for_tests
from partnerhub.lib.db_roles import RoleNames, drop_database, ensure_roles

ROLES = RoleNames.with_prefix("partnerhub_test")


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """The run's database, and how its roles reach it."""

    __test__ = False

    server: Server
    name: str

    def url(self, role: str) -> str:
        """The libpq address for `owner`, `app`, `worker` or `door`."""
        return self.server.url(getattr(ROLES, role), self.name)

    def admin_url(self) -> str:
        """The libpq address for the server's superuser."""
        return self.server.url(self.server.parameters["user"], self.name)


def prepare_environment() -> TestDatabase:
    """Make this run's empty database, and set every variable that the product reads. It is dropped at the end."""
    server = server_for_tests({name: getattr(ROLES, name) for name in ("owner", "app", "worker", "door")})
    name = f"partnerhub_test_{secrets.token_hex(4)}"
    with server.admin() as admin:
        ensure_roles(admin, database=name, names=ROLES, passwords=server.passwords)
        # So that a test's one connection can act as each role in turn.
        for role in (ROLES.app, ROLES.worker, ROLES.door):
            admin.execute(f'GRANT "{role}" TO "{ROLES.owner}"')
    database = TestDatabase(server, name)
    owner_pid = os.getpid()

    def drop() -> None:
        if os.getpid() == owner_pid:
            with server.admin() as admin:
                drop_database(admin, name)

    atexit.register(drop)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="partnerhub.settings",
        PROCESS="operator",
        SECRET_KEY=secrets.token_urlsafe(48),
        VAULT_KEYS=f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        DATABASE_URL_OWNER=database.url("owner"),
        DATABASE_URL_APP=database.url("app"),
        DATABASE_URL_WORKER=database.url("worker"),
        DATABASE_URL_DOOR=database.url("door"),
        BROKER_URL="pgmq://",
        BROKER_PREFIX=f"t{secrets.token_hex(3)}_",
        PUBLIC_URL="http://testserver",
        COLLECTOR_URL="http://collector.test",
        GRAPH_API_BASE_URL="http://127.0.0.1:9",  # nothing answers there: a test names its own
        EMAIL_URL="smtp://127.0.0.1:9",
        LOG_LEVEL="WARNING",
        LOG_FORMAT="console",
    )
    return database
