"""What of a pile is near Meta's age limit goes first, and the ranges still tile the log."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from events.delivery import urgent
from events.delivery.claim import Claim, claim_next
from events.delivery.urgent import JOINED_EVENTS, Urgent, bring_forward, runs_of
from events.ledger import audit_ledger
from events.models import Backlog
from events.pace import lanes
from onboarding.models import Pixel
from tests.events.delivery.conftest import TakeTurn, is_drained
from tests.support.factories import ConnectedPixel, hold
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 900)), unique_by=lambda pair: pair[0]))
def test_runs_hold_every_urgent_event_and_lie_apart(pairs: list[tuple[int, int]]) -> None:
    events = [Urgent(at, NOW, NOW + timedelta(seconds=left)) for at, left in sorted(pairs)]

    runs = runs_of(events)

    for event in events:
        [run] = [run for run in runs if run.first <= event.log_offset <= run.last]
        assert run.expires_at <= event.expires_at
    for run, following in itertools.pairwise(runs):
        assert following.first - run.last > JOINED_EVENTS
    assert {run.first for run in runs} | {run.last for run in runs} <= {event.log_offset for event in events}


@pytest.fixture
def pile(target: ConnectedPixel, as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> Pixel:
    """100 events, of which the first 5 are on their way; those at 40, 41, 60 and 99 are urgent, 60 most."""
    monkeypatch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", 5)
    monkeypatch.setattr(urgent, "JOINED_EVENTS", 3)
    append_count(target.pixel, 100)
    with as_role("worker"):
        assert isinstance(claim_next(target.pixel.pk), Claim)
    with connection.cursor() as cursor:
        for offsets, hours in (([40, 41], 4), ([60], 2), ([99], 5), ([70], 20)):
            cursor.execute(
                "UPDATE events_event SET expires_at = now() + %s * interval '1 hour' WHERE log_offset = ANY (%s)",
                [hours, offsets],
            )
    return target.pixel


def bring(as_role: AsRole) -> int:
    with as_role("worker"):
        return bring_forward()


def test_what_is_near_its_age_limit_goes_before_all_else(pile: Pixel, as_role: AsRole) -> None:
    append_count(pile, 1)

    assert bring(as_role) == 3

    assert audit_ledger([pile.pk]).findings == []
    claims = []
    for step in range(3):
        with as_role("worker"):
            claim = claim_next(pile.pk, lanes(step))
        assert isinstance(claim, Claim)
        claims.append((claim.first_offset, claim.last_offset))
    assert claims == [(60, 60), (40, 41), (99, 99)]
    assert audit_ledger([pile.pk]).findings == []


def test_a_pile_that_was_taken_apart_drains_to_the_last_event(
    pile: Pixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    bring(as_role)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_delivery SET state = 'waiting', due_at = now(), lease_until = NULL, lease_token = NULL"
        )

    while take_turn(pile).idle is None:
        pass

    assert is_drained(pile)
    audited = audit_ledger([pile.pk])
    assert audited.findings == []
    assert audited.accounts[pile.pk].accepted == 100


def test_a_pile_is_looked_through_in_steps_and_once(
    pile: Pixel, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urgent, "STEP_EVENTS", 10)
    monkeypatch.setattr(urgent, "STEPS", 4)

    assert [bring(as_role) for _ in range(6)] == [1, 1, 1, 0, 0, 0]

    assert audit_ledger([pile.pk]).findings == []
    assert not Backlog.objects.filter(drained_at=None, expires_at=None, looked_at=None).exists()


def test_a_pile_that_stands_for_long_is_looked_through_again(pile: Pixel, as_role: AsRole) -> None:
    bring(as_role)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_event SET expires_at = now() + interval '3 hours' WHERE log_offset = 70"
        )
    assert bring(as_role) == 0
    Backlog.objects.update(looked_at=NOW - timedelta(days=1))

    assert bring(as_role) == 1


def test_what_was_claimed_meanwhile_and_what_is_held_is_left_alone(
    pile: Pixel, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    Backlog.objects.update(next_offset=65)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_delivery SET last_offset = 64")

    assert bring(as_role) == 1

    assert list(Backlog.objects.exclude(expires_at=None).values_list("first_offset", "last_offset")) == [
        (99, 99)
    ]
    assert [finding for finding in audit_ledger([pile.pk]).findings if finding.rule == "L3"] == []
    Backlog.objects.update(looked_at=NOW - timedelta(days=1))
    hold(pile, Pixel.Hold.CREDENTIAL)
    assert bring(as_role) == 0
