"""Two at once, on connections of their own: one of them does it, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from onboarding.access import get_session_for
from onboarding.models import (
    Credential,
    CredentialEvent,
    OnboardingSession,
    Option,
    Revocation,
    SealedToken,
    TokenLink,
)
from onboarding.services import revocations, session_work, sessions
from onboarding.services.sessions import SessionRefused
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.models import PartnerCredential
from tenants.roles import Act
from tests.onboarding.connecting import (
    BUSINESS,
    OTHER_PIXEL,
    PIXEL,
    REDIRECT_URI,
    SENDER,
    SHOP,
    WORLD,
    Shop,
    unreferenced_secrets,
)
from tests.support.environment import TestDatabase
from tests.support.roles import at_once, logged_in_as
from tests.support.sandbox import SandboxClient

MakeShop = Callable[[], Shop]


@pytest.fixture
def as_login(database: TestDatabase) -> Callable[[str], AbstractContextManager[None]]:
    """Every connection of every thread logs in as the role."""
    return lambda role: logged_in_as(database, role)


@pytest.fixture
def make_shop(
    transactional_db: None,
    as_login: Callable[[str], AbstractContextManager[None]],
    meta: SandboxClient,
    graph: GraphClient,
    monkeypatch: pytest.MonkeyPatch,
    hints: list[tuple[object, ...]],
) -> MakeShop:
    """Advertisers of one partner, committed."""
    monkeypatch.setattr("onboarding.services.openings.redirect_uri", lambda: REDIRECT_URI)
    monkeypatch.setattr("onboarding.services.sessions.graph_client", lambda: graph)
    meta.set_world(WORLD)
    made: list[Shop] = []

    def make() -> Shop:
        made.append(Shop(as_login, meta, graph, made[0].partner if made else None))
        return made[-1]

    return make


def test_two_callbacks_at_once_are_one(make_shop: MakeShop) -> None:
    shop = make_shop()
    url = shop.begin(Option.LOGIN_FOR_BUSINESS).open_dialog()
    location = shop.meta.approve_dialog(url, person="3001", businesses=[SHOP], pixels=[PIXEL])

    with shop.as_role("app"):
        results = at_once(*[lambda: shop.callback(location)] * 4)

    assert [getattr(result, "state", result) for result in results] == ["exchanging"] * 4
    assert SealedToken.objects.count() == 1
    assert shop.work().stands() == ("connected", "")
    assert len(shop.meta.calls("oauth_access_token")) == 1
    assert unreferenced_secrets() == []


def test_two_workers_on_one_session_are_one(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.begin(Option.LOGIN_FOR_BUSINESS).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.meta.add_knob("latency", latency_ms=100, endpoint="oauth_access_token")

    def run() -> None:
        session_work.run_session(session_id=shop.session_id, client=shop.graph)

    with shop.as_role("worker"):
        assert at_once(*[run] * 4) == [None] * 4
    assert len(shop.meta.calls("oauth_access_token")) == 1
    for _ in range(6):
        with shop.as_role("worker"):
            at_once(*[run] * 2)

    assert shop.stands() == ("connected", "")
    assert Credential.objects.count() == 1
    assert len(shop.meta.stored(PIXEL)) == 1


def test_a_link_that_two_use_at_once_takes_one_token(make_shop: MakeShop) -> None:
    shop = make_shop().begin(Option.PASTED_TOKEN, meta_id=PIXEL)
    _, link = shop.act(sessions.forward_link, person=shop.person)

    def use() -> TokenLink:
        return sessions.use_link(link_token=link, token=Secret("EAAtoken0123456789"), said_expiry="never")

    with shop.as_role("app"):
        results = at_once(*[use] * 3)

    refusals = [result.problem for result in results if isinstance(result, SessionRefused)]
    assert refusals == ["link_used"] * 2
    assert SealedToken.objects.count() == 1


def test_who_abandons_while_a_token_is_submitted_leaves_no_secret(make_shop: MakeShop) -> None:
    shop = make_shop()

    for _ in range(4):
        shop.begin(Option.PASTED_TOKEN, meta_id=PIXEL)

        def submit() -> Any:
            return shop.do(sessions.submit_token, token=Secret("EAAtoken0123456789"), said_expiry="never")

        with shop.as_role("app"):
            results = at_once(submit, lambda: shop.do(sessions.abandon_session))
        assert isinstance(results[1], OnboardingSession)
        assert shop.session.state == "abandoned"
        assert SealedToken.objects.count() == 0


def test_two_pixels_at_once_make_one_sending_token_and_the_other_is_revoked(make_shop: MakeShop) -> None:
    shops = [make_shop().begin(Option.SHARED_PIXEL, meta_id=meta_id) for meta_id in (PIXEL, OTHER_PIXEL)]
    meta = shops[0].meta
    # Not shared yet when it is looked for first, so that the sharing is theirs.
    shops[0].work_once()
    shops[0].later()
    for meta_id in (PIXEL, OTHER_PIXEL):
        meta.share_pixel(meta_id, BUSINESS)
    # Found, then assigned; the next step makes the token.
    for _ in range(2):
        shops[0].work_once()
    meta.add_knob("latency", latency_ms=300, endpoint="access_tokens")

    def run(shop: Shop) -> Callable[[], None]:
        return lambda: session_work.run_session(session_id=shop.session_id, client=shop.graph)

    with shops[0].as_role("worker"):
        assert at_once(*[run(shop) for shop in shops]) == [None, None]
    assert len(meta.tokens(user_id=SENDER)) == 2
    shops[0].work()

    assert [shop.stands() for shop in shops] == [("connected", "")] * 2
    assert PartnerCredential.objects.filter(kind="sending_token").count() == 1
    assert len(meta.tokens(user_id=SENDER, state="live")) == 1
    assert unreferenced_secrets() == []


def test_two_workers_on_one_revocation_are_one(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.begin(Option.LOGIN_FOR_BUSINESS).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    Revocation.objects.all().delete()
    shop.disconnect(shop.credential().pixel)
    revocation = Revocation.objects.get()

    def run() -> None:
        revocations.run_revocation(revocation_id=revocation.pk, client=shop.graph)

    with shop.as_role("worker"):
        assert at_once(*[run] * 3) == [None] * 3

    assert len(shop.meta.calls("oauth_revoke")) == 1
    assert CredentialEvent.objects.filter(kind="revoked").count() == 1


def test_two_log_ins_at_once_leave_one_dialog(make_shop: MakeShop) -> None:
    shop = make_shop().begin(Option.LOGIN_FOR_BUSINESS)

    def open_dialog() -> str:
        with tenant_scope(person_id=shop.person.pk):
            found = get_session_for(shop.person, shop.session_id, Act.CONNECT)
            return sessions.open_dialog(session=found, browser=shop.browser, person=shop.person)

    with shop.as_role("app"):
        urls = at_once(*[open_dialog] * 3)

    taken = []
    for url in urls:
        location = shop.meta.approve_dialog(str(url), person="3001", businesses=[SHOP], pixels=[PIXEL])
        try:
            taken.append(shop.come_back(location).state)
        except SessionRefused as refused:
            taken.append(refused.problem)
    assert sorted(taken) == ["exchanging", "state_forged", "state_forged"]
