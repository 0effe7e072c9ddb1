"""Claims with the worker's rights, on connections of their own: nothing is claimed twice or left out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.delivery.claim import Claim, Idle, LogDamaged, claim_next
from events.models import Delivery, PixelLog
from onboarding.models import Pixel
from tests.events.delivery.conftest import deliveries, let_time_pass
from tests.support.environment import ROLES, TestDatabase
from tests.support.factories import ConnectedPixel
from tests.support.log import append_count

AsRole = Callable[[str], AbstractContextManager[None]]


@contextmanager
def worker_connection() -> Iterator[None]:
    """This thread's own connection, with the worker's rights, closed at the end."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(f'SET ROLE "{ROLES.worker}"')
        yield
    finally:
        connection.close()


def claim_all_at_once(pixel: Pixel, threads: int) -> list[Claim | Idle]:
    """What each of so many threads gets that claim at the same moment."""
    barrier = threading.Barrier(threads)

    def claim(_: int) -> Claim | Idle:
        with worker_connection():
            barrier.wait(10)
            return claim_next(pixel.pk)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(claim, range(threads)))


def test_claims_at_the_same_moment_tile_the_log(
    target: ConnectedPixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", 5)
    PixelLog.objects.filter(pk=target.pixel.pk).update(width=100)
    append_count(target.pixel, 28)

    results = claim_all_at_once(target.pixel, 8)

    claims = sorted(
        (result for result in results if isinstance(result, Claim)), key=lambda claim: claim.first_offset
    )
    assert [(claim.first_offset, claim.last_offset) for claim in claims] == [
        (0, 4),
        (5, 9),
        (10, 14),
        (15, 19),
        (20, 24),
        (25, 27),
    ]
    assert [result for result in results if isinstance(result, Idle)] == [Idle.ASLEEP] * 2


def test_one_due_delivery_is_taken_by_one(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 1)
    with as_role("worker"):
        claim_next(target.pixel.pk)
    Delivery.objects.update(state="waiting", lease_until=None, lease_token=None)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_delivery SET due_at = now()")

    results = claim_all_at_once(target.pixel, 6)

    assert sorted(type(result).__name__ for result in results) == ["Claim", *["Idle"] * 5]
    assert Delivery.objects.count() == 1


def test_what_is_due_goes_before_what_is_new(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 1)
    with as_role("worker"):
        first = claim_next(target.pixel.pk)
        assert isinstance(first, Claim)
    Delivery.objects.update(state="waiting", lease_until=None, lease_token=None, due_at=None)
    append_count(target.pixel, 1)
    with as_role("worker"):
        fresh = claim_next(target.pixel.pk)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_delivery SET due_at = now() WHERE id = %s", [first.delivery_id])
    append_count(target.pixel, 1)

    with as_role("worker"):
        again = claim_next(target.pixel.pk)

    assert isinstance(fresh, Claim)
    assert isinstance(again, Claim)
    assert fresh.first_offset == 1
    assert again.delivery_id == first.delivery_id
    assert again.lease_token != first.lease_token


def test_a_commit_beside_the_claim_that_finds_nothing_leaves_the_pixel_awake(
    target: ConnectedPixel, database: TestDatabase, as_role: AsRole
) -> None:
    """The door holds the row while it appends: the claim that would put the pixel to sleep waits for it."""
    append_count(target.pixel, 1)
    with as_role("worker"):
        claim_next(target.pixel.pk)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database.url("owner")) as door:
        door.execute("SELECT FROM events_pixellog WHERE pixel_id = %s FOR UPDATE", [target.pixel.pk])

        def claim() -> Claim | Idle:
            with worker_connection():
                return claim_next(target.pixel.pk)

        waiting = pool.submit(claim)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        door.execute(
            "INSERT INTO events_event SELECT advertiser_id, pixel_id, 1, now(), expires_at, origin,"
            " event_name, 'another', payload, notices FROM events_event WHERE pixel_id = %s",
            [target.pixel.pk],
        )
        door.execute(
            "UPDATE events_pixellog SET head = 2, awake = true, head_received_at = now(),"
            " tail_received_at = now() WHERE pixel_id = %s",
            [target.pixel.pk],
        )
        door.commit()
        found = waiting.result(10)

    assert isinstance(found, Claim)
    assert (found.first_offset, found.last_offset) == (1, 1)
    assert PixelLog.objects.get(pk=target.pixel.pk).awake


def test_a_log_with_a_hole_is_not_claimed(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 3)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event WHERE log_offset = 1")

    with as_role("worker"), pytest.raises(LogDamaged):
        claim_next(target.pixel.pk)

    assert deliveries(target.pixel) == []
    assert PixelLog.objects.get(pk=target.pixel.pk).tail == 0


def test_offsets_past_two_to_the_31_are_claimed(target: ConnectedPixel, as_role: AsRole) -> None:
    start = 2**31 - 2
    PixelLog.objects.filter(pk=target.pixel.pk).update(head=start, tail=start)
    append_count(target.pixel, 4)

    with as_role("worker"):
        claim = claim_next(target.pixel.pk)

    assert isinstance(claim, Claim)
    assert (claim.first_offset, claim.last_offset) == (start, start + 3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(appends=st.lists(st.integers(1, 9), min_size=1, max_size=6), size=st.integers(1, 7))
def test_appends_and_claims_in_any_order_tile_the_log(
    appends: list[int], size: int, target: ConnectedPixel, as_role: AsRole
) -> None:
    log = PixelLog.objects.get(pk=target.pixel.pk)
    start = log.head
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", size)
        patch.setattr("events.pace.PILE_REQUESTS", 1_000)
        PixelLog.objects.filter(pk=target.pixel.pk).update(width=10_000)
        claims: list[Claim] = []
        for count in appends:
            append_count(target.pixel, count)
            with as_role("worker"):
                claim = claim_next(target.pixel.pk)
            assert isinstance(claim, Claim)
            claims.append(claim)
        with as_role("worker"):
            while isinstance(claim := claim_next(target.pixel.pk), Claim):
                claims.append(claim)

    ends = [start]
    for claimed in claims:
        assert claimed.first_offset == ends[-1]
        assert claimed.last_offset - claimed.first_offset < size
        ends.append(claimed.last_offset + 1)
    assert ends[-1] == start + sum(appends)
    let_time_pass(target.pixel)
