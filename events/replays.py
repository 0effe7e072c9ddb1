"""Replays: ask for one, look at what it would send, confirm, pause, go on, cancel; and the work behind them.

A replay goes along its range twice with one cursor: first it counts, then, once a person has confirmed, it hands what
is to be sent to delivery, a request's worth at a time and few of them ahead. One function an act, one transaction each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, F
from django.db.models.expressions import RawSQL
from django.utils import timezone

from events.delivery.claim import REQUEST_BYTES
from events.delivery.doubts import send_again
from events.facts import WIDEST_RANGE, read_facts
from events.models import Delivery, Event, PixelLog, Replay
from events.replay import FATES, STEP, Fact, Filter, Tally, Verdict, judge, offset_at
from onboarding.models import Pixel
from onboarding.services import DELIVER
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import limits
from partnerhub.lib.hints import send_hint
from tenants.models import Person

logger = structlog.get_logger(__name__)

# Offsets looked at in one transaction, and such transactions in one task.
LOOKED_AT: Final = 5_000
STEPS_A_TASK: Final = 20
# Requests of a replay that wait for their turn: enough that none is waited for.
AHEAD: Final = 3
# Replays of a pixel that a page or an answer lists.
LISTED: Final = 50

OPEN: Final = (Replay.State.COUNTING, Replay.State.READY, Replay.State.RUNNING, Replay.State.PAUSED)
_WAITING: Final = (Delivery.State.WAITING, Delivery.State.CLAIMED, Delivery.State.SENDING)


class ReplayError(Exception):
    """A replay that cannot be, in a sentence for whoever asked; `kind` is for programs."""

    def __init__(self, kind: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.field = field


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets of a pixel's log, the last one included."""

    first: int
    last: int


def find_range(
    pixel: Pixel,
    *,
    first: int | None = None,
    last: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Range:
    """The offsets that are kept of the range, which is given by offsets, by receive times, or both.

    Raises ReplayError where there is none: an empty log, a range past its end, or one that is not kept any more.
    """
    log = PixelLog.objects.filter(pixel=pixel).first()
    if log is None or log.head == 0:
        raise ReplayError("nothing_there", "This pixel has taken no event in yet.")
    kept = Event.objects.filter(advertiser=pixel.advertiser_id, pixel=pixel).order_by("log_offset")
    first_kept = kept.values_list("log_offset", flat=True).first()
    if first_kept is None:
        raise ReplayError("not_kept", "None of this pixel's events is kept any more.")
    if first is not None and first >= log.head:
        raise ReplayError("no_such_range", f"The log ends at offset {log.head - 1}.", "first_offset")
    if first is not None and last is not None and last < first:
        raise ReplayError("no_such_range", "The range ends before it begins.", "last_offset")
    if since is not None and until is not None and until < since:
        raise ReplayError("no_such_range", "The range ends before it begins.", "until")
    if last is not None and last < first_kept:
        raise ReplayError(
            "not_kept", f"Those events are not kept any more: the log begins at {first_kept}.", "last_offset"
        )
    begin, end = max(first or 0, first_kept), min(log.head, last + 1 if last is not None else log.head)

    def received_at(offset: int) -> datetime:
        return kept.values_list("received_at", flat=True).get(log_offset=offset)

    if since is not None:
        begin = max(begin, offset_at(received_at, first=begin, end=end, moment=since))
    if until is not None:
        end = offset_at(received_at, first=begin, end=end, moment=until)
    if begin >= end:
        raise ReplayError("no_such_range", "No event came in within that time.", "since")
    return Range(begin, end - 1)


@transaction.atomic
def request_replay(
    *,
    pixel: Pixel,
    found: Range,
    event_names: Collection[str] = (),
    fates: Collection[str] = (),
    code: int | None = None,
    requested_by: Person | None,
) -> Replay:
    """A replay that counts what it would send; nothing is sent before it is confirmed. Raises ReplayError."""
    if strange := sorted(set(fates) - set(FATES)):
        raise ReplayError("invalid", f"No such fate: {', '.join(strange)}.", "fates")
    replay = Replay.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        first_offset=found.first,
        last_offset=found.last,
        next_offset=found.first,
        event_names=sorted(set(event_names)),
        fates=sorted(set(fates)),
        code=code,
        requested_by=requested_by,
    )
    hint_after_commit(STEP, replay.pk)
    return replay


@transaction.atomic
def confirm_replay(*, replay: Replay, confirmed_by: Person | None) -> None:
    """Begin to send. Raises ReplayError where it is not ready, has nothing to send, or another is under way."""
    if not tally_of(replay).sendable and replay.state == Replay.State.READY:
        raise ReplayError("nothing_to_send", "There is nothing in it that could be sent.")
    try:
        with transaction.atomic():
            begun = Replay.objects.filter(pk=replay.pk, state=Replay.State.READY).update(
                state=Replay.State.RUNNING,
                next_offset=F("first_offset"),
                confirmed_by=confirmed_by,
                confirmed_at=timezone.now(),
            )
    except IntegrityError:
        raise ReplayError(
            "replay_under_way", "Another replay of this pixel is under way: wait for it, or cancel it."
        ) from None
    _must(begun, "This replay is not waiting to be confirmed.")
    hint_after_commit(STEP, replay.pk)


@transaction.atomic
def pause_replay(*, replay: Replay) -> None:
    """Send nothing more of it for now; what is on its way arrives. Raises ReplayError where it does not run."""
    _must(_move(replay, Replay.State.PAUSED, of=[Replay.State.RUNNING]), "This replay is not running.")


@transaction.atomic
def resume_replay(*, replay: Replay) -> None:
    """Go on where it stopped. Raises ReplayError where it is not paused."""
    _must(_move(replay, Replay.State.RUNNING, of=[Replay.State.PAUSED]), "This replay is not paused.")
    hint_after_commit(STEP, replay.pk)
    hint_after_commit(DELIVER, replay.pixel_id)


@transaction.atomic
def cancel_replay(*, replay: Replay) -> None:
    """End it: what has not been sent is not sent; what is on its way arrives. Raises ReplayError where it is over."""
    _must(_move(replay, Replay.State.CANCELLED, of=OPEN), "This replay is over.")
    Replay.objects.filter(pk=replay.pk).update(finished_at=timezone.now())
    _drop_waiting(replay.pk)


def _move(replay: Replay, to: Replay.State, *, of: Collection[str]) -> int:
    return Replay.objects.filter(pk=replay.pk, state__in=of).update(state=to)


def _must(changed: int, otherwise: str) -> None:
    if not changed:
        raise ReplayError("wrong_state", otherwise)


def _drop_waiting(replay_id: int) -> None:
    """What waits of a replay that is over; what is in doubt stays so, for a person."""
    waiting = Delivery.objects.filter(replay=replay_id)
    waiting.filter(state=Delivery.State.WAITING).update(
        state=Delivery.State.CANCELLED, due_at=None, settled_at=timezone.now()
    )
    waiting.filter(state=Delivery.State.DOUBT).update(due_at=None)


def tally_of(replay: Replay) -> Tally:
    """What counting found."""
    return Tally(dict(replay.found))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: events by what came of them."""

    looked_at: int
    total: int
    queued: int
    accepted: int
    refused: int
    in_doubt: int
    under_way: int
    cancelled: int


_SIZE: Final = RawSQL("coalesce(cardinality(offsets), last_offset - first_offset + 1)", [])


def progress_of(replay: Replay) -> Progress:
    """Where what it handed to delivery is now."""
    rows = (
        Delivery.objects.filter(replay=replay)
        .exclude(state=Delivery.State.SPLIT)
        .values_list("state", _SIZE)
        .annotate(times=Count("pk"))
        .order_by()
    )
    by_state: dict[str, int] = {}
    for state, size, times in rows:
        by_state[state] = by_state.get(state, 0) + size * times
    return Progress(
        looked_at=replay.next_offset - replay.first_offset,
        total=replay.last_offset - replay.first_offset + 1,
        queued=replay.queued,
        accepted=by_state.get("accepted", 0),
        refused=by_state.get("rejected", 0),
        in_doubt=by_state.get("doubt", 0),
        under_way=sum(by_state.get(state, 0) for state in _WAITING),
        cancelled=by_state.get("cancelled", 0),
    )


def work_on_replay(replay_id: int) -> None:
    """Go on with a replay for some time, and then at the back of the queue. An unknown one is nothing."""
    advertiser_id = Replay.objects.filter(pk=replay_id).values_list("advertiser_id", flat=True).first()
    if advertiser_id is None:
        return
    for _ in range(STEPS_A_TASK):
        with tenant_scope(advertiser_id=advertiser_id), connection.cursor() as cursor:
            # Two tasks at once take turns.
            replay = Replay.objects.select_for_update().get(pk=replay_id)
            step = _Step(cursor, replay)
            goes_on = step.take()
        if step.has_handed_over:
            send_hint(DELIVER, replay.pixel_id)
        if not goes_on:
            return
    send_hint(STEP, replay_id)


def sweep_replays() -> int:
    """Hint at each replay that counts or runs: whatever hint it lost. How many."""
    found = list(
        Replay.objects.filter(state__in=[Replay.State.COUNTING, Replay.State.RUNNING])
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    for replay_id in found:
        send_hint(STEP, replay_id)
    return len(found)


class _Step:
    """One transaction of a replay whose row is locked."""

    def __init__(self, cursor: Any, replay: Replay) -> None:
        self._cursor = cursor
        self._replay = replay
        self._wanted = filter_of(replay)
        self._now = timezone.now()
        self.has_handed_over = False

    def take(self) -> bool:
        """Whether there is more to do at once."""
        match self._replay.state:
            case Replay.State.COUNTING:
                return self._count()
            case Replay.State.RUNNING:
                return self._send()
            case Replay.State.CANCELLED:
                # What was on its way and came back to wait.
                _drop_waiting(self._replay.pk)
        return False

    def _facts(self, first: int, last: int) -> list[Fact]:
        return read_facts(
            self._cursor,
            advertiser_id=self._replay.advertiser_id,
            pixel_id=self._replay.pixel_id,
            first=first,
            last=last,
        )

    def _count(self) -> bool:
        replay, tally = self._replay, tally_of(self._replay)
        last = min(replay.last_offset, replay.next_offset + LOOKED_AT - 1)
        facts = self._facts(replay.next_offset, last)
        for fact in facts:
            tally.add(judge(fact, self._wanted, now=self._now))
        tally.add(Verdict.GONE, last - replay.next_offset + 1 - len(facts))
        replay.found, replay.next_offset = tally.counts, last + 1
        if last == replay.last_offset:
            replay.state, replay.counted_at = Replay.State.READY, self._now
        replay.save(update_fields=["found", "next_offset", "state", "counted_at"])
        return replay.state == Replay.State.COUNTING

    def _send(self) -> bool:
        replay = self._replay
        ahead = Delivery.objects.filter(replay=replay, state__in=_WAITING).count()
        if replay.next_offset > replay.last_offset:
            if not ahead:
                replay.state, replay.finished_at = Replay.State.DONE, self._now
                replay.save(update_fields=["state", "finished_at"])
                logger.info(
                    "replay done", replay_id=replay.pk, pixel_id=replay.pixel_id, events=replay.queued
                )
            return False
        if ahead >= AHEAD:
            return False
        last = min(replay.last_offset, replay.next_offset + LOOKED_AT - 1)
        facts = self._facts(replay.next_offset, last)
        chosen: list[Fact] = []
        doubtful: list[int] = []
        size = 0
        following = last + 1
        for fact in facts:
            verdict = judge(fact, self._wanted, now=self._now)
            if verdict is Verdict.DOUBT:
                doubtful.append(fact.log_offset)
            elif verdict in (Verdict.NEW, Verdict.AGAIN):
                if len(chosen) == limits.EVENTS_PER_REQUEST or (chosen and size + fact.size > REQUEST_BYTES):
                    following = fact.log_offset
                    break
                chosen.append(fact)
                size += fact.size
        if chosen:
            self._hand_over(chosen)
        queued = len(chosen) + self._send_doubts(doubtful)
        replay.next_offset = following
        replay.queued += queued
        replay.save(update_fields=["next_offset", "queued"])
        return True

    def _hand_over(self, chosen: list[Fact]) -> None:
        first, last = chosen[0], chosen[-1]
        is_whole = last.log_offset - first.log_offset + 1 == len(chosen)
        Delivery.objects.create(
            advertiser_id=self._replay.advertiser_id,
            pixel_id=self._replay.pixel_id,
            kind=Delivery.Kind.REPLAY,
            replay=self._replay,
            first_offset=first.log_offset,
            last_offset=last.log_offset,
            offsets=None if is_whole else [fact.log_offset for fact in chosen],
            first_received_at=first.received_at,
            last_received_at=last.received_at,
            state=Delivery.State.WAITING,
            due_at=self._now,
        )
        self.has_handed_over = True

    def _send_doubts(self, offsets: list[int]) -> int:
        """Have these events' own deliveries sent again: a doubt is settled where it is, and not by another delivery."""
        if not offsets:
            return 0
        in_doubt = Delivery.objects.filter(
            pixel=self._replay.pixel_id,
            replay=None,
            state=Delivery.State.DOUBT,
            first_offset__gt=offsets[0] - WIDEST_RANGE,
            first_offset__lte=offsets[-1],
            last_offset__gte=offsets[0],
        ).order_by("pk")
        sent = 0
        for delivery in in_doubt:
            held = [at for at in offsets if delivery.covers(at)]
            if held and send_again(self._cursor, delivery.pk, held):
                sent += len(held)
        self.has_handed_over |= sent > 0
        return sent


def filter_of(replay: Replay) -> Filter:
    """The replay's filter."""
    return Filter(frozenset(replay.event_names), frozenset(replay.fates), replay.code)


def open_replay(pixel: Pixel) -> Replay | None:
    """The pixel's replay that is running or paused."""
    return Replay.objects.filter(pixel=pixel, state__in=[Replay.State.RUNNING, Replay.State.PAUSED]).first()


def replays_of(pixel: Pixel) -> list[Replay]:
    """The pixel's latest replays."""
    found = Replay.objects.filter(pixel=pixel).select_related("requested_by").order_by("-pk")
    return list(found[:LISTED])
