"""Django's connections logged in as one of the running processes' roles, as in production."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection
from psycopg.conninfo import conninfo_to_dict

from tests.support.environment import TestDatabase

T = TypeVar("T")


@contextmanager
def logged_in_as(database: TestDatabase, role: str) -> Iterator[None]:
    """Every connection that Django makes meanwhile, in any thread, logs in as the role."""
    before = dict(connection.settings_dict)
    parts = conninfo_to_dict(database.url(role))
    connection.close()
    connection.settings_dict.update(USER=parts["user"], PASSWORD=parts.get("password") or "")
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def at_once(*acts: Callable[[], T]) -> list[T | Exception]:
    """What each act returned or raised, where all began at the same moment, each on a connection of its own."""
    barrier = threading.Barrier(len(acts), timeout=10)
    results: list[T | Exception] = [AssertionError("did not run")] * len(acts)

    def run(place: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            results[place] = acts[place]()
        except Exception as error:  # noqa: BLE001 - what it raised is the result
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[place]) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
