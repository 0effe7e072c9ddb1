"""The partner's own tokens and the pixels shared with it: one death is one incident, and one list tells of all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from onboarding.models import Credential, CredentialEvent, Notice, Option, Pixel
from onboarding.services import hold_pixel
from onboarding.services.credentials import install_credential
from onboarding.services.partner_tokens import is_confirmed, look_at_partner, partners, refuse_partner_token
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import CredentialRefused
from partnerhub.lib.vault import Secret
from tenants.models import Partner, PartnerCredential
from tenants.secrets import vault
from tests.support.factories import make_advertiser, make_partner, make_pixel
from tests.support.sandbox import SandboxClient

pytestmark = pytest.mark.django_db

APP, SECRET, BUSINESS = "900100", "app-secret-of-the-tests", "7001"
SENDING, ASSIGNING = "EAAsendingtoken", "EAAassigningtoken"
DAY = 86_400
Kind = PartnerCredential.Kind
LookAt = Callable[[Partner], int]


@pytest.fixture
def partner(meta: SandboxClient) -> Partner:
    """A partner with both system users' tokens, and its business at Meta."""
    made = make_partner()
    made.business_id = BUSINESS
    made.sending_system_user_id = "12200"
    made.save()
    meta.set_app(APP, secret=SECRET, business_id=BUSINESS)
    meta.set_business(BUSINESS, name="Hub")
    meta.set_business("8001", name="Shop")
    for kind, token, user_id, role in (
        (Kind.SENDING_TOKEN, SENDING, "12200", "EMPLOYEE"),
        (Kind.ASSIGNING_TOKEN, ASSIGNING, "12100", "ADMIN"),
    ):
        meta.set_system_user(user_id, name=role, business_id=BUSINESS, role=role, apps=[APP])
        scopes = ["ads_management", "ads_read", "business_management"]
        meta.set_world(
            {
                "tokens": {
                    token: {"app_id": APP, "type": "SYSTEM_USER", "scopes": scopes, "user_id": user_id},
                }
            }
        )
        keep(made, kind, token)
    return made


def keep(partner: Partner, kind: PartnerCredential.Kind, token: str) -> PartnerCredential:
    """The partner's secret of this kind, in the place of the one before."""
    row = PartnerCredential.objects.filter(partner=partner, kind=kind).first()
    row = row or PartnerCredential(partner=partner, kind=kind)
    row.last_four = token[-4:]
    row.sealed = vault().seal(Secret(token), identity=row.vault_identity)
    row.look_due_at = timezone.now()
    row.save()
    return row


def of(partner: Partner, kind: PartnerCredential.Kind = Kind.SENDING_TOKEN) -> PartnerCredential:
    return PartnerCredential.objects.get(partner=partner, kind=kind)


def share(meta: SandboxClient, partner: Partner, count: int = 1) -> list[Credential]:
    """Pixels of an advertiser each, shared with the partner and assigned to its sender."""
    made = []
    for _ in range(count):
        pixel = make_pixel(make_advertiser(partner))
        meta.set_pixel(
            pixel.meta_id, name="Shop", owner_business="8001", users={"12200": ["UPLOAD", "ANALYZE"]}
        )
        meta.share_pixel(pixel.meta_id, BUSINESS)
        made.append(
            install_credential(
                pixel=pixel,
                option=Option.SHARED_PIXEL,
                partner_credential=of(partner),
                state=Credential.State.WORKING,
            )
        )
    return made


@pytest.fixture
def look(graph: GraphClient, as_role: Callable[[str], AbstractContextManager[None]]) -> LookAt:
    """A look at a partner's tokens, all of them due, with the worker's rights."""

    def run(partner: Partner) -> int:
        PartnerCredential.objects.update(look_due_at=timezone.now())
        with as_role("worker"):
            return look_at_partner(partner_id=partner.pk, client=graph)

    return run


def again(*credentials: Credential) -> list[tuple[str, str]]:
    """State and hold of each, as they are by now."""
    found = []
    for credential in credentials:
        credential.refresh_from_db()
        credential.pixel.refresh_from_db()
        found.append((credential.state, credential.pixel.hold))
    return found


def refuse(credential: Credential, *, last_four: str = SENDING[-4:]) -> bool:
    """What settling a delivery of the pixel does with a 190."""
    error = CredentialRefused("Error validating access token", code=190, subcode=463)
    with tenant_scope(advertiser_id=credential.advertiser_id):
        return refuse_partner_token(credential_id=credential.pk, last_four=last_four, error=error)


def test_the_partners_tokens_are_looked_at_and_its_pixels_by_one_list(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    shared = share(meta, partner, 3)

    assert look(partner) == 2 + 3

    sending = of(partner)
    assert (sending.state, sending.expiry, sending.issuing_app_id) == ("working", "never", APP)
    assert sending.looked_at is not None
    assert [again(one) for one in shared] == [[("working", "")]] * 3
    assert [call["endpoint"] for call in meta.calls()] == ["client_pixels", "debug_token", "debug_token"]
    assert Notice.objects.count() == 0


def test_every_partner_is_found_by_a_worker(
    partner: Partner, as_role: Callable[[str], AbstractContextManager[None]]
) -> None:
    other = make_partner()

    with as_role("worker"):
        assert partners() == [partner.pk, other.pk]


def test_a_delivery_that_is_refused_calls_the_guardian_and_holds_nothing_yet(
    meta: SandboxClient, partner: Partner, hints: list[tuple[object, ...]]
) -> None:
    one, another = share(meta, partner, 2)

    assert refuse(one)
    assert refuse(another)

    sending = of(partner)
    assert (sending.state, sending.code, sending.subcode) == ("refused", 190, 463)
    assert not is_confirmed(sending)
    assert again(one, another) == [("working", "")] * 2


def test_a_refusal_of_a_token_that_is_another_by_now_changes_nothing(
    meta: SandboxClient, partner: Partner
) -> None:
    [one] = share(meta, partner)

    assert refuse(one, last_four="old1")

    assert of(partner).state == "untested"


def test_a_refusal_of_a_tokens_own_is_no_partners(meta: SandboxClient, partner: Partner) -> None:
    from tests.support.factories import make_credential

    assert not refuse(make_credential(make_pixel(make_advertiser(partner))))


def test_a_dead_sending_token_is_one_incident_and_one_mail_of_the_partners(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    one, _ = share(meta, partner, 2)
    meta.set_token_state(SENDING, "revoked")
    refuse(one)

    look(partner)
    look(partner)

    sending = of(partner)
    assert is_confirmed(sending)
    [notice] = Notice.objects.all()
    assert (notice.kind, notice.partner_credential_id, notice.advertiser_id) == ("died", sending.pk, None)
    assert meta.calls("client_pixels") == []


def test_a_look_at_a_token_that_is_another_by_now_says_nothing_of_the_new_one(
    meta: SandboxClient, partner: Partner, look: LookAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onboarding.services import partner_tokens

    meta.set_token_state(SENDING, "revoked")
    asked = partner_tokens._standing

    def ask_while_it_is_replaced(*args: Any) -> Any:
        told = asked(*args)
        keep(partner, Kind.SENDING_TOKEN, "EAAthenewsender")
        return told

    monkeypatch.setattr(partner_tokens, "_standing", ask_while_it_is_replaced)
    look(partner)

    assert of(partner).state == "untested"
    assert Notice.objects.count() == 0


def test_graph_that_refuses_everything_confirms_nothing(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    one, _ = share(meta, partner, 2)
    refuse(one)
    bad_hour = meta.add_knob("error", endpoint="*", code=190)

    look(partner)

    assert of(partner).state == "refused"
    assert not is_confirmed(of(partner))
    assert Notice.objects.count() == 0

    meta.remove_knob(bad_hour)
    look(partner)

    assert of(partner).state == "working"
    assert Notice.objects.count() == 0


def test_what_graph_does_not_take_back_within_an_hour_is_believed(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    [one] = share(meta, partner)
    refuse(one)
    PartnerCredential.objects.update(refused_at=timezone.now() - timedelta(hours=2))
    meta.start_outage()

    look(partner)

    assert is_confirmed(of(partner))
    assert Notice.objects.get().kind == "died"


def test_a_new_sending_token_lets_all_shared_pixels_go_on(
    meta: SandboxClient, partner: Partner, look: LookAt, hints: list[tuple[object, ...]]
) -> None:
    shared = share(meta, partner, 3)
    meta.set_token_state(SENDING, "revoked")
    look(partner)
    for credential in shared:
        with tenant_scope(advertiser_id=credential.advertiser_id):
            hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.PARTNER)
    assert again(*shared) == [("refused", "partner")] * 3

    meta.set_world(
        {
            "tokens": {
                "EAAnewsender": {
                    "app_id": APP,
                    "type": "SYSTEM_USER",
                    "scopes": ["ads_management", "ads_read", "business_management"],
                    "user_id": "12200",
                }
            }
        }
    )
    keep(partner, Kind.SENDING_TOKEN, "EAAnewsender")
    look(partner)

    assert of(partner).state == "working"
    assert again(*shared) == [("working", "")] * 3
    assert {one.last_four for one in shared} == {"nder"}


def test_a_withdrawn_sharing_is_noticed_and_so_is_its_return(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    kept, lost = share(meta, partner, 2)
    meta.withdraw_sharing(lost.pixel.meta_id, BUSINESS)

    look(partner)
    look(partner)

    assert again(kept, lost) == [("working", ""), ("refused", "permission")]
    assert (lost.code, lost.subcode) == (100, 33)
    [notice] = Notice.objects.all()
    assert (notice.kind, notice.credential_id, notice.advertiser_id) == (
        "access_lost",
        lost.pk,
        lost.advertiser_id,
    )
    losses = CredentialEvent.objects.filter(kind="access_lost")
    assert [event.credential_id for event in losses] == [lost.pk]

    meta.share_pixel(lost.pixel.meta_id, BUSINESS)
    look(partner)

    assert again(lost) == [("working", "")]


def test_a_pixel_that_a_short_list_lacks_is_asked_for_before_it_is_given_up(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    [one] = share(meta, partner)
    # The partner's own pixel is no client pixel, and is reached all the same.
    meta.set_pixel(one.pixel.meta_id, owner_business=BUSINESS)
    meta.withdraw_sharing(one.pixel.meta_id, BUSINESS)

    look(partner)

    assert again(one) == [("working", "")]


def test_a_list_that_fails_withdraws_nothing(meta: SandboxClient, partner: Partner, look: LookAt) -> None:
    shared = share(meta, partner, 2)
    meta.add_knob("error", endpoint="client_pixels", code=200)

    look(partner)

    assert again(*shared) == [("working", "")] * 2


def test_the_partners_expiring_token_is_refreshed_in_its_place_and_the_old_one_ended(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    [one] = share(meta, partner)
    meta.expire_token(SENDING, 10 * DAY)

    look(partner)
    look(partner)

    sending = of(partner)
    assert sending.last_four != SENDING[-4:]
    assert sending.expires_at is not None
    assert sending.expires_at > timezone.now() + timedelta(days=59)
    assert Notice.objects.count() == 0 or Notice.objects.get().kind == "expiring"
    states = {token["last_four"]: token["state"] for token in meta.tokens(user_id="12200")}
    assert states == {SENDING[-4:]: "revoked", sending.last_four: "live"}
    assert again(one) == [("working", "")]
    assert one.last_four == sending.last_four


def test_a_refresh_that_fails_is_told_to_the_partner(
    meta: SandboxClient, partner: Partner, look: LookAt
) -> None:
    meta.expire_token(SENDING, 6 * DAY)
    meta.add_knob("error", endpoint="oauth_access_token", code=2)

    look(partner)

    assert of(partner).last_four == SENDING[-4:]
    [notice] = Notice.objects.all()
    assert (notice.kind, notice.days, notice.advertiser_id) == ("expiring", 7, None)
    assert time.time() < notice.about.timestamp()
