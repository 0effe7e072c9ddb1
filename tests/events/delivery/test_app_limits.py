"""What concerns more than one pixel: Meta's limits of a partner's app, and a Graph that is away altogether."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.db import connection

from events.delivery.claim import Claim, Idle, claim_next
from events.delivery.outage import OUTAGE
from events.delivery.send import take_up
from events.delivery.settle import settle
from events.delivery.sweep import sweep
from events.models import AppFlow, Attempt, PixelLog
from events.pace import Sign, Word
from onboarding.models import Credential, Pixel
from partnerhub.lib.graph import GraphAnswer
from partnerhub.lib.graph.errors import GraphError, RateLimited
from tests.events.delivery.conftest import TakeTurn, deliveries, introduce
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]
APP_LIMIT = RateLimited("slow down", code=4, retry_after_seconds=60.0)


def make_pixels(count: int, like: Pixel | None = None) -> list[Pixel]:
    """Pixels behind the app of one partner, each with one event."""
    first = make_connected_pixel(like.advertiser if like else None).pixel
    pixels = [first, *(make_connected_pixel(first.advertiser).pixel for _ in range(count - 1))]
    # A token of the partner's own app that is sealed with the pixel: as Business Extension gives.
    Credential.objects.filter(pixel__in=pixels).update(option="business_extension")
    for pixel in pixels:
        append_count(pixel, 1)
    return pixels


def answer(pixel: Pixel, outcome: GraphAnswer | GraphError, as_role: AsRole) -> None:
    """One delivery of the pixel, and what Graph says to it."""
    with as_role("worker"):
        claim = claim_next(pixel.pk)
        assert isinstance(claim, Claim)
        parcel = take_up(claim)
        assert parcel is not None
        assert settle(parcel, outcome)


def claim_or_idle(pixel: Pixel, as_role: AsRole) -> Claim | Idle:
    with as_role("worker"):
        return claim_next(pixel.pk)


def let_app_go_on(pixels: list[Pixel]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_appflow SET due_at = now()")
    PixelLog.objects.filter(pixel__in=pixels).update(due_at=AppFlow.objects.get().due_at)


@pytest.fixture
def pixels(target: ConnectedPixel) -> list[Pixel]:
    return make_pixels(4)


def test_a_limit_of_the_app_pauses_all_its_pixels_and_no_other(
    pixels: list[Pixel], target: ConnectedPixel, as_role: AsRole
) -> None:
    stranger = make_pixels(1)[0]
    pasted = make_connected_pixel(pixels[0].advertiser).pixel
    append_count(pasted, 1)

    answer(pixels[0], APP_LIMIT, as_role)

    assert claim_or_idle(pixels[1], as_role) is Idle.APP_LIMIT
    # Told once, it waits by itself, a little longer than the app.
    assert claim_or_idle(pixels[1], as_role) is Idle.NOT_DUE
    flow = AppFlow.objects.get()
    assert (flow.partner_id, flow.code) == (pixels[0].advertiser.partner_id, 4)
    assert PixelLog.objects.get(pk=pixels[1].pk).due_at >= flow.due_at
    assert 55 < (flow.due_at - flow.limited_at).total_seconds() < 63
    assert isinstance(claim_or_idle(stranger, as_role), Claim)
    assert isinstance(claim_or_idle(pasted, as_role), Claim)


def test_a_limit_of_the_pixel_or_of_another_app_is_its_own(
    pixels: list[Pixel], target: ConnectedPixel, as_role: AsRole
) -> None:
    answer(pixels[0], RateLimited("slow down", code=80004, retry_after_seconds=60.0), as_role)
    assert isinstance(claim_or_idle(pixels[1], as_role), Claim)

    append_count(target.pixel, 1)
    neighbour = make_connected_pixel(target.pixel.advertiser).pixel
    append_count(neighbour, 1)
    answer(target.pixel, APP_LIMIT, as_role)

    assert isinstance(claim_or_idle(neighbour, as_role), Claim)
    assert AppFlow.objects.count() == 0


def test_after_a_limit_the_app_sends_half_as_much_at_a_time_and_works_its_way_up(
    pixels: list[Pixel], as_role: AsRole
) -> None:
    more = make_pixels(4, like=pixels[0])
    under_way = [claim_or_idle(pixel, as_role) for pixel in more]
    assert all(isinstance(claim, Claim) for claim in under_way)

    answer(pixels[0], APP_LIMIT, as_role)

    assert AppFlow.objects.get().width == 2  # of 4 and itself
    let_app_go_on([*pixels, *more])
    assert claim_or_idle(pixels[1], as_role) is Idle.CEILING
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_delivery SET lease_until = now() WHERE lease_until IS NOT NULL")
    first = claim_or_idle(pixels[1], as_role)
    assert isinstance(first, Claim)
    assert not first.is_app_full
    answer(pixels[2], GraphAnswer(200, {}, "A-trace", 1, None, 12), as_role)
    assert AppFlow.objects.get().width == 3
    assert isinstance(claim_or_idle(pixels[3], as_role), Claim)


def test_refusals_on_their_way_when_the_app_was_limited_halve_it_once(
    pixels: list[Pixel], as_role: AsRole
) -> None:
    with as_role("worker"):
        parcels = []
        for pixel in pixels:
            claim = claim_next(pixel.pk)
            assert isinstance(claim, Claim)
            parcels.append(take_up(claim))
        for parcel in parcels:
            assert parcel is not None
            settle(parcel, APP_LIMIT)

    assert AppFlow.objects.get().width == 2


def test_an_app_that_came_all_the_way_up_has_no_budget_any_more(
    pixels: list[Pixel], as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(pixels[0], APP_LIMIT, as_role)
    assert AppFlow.objects.get().width == 1
    let_app_go_on(pixels)
    monkeypatch.setattr("events.delivery.books.APP_WIDEST", 2)

    answer(pixels[1], GraphAnswer(200, {}, "A-trace", 1, None, 12), as_role)

    assert AppFlow.objects.get().width is None
    assert all(isinstance(claim_or_idle(pixel, as_role), Claim) for pixel in pixels[2:])


def test_an_outage_of_graph_stops_deliveries_but_for_probes_and_ends_with_answers(
    target: ConnectedPixel,
    sandbox: SandboxProcess,
    as_role: AsRole,
    take_turn: TakeTurn,
    hints: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(OUTAGE, "_clock", lambda: now[0])
    monkeypatch.setattr(
        "events.delivery.sweep.send_hint", lambda task, pixel_id: hints.append((task, pixel_id))
    )
    others = [make_connected_pixel(target.pixel.advertiser) for _ in range(14)]
    for other in others:
        introduce(sandbox, other)
        append_count(other.pixel, 1)
    knob = sandbox.client.add_knob("error", code=2, status=503)

    for other in others[:10]:
        take_turn(other.pixel)
    assert OUTAGE.is_on()
    calls = Attempt.objects.count()
    assert [take_turn(other.pixel).idle for other in others[10:]] == [Idle.OUTAGE] * 4
    assert Attempt.objects.count() == calls
    now[0] += 2.0
    take_turn(others[10].pixel)
    assert take_turn(others[11].pixel).idle is Idle.OUTAGE
    assert Attempt.objects.count() == calls + 1

    sandbox.client.remove_knob(knob)
    for other in others[11:]:
        now[0] += 2.0
        take_turn(other.pixel)

    assert not OUTAGE.is_on()
    assert deliveries(others[13].pixel) == [(0, 0, "accepted")]
    # Whom nobody was told of meanwhile, the sweep finds.
    append_count(target.pixel, 1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_pixellog SET tail_received_at = now() - interval '1 hour', turns = 3")
    hints.clear()
    with as_role("worker"):
        sweep()
    assert target.pixel.pk in {pixel for _, pixel in hints}
    assert PixelLog.objects.get(pk=target.pixel.pk).turns == 1


def test_limits_are_answers_and_open_nothing() -> None:
    for pixel_id in range(100):
        OUTAGE.record(pixel_id, Sign(Word.LIMITED))

    assert not OUTAGE.is_on()
    assert OUTAGE.may_send()
