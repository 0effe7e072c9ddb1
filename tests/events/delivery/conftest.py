"""A stand-in Graph API, a connected pixel that it knows, and the brokers at hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.sandbox import SandboxProcess


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
def target(transactional_db: None, sandbox: SandboxProcess) -> Iterator[ConnectedPixel]:
    """A connected pixel, committed, that the stand-in knows."""
    connected = make_connected_pixel()
    introduce(sandbox, connected)
    yield connected
    forget_events()


def introduce(sandbox: SandboxProcess, connected: ConnectedPixel) -> None:
    """Tell the stand-in of the pixel and its token."""
    sandbox.client.put_pixel(connected.pixel.meta_id)
    sandbox.client.put_token(connected.access_token, pixels=[connected.pixel.meta_id])


def forget_events() -> None:
    """Empty the tables that are not Django's, which its flush leaves."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")
