"""The stand-in as a process of its own, with one app, two pixels and a token for the first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.access import DOCUMENT
from tests.sandbox.cast import APP_ID, APP_SECRET, FOREIGN_PIXEL, PIXEL, TOKEN
from tests.support.sandbox import SandboxClient, SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """One process for all tests of this folder."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxClient:
    """The stand-in, empty but for the cast."""
    client = sandbox_process.client
    client.reset()
    client.put_app(APP_ID, secret=APP_SECRET, name="Demo Hub")
    client.put_pixel(PIXEL, name="Shop Example", business_id="8001", business_name="Shop")
    client.put_pixel(FOREIGN_PIXEL)
    client.put_token(TOKEN, pixels=[PIXEL], app_id=APP_ID)
    return client


@pytest.fixture
def meta(sandbox_process: SandboxProcess) -> SandboxClient:
    """The stand-in with a partner's app, two clients and their people."""
    client = sandbox_process.client
    client.reset()
    client.set_world(DOCUMENT)
    return client
