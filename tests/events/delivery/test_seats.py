"""Threads: no pixel takes all of them, and slow ones share a few. Leases: kept alive by work, and by nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from django.db import connection
from django.utils import timezone

from events.delivery import engine
from events.delivery.claim import Claim, Idle, claim_next
from events.delivery.leases import Leases
from events.delivery.seats import Seats
from events.delivery.send import take_up
from events.delivery.settle import settle
from events.delivery.sweep import take_over_expired
from events.models import Delivery, PixelLog
from onboarding.models import Pixel
from partnerhub.lib.graph import GraphAnswer
from partnerhub.lib.graph.errors import InDoubt
from tests.events.delivery.conftest import TakeTurn, deliveries, introduce, let_time_pass
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]


def claimed(pixel: Pixel) -> Claim:
    claim = claim_next(pixel.pk)
    assert isinstance(claim, Claim)
    return claim


def test_a_pixel_takes_half_of_the_threads_and_gives_them_back() -> None:
    seats = Seats(8)

    with ExitStack() as stack:
        of_one = [stack.enter_context(seats.take(1)) for _ in range(5)]
        other = stack.enter_context(seats.take(2))
        assert (of_one, other) == ([True, True, True, True, False], True)
    with seats.take(1) as again:
        assert again


@pytest.mark.parametrize(("threads", "slow"), [(1, 1), (4, 1), (8, 2), (16, 4)])
def test_slow_pixels_share_a_quarter_of_the_threads(threads: int, slow: int) -> None:
    seats = Seats(threads)
    taken = [seats.take_slow(True) for _ in range(slow + 1)]

    assert [seat.__enter__() for seat in taken] == [True] * slow + [False]
    assert not seats.has_slow_seat
    with seats.take_slow(False) as quick:
        assert quick
    for seat in taken:
        seat.__exit__(None, None, None)
    assert seats.has_slow_seat


def test_many_threads_never_have_more_than_their_seats() -> None:
    seats, most, lock = Seats(4), [0, 0], threading.Lock()

    def work() -> None:
        for _ in range(300):
            with seats.take_slow(True) as has_seat:
                with lock:
                    most[0] += has_seat
                    most[1] = max(most)
                with lock:
                    most[0] -= has_seat

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [0, 1]


def test_a_pixel_without_an_answer_is_slow_until_one_comes_in_time(
    target: ConnectedPixel, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_count(target.pixel, 1)
    with as_role("worker"), monkeypatch.context() as patch:
        patch.setattr("events.delivery.settle.SLOW_SECONDS", 0.0)
        parcel = take_up(claimed(target.pixel))
        assert parcel is not None
        settle(parcel, InDoubt("nothing came back"))
    log = PixelLog.objects.get(pk=target.pixel.pk)
    assert (log.slow_since is not None, log.width) == (True, 1)
    let_time_pass(target.pixel)

    with as_role("worker"):
        assert claim_next(target.pixel.pk, takes_slow=False) is Idle.SLOW
        parcel = take_up(claimed(target.pixel))
        assert parcel is not None
        settle(parcel, GraphAnswer(200, {}, "A-trace", 1, None, 12))

    assert PixelLog.objects.get(pk=target.pixel.pk).slow_since is None


def test_slow_pixels_leave_the_rest_of_the_threads_to_the_others(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Seats(4)
    monkeypatch.setattr(engine, "seats", lambda: few)
    quick = make_connected_pixel(target.pixel.advertiser)
    introduce(sandbox, quick)
    append_count(target.pixel, 1)
    append_count(quick.pixel, 1)
    PixelLog.objects.filter(pk=target.pixel.pk).update(slow_since=timezone.now())

    with few.take_slow(True):
        assert take_turn(target.pixel).idle is Idle.SLOW
        assert take_turn(quick.pixel).idle is Idle.ASLEEP
    assert deliveries(target.pixel) == []
    take_turn(target.pixel)

    assert deliveries(target.pixel) == deliveries(quick.pixel) == [(0, 0, "accepted")]
    assert PixelLog.objects.get(pk=target.pixel.pk).slow_since is None


def test_a_slow_claim_whose_seat_was_taken_meanwhile_waits_again(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Seats(4)
    monkeypatch.setattr(engine, "seats", lambda: few)
    monkeypatch.setattr(Seats, "has_slow_seat", True)
    append_count(target.pixel, 1)
    PixelLog.objects.filter(pk=target.pixel.pk).update(slow_since=timezone.now())

    with few.take_slow(True):
        take_turn(target.pixel)

    assert deliveries(target.pixel) == [(0, 0, "waiting")]
    assert sandbox.client.received_requests(target.pixel.meta_id) == []


def test_a_heartbeat_keeps_the_lease_of_what_is_worked_on(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 1)
    leases = Leases()
    with as_role("worker"):
        claim = claimed(target.pixel)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE events_delivery SET lease_until = now() + interval '2 seconds'")
        before = Delivery.objects.get().lease_until

        with leases.hold(claim):
            assert leases.beat() == 1
        assert leases.beat() == 0

    after = Delivery.objects.get().lease_until
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 50


def test_a_heartbeat_wakes_no_lease_that_is_over_and_none_of_anothers(
    target: ConnectedPixel, as_role: AsRole
) -> None:
    append_count(target.pixel, 1)
    leases = Leases()
    with as_role("worker"):
        slept = claimed(target.pixel)
        with leases.hold(slept):
            let_time_pass(target.pixel)
            assert leases.beat() == 0
            take_over_expired()
            again = claimed(target.pixel)
            before = Delivery.objects.get().lease_until
            assert leases.beat() == 0

    assert again.delivery_id == slept.delivery_id
    assert Delivery.objects.get().lease_until == before


def test_a_lease_is_not_kept_for_ever(target: ConnectedPixel, as_role: AsRole) -> None:
    append_count(target.pixel, 1)
    now = [0.0]
    leases = Leases(clock=lambda: now[0])
    with as_role("worker"):
        claim = claimed(target.pixel)
        with leases.hold(claim):
            now[0] = 29.0
            assert leases.beat() == 1
            now[0] = 31.0
            assert leases.beat() == 0
            assert leases.renewed_at(claim) == 29.0
