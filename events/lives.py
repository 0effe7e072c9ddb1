"""One event's life: what is sent, which door took it and when, its batches, its attempts, and what is next. Reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from events.dry_run import DryRun, dry_run
from events.facts import WIDEST_RANGE
from events.models import Attempt, Delivery, DoubtDecision, Event
from events.notices import describe
from events.selectors import EventRow, rows_of
from onboarding.models import Pixel


@dataclass(frozen=True, slots=True)
class Step:
    """A batch that the event was in, with its attempts in order."""

    delivery: Delivery
    events: int
    attempts: Sequence[Attempt]
    decisions: Sequence[DoubtDecision]

    @property
    def kind(self) -> str:
        """Which batch it was, in words."""
        return {
            Delivery.Kind.ORIGINAL: "Batch",
            Delivery.Kind.HALF: "Half of a refused batch",
            Delivery.Kind.PART: "Part of a batch in doubt",
            Delivery.Kind.REPLAY: "Replay",
        }[Delivery.Kind(self.delivery.kind)]


@dataclass(frozen=True, slots=True)
class EventDetail:
    """One event's life."""

    row: EventRow
    origin: str
    # Empty where it was erased.
    payload: str
    notices: list[str]
    steps: list[Step]
    request: DryRun | None

    @property
    def is_erased(self) -> bool:
        """Whether its content is gone at a person's wish."""
        return not self.payload

    @property
    def attempts(self) -> list[Attempt]:
        """All requests that it was in."""
        return [attempt for step in self.steps for attempt in step.attempts]


def event_detail(pixel: Pixel, log_offset: int) -> EventDetail | None:
    """The event at an offset of the pixel's log; None where there is none (any more)."""
    event = Event.objects.filter(advertiser=pixel.advertiser_id, pixel=pixel, log_offset=log_offset).first()
    if event is None:
        return None
    [row] = rows_of(pixel, [event])
    payload = bytes(event.payload)
    return EventDetail(
        row=row,
        origin=event.get_origin_display(),
        payload=orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2).decode() if payload else "",
        notices=[describe(notice) for notice in event.notices.split()],
        steps=_steps(pixel, log_offset),
        request=dry_run(pixel, first=log_offset, last=log_offset) if payload else None,
    )


def _steps(pixel: Pixel, log_offset: int) -> list[Step]:
    near = Delivery.objects.filter(
        pixel=pixel,
        first_offset__gt=log_offset - WIDEST_RANGE,
        first_offset__lte=log_offset,
        last_offset__gte=log_offset,
    )
    deliveries = [delivery for delivery in near.order_by("pk") if delivery.covers(log_offset)]
    attempts: dict[int, list[Attempt]] = {}
    for attempt in Attempt.objects.filter(pixel=pixel, delivery__in=deliveries).order_by("pk"):
        attempts.setdefault(attempt.delivery_id, []).append(attempt)
    decisions: dict[int, list[DoubtDecision]] = {}
    for decision in DoubtDecision.objects.filter(pixel=pixel, delivery__in=deliveries).select_related(
        "decided_by"
    ):
        decisions.setdefault(decision.delivery_id, []).append(decision)
    return [
        Step(
            delivery,
            delivery.last_offset - delivery.first_offset + 1
            if delivery.offsets is None
            else len(delivery.offsets),
            attempts.get(delivery.pk, []),
            decisions.get(delivery.pk, []),
        )
        for delivery in deliveries
    ]
