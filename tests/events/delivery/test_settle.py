"""Whoever holds the lease settles; nobody else changes anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.db import OperationalError

from events.delivery import engine
from events.delivery.claim import Claim, claim_next
from events.delivery.send import Parcel, send, take_up
from events.delivery.settle import settle
from events.delivery.sweep import take_over_expired
from events.models import Attempt, Delivery
from onboarding.models import Pixel
from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.graph.errors import BatchRefused, CredentialRefused, GraphError, InDoubt, Transient
from tests.events.delivery.conftest import TakeTurn, deliveries, let_time_pass
from tests.support.factories import ConnectedPixel, hold
from tests.support.ledger import audit
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]


def accepted(count: int) -> GraphAnswer:
    return GraphAnswer(200, {}, "A-trace", count, None, 12)


def taken_up(pixel: Pixel) -> Parcel:
    claim = claim_next(pixel.pk)
    assert isinstance(claim, Claim)
    parcel = take_up(claim)
    assert parcel is not None
    return parcel


@pytest.mark.parametrize(
    "outcome",
    [
        accepted(2),
        Transient("later", code=2),
        BatchRefused("no", code=100),
        CredentialRefused("dead", code=190),
        InDoubt("silence"),
    ],
)
def test_a_late_settle_changes_nothing(
    outcome: GraphAnswer | GraphError, target: ConnectedPixel, as_role: AsRole
) -> None:
    append_count(target.pixel, 2)
    with as_role("worker"):
        parcel = taken_up(target.pixel)
    let_time_pass(target.pixel)
    with as_role("worker"):
        take_over_expired()
    before = list(Delivery.objects.values()), list(Attempt.objects.values())

    with as_role("worker"):
        assert settle(parcel, outcome) is False

    assert (list(Delivery.objects.values()), list(Attempt.objects.values())) == before
    assert not Pixel.objects.get(pk=target.pixel.pk).hold


def test_a_second_settle_changes_nothing(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 2)

    with as_role("worker"):
        parcel = taken_up(target.pixel)
        assert settle(parcel, accepted(2)) is True
        assert settle(parcel, BatchRefused("no", code=100)) is False

    assert deliveries(target.pixel) == [(0, 1, "accepted")]


def test_a_late_settle_does_not_touch_what_another_sends_now(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 2)
    with as_role("worker"):
        late = taken_up(target.pixel)
    let_time_pass(target.pixel)
    with as_role("worker"):
        take_over_expired()
    let_time_pass(target.pixel)
    with as_role("worker"):
        current = taken_up(target.pixel)

        assert settle(late, BatchRefused("no", code=100)) is False
        assert settle(current, accepted(2)) is True

    assert deliveries(target.pixel) == [(0, 1, "accepted")]
    assert list(Attempt.objects.order_by("pk").values_list("outcome", flat=True)) == ["doubt", "accepted"]


def test_a_claim_whose_lease_passed_on_is_not_sent(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 1)
    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
    assert isinstance(claim, Claim)
    let_time_pass(target.pixel)

    with as_role("worker"):
        take_over_expired()
        assert take_up(claim) is None
        again = claim_next(target.pixel.pk)
        assert take_up(claim) is None

    assert isinstance(again, Claim)
    assert Attempt.objects.count() == 0


def test_a_process_that_stood_still_since_the_mark_does_not_send(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_count(target.pixel, 1)
    client = GraphClient(base_url=sandbox.base_url, version="v26.0")

    with as_role("worker"):
        parcel = taken_up(target.pixel)
        late = parcel.marked_at + 40
        monkeypatch.setattr("events.delivery.send.time.monotonic", lambda: late)
        outcome = send(parcel, client)
    client.close()

    assert isinstance(outcome, GraphError)
    assert outcome.failure_class == "unsent"
    assert sandbox.client.received_requests(target.pixel.meta_id) == []


def test_a_pixel_held_between_claim_and_mark_is_not_sent(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 1)
    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
    assert isinstance(claim, Claim)
    hold(target.pixel, Pixel.Hold.CREDENTIAL)

    with as_role("worker"):
        assert take_up(claim) is None

    assert deliveries(target.pixel) == [(0, 0, "waiting")]


def test_an_answer_in_hand_survives_a_database_that_is_away_for_a_moment(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_count(target.pixel, 1)
    failures = [OperationalError("the server is starting up")] * 2

    def shaky(parcel: Parcel, outcome: GraphAnswer | GraphError) -> bool:
        if failures:
            raise failures.pop()
        return settle(parcel, outcome)

    monkeypatch.setattr(engine, "settle", shaky)
    monkeypatch.setattr(engine, "SETTLE_AGAIN_SECONDS", 0.01)
    # It is this test's own connection, with the role that it took.
    monkeypatch.setattr("events.delivery.engine.connection.close", lambda: None)

    take_turn(target.pixel)

    assert deliveries(target.pixel) == [(0, 0, "accepted")]
    assert Attempt.objects.get().outcome == "accepted"
    assert audit(sandbox.client, [target.pixel]).findings == []
