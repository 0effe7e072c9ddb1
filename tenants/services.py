"""What can be done to tenants: one function an act, each in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from partnerhub.lib.vault import Secret
from tenants.models import (
    Advertiser,
    AdvertiserMembership,
    ApiKey,
    Invitation,
    Partner,
    PartnerCredential,
    PartnerMembership,
    Person,
)
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.secrets import vault
from tenants.tokens import API_KEY_PREFIX, hash_token, new_token

# Long enough for a holiday week, short enough that a forgotten mail opens nothing.
INVITATION_LIFE = timedelta(days=7)
# Why an invitation cannot be accepted, by its state.
UNUSABLE = {
    "accepted": "This invitation was already used.",
    "revoked": "This invitation was withdrawn. Ask for a new one.",
    "expired": "This invitation has expired. Ask for a new one.",
    "resent": "A newer mail was sent since. Open the link in that one.",
}


class InvitationUnusable(Exception):
    """The invitation cannot be accepted; the text says why, to the person who followed the link."""


class AlreadyMember(Exception):
    """The person that the invitation is for holds a role there."""


class AdvertiserExists(Exception):
    """The partner has an advertiser of this name already."""


class RoleUnchanged(Exception):
    """A member's role stays as it is; the text says why."""


class LastOwner(RoleUnchanged):
    """The last owner of a partner, or the last admin of an advertiser, cannot be removed or demoted."""


class MembershipGone(RoleUnchanged):
    """The member's role was ended meanwhile, or that of the person who asked."""


@transaction.atomic
def create_partner(
    *,
    name: str,
    partner_agent: str,
    meta_app_id: str = "",
    app_secret: Secret | None = None,
    business_id: str = "",
) -> Partner:
    """A new partner, with its Meta app's secret sealed. The operator's act (`manage.py partner create`).

    What is left out, the partner's own set-up asks for.
    """
    partner = Partner.objects.create(
        name=name, partner_agent=partner_agent, meta_app_id=meta_app_id, business_id=business_id
    )
    if app_secret is not None:
        credential = PartnerCredential(
            partner=partner, kind=PartnerCredential.Kind.APP_SECRET, last_four=app_secret.last_four
        )
        credential.sealed = vault().seal(app_secret, identity=credential.vault_identity)
        credential.save(force_insert=True)
    return partner


def create_advertiser(*, partner: Partner, name: str, default_country: str = "") -> Advertiser:
    """A new advertiser of the partner. Raises AdvertiserExists."""
    try:
        with transaction.atomic():
            return Advertiser.objects.create(partner=partner, name=name, default_country=default_country)
    except IntegrityError as error:
        if "advertiser_name_unique" in str(error):
            raise AdvertiserExists from None
        raise


@transaction.atomic
def invite_person(
    *,
    email: str,
    role: PartnerRole | AdvertiserRole,
    partner: Partner,
    advertiser: Advertiser | None = None,
    invited_by: Person | None,
) -> tuple[Invitation, str]:
    """A new invitation and its token, which is in no other place: the caller mails it.

    It takes the place of an unanswered one of the same address to the same tenant. Raises AlreadyMember.
    """
    now = timezone.now()
    email = email.lower()
    members = partner.memberships if advertiser is None else advertiser.memberships
    if members.filter(person__email=email).exists():
        raise AlreadyMember(f"{email} has a role here already.")
    same = Invitation.objects.unanswered().filter(partner=partner, advertiser=advertiser, email=email)
    same.update(revoked_at=now)
    token = new_token()
    invitation = Invitation.objects.create(
        partner=partner,
        advertiser=advertiser,
        email=email,
        role=role.value,
        token_hash=hash_token(token),
        invited_by=invited_by,
        sent_at=now,
        expires_at=now + INVITATION_LIFE,
    )
    return invitation, token


@transaction.atomic
def renew_invitation(*, invitation: Invitation) -> str:
    """A fresh token for an invitation that was neither accepted nor revoked; the old link stops working.

    Raises InvitationUnusable where it was.
    """
    now = timezone.now()
    token = new_token()
    expires_at = now + INVITATION_LIFE
    renewed = (
        Invitation.objects.unanswered()
        .filter(pk=invitation.pk)
        .update(token_hash=hash_token(token), sent_at=now, expires_at=expires_at)
    )
    if not renewed:
        raise InvitationUnusable("This invitation was already used or withdrawn.")
    invitation.expires_at = expires_at
    return token


@transaction.atomic
def revoke_invitation(*, invitation: Invitation) -> bool:
    """Whether this call revoked it; an accepted or revoked one stays as it is."""
    unanswered = Invitation.objects.unanswered().filter(pk=invitation.pk)
    return bool(unanswered.update(revoked_at=timezone.now()))


@transaction.atomic
def accept_invitation(
    *, invitation: Invitation, person: Person, verified_emails: set[str], now: datetime
) -> PartnerMembership | AdvertiserMembership:
    """The person's new role. Works once, and only for a person who proved to own the invited address.

    Runs in the scope of the person and of the link. Raises InvitationUnusable with the reason in words.
    """
    if invitation.email not in {email.lower() for email in verified_emails}:
        raise InvitationUnusable(
            f"This invitation was sent to {invitation.email}. Sign in with that address to accept it."
        )
    # Locked: who else accepts, resends or withdraws it waits, and then finds it answered.
    same_link = Invitation.objects.filter(pk=invitation.pk, token_hash=invitation.token_hash)
    locked = same_link.select_for_update().first()
    state = locked.state(now) if locked else "resent"
    if state != "open":
        raise InvitationUnusable(UNUSABLE[state])
    membership: PartnerMembership | AdvertiserMembership
    try:
        # The membership goes first: row-level security allows it while the invitation is still open.
        with transaction.atomic():
            if invitation.advertiser_id is None:
                membership = PartnerMembership.objects.create(
                    partner_id=invitation.partner_id, person=person, role=invitation.role
                )
            else:
                membership = AdvertiserMembership.objects.create(
                    advertiser_id=invitation.advertiser_id, person=person, role=invitation.role
                )
    except IntegrityError:
        raise InvitationUnusable("You already have a role here.") from None
    same_link.update(accepted_at=now, accepted_by=person)
    return membership


@transaction.atomic
def change_partner_role(*, membership: PartnerMembership, role: PartnerRole) -> None:
    """Give a member another role. Raises RoleUnchanged, also where nobody would be left to own the partner."""
    _keep_an_owner(membership, role)
    _expect_one(PartnerMembership.objects.filter(pk=membership.pk).update(role=role.value))


@transaction.atomic
def remove_partner_member(*, membership: PartnerMembership) -> None:
    """Take a member's role away. Raises RoleUnchanged."""
    _keep_an_owner(membership, None)
    _expect_one(PartnerMembership.objects.filter(pk=membership.pk).delete()[0])


@transaction.atomic
def change_advertiser_role(*, membership: AdvertiserMembership, role: AdvertiserRole) -> None:
    """Give a member another role. Raises RoleUnchanged, also where no admin would be left."""
    _keep_an_admin(membership, role)
    _expect_one(AdvertiserMembership.objects.filter(pk=membership.pk).update(role=role.value))


@transaction.atomic
def remove_advertiser_member(*, membership: AdvertiserMembership) -> None:
    """Take a member's role away. Raises RoleUnchanged."""
    _keep_an_admin(membership, None)
    _expect_one(AdvertiserMembership.objects.filter(pk=membership.pk).delete()[0])


def _expect_one(changed: int) -> None:
    if not changed:
        raise MembershipGone("The role was changed meanwhile. Load the page anew.")


def _keep_an_owner(membership: PartnerMembership, role: PartnerRole | None) -> None:
    # All owners are locked, in id order, so that two of them cannot remove each other at once.
    owners = PartnerMembership.objects.select_for_update().filter(
        partner_id=membership.partner_id, role=PartnerRole.OWNER
    )
    if role != PartnerRole.OWNER and [owner.pk for owner in owners.order_by("pk")] == [membership.pk]:
        raise LastOwner("A partner keeps at least one owner.")


def _keep_an_admin(membership: AdvertiserMembership, role: AdvertiserRole | None) -> None:
    admins = AdvertiserMembership.objects.select_for_update().filter(
        advertiser_id=membership.advertiser_id, role=AdvertiserRole.ADMIN
    )
    if role != AdvertiserRole.ADMIN and [admin.pk for admin in admins.order_by("pk")] == [membership.pk]:
        raise LastOwner("An advertiser keeps at least one admin.")


@transaction.atomic
def issue_api_key(*, person: Person, name: str) -> tuple[ApiKey, str]:
    """A new key of the person's, and its text, which is shown once and kept as a hash."""
    text = new_token(API_KEY_PREFIX)
    key = ApiKey.objects.create(person=person, name=name, key_hash=hash_token(text), last_four=text[-4:])
    return key, text


@transaction.atomic
def revoke_api_key(*, key: ApiKey) -> bool:
    """Whether this call revoked it. From its commit on no request with it is answered."""
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()))
