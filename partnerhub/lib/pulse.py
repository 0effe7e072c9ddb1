"""Beat's pulse: a session in PostgreSQL whose name says when beat ticked last.

Whoever may connect can see the names of sessions, whichever broker carries the ticks, so `manage.py doctor` and the
exporter find beat without a table, a file or a port of its own. Nothing of beat depends on it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

# Until a database that does not answer is left alone, and beat's next tick tries again.
_PARAMETERS: Final = {
    "connect_timeout": "3",
    "tcp_user_timeout": "3000",
    "application_name": "partnerhub beat",
}
# By the database's clock, which is the one that it is read by.
_BEAT: Final = """
SELECT set_config('application_name',
    'partnerhub beat ' || extract(epoch FROM clock_timestamp())::bigint, false)
"""
AGES: Final = r"""
SELECT extract(epoch FROM clock_timestamp())::float8
    - substring(application_name from '^partnerhub beat ([0-9]+)$')::float8 AS age
FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^partnerhub beat [0-9]+$'
ORDER BY age
"""


class Pulse:
    """The session, made when it is first needed and anew when it broke."""

    def __init__(self, url: str) -> None:
        self._conninfo = make_conninfo(url, **_PARAMETERS)
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None

    def beat(self) -> None:
        """Say that beat has ticked. Never raises."""
        with suppress(psycopg.Error):
            if self._session is None or self._session.closed:
                self._session = psycopg.connect(self._conninfo, autocommit=True)
            self._session.execute(_BEAT)


def ages(cursor: Any) -> list[float]:
    """Seconds since each beat that is connected ticked last, the latest first."""
    cursor.execute(AGES)
    return [age for (age,) in cursor.fetchall()]
