"""The table of roles and acts, written out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenants.roles import ACTS, Act, AdvertiserRole, PartnerRole, Role, may, may_any

TABLE = {
    #                        see    test   connect replay erase see set-up, set up  advertisers people
    PartnerRole.OWNER: (True, True, True, True, True, True, True, True, True),
    PartnerRole.MANAGER: (True, True, True, True, True, True, False, True, False),
    PartnerRole.SUPPORT: (True, True, False, False, False, False, False, False, False),
    AdvertiserRole.ADMIN: (True, True, True, True, True, False, False, False, True),
    AdvertiserRole.ANALYST: (True, False, False, False, False, False, False, False, False),
}
ORDER = (
    Act.SEE,
    Act.TEST,
    Act.CONNECT,
    Act.REPLAY,
    Act.ERASE,
    Act.SEE_SET_UP,
    Act.SET_UP,
    Act.MANAGE_ADVERTISERS,
    Act.MANAGE_PEOPLE,
)


def test_the_table_names_every_role_and_every_act() -> None:
    assert set(TABLE) == set(ACTS) == {*PartnerRole, *AdvertiserRole}
    assert set(ORDER) == set(Act)


@pytest.mark.parametrize("role", TABLE)
def test_a_role_may_do_what_the_table_says(role: Role) -> None:
    assert tuple(may(role, act) for act in ORDER) == TABLE[role]


def test_of_several_roles_one_that_may_is_enough() -> None:
    assert may_any({AdvertiserRole.ANALYST, PartnerRole.SUPPORT}, Act.TEST)
    assert not may_any({AdvertiserRole.ANALYST, PartnerRole.SUPPORT}, Act.CONNECT)
    assert not may_any(set(), Act.SEE)


def test_the_docs_draw_the_same_table() -> None:
    whose = {PartnerRole: "partner's", AdvertiserRole: "advertiser's"}
    lines = [
        f"| role | {' | '.join(act.value.replace('_', ' ') for act in ORDER)} |",
        f"| {' | '.join(['---'] * (len(ORDER) + 1))} |",
        *(
            f"| {whose[type(role)]} {role} | {' | '.join('yes' if may(role, act) else '–' for act in ORDER)} |"
            for role in (*PartnerRole, *AdvertiserRole)
        ),
    ]

    assert "\n".join(lines) in Path("docs/people-and-roles.md").read_text()
