"""What is in doubt follows the pixel's policy by name, and a person decides the rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from events import doubts
from events.delivery.claim import Claim, claim_next
from events.delivery.send import take_up
from events.delivery.settle import settle
from events.delivery.sweep import take_over_expired
from events.models import Delivery, DoubtDecision, DoubtPolicy, Rejection
from onboarding.models import Pixel
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph.errors import InDoubt
from tenants.models import Person
from tenants.roles import AdvertiserRole
from tests.events.delivery.conftest import TakeTurn, let_time_pass
from tests.support.factories import ConnectedPixel, join_advertiser, make_person
from tests.support.ledger import at_meta, audit
from tests.support.log import append_events, make_event
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]
HOLD, AGAIN = DoubtPolicy.Action.HOLD, DoubtPolicy.Action.AGAIN
Decision = DoubtDecision.Decision


def hold_name(pixel: Pixel, name: str, action: DoubtPolicy.Action = HOLD) -> None:
    doubts.set_doubt_policy(pixel=pixel, event_name=name, action=action, changed_by=None)


def send_into_silence(pixel: Pixel, as_role: AsRole) -> None:
    """A batch whose answer never came."""
    with as_role("worker"):
        claim = claim_next(pixel.pk)
        assert isinstance(claim, Claim)
        parcel = take_up(claim)
        assert parcel is not None
        assert settle(parcel, InDoubt("silence"))


def mixed(pixel: Pixel) -> None:
    names = ["PageView", "AddToCart", "PageView", "Lead"]
    append_events(pixel, [make_event(event_name=name) for name in names])


def parts(pixel: Pixel) -> list[tuple[str, list[int] | None, bool]]:
    """Deliveries of the pixel: state, selection, whether a person is waited for."""
    found = Delivery.objects.filter(pixel=pixel).order_by("pk")
    return [(one.state, one.offsets, one.state == "doubt" and one.due_at is None) for one in found]


@pytest.mark.parametrize("how", ["settled", "swept"])
def test_a_held_name_is_parted_from_what_is_sent_again(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, how: str
) -> None:
    hold_name(target.pixel, "AddToCart")
    mixed(target.pixel)

    if how == "settled":
        send_into_silence(target.pixel, as_role)
    else:
        with as_role("worker"):
            claim = claim_next(target.pixel.pk)
            assert isinstance(claim, Claim)
            take_up(claim)
        let_time_pass(target.pixel)
        with as_role("worker"):
            take_over_expired()

    assert sorted(parts(target.pixel), key=str) == [
        ("doubt", [0, 2, 3], False),
        ("doubt", [1], True),
        ("split", None, False),
    ]
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("in_doubt"), found.total("doubts")) == ([], 4, 1)


def test_a_part_is_sent_again_and_the_held_one_waits(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    hold_name(target.pixel, "AddToCart")
    mixed(target.pixel)
    send_into_silence(target.pixel, as_role)

    let_time_pass(target.pixel)
    take_turn(target.pixel)

    assert {name for name, _ in at_meta(sandbox.client, target.pixel)} == {"PageView", "Lead"}
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted"), found.total("in_doubt")) == ([], 3, 1)


def test_other_names_have_a_policy_and_a_name_its_own(target: ConnectedPixel, as_role: AsRole) -> None:
    hold_name(target.pixel, "")
    hold_name(target.pixel, "PageView", AGAIN)
    mixed(target.pixel)

    send_into_silence(target.pixel, as_role)

    assert ("doubt", [1, 3], True) in parts(target.pixel)
    assert ("doubt", [0, 2], False) in parts(target.pixel)


def test_a_batch_of_held_names_alone_is_held_whole(target: ConnectedPixel, as_role: AsRole) -> None:
    hold_name(target.pixel, "")
    mixed(target.pixel)

    send_into_silence(target.pixel, as_role)

    assert parts(target.pixel) == [("doubt", None, True)]


def test_without_a_policy_all_is_sent_again(target: ConnectedPixel, as_role: AsRole) -> None:
    mixed(target.pixel)
    send_into_silence(target.pixel, as_role)

    assert parts(target.pixel) == [("doubt", None, False)]


# What a person decides, with the web's rights.


@pytest.fixture
def decider(target: ConnectedPixel) -> Person:
    person = make_person()
    join_advertiser(person, target.pixel.advertiser, AdvertiserRole.ADMIN)
    return person


def decide(pixel: Pixel, decision: DoubtDecision.Decision, person: Person, as_role: AsRole) -> doubts.Decided:
    with as_role("app"), tenant_scope(person_id=person.pk):
        return doubts.decide_doubts(pixel=pixel, decision=decision, decided_by=person)


def in_doubt(pixel: Pixel, as_role: AsRole) -> None:
    hold_name(pixel, "")
    mixed(pixel)
    send_into_silence(pixel, as_role)


def test_the_list_says_what_since_when_why_and_how_many(
    target: ConnectedPixel, as_role: AsRole, decider: Person
) -> None:
    in_doubt(target.pixel, as_role)

    with as_role("app"), tenant_scope(person_id=decider.pk):
        [doubt] = doubts.doubts_of(target.pixel)

    assert (doubt.events, doubt.is_held) == (4, True)
    assert list(doubt.names) == [("PageView", 2), ("AddToCart", 1), ("Lead", 1)]
    assert doubt.since is not None
    assert doubt.why == "It was sent, and no answer came back."


def test_send_again_sends_it_again(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn, decider: Person
) -> None:
    in_doubt(target.pixel, as_role)

    assert decide(target.pixel, Decision.AGAIN, decider, as_role) == doubts.Decided(1, 4)
    take_turn(target.pixel)

    assert audit(sandbox.client, [target.pixel]).total("accepted") == 4
    record = DoubtDecision.objects.get()
    assert (record.decided_by, record.events, record.decision) == (decider, 4, "again")


def test_treated_as_delivered_it_is_accepted_and_not_sent(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn, decider: Person
) -> None:
    in_doubt(target.pixel, as_role)

    decide(target.pixel, Decision.DELIVERED, decider, as_role)
    take_turn(target.pixel)

    assert at_meta(sandbox.client, target.pixel) == {}
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted"), found.total("in_doubt")) == ([], 4, 0)


def test_rejected_each_event_has_its_rejection(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn, decider: Person
) -> None:
    in_doubt(target.pixel, as_role)

    decide(target.pixel, Decision.REJECT, decider, as_role)
    take_turn(target.pixel)

    assert set(Rejection.objects.values_list("reason", flat=True)) == {"given_up"}
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("rejected"), found.total("in_doubt")) == ([], 4, 0)


def test_what_is_being_sent_is_not_decided(target: ConnectedPixel, as_role: AsRole, decider: Person) -> None:
    in_doubt(target.pixel, as_role)
    decide(target.pixel, Decision.AGAIN, decider, as_role)
    delivery = Delivery.objects.get()
    with as_role("worker"):
        assert isinstance(claim_next(target.pixel.pk), Claim)

    with as_role("app"), tenant_scope(person_id=decider.pk):
        decided = doubts.decide_doubt(delivery=delivery, decision=Decision.REJECT, decided_by=decider)

    assert decided == doubts.Decided(missed=1)
    assert not Rejection.objects.exists()
