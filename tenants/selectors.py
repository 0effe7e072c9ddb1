"""What the tenants' pages show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tenants.models import Advertiser, AdvertiserMembership, Invitation, Partner, PartnerMembership, Person


@dataclass(frozen=True, slots=True)
class People:
    """Members of a tenant, and those who were invited and have not accepted yet."""

    members: list[PartnerMembership] | list[AdvertiserMembership]
    invitations: list[Invitation]


def partner_people(partner: Partner) -> People:
    """The partner's own people."""
    members = PartnerMembership.objects.filter(partner=partner).select_related("person").order_by("pk")
    waiting = Invitation.objects.unanswered().filter(partner=partner, advertiser=None)
    return People(list(members), list(waiting.order_by("-pk")))


def advertiser_people(advertiser: Advertiser) -> People:
    """The advertiser's own people."""
    members = (
        AdvertiserMembership.objects.filter(advertiser=advertiser).select_related("person").order_by("pk")
    )
    waiting = Invitation.objects.unanswered().filter(advertiser=advertiser)
    return People(list(members), list(waiting.order_by("-pk")))


def open_advertiser_invitations(partner: Partner, now: datetime) -> list[Invitation]:
    """Invitations to the partner's advertisers that wait to be accepted."""
    found = Invitation.objects.open(now).filter(partner=partner, advertiser__isnull=False)
    return list(found.select_related("advertiser").order_by("-pk"))


@dataclass(frozen=True, slots=True)
class Tenants:
    """Where a person can go: partners, and advertisers by a role of their own there."""

    partners: list[Partner]
    advertisers: list[Advertiser]

    def all(self) -> list[Partner | Advertiser]:
        """Both kinds, partners first."""
        return [*self.partners, *self.advertisers]


def tenants_of(person: Person) -> Tenants:
    """The tenants at which the person holds a role; not all that a partner's role reaches."""
    partners = Partner.objects.for_person(person).order_by("name")
    advertisers = Advertiser.objects.filter(memberships__person=person).select_related("partner")
    return Tenants(list(partners), list(advertisers.order_by("name")))
