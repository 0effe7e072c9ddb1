"""The only door to a tenant's row: whoever may not see it gets the 404 of a row that does not exist.

Who sees a row but may not do the act gets a 403 with a sentence (PermissionDenied).
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404

from tenants.models import (
    Advertiser,
    AdvertiserMembership,
    Invitation,
    Logo,
    Partner,
    PartnerMembership,
    Person,
)
from tenants.roles import Act, AdvertiserRole, PartnerRole, Role, may_any

REFUSED = "Your role does not let you do this. Ask an owner or admin of {tenant}."


def require(roles: set[Role], act: Act, *, tenant: object) -> None:
    """Raise Http404 for a person with no role, PermissionDenied where none of the roles may do the act."""
    if not may_any(roles, Act.SEE):
        raise Http404
    if not may_any(roles, act):
        raise PermissionDenied(REFUSED.format(tenant=tenant))


def partner_roles(person: Person, partner_id: int) -> set[Role]:
    """The person's roles at a partner."""
    held = PartnerMembership.objects.filter(partner_id=partner_id, person=person)
    return {PartnerRole(role) for role in held.values_list("role", flat=True)}


def advertiser_roles(person: Person, advertiser: Advertiser) -> set[Role]:
    """The person's roles that reach an advertiser: held there, or at its partner."""
    held = AdvertiserMembership.objects.filter(advertiser=advertiser, person=person)
    own = {AdvertiserRole(role) for role in held.values_list("role", flat=True)}
    return own | partner_roles(person, advertiser.partner_id)


def get_partner_for(person: Person, partner_id: int, act: Act = Act.SEE) -> Partner:
    """The partner, for somebody who holds a role there."""
    partner = Partner.objects.for_person(person).filter(pk=partner_id).first()
    if partner is None:
        raise Http404
    require(partner_roles(person, partner_id), act, tenant=partner)
    return partner


def get_seen_partner_for(person: Person, partner_id: int) -> Partner:
    """The partner, for somebody with a role there or at one of its advertisers: for its name and looks alone."""
    own = Partner.objects.for_person(person).values("pk")
    served = Advertiser.objects.for_person(person).values("partner_id")
    found = Partner.objects.filter(Q(pk__in=own) | Q(pk__in=served), pk=partner_id).first()
    if found is None:
        raise Http404
    return found


def find_called_partner(callback_key: str) -> Partner | None:
    """The partner whose address Meta called, in the scope that names it."""
    return Partner.objects.filter(callback_key=callback_key).first()


def get_logo_for(person: Person, partner_id: int, digest: str) -> Logo:
    """The partner's logo as it is now, for somebody who sees the partner."""
    partner = get_seen_partner_for(person, partner_id)
    found = Logo.objects.filter(partner=partner, digest=digest).first()
    if found is None:
        raise Http404
    return found


def get_advertiser_for(person: Person, advertiser_id: int, act: Act = Act.SEE) -> Advertiser:
    """The advertiser with its partner, for somebody who reaches it."""
    found = Advertiser.objects.for_person(person).select_related("partner").filter(pk=advertiser_id).first()
    if found is None:
        raise Http404
    require(advertiser_roles(person, found), act, tenant=found)
    return found


def get_invitation_for(person: Person, invitation_id: int) -> Invitation:
    """An invitation, for somebody who may manage the people (or, at a partner, the advertisers) it is for."""
    invitation = (
        Invitation.objects.select_related("partner", "advertiser__partner").filter(pk=invitation_id).first()
    )
    if invitation is None:
        raise Http404
    if invitation.advertiser is None:
        get_partner_for(person, invitation.partner_id, Act.MANAGE_PEOPLE)
    else:
        get_advertiser_for(person, invitation.advertiser.pk)
        require_inviter(person, invitation.advertiser)
    return invitation


def find_invitation_by_link(token_hash: str) -> Invitation | None:
    """The invitation whose link was followed, in the scope that names it: whoever holds the link sees it."""
    return Invitation.objects.select_related("partner", "advertiser").filter(token_hash=token_hash).first()


def require_inviter(person: Person, advertiser: Advertiser) -> None:
    """Raise unless the person may invite to this advertiser: its admins, and the partner's managers."""
    roles = advertiser_roles(person, advertiser)
    act = Act.MANAGE_ADVERTISERS if may_any(roles, Act.MANAGE_ADVERTISERS) else Act.MANAGE_PEOPLE
    require(roles, act, tenant=advertiser)


def get_partner_member_for(person: Person, membership_id: int) -> PartnerMembership:
    """A partner's member, for somebody who may manage its people."""
    found = PartnerMembership.objects.select_related("partner", "person").filter(pk=membership_id).first()
    if found is None:
        raise Http404
    get_partner_for(person, found.partner_id, Act.MANAGE_PEOPLE)
    return found


def get_advertiser_member_for(person: Person, membership_id: int) -> AdvertiserMembership:
    """An advertiser's member, for somebody who may invite to it."""
    found = AdvertiserMembership.objects.select_related("advertiser__partner", "person").filter(
        pk=membership_id
    )
    membership = found.first()
    if membership is None:
        raise Http404
    get_advertiser_for(person, membership.advertiser_id)
    require_inviter(person, membership.advertiser)
    return membership
