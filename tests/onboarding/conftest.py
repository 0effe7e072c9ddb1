"""A stand-in Graph API, a browser as the web's role, and the hints that were given in place of a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from partnerhub.lib.graph import GraphClient
from tests.onboarding.connecting import REDIRECT_URI, WORLD, Shop
from tests.support.sandbox import SandboxClient, SandboxProcess
from tests.support.site import Site


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """One stand-in for all tests."""
    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture
def meta(sandbox_process: SandboxProcess) -> SandboxClient:
    """The stand-in's admin, which has forgotten all that was."""
    sandbox_process.client.reset()
    return sandbox_process.client


@pytest.fixture
def graph(sandbox_process: SandboxProcess) -> Iterator[GraphClient]:
    """The real client, at the stand-in."""
    client = GraphClient(base_url=sandbox_process.base_url, version="v26.0")
    yield client
    client.close()


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Hints that were given after a commit."""
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr("partnerhub.lib.after_commit.send_hint", lambda *hint: given.append(hint))
    return given


@pytest.fixture
def site(as_role: Callable[[str], AbstractContextManager[None]]) -> Site:
    """A browser at the site."""
    return Site(as_role)


@pytest.fixture
def shop(
    as_role: Callable[[str], AbstractContextManager[None]],
    meta: SandboxClient,
    graph: GraphClient,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """An advertiser that connects pixels; its partner is set up here and at Meta."""
    monkeypatch.setattr("onboarding.services.openings.redirect_uri", lambda: REDIRECT_URI)
    monkeypatch.setattr("onboarding.services.sessions.graph_client", lambda: graph)
    meta.set_world(WORLD)
    return Shop(as_role, meta, graph)


@pytest.fixture
def other_shop(
    shop: Shop,
    as_role: Callable[[str], AbstractContextManager[None]],
    meta: SandboxClient,
    graph: GraphClient,
) -> Shop:
    """Another advertiser of the same partner."""
    return Shop(as_role, meta, graph, shop.partner)
