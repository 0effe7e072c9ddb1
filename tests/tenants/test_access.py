"""Who gets at what: each access function for each role. (A stranger's 404s are in tests/test_locks.py.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from tenants import access
from tenants.models import Advertiser, Invitation, Partner, Person
from tenants.roles import Act, AdvertiserRole, PartnerRole
from tenants.services import invite_person
from tests.support.factories import join_advertiser, join_partner, make_advertiser, make_partner, make_person

ROLES = (*PartnerRole, *AdvertiserRole)


@dataclass(frozen=True, slots=True)
class Cast:
    """A partner and an advertiser of its, with somebody in each role."""

    partner: Partner
    advertiser: Advertiser
    people: dict[str, Person]
    to_partner: Invitation
    to_advertiser: Invitation


@pytest.fixture
def cast(db: None) -> Cast:
    partner = make_partner()
    advertiser = make_advertiser(partner)
    people = {role.value: make_person() for role in ROLES}
    for partner_role in PartnerRole:
        join_partner(people[partner_role], partner, partner_role)
    for role in AdvertiserRole:
        join_advertiser(people[role], advertiser, role)
    to_partner, _ = invite_person(
        email="a@b.example", role=PartnerRole.SUPPORT, partner=partner, invited_by=None
    )
    to_advertiser, _ = invite_person(
        email="a@b.example",
        role=AdvertiserRole.ADMIN,
        partner=partner,
        advertiser=advertiser,
        invited_by=None,
    )
    return Cast(partner, advertiser, people, to_partner, to_advertiser)


def outcome(act: Callable[[], object]) -> str:
    """`found`, `refused` (403), or `missing` (404)."""
    try:
        act()
    except PermissionDenied:
        return "refused"
    except Http404:
        return "missing"
    return "found"


def for_each(cast: Cast, act: Callable[[Person], object]) -> dict[str, str]:
    """The outcome for each role."""
    return {role: outcome(partial(act, person)) for role, person in cast.people.items()}


def test_a_partner_is_seen_by_its_own_people(cast: Cast) -> None:
    assert for_each(cast, lambda person: access.get_partner_for(person, cast.partner.pk)) == {
        "owner": "found",
        "manager": "found",
        "support": "found",
        "admin": "missing",
        "analyst": "missing",
    }


def test_a_partners_advertisers_are_managed_by_owner_and_manager(cast: Cast) -> None:
    def manage(person: Person) -> object:
        return access.get_partner_for(person, cast.partner.pk, Act.MANAGE_ADVERTISERS)

    assert for_each(cast, manage) == {
        "owner": "found",
        "manager": "found",
        "support": "refused",
        "admin": "missing",
        "analyst": "missing",
    }


def test_an_advertiser_is_seen_by_all_who_reach_it(cast: Cast) -> None:
    found = for_each(cast, lambda person: access.get_advertiser_for(person, cast.advertiser.pk))

    assert found == dict.fromkeys(cast.people, "found")


@pytest.mark.parametrize(
    ("act", "may"),
    [
        (Act.TEST, {"owner", "manager", "support", "admin"}),
        (Act.CONNECT, {"owner", "manager", "admin"}),
        (Act.MANAGE_PEOPLE, {"owner", "admin"}),
    ],
)
def test_an_act_on_an_advertiser_is_for_the_roles_that_may(cast: Cast, act: Act, may: set[str]) -> None:
    found = for_each(cast, lambda person: access.get_advertiser_for(person, cast.advertiser.pk, act))

    assert found == {role: "found" if role in may else "refused" for role in cast.people}


def test_a_partners_invitation_is_its_owners(cast: Cast) -> None:
    assert for_each(cast, lambda person: access.get_invitation_for(person, cast.to_partner.pk)) == {
        "owner": "found",
        "manager": "refused",
        "support": "refused",
        "admin": "missing",
        "analyst": "missing",
    }


def test_an_advertisers_invitation_is_its_admins_and_the_partners_managers(cast: Cast) -> None:
    assert for_each(cast, lambda person: access.get_invitation_for(person, cast.to_advertiser.pk)) == {
        "owner": "found",
        "manager": "found",
        "support": "refused",
        "admin": "found",
        "analyst": "refused",
    }


def test_a_partners_members_are_changed_by_its_owner(cast: Cast) -> None:
    membership = cast.partner.memberships.get(role="support")

    assert for_each(cast, lambda person: access.get_partner_member_for(person, membership.pk)) == {
        "owner": "found",
        "manager": "refused",
        "support": "refused",
        "admin": "missing",
        "analyst": "missing",
    }


def test_an_advertisers_members_are_changed_by_its_admins_and_the_partners_managers(cast: Cast) -> None:
    membership = cast.advertiser.memberships.get(role="analyst")

    assert for_each(cast, lambda person: access.get_advertiser_member_for(person, membership.pk)) == {
        "owner": "found",
        "manager": "found",
        "support": "refused",
        "admin": "found",
        "analyst": "refused",
    }


def test_a_role_at_one_advertiser_says_nothing_of_another_of_the_same_partner(cast: Cast) -> None:
    sister = make_advertiser(cast.partner)

    assert for_each(cast, lambda person: access.get_advertiser_for(person, sister.pk)) == {
        "owner": "found",
        "manager": "found",
        "support": "found",
        "admin": "missing",
        "analyst": "missing",
    }


def test_of_two_roles_the_stronger_counts(cast: Cast) -> None:
    both = cast.people["support"]
    join_advertiser(both, cast.advertiser, AdvertiserRole.ADMIN)

    assert access.get_advertiser_for(both, cast.advertiser.pk, Act.CONNECT) == cast.advertiser


def test_a_refusal_says_whom_to_ask(cast: Cast) -> None:
    with pytest.raises(PermissionDenied, match=f"Ask an owner or admin of {cast.advertiser}"):
        access.get_advertiser_for(cast.people["analyst"], cast.advertiser.pk, Act.CONNECT)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63 - 1])
def test_a_number_that_no_row_has_is_missing(cast: Cast, number: int) -> None:
    with pytest.raises(Http404):
        access.get_advertiser_for(cast.people["owner"], number)
