"""A connected pixel changes its option and its token under load: nothing lost, nothing held, nothing sent twice.

Each delivery is accepted at its first attempt: the change makes none of them late, not even by a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.utils import timezone

from events.ledger import audit_ledger
from events.models import Attempt, Delivery
from onboarding.graph import TEST_EVENT_NAME
from onboarding.models import Credential, CredentialEvent, OnboardingSession, Option, Pixel, Revocation
from onboarding.services import revocations, sessions
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.hints import send_hint
from partnerhub.lib.vault import Secret
from tenants.models import Partner, Person
from tenants.roles import AdvertiserRole
from tests.onboarding.connecting import ANNA, CONFIGURATION, REDIRECT_URI, SHOP, WORLD
from tests.support.collector import CollectorProcess
from tests.support.drain import wait_until_drained
from tests.support.driver import Driver
from tests.support.factories import ConnectedPixel, join_advertiser, make_person
from tests.support.ledger import at_meta
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until


@pytest.fixture
def person(targets: Sequence[ConnectedPixel], sandbox: SandboxProcess) -> Person:
    """The admin of the first pixel's advertiser, whose partner and business are set up at Meta."""
    pixel = targets[0].pixel
    Partner.objects.filter(pk=pixel.advertiser.partner_id).update(
        login_config_id=CONFIGURATION, offers_login_for_business=True
    )
    sandbox.client.set_world(WORLD)
    sandbox.client.set_pixel(pixel.meta_id, owner_business=SHOP)
    person = make_person()
    join_advertiser(person, pixel.advertiser, AdvertiserRole.ADMIN)
    return person


def is_connected(session: OnboardingSession) -> bool:
    return OnboardingSession.objects.get(pk=session.pk).state == "connected"


def let_load_pass(driver: Driver) -> None:
    so_far = driver.batches
    wait_until(lambda: driver.batches > so_far + 15, what="more load")


def last_four_in_use(pixel: Pixel) -> str:
    return Credential.objects.exclude(state="retired").get(pixel=pixel).last_four


def test_a_pixel_changes_its_token_under_load_and_no_delivery_notices(
    targets: list[ConnectedPixel],
    sandbox: SandboxProcess,
    broker: None,
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = GraphClient(base_url=sandbox.base_url, version="v26.0")
    monkeypatch.setattr("onboarding.services.sessions.graph_client", lambda: graph)
    monkeypatch.setattr("onboarding.services.openings.redirect_uri", lambda: REDIRECT_URI)
    settings: dict[str, Any] = {
        "GRAPH_API_BASE_URL": sandbox.base_url,
        "PUBLIC_URL": REDIRECT_URI.removesuffix("/connect/callback/"),
    }
    pixel = targets[0].pixel
    # So that sends are under way at whatever moment the token changes.
    sandbox.client.add_knob("latency", latency_ms=50, pixel_id=pixel.meta_id)
    in_use = [last_four_in_use(pixel)]

    with CollectorProcess() as collector, WorkerProcess(**settings), WorkerProcess(**settings):
        with Driver(
            collector.base_url, targets[:1], record=tmp_path / "told", batch=10, rest_seconds=0.01
        ) as driver:
            let_load_pass(driver)
            for change in (log_in, paste, log_in):
                session = sessions.begin_session(advertiser=pixel.advertiser, pixel=pixel, created_by=person)
                change(session, person, sandbox)
                wait_until(functools.partial(is_connected, session), seconds=60, what="the change")
                in_use.append(last_four_in_use(pixel))
                let_load_pass(driver)
                # What was replaced is ended at Meta while the load goes on.
                for revocation in Revocation.objects.filter(state="waiting"):
                    Revocation.objects.filter(pk=revocation.pk).update(due_at=timezone.now())
                    send_hint(revocations.RUN_REVOCATION, revocation.pk)
                wait_until(lambda: not Revocation.objects.filter(state="waiting").exists(), what="the end")
                let_load_pass(driver)
        wait_until_drained([pixel])

    assert len(set(in_use)) == 4
    stored = at_meta(sandbox.client, pixel)
    proofs = {key for key in stored if key[0] == TEST_EVENT_NAME}
    assert len(proofs) == 3
    audited = audit_ledger(
        [pixel.pk],
        told=driver.told(),
        at_meta={pixel.pk: {key: stored[key] for key in stored.keys() - proofs}},
    )
    assert audited.findings == []
    assert (audited.total("doubts"), audited.total("surplus")) == (0, 0)
    assert audited.total("accepted") == audited.total("taken")
    assert audited.total("taken") >= 300
    # At the first attempt, each of them; and nobody was ever refused or held.
    outcomes = Attempt.objects.filter(pixel=pixel).values_list("outcome", flat=True)
    assert {*outcomes} == {"accepted"}
    assert len(outcomes) == Delivery.objects.filter(pixel=pixel).count()
    kinds = CredentialEvent.objects.filter(pixel=pixel).values_list("kind", flat=True)
    assert {*kinds} == {"issued", "proven", "retired", "revoked"}
    live = sandbox.client.tokens(state="live", type="SYSTEM_USER")
    assert in_use[-1] in {token["last_four"] for token in live}
    assert in_use[1] not in {token["last_four"] for token in live}


def log_in(session: OnboardingSession, person: Person, sandbox: SandboxProcess) -> None:
    """By Facebook Login for Business."""
    pixel = session.pixel
    assert pixel is not None
    sessions.choose_option(session=session, option=Option.LOGIN_FOR_BUSINESS)
    url = sessions.open_dialog(session=session, browser="the browser", person=person)
    location = sandbox.client.approve_dialog(url, person=ANNA, businesses=[SHOP], pixels=[pixel.meta_id])
    query = dict(parse_qsl(urlsplit(location).query))
    sessions.take_callback(person=person, state=query["state"], browser="the browser", code=query["code"])


def paste(session: OnboardingSession, person: Person, sandbox: SandboxProcess) -> None:
    """With a token of Events Manager's."""
    pixel = session.pixel
    assert pixel is not None
    sessions.choose_option(session=session, option=Option.PASTED_TOKEN)
    token = Secret(sandbox.client.generate_token(pixel.meta_id))
    sessions.submit_token(session=session, token=token, said_expiry="never")
