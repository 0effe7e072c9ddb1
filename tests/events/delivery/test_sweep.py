"""What mends the rest: leases of the dead, pixels that nobody was told of, days without partitions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg
import pytest
from django.db import connection

from events.delivery import sweep as sweep_room
from events.delivery.claim import Claim, claim_next
from events.delivery.send import take_up
from events.delivery.sweep import due_pixels, make_partitions, sweep, take_over_expired
from events.models import Attempt, Delivery, PixelLog
from onboarding.models import Pixel
from tests.events.delivery.conftest import TakeTurn, deliveries, introduce, let_time_pass
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel, hold, make_connected_pixel
from tests.support.ledger import audit
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pixels that sweeps hinted at."""
    given: list[int] = []
    monkeypatch.setattr(sweep_room, "send_hint", lambda task, pixel_id: given.append(pixel_id))
    return given


def age(pixel: Pixel, seconds: int) -> None:
    """The pixel's events, and what its deliveries wait for, are so much older."""
    with connection.cursor() as cursor:
        for table, column in (("events_pixellog", "tail_received_at"), ("events_delivery", "due_at")):
            cursor.execute(
                f"UPDATE {table} SET {column} = {column} - %s * interval '1 second' WHERE pixel_id = %s",  # noqa: S608
                [seconds, pixel.pk],
            )


def test_a_claim_of_a_dead_worker_waits_again_at_once_and_is_no_doubt(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 3)
    with as_role("worker"):
        claim_next(target.pixel.pk)
    let_time_pass(target.pixel)

    with as_role("worker"):
        assert take_over_expired() == 1
        assert take_over_expired() == 0
    take_turn(target.pixel)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.doubts, delivery.attempts) == ("accepted", 0, 1)
    assert audit(sandbox.client, [target.pixel]).accounts[target.pixel.pk].surplus == 0


def test_a_send_of_a_dead_worker_is_in_doubt_and_goes_again_soon(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 3)
    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
        assert isinstance(claim, Claim)
        take_up(claim)
    let_time_pass(target.pixel)

    with as_role("worker"):
        assert take_over_expired() == 1

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.doubts, delivery.failure_class) == ("doubt", 1, "in_doubt")
    assert delivery.due_at is not None
    assert Attempt.objects.get().outcome == "doubt"
    assert audit(sandbox.client, [target.pixel]).findings == []
    let_time_pass(target.pixel)
    take_turn(target.pixel)
    assert deliveries(target.pixel) == [(0, 2, "accepted")]


def test_a_live_lease_is_left_alone(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 3)
    with as_role("worker"):
        claim_next(target.pixel.pk)

        assert take_over_expired() == 0
        assert due_pixels(limit=10) == []


def test_a_sweep_hints_at_pixels_whose_hint_was_lost(
    target: ConnectedPixel, as_role: AsRole, swept: list[int]
) -> None:
    append_count(target.pixel, 3)

    with as_role("worker"):
        sweep()
        assert swept == []  # its hint may still be on its way
    age(target.pixel, 60)
    with as_role("worker"):
        assert sweep() == 1

    assert swept == [target.pixel.pk]


def test_a_sweep_hints_at_retries_that_are_due_also_where_the_pixel_sleeps(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn, swept: list[int]
) -> None:
    sandbox.client.add_knob("cut", count=1)
    append_count(target.pixel, 3)
    # A turn ends with a doubt; the one behind it finds nothing more to do.
    take_turn(target.pixel)
    take_turn(target.pixel)
    assert not PixelLog.objects.get(pk=target.pixel.pk).awake

    with as_role("worker"):
        assert sweep() == 0
    let_time_pass(target.pixel)
    age(target.pixel, 60)
    with as_role("worker"):
        assert sweep() == 1

    assert swept == [target.pixel.pk]


def test_a_sweep_leaves_pixels_that_are_held_or_back_off(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, swept: list[int]
) -> None:
    backing_off = make_connected_pixel()
    introduce(sandbox, backing_off)
    for pixel in (target.pixel, backing_off.pixel):
        append_count(pixel, 1)
        age(pixel, 60)
    hold(target.pixel, Pixel.Hold.CREDENTIAL)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_pixellog SET due_at = now() + interval '1 minute' WHERE pixel_id = %s",
            [backing_off.pixel.pk],
        )

    with as_role("worker"):
        assert sweep() == 0

    assert swept == []


def test_a_sweep_leaves_retries_of_a_pixel_that_backs_off(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("cut", count=1)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    let_time_pass(target.pixel)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_pixellog SET due_at = now() + interval '1 minute'")

    with as_role("worker"):
        assert due_pixels(limit=10) == []


def test_two_sweeps_at_once_are_one(
    target: ConnectedPixel, as_role: AsRole, swept: list[int], database: TestDatabase
) -> None:
    append_count(target.pixel, 1)
    age(target.pixel, 60)

    with psycopg.connect(database.url("worker")) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('events.sweep'))")
        with as_role("worker"):
            assert sweep() == 0

    assert swept == []


def test_a_sweep_is_bounded_and_takes_the_longest_waiting_first(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole
) -> None:
    older = make_connected_pixel()
    introduce(sandbox, older)
    for pixel, seconds in ((target.pixel, 60), (older.pixel, 90)):
        append_count(pixel, 1)
        age(pixel, seconds)

    with as_role("worker"):
        assert due_pixels(limit=10, age_seconds=10) == [older.pixel.pk, target.pixel.pk]
        assert due_pixels(limit=1, age_seconds=10) == [older.pixel.pk]


def test_days_are_made_a_week_ahead_and_once(target: ConnectedPixel, as_role: AsRole) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '6 days', 'YYYYMMDD')")
        day = cursor.fetchone()[0]
        cursor.execute(f"DROP TABLE events_event_{day}")

    with as_role("worker"):
        assert make_partitions() >= 1
        assert make_partitions() == 0

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"events_event_{day}"])
        assert cursor.fetchone()[0] == f"events_event_{day}"
