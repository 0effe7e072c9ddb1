"""The database locks' Django side: whose rows this transaction may see, and the names of the four roles.

Row-level security compares rows with settings that live for one transaction. They are set here and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from psycopg.conninfo import conninfo_to_dict


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a unit of work may see: a person's, one advertiser's, one partner's own, or what a link opens.

    `partner_id` is a worker's, for what is the partner's itself. `callback_key` names the partner that Meta calls.
    `link_hash` opens one forwarded link for a token.
    """

    person_id: int | None = None
    advertiser_id: int | None = None
    partner_id: int | None = None
    invitation_hash: str | None = None
    link_hash: str | None = None
    callback_key: str | None = None


class ScopeError(RuntimeError):
    """A unit of work for one tenant was opened inside that of another."""


_current: ContextVar[Scope | None] = ContextVar("tenant_scope", default=None)


@contextmanager
def tenant_scope(
    *,
    person_id: int | None = None,
    advertiser_id: int | None = None,
    partner_id: int | None = None,
    invitation_hash: str | None = None,
    link_hash: str | None = None,
    callback_key: str | None = None,
) -> Iterator[None]:
    """One transaction in which row-level security shows the rows of this person, advertiser, partner or link.

    Web code names the person, never a tenant from the URL; a task names the tenant of the row that it took up.
    The settings end with the transaction. The same scope may be opened inside itself; another one raises
    ScopeError, for its settings would outlive it. No network inside.
    """
    wanted = Scope(person_id, advertiser_id, partner_id, invitation_hash, link_hash, callback_key)
    if (current := _current.get()) is not None and current != wanted:
        raise ScopeError("A tenant's unit of work cannot be opened inside another's.")
    with transaction.atomic():
        if current is None:
            settings = dataclasses.asdict(wanted)
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT " + ", ".join(["set_config(%s, %s, true)"] * len(settings)),
                    [
                        text
                        for name, value in settings.items()
                        for text in (f"partnerhub.{name}", str(value or ""))
                    ],
                )
        token = _current.set(wanted)
        try:
            yield
        finally:
            _current.reset(token)


@dataclass(frozen=True, slots=True)
class RoleNames:
    """PostgreSQL's names of the roles that migrations grant to."""

    app: str
    worker: str
    door: str


def role_names() -> RoleNames:
    """The roles' names, as the database addresses in the settings give them."""
    from partnerhub.lib.config import config

    def user(url: str) -> str:
        return str(conninfo_to_dict(url)["user"])

    settings = config()
    return RoleNames(
        app=user(settings.database_url_app.get_secret_value()),
        worker=user(settings.database_url_worker.get_secret_value()),
        door=user(settings.database_url_door.get_secret_value()),
    )


def django_database(url: str, **extra: Any) -> dict[str, Any]:
    """A libpq address as an entry of Django's DATABASES."""
    parts = conninfo_to_dict(url)
    known = {"user", "password", "host", "port", "dbname"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname", ""),
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": str(parts.get("port", "") or ""),
        "OPTIONS": {key: value for key, value in parts.items() if key not in known}
        | extra.pop("OPTIONS", {}),
        **extra,
    }
