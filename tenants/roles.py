"""Who may do what: one table of roles and acts. Pure.

A role is held at a partner or at an advertiser. A partner's role reaches all of the partner's advertisers.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class PartnerRole(StrEnum):
    """Roles at a partner."""

    OWNER = "owner"
    MANAGER = "manager"
    SUPPORT = "support"


class AdvertiserRole(StrEnum):
    """Roles at an advertiser."""

    ADMIN = "admin"
    ANALYST = "analyst"


class Act(StrEnum):
    """What a person can do to a tenant. Seeing is an act, too."""

    SEE = "see"
    TEST = "test"  # send a test event
    CONNECT = "connect"  # pixels, credentials, ingest tokens
    REPLAY = "replay"  # send events once more, decide about doubts
    ERASE = "erase"  # erase all of one person
    SEE_SET_UP = "see_set_up"  # the partner's own set-up and its App Review
    SET_UP = "set_up"  # the partner's app, business, tokens, looks
    MANAGE_ADVERTISERS = "manage_advertisers"  # make and invite advertisers
    MANAGE_PEOPLE = "manage_people"  # invite, change and remove people of the same tenant


Role = PartnerRole | AdvertiserRole

ACTS: dict[Role, frozenset[Act]] = {
    PartnerRole.OWNER: frozenset(Act),
    PartnerRole.MANAGER: frozenset(
        {Act.SEE, Act.TEST, Act.CONNECT, Act.REPLAY, Act.ERASE, Act.SEE_SET_UP, Act.MANAGE_ADVERTISERS}
    ),
    PartnerRole.SUPPORT: frozenset({Act.SEE, Act.TEST}),
    AdvertiserRole.ADMIN: frozenset(
        {Act.SEE, Act.TEST, Act.CONNECT, Act.REPLAY, Act.ERASE, Act.MANAGE_PEOPLE}
    ),
    AdvertiserRole.ANALYST: frozenset({Act.SEE}),
}


def may(role: Role, act: Act) -> bool:
    """Whether the table lets the role do the act."""
    return act in ACTS[role]


def may_any(roles: Collection[Role], act: Act) -> bool:
    """Whether one of the roles may do the act."""
    return any(may(role, act) for role in roles)
