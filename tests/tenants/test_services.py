"""What can be done to tenants, in one transaction each, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.db import IntegrityError
from django.utils import timezone

from partnerhub.lib.db import tenant_scope
from partnerhub.lib.vault import Secret
from tenants import services
from tenants.models import (
    Advertiser,
    AdvertiserMembership,
    Invitation,
    Partner,
    PartnerMembership,
    Person,
)
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.secrets import vault
from tenants.tokens import hash_token
from tests.support.environment import TestDatabase
from tests.support.factories import join_advertiser, join_partner, make_advertiser, make_partner, make_person
from tests.support.roles import at_once, logged_in_as

ADDRESS = "invited@shop.example"


def invite(
    partner: Partner, advertiser: Advertiser | None = None, *, email: str = ADDRESS
) -> tuple[Invitation, str]:
    """An invitation to support the partner, or to analyse for the advertiser."""
    return services.invite_person(
        email=email,
        role=AdvertiserRole.ANALYST if advertiser else PartnerRole.SUPPORT,
        partner=partner,
        advertiser=advertiser,
        invited_by=None,
    )


def accept(invitation: Invitation, person: Person) -> object:
    """Accept as a view does, with the person's one address proven."""
    return services.accept_invitation(
        invitation=invitation, person=person, verified_emails={person.email}, now=timezone.now()
    )


# Partners and advertisers.


def test_a_partner_keeps_its_apps_secret_sealed(db: None) -> None:
    partner = services.create_partner(
        name="Datapartner",
        partner_agent="datapartner",
        meta_app_id="900100",
        app_secret=Secret("app-secret-1234"),
    )

    credential = partner.credentials.get()
    assert credential.last_four == "1234"
    assert b"app-secret" not in bytes(credential.sealed)
    assert (
        vault().open(bytes(credential.sealed), identity=credential.vault_identity).reveal()
        == "app-secret-1234"
    )


@pytest.mark.parametrize("name", ["Velo Rad", "VELO RAD"])
def test_a_partner_has_one_advertiser_of_a_name(db: None, name: str) -> None:
    partner = make_partner()
    services.create_advertiser(partner=partner, name="Velo Rad")

    with pytest.raises(services.AdvertiserExists):
        services.create_advertiser(partner=partner, name=name)

    assert services.create_advertiser(partner=make_partner(), name=name).name == name


def test_a_country_is_two_capital_letters(db: None) -> None:
    with pytest.raises(IntegrityError, match="advertiser_country_is_iso"):
        services.create_advertiser(partner=make_partner(), name="Shop", default_country="it")


# Invitations.


def test_an_invitation_keeps_only_its_tokens_hash(db: None) -> None:
    invitation, token = invite(make_partner(), email="Invited@Shop.example")

    invitation.refresh_from_db()
    assert invitation.token_hash == hash_token(token)
    assert token not in str(vars(invitation))
    assert invitation.email == ADDRESS
    assert invitation.expires_at - invitation.sent_at == timedelta(days=7)


def test_an_accepted_invitation_gives_its_role(db: None) -> None:
    advertiser = make_advertiser()
    invitation, _ = invite(advertiser.partner, advertiser)
    person = make_person(ADDRESS)

    accept(invitation, person)

    invitation.refresh_from_db()
    assert advertiser.memberships.get().role == "analyst"
    assert advertiser.memberships.get().person == person
    assert advertiser.partner.memberships.count() == 0
    assert invitation.accepted_by == person


def test_an_invitation_works_once(db: None) -> None:
    partner = make_partner()
    invitation, _ = invite(partner)
    person = make_person(ADDRESS)
    accept(invitation, person)
    partner.memberships.all().delete()

    invitation.refresh_from_db()
    with pytest.raises(services.InvitationUnusable, match="already used"):
        accept(invitation, person)

    assert partner.memberships.count() == 0


def test_an_invitation_that_was_read_before_it_was_used_works_once(db: None) -> None:
    partner = make_partner()
    invitation, _ = invite(partner)
    read_before = Invitation.objects.get(pk=invitation.pk)
    person = make_person(ADDRESS)
    accept(invitation, person)
    partner.memberships.all().delete()

    with pytest.raises(services.InvitationUnusable, match="already used"):
        accept(read_before, person)

    assert partner.memberships.count() == 0


def test_a_forwarded_invitation_is_of_no_use(db: None) -> None:
    partner = make_partner()
    invitation, _ = invite(partner)

    with pytest.raises(services.InvitationUnusable, match=f"sent to {ADDRESS}"):
        accept(invitation, make_person("friend@else.example"))

    assert partner.memberships.count() == 0


def test_an_address_that_is_not_proven_accepts_nothing(db: None) -> None:
    invitation, _ = invite(make_partner())
    person = make_person(ADDRESS)

    with pytest.raises(services.InvitationUnusable):
        services.accept_invitation(
            invitation=invitation, person=person, verified_emails=set(), now=timezone.now()
        )


def test_any_of_a_persons_proven_addresses_accepts(db: None) -> None:
    invitation, _ = invite(make_partner())

    assert services.accept_invitation(
        invitation=invitation,
        person=make_person(),
        verified_emails={"person@else.example", "INVITED@shop.example"},
        now=timezone.now(),
    )


def test_an_expired_invitation_is_of_no_use(db: None) -> None:
    invitation, _ = invite(make_partner())
    person = make_person(ADDRESS)

    with (
        time_machine.travel(invitation.expires_at, tick=False),
        pytest.raises(services.InvitationUnusable, match="expired"),
    ):
        accept(invitation, person)


def test_a_revoked_invitation_is_of_no_use(db: None) -> None:
    invitation, _ = invite(make_partner())

    assert services.revoke_invitation(invitation=invitation)
    assert not services.revoke_invitation(invitation=invitation)
    invitation.refresh_from_db()
    with pytest.raises(services.InvitationUnusable, match="withdrawn"):
        accept(invitation, make_person(ADDRESS))


def test_a_resent_invitation_kills_the_old_link(db: None) -> None:
    invitation, old = invite(make_partner())
    with time_machine.travel(timezone.now() + timedelta(days=8), tick=False):
        new = services.renew_invitation(invitation=invitation)
        renewed = Invitation.objects.get(pk=invitation.pk)

        assert new != old
        assert not Invitation.objects.filter(token_hash=hash_token(old)).exists()
        assert renewed.token_hash == hash_token(new)
        assert renewed.state(timezone.now()) == "open"


def test_a_link_that_was_opened_before_it_was_resent_is_of_no_use(db: None) -> None:
    invitation, _ = invite(make_partner())
    opened_before = Invitation.objects.get(pk=invitation.pk)
    services.renew_invitation(invitation=invitation)

    with pytest.raises(services.InvitationUnusable, match="newer mail"):
        accept(opened_before, make_person(ADDRESS))


@pytest.mark.parametrize("end", ["accepted", "revoked"])
def test_an_answered_invitation_is_not_resent(db: None, end: str) -> None:
    invitation, token = invite(make_partner())
    if end == "accepted":
        accept(invitation, make_person(ADDRESS))
    else:
        services.revoke_invitation(invitation=invitation)

    with pytest.raises(services.InvitationUnusable):
        services.renew_invitation(invitation=invitation)

    assert Invitation.objects.get(pk=invitation.pk).token_hash == hash_token(token)


def test_a_second_invitation_takes_the_firsts_place_also_when_that_has_expired(db: None) -> None:
    partner = make_partner()
    first, _ = invite(partner)
    with time_machine.travel(timezone.now() + timedelta(days=30), tick=False):
        second, _ = invite(partner)

    first.refresh_from_db()
    assert first.revoked_at
    assert list(Invitation.objects.unanswered()) == [second]


def test_an_invitation_elsewhere_stays(db: None) -> None:
    advertiser = make_advertiser()
    to_partner, _ = invite(advertiser.partner)
    to_advertiser, _ = invite(advertiser.partner, advertiser)
    to_other, _ = invite(make_partner())

    assert set(Invitation.objects.unanswered()) == {to_partner, to_advertiser, to_other}


def test_who_has_a_role_is_not_invited_again(db: None) -> None:
    partner = make_partner()
    join_partner(make_person(ADDRESS), partner, PartnerRole.OWNER)

    with pytest.raises(services.AlreadyMember, match=f"{ADDRESS} has a role here already"):
        invite(partner, email=ADDRESS.upper())

    advertiser = make_advertiser(partner)
    assert invite(partner, advertiser)


def test_an_invitation_to_who_has_got_a_role_meanwhile_changes_nothing(db: None) -> None:
    partner = make_partner()
    invitation, _ = invite(partner)
    person = make_person(ADDRESS)
    join_partner(person, partner, PartnerRole.OWNER)

    with pytest.raises(services.InvitationUnusable, match="already have a role"):
        accept(invitation, person)

    assert partner.memberships.get().role == "owner"


@pytest.mark.parametrize(
    ("role", "has_advertiser"), [(AdvertiserRole.ADMIN, False), (PartnerRole.OWNER, True)]
)
def test_a_role_of_the_other_kind_cannot_be_offered(
    db: None, role: AdvertiserRole | PartnerRole, has_advertiser: bool
) -> None:
    advertiser = make_advertiser()

    with pytest.raises(IntegrityError, match="invitation_role_fits_tenant"):
        services.invite_person(
            email=ADDRESS,
            role=role,
            partner=advertiser.partner,
            advertiser=advertiser if has_advertiser else None,
            invited_by=None,
        )


def test_two_who_accept_at_once_get_one_role(transactional_db: None, database: TestDatabase) -> None:
    partner = make_partner()
    invitation, token = invite(partner)
    person = make_person(ADDRESS)

    def accept_in_scope() -> object:
        with tenant_scope(person_id=person.pk, invitation_hash=hash_token(token)):
            return accept(Invitation.objects.get(pk=invitation.pk), person)

    with logged_in_as(database, "app"):
        results = at_once(*[accept_in_scope] * 4)

    assert [type(result) for result in results].count(PartnerMembership) == 1
    assert [type(result) for result in results].count(services.InvitationUnusable) == 3
    assert partner.memberships.count() == 1


@pytest.mark.parametrize("attempt", range(5))
def test_accepted_and_revoked_at_once_is_one_of_the_two(
    transactional_db: None, database: TestDatabase, attempt: int
) -> None:
    partner = make_partner()
    owner = make_person()
    join_partner(owner, partner, PartnerRole.OWNER)
    invitation, token = invite(partner)
    person = make_person(ADDRESS)

    def accept_in_scope() -> object:
        with tenant_scope(person_id=person.pk, invitation_hash=hash_token(token)):
            return accept(Invitation.objects.get(pk=invitation.pk), person)

    def revoke_in_scope() -> object:
        with tenant_scope(person_id=owner.pk):
            return services.revoke_invitation(invitation=invitation)

    with logged_in_as(database, "app"):
        accepted, revoked = at_once(accept_in_scope, revoke_in_scope)

    invitation.refresh_from_db()
    if revoked is True:
        assert isinstance(accepted, services.InvitationUnusable)
        assert partner.memberships.count() == 1
        assert invitation.state(timezone.now()) == "revoked"
    else:
        assert isinstance(accepted, PartnerMembership)
        assert invitation.state(timezone.now()) == "accepted"


# Members.


def test_the_last_owner_stays(db: None) -> None:
    partner = make_partner()
    owner = join_partner(make_person(), partner, PartnerRole.OWNER)
    join_partner(make_person(), partner, PartnerRole.MANAGER)
    join_partner(make_person(), make_partner(), PartnerRole.OWNER)

    with pytest.raises(services.LastOwner):
        services.remove_partner_member(membership=owner)
    with pytest.raises(services.LastOwner):
        services.change_partner_role(membership=owner, role=PartnerRole.SUPPORT)
    services.change_partner_role(membership=owner, role=PartnerRole.OWNER)

    assert partner.memberships.get(pk=owner.pk).role == "owner"


def test_the_last_admin_stays(db: None) -> None:
    advertiser = make_advertiser()
    admin = join_advertiser(make_person(), advertiser, AdvertiserRole.ADMIN)
    join_advertiser(make_person(), advertiser, AdvertiserRole.ANALYST)

    with pytest.raises(services.LastOwner):
        services.remove_advertiser_member(membership=admin)
    with pytest.raises(services.LastOwner):
        services.change_advertiser_role(membership=admin, role=AdvertiserRole.ANALYST)

    assert advertiser.memberships.get(pk=admin.pk).role == "admin"


def test_others_are_changed_and_removed(db: None) -> None:
    partner, advertiser = make_partner(), make_advertiser()
    owners = [join_partner(make_person(), partner, PartnerRole.OWNER) for _ in range(2)]
    admins = [join_advertiser(make_person(), advertiser, AdvertiserRole.ADMIN) for _ in range(2)]

    services.change_partner_role(membership=owners[0], role=PartnerRole.SUPPORT)
    services.change_advertiser_role(membership=admins[0], role=AdvertiserRole.ANALYST)
    assert PartnerMembership.objects.get(pk=owners[0].pk).role == "support"
    assert AdvertiserMembership.objects.get(pk=admins[0].pk).role == "analyst"

    services.remove_partner_member(membership=owners[0])
    services.remove_advertiser_member(membership=admins[0])
    assert list(partner.memberships.all()) == [owners[1]]
    assert list(advertiser.memberships.all()) == [admins[1]]


def test_a_role_that_was_ended_meanwhile_is_not_changed(db: None) -> None:
    partner, advertiser = make_partner(), make_advertiser()
    support = join_partner(make_person(), partner, PartnerRole.SUPPORT)
    analyst = join_advertiser(make_person(), advertiser, AdvertiserRole.ANALYST)
    partner.memberships.all().delete()
    advertiser.memberships.all().delete()

    with pytest.raises(services.MembershipGone):
        services.change_partner_role(membership=support, role=PartnerRole.OWNER)
    with pytest.raises(services.MembershipGone):
        services.remove_partner_member(membership=support)
    with pytest.raises(services.MembershipGone):
        services.change_advertiser_role(membership=analyst, role=AdvertiserRole.ADMIN)
    with pytest.raises(services.MembershipGone):
        services.remove_advertiser_member(membership=analyst)


def assert_one_succeeded(results: list[Exception | None]) -> None:
    """One removed the other, who then was the last, or had no role any more and reached nothing."""
    assert results.count(None) == 1
    [refused] = [result for result in results if result is not None]
    assert isinstance(refused, services.LastOwner | services.MembershipGone)


@pytest.mark.parametrize("act", ["remove", "demote"])
def test_two_owners_who_remove_each_other_at_once_leave_one(
    transactional_db: None, database: TestDatabase, act: str
) -> None:
    partner = make_partner()
    people = [make_person(), make_person()]
    owners = [join_partner(person, partner, PartnerRole.OWNER) for person in people]

    def end(actor: Person, membership: PartnerMembership) -> None:
        with tenant_scope(person_id=actor.pk):
            if act == "remove":
                services.remove_partner_member(membership=membership)
            else:
                services.change_partner_role(membership=membership, role=PartnerRole.SUPPORT)

    with logged_in_as(database, "app"):
        results = at_once(lambda: end(people[0], owners[1]), lambda: end(people[1], owners[0]))

    assert_one_succeeded(results)
    assert partner.memberships.filter(role="owner").count() == 1


def test_two_admins_who_remove_each_other_at_once_leave_one(
    transactional_db: None, database: TestDatabase
) -> None:
    advertiser = make_advertiser()
    people = [make_person(), make_person()]
    admins = [join_advertiser(person, advertiser, AdvertiserRole.ADMIN) for person in people]

    def end(actor: Person, membership: AdvertiserMembership) -> None:
        with tenant_scope(person_id=actor.pk):
            services.remove_advertiser_member(membership=membership)

    with logged_in_as(database, "app"):
        results = at_once(lambda: end(people[0], admins[1]), lambda: end(people[1], admins[0]))

    assert_one_succeeded(results)
    assert advertiser.memberships.filter(role="admin").count() == 1
