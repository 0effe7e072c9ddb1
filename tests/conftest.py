"""Fixtures for all tests. The database is a real PostgreSQL; the environment is made before Django is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import django
import pytest

from tests.support.environment import ROLES, TestDatabase, prepare_environment

DATABASE = prepare_environment()
django.setup()


def pytest_report_header() -> str:
    """Which brokers the delivery tests run against."""
    from tests.support.brokers import header

    return header()


@pytest.fixture(scope="session")
def database() -> TestDatabase:
    """The run's database and the addresses of its roles."""
    return DATABASE


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: pytest.FixtureRequest) -> None:
    """Migrate the run's own database as its owner."""
    from django.core.management import call_command

    with django_db_blocker.unblock():  # type: ignore[attr-defined]  # pytest-django's blocker has no public type
        call_command("migrate", verbosity=0)


@pytest.fixture
def as_role(db: None) -> Callable[[str], AbstractContextManager[None]]:
    """`with as_role("app"):` runs the connection's statements as that role, with its grants and policies."""
    from django.db import connection

    @contextmanager
    def take(role: str) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(f'SET ROLE "{getattr(ROLES, role)}"')
        try:
            yield
        finally:
            if not connection.needs_rollback:
                with connection.cursor() as cursor:
                    cursor.execute("RESET ROLE")

    return take
