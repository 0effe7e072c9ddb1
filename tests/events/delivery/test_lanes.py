"""Two lanes, and a place for everybody: piles drain beside fresh events, and neither neighbours nor partners starve."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from events import selectors
from events.delivery.claim import Claim, Idle, claim_next
from events.delivery.engine import TURN_DELIVERIES
from events.delivery.sweep import take_over_expired
from events.models import Backlog, PixelLog
from events.pace import Lane, lanes
from onboarding.models import Pixel
from onboarding.services import DELIVER, release_pixel
from tenants.models import Partner
from tests.events.delivery.conftest import TakeTurn, deliveries, introduce, is_drained, let_time_pass
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel, hold, make_connected_pixel
from tests.support.ledger import audit
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request holds 5 events: more than 50 are a pile."""
    monkeypatch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", 5)


def pile_up(pixel: Pixel, as_role: AsRole, count: int = 60) -> None:
    """So many events, of which the first 5 are on their way and the rest is set aside."""
    append_count(pixel, count)
    with as_role("worker"):
        assert isinstance(claim_next(pixel.pk), Claim)


def claims(pixel: Pixel, as_role: AsRole, count: int) -> list[tuple[int, int]]:
    """The ranges of the next claims, each with its place in the turn."""
    found = []
    for step in range(count):
        with as_role("worker"):
            claim = claim_next(pixel.pk, lanes(step))
        assert isinstance(claim, Claim)
        found.append((claim.first_offset, claim.last_offset))
    return found


def test_a_pile_is_set_aside_and_fresh_events_do_not_wait_behind_it(
    target: ConnectedPixel, as_role: AsRole
) -> None:
    pile_up(target.pixel, as_role)
    append_count(target.pixel, 2)

    assert claims(target.pixel, as_role, 3) == [(60, 61), (5, 9), (10, 14)]
    [backlog] = Backlog.objects.all()
    assert (backlog.first_offset, backlog.next_offset, backlog.last_offset) == (0, 15, 59)
    log = PixelLog.objects.get(pk=target.pixel.pk)
    assert (log.tail, log.head) == (62, 62)


def test_a_pile_does_not_wait_for_ever_behind_fresh_events(target: ConnectedPixel, as_role: AsRole) -> None:
    PixelLog.objects.filter(pk=target.pixel.pk).update(width=100)
    pile_up(target.pixel, as_role)
    append_count(target.pixel, 20)

    assert claims(target.pixel, as_role, 4) == [(60, 64), (65, 69), (5, 9), (70, 74)]


def test_a_pile_that_grows_while_nothing_is_claimed_stays_one(
    target: ConnectedPixel, as_role: AsRole
) -> None:
    pile_up(target.pixel, as_role)
    append_count(target.pixel, 51)
    with as_role("worker"):
        claim_next(target.pixel.pk)

    assert list(Backlog.objects.values_list("first_offset", "last_offset")) == [(0, 110)]
    assert PixelLog.objects.get(pk=target.pixel.pk).tail == 111


def test_a_second_pile_behind_fresh_events_drains_after_the_first(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    pile_up(target.pixel, as_role)
    append_count(target.pixel, 2)
    assert claims(target.pixel, as_role, 1) == [(60, 61)]
    append_count(target.pixel, 51)

    with as_role("worker"):
        claim = claim_next(target.pixel.pk, (Lane.BACKLOG, Lane.DUE, Lane.LIVE))

    assert isinstance(claim, Claim)
    assert claim.first_offset == 5
    assert list(Backlog.objects.order_by("pk").values_list("first_offset", "last_offset")) == [
        (0, 59),
        (62, 112),
    ]
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_pixel_with_a_backlog_does_not_sleep_and_drains_to_the_last_event(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    ids = append_count(target.pixel, 63)
    take_turn(target.pixel)
    assert PixelLog.objects.get(pk=target.pixel.pk).awake
    assert audit(sandbox.client, [target.pixel]).findings == []

    while take_turn(target.pixel).idle is None:
        pass

    assert is_drained(target.pixel)
    assert [event.event_id for event in sandbox.client.stored(target.pixel.meta_id)] == ids
    backlog = Backlog.objects.get()
    assert (backlog.left, backlog.drained_at is not None) == (0, True)
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert audited.accounts[target.pixel.pk].accepted == 63
    assert not PixelLog.objects.get(pk=target.pixel.pk).awake


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("L3", "UPDATE events_backlog SET next_offset = next_offset + 1"),
        ("L3", "UPDATE events_backlog SET next_offset = next_offset - 1"),
        ("L3", "DELETE FROM events_backlog"),
        ("L4", "DELETE FROM events_backlog"),
        ("L9", "UPDATE events_pixellog SET awake = false"),
    ],
)
def test_the_ledger_check_knows_what_is_set_aside(
    rule: str, statement: str, target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole
) -> None:
    pile_up(target.pixel, as_role)
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    account = audited.accounts[target.pixel.pk]
    assert (account.in_flight, account.waiting) == (5, 55)

    with connection.cursor() as cursor:
        cursor.execute(statement)

    assert rule in {finding.rule for finding in audit(sandbox.client, [target.pixel]).findings}


def test_a_mended_pixel_drains_oldest_first_with_its_fresh_events_beside_and_says_how_far(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    """Fewer than a pile's number, but older than what is fresh."""
    hold(target.pixel, Pixel.Hold.CREDENTIAL)
    old = append_count(target.pixel, 30)
    assert take_turn(target.pixel).idle == Idle.HELD
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_pixellog SET tail_received_at = tail_received_at - interval '1 day'")
    assert selectors.drain_progress(target.pixel.pk, now=timezone.now()) is None

    release_pixel(pixel_id=target.pixel.pk)
    take_turn(target.pixel)
    fresh = append_count(target.pixel, 1)
    take_turn(target.pixel)

    arrived = [event.event_id for event in sandbox.client.stored(target.pixel.meta_id)]
    first_turn = 5 * TURN_DELIVERIES
    assert arrived == old[:first_turn] + fresh + old[first_turn:]


def test_progress_is_what_left_the_pile_and_when_the_rest_will_have(
    target: ConnectedPixel, as_role: AsRole
) -> None:
    pile_up(target.pixel, as_role, 100)
    assert claims(target.pixel, as_role, 3) == [(5, 9), (10, 14), (15, 19)]
    now = Backlog.objects.get().created_at + timedelta(seconds=10)

    progress = selectors.drain_progress(target.pixel.pk, now=now)

    assert progress is not None
    assert (progress.total, progress.done, progress.left, progress.rate_per_second) == (100, 20, 80, 2.0)
    assert progress.done_by == now + timedelta(seconds=40)
    [overview] = selectors.overviews([target.pixel], now=now)
    assert overview.waiting == 100
    assert selectors.hot_tables().logs[0].waiting == 80  # type: ignore[attr-defined]  # annotated


def test_much_to_do_asks_for_turns_beside_this_one_up_to_the_width(
    target: ConnectedPixel, take_turn: TakeTurn, hints: list[tuple[str, int]]
) -> None:
    append_count(target.pixel, 500)

    for _ in range(8):
        take_turn(target.pixel)

    # 8 turns each asked for the next one; three more beside it make four, the width.
    assert len(hints) == 8 + 3
    assert PixelLog.objects.get(pk=target.pixel.pk).turns == 4


def test_a_turn_too_many_ends_and_the_count_is_one_again_when_all_is_done(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn, hints: list[tuple[str, int]]
) -> None:
    append_count(target.pixel, 40)
    PixelLog.objects.filter(pk=target.pixel.pk).update(turns=4, width=1)
    with as_role("worker"):
        claim_next(target.pixel.pk)

    assert take_turn(target.pixel).idle == Idle.BUSY
    assert PixelLog.objects.get(pk=target.pixel.pk).turns == 3
    PixelLog.objects.filter(pk=target.pixel.pk).update(width=4)
    while take_turn(target.pixel).idle is None:
        pass

    assert PixelLog.objects.get(pk=target.pixel.pk).turns == 1


def run_workers(take_turn: TakeTurn, hints: list[tuple[str, int]], pixels: list[Pixel], turns: int) -> None:
    """One worker that takes hints in their order, at the most so many."""
    by_id = {pixel.pk: pixel for pixel in pixels}
    for _ in range(turns):
        if not hints:
            break
        _, pixel_id = hints.pop(0)
        take_turn(by_id[pixel_id])


def test_a_quiet_pixel_waits_for_the_width_of_a_busy_one_and_not_for_its_pile(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, hints: list[tuple[str, int]]
) -> None:
    quiet = make_connected_pixel(target.pixel.advertiser)
    introduce(sandbox, quiet)
    append_count(target.pixel, 1_000)
    hints.append((DELIVER, target.pixel.pk))
    run_workers(take_turn, hints, [target.pixel], 8)
    append_count(quiet.pixel, 1)
    hints.append((DELIVER, quiet.pixel.pk))

    run_workers(take_turn, hints, [target.pixel, quiet.pixel], 5)

    assert deliveries(quiet.pixel) == [(0, 0, "accepted")]
    assert not is_drained(target.pixel)


def test_turns_are_as_long_as_the_partners_weight(
    target: ConnectedPixel, take_turn: TakeTurn, as_role: AsRole
) -> None:
    Partner.objects.update(delivery_weight=3)
    append_count(target.pixel, 200)

    assert take_turn(target.pixel).deliveries == 3 * TURN_DELIVERIES


def test_a_partners_ceiling_holds_over_all_its_pixels_and_its_neighbours_go_on(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole
) -> None:
    other = make_connected_pixel(target.pixel.advertiser)
    stranger = make_connected_pixel()
    Partner.objects.filter(pk=target.pixel.advertiser.partner_id).update(delivery_ceiling=2)
    for pixel in (target.pixel, other.pixel, stranger.pixel):
        append_count(pixel, 20)

    with as_role("worker"):
        found = [claim_next(pixel.pk) for pixel in (target.pixel, other.pixel, other.pixel, target.pixel)]
        of_stranger = claim_next(stranger.pixel.pk)

    assert [isinstance(claim, Claim) for claim in found] == [True, True, False, False]
    assert found[2] is Idle.CEILING
    assert isinstance(of_stranger, Claim)


def test_two_claims_at_once_do_not_both_take_the_last_place_under_a_ceiling(
    target: ConnectedPixel, as_role: AsRole, database: TestDatabase
) -> None:
    partner = target.pixel.advertiser.partner_id
    Partner.objects.filter(pk=partner).update(delivery_ceiling=1)
    append_count(target.pixel, 5)

    with psycopg.connect(database.url("worker")) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('events.ceiling'), %s::integer)", [partner])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        with as_role("worker"), pytest.raises(Exception, match="lock timeout"):
            claim_next(target.pixel.pk)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")


def test_who_ends_a_turn_under_a_ceiling_hands_its_place_to_the_pixel_that_waits_longest(
    target: ConnectedPixel,
    sandbox: SandboxProcess,
    as_role: AsRole,
    take_turn: TakeTurn,
    hints: list[tuple[str, int]],
) -> None:
    others = [make_connected_pixel(target.pixel.advertiser) for _ in range(3)]
    pixels = [target.pixel, *(other.pixel for other in others)]
    for other in others:
        introduce(sandbox, other)
    for pixel in pixels:
        append_count(pixel, 12)
    Partner.objects.filter(pk=target.pixel.advertiser.partner_id).update(delivery_ceiling=1)
    with as_role("worker"):
        claim_next(target.pixel.pk)
    in_line = [pixels[3], pixels[1], pixels[2]]
    assert [take_turn(pixel).idle for pixel in in_line] == [Idle.CEILING] * 3
    let_time_pass(target.pixel)
    with as_role("worker"):
        take_over_expired()

    served = []
    hints.append((DELIVER, target.pixel.pk))
    while hints:
        served.append(hints[0][1])
        run_workers(take_turn, hints, pixels, 1)

    assert served == [pixel.pk for pixel in (target.pixel, *in_line)]
    assert all(is_drained(pixel) for pixel in pixels)
