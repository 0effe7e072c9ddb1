"""Refusals of tokens on the delivery path: one's own, the partner's, and those that are not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from events.models import Delivery
from onboarding.models import Credential, GraphOutage, Notice, Option, Pixel
from onboarding.services import hold_pixel
from onboarding.services.credentials import install_credential
from onboarding.services.outages import note_good_answer
from onboarding.services.partner_tokens import look_at_partner
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import CredentialRefused
from partnerhub.lib.vault import Secret
from tenants.models import PartnerCredential
from tenants.secrets import vault
from tests.events.delivery.conftest import TakeTurn, forget_events, introduce, let_time_pass
from tests.support.factories import (
    ConnectedPixel,
    credential_in_use,
    make_advertiser,
    make_connected_pixel,
    make_partner,
)
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess


def test_a_single_dead_token_is_held_at_once_however_many_work(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 1)
    sandbox.client.set_token_state(target.access_token, "password_changed")

    take_turn(target.pixel)

    target.pixel.refresh_from_db()
    assert target.pixel.hold == "credential"
    assert GraphOutage.objects.count() == 0


def test_last_good_is_when_graph_last_took_a_delivery_in(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    credential = credential_in_use(target.pixel)
    refusal = {"refused_at": timezone.now(), "failure_class": "credential", "code": 190}
    Credential.objects.filter(pk=credential.pk).update(**refusal)
    append_count(target.pixel, 1)
    before = timezone.now()

    take_turn(target.pixel)

    credential.refresh_from_db()
    assert credential.last_good_at is not None
    assert credential.last_good_at >= before - timedelta(seconds=1)
    # A refusal that was not believed is forgotten with it.
    assert (credential.refused_at, credential.failure_class, credential.code) == (None, "", None)


def test_last_good_is_written_once_a_minute(target: ConnectedPixel) -> None:
    credential = credential_in_use(target.pixel)
    seen = []
    for _ in range(2):
        with tenant_scope(advertiser_id=credential.advertiser_id), connection.cursor() as cursor:
            note_good_answer(cursor, credential.pk)
        credential.refresh_from_db()
        seen.append(credential.last_good_at)

    assert seen[0] == seen[1]


def test_a_delivery_under_way_does_not_free_a_refused_credential(target: ConnectedPixel) -> None:
    credential = credential_in_use(target.pixel)
    error = CredentialRefused("dead", code=190, subcode=460)
    with tenant_scope(advertiser_id=credential.advertiser_id), connection.cursor() as cursor:
        hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.CREDENTIAL, error=error)
        note_good_answer(cursor, credential.pk)

    credential.refresh_from_db()
    assert (credential.state, credential.code) == ("refused", 190)
    assert credential.refused_at is not None


# The partner's sending token.


@pytest.fixture
def shared(transactional_db: None, sandbox: SandboxProcess) -> Iterator[list[ConnectedPixel]]:
    """Two pixels of two advertisers, shared with one partner, and its sending token."""
    partner = make_partner()
    partner.business_id = "7001"
    partner.save()
    token = PartnerCredential(partner=partner, kind=PartnerCredential.Kind.SENDING_TOKEN, last_four="oken")
    token.sealed = vault().seal(Secret("EAAsendingtoken"), identity=token.vault_identity)
    token.state = "working"
    token.save()
    sandbox.client.put_app("900100", secret="app-secret-of-the-tests")
    found = []
    for _ in range(2):
        connected = make_connected_pixel(make_advertiser(partner))
        introduce(sandbox, connected)
        install_credential(
            pixel=connected.pixel, option=Option.SHARED_PIXEL, partner_credential=token, state="working"
        )
        append_count(connected.pixel, 1)
        found.append(connected)
    sandbox.client.put_token(
        "EAAsendingtoken",
        app_id="900100",
        pixels=[one.pixel.meta_id for one in found],
        scopes=["ads_management"],
    )
    yield found
    forget_events()


def holds(shared: list[ConnectedPixel]) -> list[str]:
    for one in shared:
        one.pixel.refresh_from_db()
    return [one.pixel.hold for one in shared]


def test_a_dead_sending_token_is_confirmed_and_then_holds_every_shared_pixel_without_a_call(
    shared: list[ConnectedPixel],
    sandbox: SandboxProcess,
    take_turn: TakeTurn,
    as_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    one, another = shared
    client = GraphClient(base_url=sandbox.base_url, version="v26.0")
    sandbox.client.set_token_state("EAAsendingtoken", "revoked")

    take_turn(one.pixel)

    token = PartnerCredential.objects.get(kind="sending_token")
    assert (token.state, token.code) == ("refused", 190)
    assert holds(shared) == ["", ""]
    # Until the guardian has looked, the other backs off and asks nothing.
    take_turn(another.pixel)
    assert len(sandbox.client.received_requests(another.pixel.meta_id)) == 0
    assert holds(shared) == ["", ""]

    with as_role("worker"):
        look_at_partner(partner_id=token.partner_id, client=client)
    for each in shared:
        let_time_pass(each.pixel)
        take_turn(each.pixel)
    assert holds(shared) == ["partner", "partner"]
    assert len(sandbox.client.received_requests(another.pixel.meta_id)) == 0
    assert Notice.objects.get().partner_credential == token
    # No word of the advertisers' own.
    assert Credential.objects.filter(failure_class="credential").count() == 0

    sandbox.client.set_token_state("EAAsendingtoken", "live")
    PartnerCredential.objects.update(look_due_at=timezone.now())
    with as_role("worker"):
        look_at_partner(partner_id=token.partner_id, client=client)
    assert holds(shared) == ["", ""]
    for each in shared:
        let_time_pass(each.pixel)
        take_turn(each.pixel)
    assert Delivery.objects.exclude(state="accepted").count() == 0
    client.close()


def test_a_bad_hour_pauses_no_shared_pixel(
    shared: list[ConnectedPixel],
    sandbox: SandboxProcess,
    take_turn: TakeTurn,
    as_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    client = GraphClient(base_url=sandbox.base_url, version="v26.0")
    bad_hour = sandbox.client.add_knob("error", endpoint="*", code=190, subcode=460)
    partner_id = PartnerCredential.objects.get(kind="sending_token").partner_id
    for _ in range(3):
        for one in shared:
            let_time_pass(one.pixel)
            take_turn(one.pixel)
        PartnerCredential.objects.update(look_due_at=timezone.now())
        with as_role("worker"):
            look_at_partner(partner_id=partner_id, client=client)
    assert holds(shared) == ["", ""]

    sandbox.client.remove_knob(bad_hour)
    PartnerCredential.objects.update(look_due_at=timezone.now())
    with as_role("worker"):
        look_at_partner(partner_id=partner_id, client=client)
    for one in shared:
        let_time_pass(one.pixel)
        take_turn(one.pixel)

    assert holds(shared) == ["", ""]
    assert Delivery.objects.exclude(state="accepted").count() == 0
    assert Notice.objects.count() == 0
    client.close()
