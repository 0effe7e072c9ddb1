"""The whole road: a door, a broker, workers, a stand-in Graph API, and a shop's server that drives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from partnerhub.lib import postgres_queue
from partnerhub.lib.broker import QUEUES, queue_name
from partnerhub.lib.config import config
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.sandbox import SandboxProcess

PIXELS = 4


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """One stand-in for all tests."""
    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    """The stand-in, which has forgotten all that was."""
    sandbox_process.client.reset()
    return sandbox_process


@pytest.fixture
def targets(transactional_db: None, sandbox: SandboxProcess) -> Iterator[list[ConnectedPixel]]:
    """Connected pixels of an advertiser each, committed, that the stand-in knows."""
    connected = [make_connected_pixel() for _ in range(PIXELS)]
    for one in connected:
        sandbox.client.put_pixel(one.pixel.meta_id)
        sandbox.client.put_token(one.access_token, pixels=[one.pixel.meta_id])
    yield connected
    with connection.cursor() as cursor:
        # Not Django's tables: its flush leaves them.
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


@pytest.fixture
def broker(transactional_db: None) -> Iterator[None]:
    """Empty queues, prepared as an operator does."""
    call_command("broker", "prepare", verbosity=0)
    yield
    connection.ensure_connection()
    assert connection.connection is not None
    postgres_queue.drop(connection.connection, queues=[queue_name(config(), queue) for queue in QUEUES])
