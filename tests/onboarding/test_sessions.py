"""Connecting a pixel by each auth option, with a worker and the real stand-in: what is connected, kept and revoked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from onboarding.models import Option
from onboarding.services import sessions
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tests.onboarding.connecting import (
    PIXEL,
    REDIRECT_URI,
    SHOP,
    WORLD,
    Shop,
    unreferenced_secrets,
)
from tests.support.sandbox import SandboxClient

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def shop(as_role: AsRole, meta: SandboxClient, graph: GraphClient, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An advertiser whose partner is set up, at Meta, too."""
    monkeypatch.setattr("onboarding.services.openings.redirect_uri", lambda: REDIRECT_URI)
    monkeypatch.setattr("onboarding.services.sessions.graph_client", lambda: graph)
    meta.set_world(WORLD)
    return Shop(as_role, meta, graph)


def test_login_for_business_connects_the_pixel_that_was_ticked(shop: Shop) -> None:
    shop.begin(Option.LOGIN_FOR_BUSINESS).log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")
    credential = shop.credential()
    assert (credential.option, credential.state, credential.expiry) == (
        "login_for_business",
        "working",
        "never",
    )
    assert credential.client_business_id == SHOP
    assert unreferenced_secrets() == []


def test_business_extension(shop: Shop) -> None:
    shop.begin(Option.BUSINESS_EXTENSION).log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")


def test_shared(shop: Shop) -> None:
    shop.begin(Option.SHARED_PIXEL, meta_id=PIXEL, pixel_name="Web shop").work()
    assert shop.stands() == ("sharing", "not_shared_yet")
    shop.meta.share_pixel(PIXEL, "7001")
    shop.later().work()
    assert shop.stands() == ("connected", "")


def test_pasted(shop: Shop) -> None:
    shop.begin(Option.PASTED_TOKEN, meta_id=PIXEL, pixel_name="Web shop")
    token = shop.meta.generate_token(PIXEL)
    shop.act(sessions.submit_token, token=Secret(token), said_expiry="unknown")
    shop.work()
    assert shop.stands() == ("connected", "")
