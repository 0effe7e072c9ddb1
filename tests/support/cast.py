"""Two tenants with a row in every table, and people with and without a role at them; all of it committed.

Tests of the locks play with it: what is committed is what another connection, on another role, would see.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from events.models import (
    AppFlow,
    Attempt,
    Backlog,
    Delivery,
    DeliveryFinding,
    DoorRefusal,
    DoubtDecision,
    DoubtPolicy,
    Erasure,
    Event,
    IngestToken,
    LedgerCheck,
    Rejection,
    Replay,
)
from events.services import issue_ingest_token
from onboarding.models import (
    ConnectionTest,
    GraphCallCount,
    MetaCallback,
    Notice,
    OnboardingSession,
    Pixel,
    Revocation,
    SetupCheck,
    SetupSecret,
    TokenLink,
)
from onboarding.services import add_pixel, save_pasted_token
from partnerhub.lib.vault import Secret
from tenants.models import (
    Advertiser,
    AdvertiserMembership,
    ApiKey,
    Invitation,
    Logo,
    Partner,
    PartnerMembership,
    Person,
)
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.services import invite_person, issue_api_key
from tenants.tokens import hash_token, new_token
from tests.support.factories import join_advertiser, join_partner, make_advertiser, make_partner, make_person
from tests.support.log import append_count


@dataclass(slots=True)
class Tenant:
    """A partner with one advertiser, and a row of theirs in every table that tenants own."""

    partner: Partner
    advertiser: Advertiser
    pixel: Pixel
    test: ConnectionTest
    session: OnboardingSession
    link: TokenLink
    callback: MetaCallback
    # The owner's.
    api_key: ApiKey
    token: IngestToken
    event: Event
    # Done already.
    replay: Replay
    erasure: Erasure
    to_partner: Invitation
    to_advertiser: Invitation
    # The links' tokens of the two invitations.
    partner_link: str
    advertiser_link: str
    # The support's role at the partner, the analyst's at the advertiser.
    partner_member: PartnerMembership
    advertiser_member: AdvertiserMembership
    # By role: owner, manager, support at the partner; admin, analyst at the advertiser.
    people: dict[str, Person]


def make_tenant(name: str) -> Tenant:
    """A tenant whose rows are committed: the door writes the log over a connection of its own."""
    partner = make_partner(f"{name} Platform", partner_agent=name.lower())
    advertiser = make_advertiser(partner, name=f"{name} Shop")
    people = {
        role.value: make_person(f"{role}@{name.lower()}.example", name=f"{name} {role.title()}")
        for role in (*PartnerRole, *AdvertiserRole)
    }
    partner_members = {role: join_partner(people[role], partner, role) for role in PartnerRole}
    advertiser_members = {role: join_advertiser(people[role], advertiser, role) for role in AdvertiserRole}
    pixel = add_pixel(advertiser=advertiser, meta_id=str(10**12 + advertiser.pk), name=f"{name} pixel")
    credential = save_pasted_token(pixel=pixel, token=Secret(f"EAA{name}canarytoken"), created_by=None)
    owner = people[PartnerRole.OWNER]
    to_partner, partner_link = invite_person(
        email=f"colleague@{name.lower()}.example",
        role=PartnerRole.SUPPORT,
        partner=partner,
        invited_by=owner,
    )
    to_advertiser, advertiser_link = invite_person(
        email=f"clerk@{name.lower()}.example",
        role=AdvertiserRole.ANALYST,
        partner=partner,
        advertiser=advertiser,
        invited_by=owner,
    )
    test = ConnectionTest.objects.create(
        advertiser=advertiser,
        pixel=pixel,
        meta_id=pixel.meta_id,
        credential=credential,
        state=ConnectionTest.State.PASSED,
    )
    session = OnboardingSession.objects.create(
        advertiser=advertiser,
        option="pasted_token",
        state="with_colleague",
        facts={"meta_id": pixel.meta_id},
        created_by=owner,
    )
    link = TokenLink.objects.create(
        advertiser=advertiser,
        session=session,
        token_hash=hash_token(f"{name} link"),
        advertiser_name=advertiser.name,
        partner_name=partner.name,
        pixel_meta_id=pixel.meta_id,
        expires_at=timezone.now() + timedelta(days=7),
    )
    Revocation.objects.create(advertiser=advertiser, option="login_for_business", credential=credential)
    callback = MetaCallback.objects.create(
        partner=partner, kind=MetaCallback.Kind.DATA_DELETION, digest="0" * 64, confirmation_code=new_token()
    )
    SetupCheck.objects.create(partner=partner, step=SetupCheck.Step.APP, state=SetupCheck.State.PASSED)
    SetupSecret.objects.create(partner=partner, step=SetupCheck.Step.SENDING, sealed=b"sealed")
    GraphCallCount.objects.create(
        partner=partner, day=timezone.now().date(), source=GraphCallCount.Source.DELIVERIES
    )
    Notice.objects.create(
        partner=partner,
        advertiser=advertiser,
        credential=credential,
        kind=Notice.Kind.DIED,
        about=timezone.now(),
        state=Notice.State.SENT,
    )
    Logo.objects.create(partner=partner, content=b"picture", content_type="image/png", digest="0" * 64)
    token, _ = issue_ingest_token(pixel=pixel, name=f"{name} server", created_by=owner)
    append_count(pixel, 1)
    event = Event.objects.get(pixel=pixel)
    delivery = _deliver_and_reject(event)
    replay, erasure = _send_again_and_erase(event, delivery, owner)
    return Tenant(
        partner=partner,
        advertiser=advertiser,
        pixel=pixel,
        test=test,
        session=session,
        link=link,
        callback=callback,
        api_key=issue_api_key(person=owner, name=f"{name} report")[0],
        token=token,
        event=event,
        replay=replay,
        erasure=erasure,
        to_partner=to_partner,
        to_advertiser=to_advertiser,
        partner_link=partner_link,
        advertiser_link=advertiser_link,
        partner_member=partner_members[PartnerRole.SUPPORT],
        advertiser_member=advertiser_members[AdvertiserRole.ANALYST],
        people=people,
    )


def _deliver_and_reject(event: Event) -> Delivery:
    own = {"advertiser_id": event.advertiser_id, "pixel_id": event.pixel_id}
    AppFlow.objects.create(partner_id=event.advertiser.partner_id, due_at=timezone.now())
    Backlog.objects.create(
        **own,
        first_offset=event.log_offset,
        next_offset=event.log_offset + 1,
        last_offset=event.log_offset,
        next_received_at=event.received_at,
        last_received_at=event.received_at,
        drained_at=timezone.now(),
    )
    delivery = Delivery.objects.create(
        **own,
        first_offset=event.log_offset,
        last_offset=event.log_offset,
        first_received_at=event.received_at,
        last_received_at=event.received_at,
        state=Delivery.State.REJECTED,
        settled_at=timezone.now(),
    )
    Attempt.objects.create(**own, delivery=delivery, outcome=Attempt.Outcome.REFUSED)
    DeliveryFinding.objects.create(
        **own, delivery=delivery, kind=DeliveryFinding.Kind.EVENTS_RECEIVED, events_sent=1
    )
    Rejection.objects.create(
        **own,
        log_offset=event.log_offset,
        received_at=event.received_at,
        reason=Rejection.Reason.REFUSED,
        delivery=delivery,
        event_name=event.event_name,
        event_id=event.event_id,
    )
    return delivery


def _send_again_and_erase(event: Event, delivery: Delivery, owner: Person) -> tuple[Replay, Erasure]:
    own = {"advertiser_id": event.advertiser_id, "pixel_id": event.pixel_id}
    now = timezone.now()
    DoubtPolicy.objects.create(**own, event_name="Purchase", action=DoubtPolicy.Action.HOLD, changed_by=owner)
    DoubtDecision.objects.create(
        **own, delivery=delivery, decision=DoubtDecision.Decision.AGAIN, events=1, decided_by=owner
    )
    DoorRefusal.objects.create(
        **own, hour=now.replace(minute=0, second=0, microsecond=0), reason="invalid_parameter", requests=1
    )
    LedgerCheck.objects.update_or_create(
        advertiser_id=event.advertiser_id,
        defaults={"checked_at": now, "pixels": 1, "taken": 1, "findings": 0},
    )
    # A replay's, in doubt: the books know of its event already.
    Delivery.objects.create(
        **own,
        kind=Delivery.Kind.REPLAY,
        replay=Replay.objects.create(
            **own,
            state=Replay.State.DONE,
            first_offset=event.log_offset,
            last_offset=event.log_offset,
            next_offset=event.log_offset + 1,
        ),
        first_offset=event.log_offset,
        last_offset=event.log_offset,
        first_received_at=event.received_at,
        last_received_at=event.received_at,
        state=Delivery.State.DOUBT,
        doubts=1,
    )
    replay = Replay.objects.create(
        **own,
        state=Replay.State.READY,
        first_offset=event.log_offset,
        last_offset=event.log_offset,
        next_offset=event.log_offset + 1,
        requested_by=owner,
        counted_at=now,
    )
    erasure = Erasure.objects.create(
        **own,
        kind=Erasure.Kind.EXTERNAL_ID,
        state=Erasure.State.DONE,
        total=1,
        requested_by=owner,
        finished_at=now,
    )
    return replay, erasure
