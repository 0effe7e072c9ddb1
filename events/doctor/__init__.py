"""What is wrong with an installation, in sentences, each with what to do about it. It changes nothing.

As the tables' owner, who sees all tenants; it logs in as each of the other roles, too. No finding holds a secret, and
none an address with a password.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
from django.db import DatabaseError, InterfaceError

from events.doctor import database, neighbours, rights, settings, stored
from events.doctor.finding import Finding


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


CHECKS: Final = (
    Check("settings", settings.look_at_settings, asks_database=False),
    Check("database", database.look_at_database, asks_database=False),
    Check("roles", rights.look_at_roles, asks_database=False),
    Check("rights", rights.look_at_rights),
    Check("migrations", database.look_at_migrations),
    Check("server", database.look_at_server),
    Check("partitions", database.look_at_partitions),
    Check("broker", neighbours.look_at_broker),
    Check("workers", neighbours.look_at_workers),
    Check("beat", neighbours.look_at_beat),
    Check("clock", neighbours.look_at_clock),
    Check("Graph", neighbours.look_at_graph, asks_database=False),
    Check("mail", neighbours.look_at_mail, asks_database=False),
    Check("bloat", database.look_at_bloat),
    Check("books by the clock", stored.look_at_ledger_checks),
    Check("vault", stored.look_at_vault, is_slow=True),
    Check("ledger", stored.look_at_ledger, is_slow=True),
)
