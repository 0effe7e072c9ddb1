"""Replays: counted first, sent behind everything else, once confirmed; and the books add up all along."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.utils import timezone

from events import replays
from events.delivery.claim import Claim, Idle, claim_next
from events.delivery.sweep import take_over_expired
from events.models import Attempt, Delivery, Event, Rejection, Replay
from events.replays import Range, ReplayError, find_range
from onboarding.models import Pixel
from partnerhub.lib.graph import limits
from tests.events.delivery.conftest import TakeTurn, let_time_pass
from tests.support.factories import ConnectedPixel
from tests.support.ledger import at_meta, audit
from tests.support.log import append_count, append_events, make_event
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr(replays, "send_hint", lambda *hint: None)
    monkeypatch.setattr("partnerhub.lib.after_commit.send_hint", lambda *hint: None)


def counted(pixel: Pixel, as_role: AsRole, **wanted: object) -> Replay:
    """A replay of all that is kept, counted."""
    replay = replays.request_replay(pixel=pixel, found=find_range(pixel), requested_by=None, **wanted)  # type: ignore[arg-type]
    work(replay, as_role)
    return replay


def work(replay: Replay, as_role: AsRole) -> None:
    """One task of the replay, with the worker's rights."""
    with as_role("worker"):
        replays.work_on_replay(replay.pk)
    replay.refresh_from_db()


def run(replay: Replay, as_role: AsRole, take_turn: TakeTurn) -> None:
    """Confirm it, and play it to its end."""
    replays.confirm_replay(replay=replay, confirmed_by=None)
    for _ in range(20):
        work(replay, as_role)
        if replay.state == Replay.State.DONE:
            return
        let_time_pass(replay.pixel)
        take_turn(replay.pixel)
    raise AssertionError(replays.progress_of(replay))


def copies(sandbox: SandboxProcess, pixel: Pixel) -> list[int]:
    return sorted(held.copies for held in at_meta(sandbox.client, pixel).values())


def test_a_preview_says_what_is_sent_and_what_may_count_twice_and_sends_nothing(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(), make_event(), make_event(event_name="AddToCart")])
    take_turn(target.pixel)
    append_count(target.pixel, 1)

    replay = counted(target.pixel, as_role, event_names=["PageView"])

    assert replay.state == Replay.State.READY
    assert replay.found == {"again": 2, "filtered": 1, "under_way": 1}
    assert replays.tally_of(replay).sendable == replays.tally_of(replay).may_count_twice == 2
    assert copies(sandbox, target.pixel) == [1, 1, 1]


def test_a_replay_sends_again_what_its_filter_names_and_the_books_say_why(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(), make_event(event_name="AddToCart"), make_event()])
    take_turn(target.pixel)

    run(counted(target.pixel, as_role, event_names=["PageView"]), as_role, take_turn)

    assert copies(sandbox, target.pixel) == [1, 2, 2]
    delivery = Delivery.objects.get(kind=Delivery.Kind.REPLAY)
    assert (delivery.offsets, delivery.state) == ([0, 2], "accepted")
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted"), found.total("taken")) == ([], 3, 3)


def test_what_meta_refused_once_and_takes_now_is_accepted(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 3)
    take_turn(target.pixel)
    # As if the middle one had been refused: halved, and rejected alone.
    whole = Delivery.objects.get()
    reject(whole, [1], code=100)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    reject(Delivery.objects.exclude(pk=whole.pk).get(), [3], code=190, state="rejected")

    replay = counted(target.pixel, as_role, fates=["rejected"])
    assert replay.found == {"filtered": 2, "new": 2}
    run(replay, as_role, take_turn)

    assert not Rejection.objects.exists()
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted")) == ([], 4)


def reject(delivery: Delivery, offsets: list[int], *, code: int, state: str = "accepted") -> None:
    """These events of an accepted delivery, as Meta's refusal would have left them."""
    Delivery.objects.filter(pk=delivery.pk).update(state=state)
    for offset in offsets:
        Rejection.objects.create(
            advertiser_id=delivery.advertiser_id,
            pixel_id=delivery.pixel_id,
            log_offset=offset,
            received_at=delivery.first_received_at,
            reason=Rejection.Reason.REFUSED,
            delivery=delivery,
            event_name="PageView",
            event_id=events_id(delivery, offset),
            code=code,
        )


def events_id(delivery: Delivery, offset: int) -> str:
    return Event.objects.get(pixel=delivery.pixel_id, log_offset=offset).event_id


def test_a_code_narrows_the_rejected(target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn) -> None:
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    reject(Delivery.objects.get(), [0], code=100)
    reject(Delivery.objects.get(), [1], code=200)

    assert counted(target.pixel, as_role, code=200).found == {"filtered": 1, "new": 1}


def test_a_refused_replay_leaves_an_accepted_event_accepted(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    replay = counted(target.pixel, as_role)
    sandbox.client.add_knob("error", pixel_id=target.pixel.meta_id, code=100)
    run(replay, as_role, take_turn)

    assert not Rejection.objects.exists()
    assert replays.progress_of(replay).refused == 2
    assert replays.progress_of(replay).accepted == 0
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted")) == ([], 2)


def test_live_events_come_first_and_one_request_of_a_replay_is_on_its_way_at_a_time(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENTS_PER_REQUEST", 2)
    append_count(target.pixel, 6)
    take_turn(target.pixel)
    replay = counted(target.pixel, as_role)
    replays.confirm_replay(replay=replay, confirmed_by=None)
    work(replay, as_role)
    append_count(target.pixel, 1)

    with as_role("worker"):
        first, second, third = (claim_next(target.pixel.pk) for _ in range(3))

    assert isinstance(first, Claim)
    assert isinstance(second, Claim)
    assert (first.first_offset, first.replay_id) == (6, None)
    assert (second.first_offset, second.replay_id) == (0, replay.pk)
    assert third == Idle.ASLEEP
    assert Delivery.objects.filter(replay=replay).count() == replays.AHEAD


def test_a_paused_replay_sends_nothing_and_goes_on_where_it_stopped(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    replay = counted(target.pixel, as_role)
    replays.confirm_replay(replay=replay, confirmed_by=None)
    work(replay, as_role)
    replays.pause_replay(replay=replay)

    take_turn(target.pixel)
    work(replay, as_role)
    assert copies(sandbox, target.pixel) == [1, 1]

    replays.resume_replay(replay=replay)
    take_turn(target.pixel)
    work(replay, as_role)
    assert (replay.state, copies(sandbox, target.pixel)) == (Replay.State.DONE, [2, 2])


def test_a_cancelled_replay_sends_nothing_more(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    replay = counted(target.pixel, as_role)
    replays.confirm_replay(replay=replay, confirmed_by=None)
    work(replay, as_role)

    replays.cancel_replay(replay=replay)
    take_turn(target.pixel)
    work(replay, as_role)

    assert replays.progress_of(replay).cancelled == 2
    assert copies(sandbox, target.pixel) == [1, 1]
    assert audit(sandbox.client, [target.pixel]).findings == []
    with pytest.raises(ReplayError, match="over"):
        replays.cancel_replay(replay=replay)


def test_one_replay_of_a_pixel_runs_at_a_time(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    first, second = counted(target.pixel, as_role), counted(target.pixel, as_role)
    replays.confirm_replay(replay=first, confirmed_by=None)

    with pytest.raises(ReplayError, match="Another replay"):
        replays.confirm_replay(replay=second, confirmed_by=None)
    with pytest.raises(ReplayError, match="not waiting"):
        replays.confirm_replay(replay=first, confirmed_by=None)


def test_what_is_on_its_way_and_what_is_too_old_is_left_out(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    a_week_ago = timezone.now() - timedelta(days=7)
    append_events(
        target.pixel,
        [make_event(event_time=int(a_week_ago.timestamp()) + 1800)],
        now=a_week_ago.timestamp() + 2000,
    )
    take_turn(target.pixel)
    append_count(target.pixel, 1)
    with as_role("worker"):
        assert isinstance(claim_next(target.pixel.pk), Claim)

    replay = counted(target.pixel, as_role)

    assert replay.found == {"too_old": 1, "under_way": 1}
    with pytest.raises(ReplayError, match="nothing"):
        replays.confirm_replay(replay=replay, confirmed_by=None)
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_what_is_in_doubt_is_sent_again_where_it_stands(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(), make_event(event_name="AddToCart"), make_event()])
    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
    assert isinstance(claim, Claim)
    own = {"advertiser_id": target.pixel.advertiser_id, "pixel": target.pixel}
    Attempt.objects.create(**own, delivery_id=claim.delivery_id, outcome=Attempt.Outcome.DOUBT)
    Delivery.objects.update(state="doubt", doubts=1, due_at=None, lease_until=None, lease_token=None)

    assert counted(target.pixel, as_role).found == {"filtered": 3}
    replay = counted(target.pixel, as_role, fates=["doubt"], event_names=["AddToCart"])
    assert replay.found == {"doubt": 1, "filtered": 2}
    run(replay, as_role, take_turn)
    take_turn(target.pixel)

    assert copies(sandbox, target.pixel) == [1]
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted"), found.total("in_doubt")) == ([], 1, 2)


def test_a_range_by_time_or_offsets_is_what_is_kept_of_it(target: ConnectedPixel) -> None:
    append_count(target.pixel, 3)
    now = timezone.now()
    append_count(target.pixel, 2)

    assert find_range(target.pixel) == Range(0, 4)
    assert find_range(target.pixel, first=1, last=99) == Range(1, 4)
    assert find_range(target.pixel, since=now) == Range(3, 4)
    assert find_range(target.pixel, until=now) == Range(0, 2)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"first": 5}, "no_such_range"),
        ({"first": 3, "last": 2}, "no_such_range"),
        ({"since": timezone.now() + timedelta(days=1)}, "no_such_range"),
        ({"until": timezone.now() - timedelta(days=90)}, "no_such_range"),
    ],
)
def test_a_range_that_is_not_there_is_said(
    target: ConnectedPixel, asked: dict[str, object], kind: str
) -> None:
    append_count(target.pixel, 5)

    with pytest.raises(ReplayError) as refused:
        find_range(target.pixel, **asked)  # type: ignore[arg-type]

    assert refused.value.kind == kind


def test_a_range_past_retention_is_said_and_one_across_it_is_cut(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 4)
    take_turn(target.pixel)
    Event.objects.filter(log_offset__lt=2).delete()

    assert find_range(target.pixel, first=0) == Range(2, 3)
    with pytest.raises(ReplayError, match="begins at 2"):
        find_range(target.pixel, first=0, last=1)


def test_an_unknown_replay_in_a_hint_is_nothing(target: ConnectedPixel, as_role: AsRole) -> None:
    with as_role("worker"):
        replays.work_on_replay(2**40)


def test_a_replay_in_doubt_waits_for_its_turn_and_is_settled_by_its_own(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    replay = counted(target.pixel, as_role)
    replays.confirm_replay(replay=replay, confirmed_by=None)
    work(replay, as_role)
    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
    assert isinstance(claim, Claim)
    Delivery.objects.filter(pk=claim.delivery_id).update(state="sending")
    let_time_pass(target.pixel)
    with as_role("worker"):
        take_over_expired()
    assert replays.progress_of(replay).in_doubt == 2
    let_time_pass(target.pixel)
    take_turn(target.pixel)

    assert replays.progress_of(replay).accepted == 2
    assert audit(sandbox.client, [target.pixel]).findings == []
