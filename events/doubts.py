"""What is in doubt: the list of it, the policy by event name, and what a person decides.

A decision is written with who and when. It changes a delivery only as long as it is in doubt and nobody is sending it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from events.delivery.books import lift_rejections
from events.models import Attempt, Delivery, DoubtDecision, DoubtPolicy, Event
from events.models import Rejection as RejectionRow
from onboarding.models import Pixel
from onboarding.services import DELIVER
from partnerhub.lib.after_commit import hint_after_commit
from tenants.models import Person

T = TypeVar("T")

# Of a page. What is in doubt is rare; with more of it, "all" is decided.
LISTED: Final = 100
# Names that a page's summary of one delivery shows.
NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Doubt:
    """One delivery in doubt, as a page lists it."""

    delivery: Delivery
    events: int
    names: Sequence[tuple[str, int]]
    since: datetime | None
    # Why: how the attempt ended that left it open.
    why: str
    is_held: bool
    # Past it Meta takes its first event no more.
    expires_at: datetime | None


_EVENTS: Final = """
SELECT delivery.id, event.event_name, count(*), min(event.expires_at)
FROM events_delivery AS delivery
JOIN events_event AS event
    ON event.advertiser_id = delivery.advertiser_id AND event.pixel_id = delivery.pixel_id
    AND event.log_offset BETWEEN delivery.first_offset AND delivery.last_offset
    AND event.received_at BETWEEN delivery.first_received_at AND delivery.last_received_at
    AND (delivery.offsets IS NULL OR event.log_offset = ANY (delivery.offsets))
WHERE delivery.id = ANY (%s)
  AND (delivery.replay_id IS NOT NULL OR NOT EXISTS (
    SELECT FROM events_rejection AS rejection
    WHERE rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset))
GROUP BY delivery.id, event.event_name ORDER BY count(*) DESC, event.event_name
"""


def doubts_of(pixel: Pixel, *, after: int = 0) -> list[Doubt]:
    """What of the pixel is in doubt, by delivery, the oldest first, from the one behind `after` on."""
    deliveries = list(
        Delivery.objects.filter(pixel=pixel, state=Delivery.State.DOUBT, pk__gt=after).order_by("pk")[:LISTED]
    )
    ids = [delivery.pk for delivery in deliveries]
    names: dict[int, list[tuple[str, int]]] = {}
    expires: dict[int, datetime] = {}
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, [ids])
        for delivery_id, name, count, expires_at in cursor.fetchall():
            names.setdefault(delivery_id, []).append((name, count))
            expires[delivery_id] = min(expires_at, expires.get(delivery_id, expires_at))
    # A part's attempts, and a half's, are its parent's.
    tried = {one for delivery in deliveries for one in (delivery.pk, delivery.parent_id) if one}
    attempts = Attempt.objects.filter(delivery__in=tried, outcome=Attempt.Outcome.DOUBT)
    since = dict(attempts.values_list("delivery").annotate(first=Min("started_at")).order_by())
    statuses = dict(attempts.order_by("pk").values_list("delivery", "http_status"))
    return [
        Doubt(
            delivery=delivery,
            events=sum(count for _, count in names.get(delivery.pk, ())),
            names=names.get(delivery.pk, [])[:NAMES],
            since=_of(since, delivery) or delivery.created_at,
            why=_why(_of(statuses, delivery)),
            is_held=delivery.due_at is None,
            expires_at=expires.get(delivery.pk),
        )
        for delivery in deliveries
    ]


def _of(found: Mapping[int, T], delivery: Delivery) -> T | None:
    return found.get(delivery.pk) or found.get(delivery.parent_id or 0)


def _why(http_status: int | None) -> str:
    if http_status:
        return f"HTTP {http_status} came back, and nothing that Graph would say."
    return "It was sent, and no answer came back."


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision changed: deliveries and events; and how many were on their way, or settled, by then."""

    deliveries: int = 0
    events: int = 0
    missed: int = 0


@transaction.atomic
def decide_doubt(
    *, delivery: Delivery, decision: DoubtDecision.Decision, decided_by: Person | None
) -> Decided:
    """Send it again, treat it as delivered, or reject it; nothing where it is not in doubt any more."""
    pixel_id = delivery.pixel_id
    # Whoever claims it meanwhile has changed the state: then this finds nothing.
    found = (
        Delivery.objects.select_for_update(of=("self",))
        .filter(pk=delivery.pk, state=Delivery.State.DOUBT)
        .first()
    )
    if found is None:
        return Decided(missed=1)
    events = list(_events_of(found))
    now = timezone.now()
    change: dict[str, object]
    match decision:
        case DoubtDecision.Decision.AGAIN:
            change = {"due_at": now}
            hint_after_commit(DELIVER, pixel_id)
        case DoubtDecision.Decision.DELIVERED:
            change = {"state": Delivery.State.ACCEPTED, "due_at": None, "settled_at": now}
            if found.replay_id is not None:
                with connection.cursor() as cursor:
                    lift_rejections(cursor, pixel_id, [event.log_offset for event in events])
        case DoubtDecision.Decision.REJECT:
            change = {"state": Delivery.State.REJECTED, "due_at": None, "settled_at": now}
            if found.replay_id is None:
                RejectionRow.objects.bulk_create(
                    [_given_up(event, found) for event in events], ignore_conflicts=True
                )
    Delivery.objects.filter(pk=found.pk, state=Delivery.State.DOUBT).update(**change)
    DoubtDecision.objects.create(
        advertiser_id=found.advertiser_id,
        pixel_id=pixel_id,
        delivery=found,
        decision=decision,
        events=len(events),
        decided_by=decided_by,
    )
    return Decided(deliveries=1, events=len(events))


@transaction.atomic
def decide_doubts(*, pixel: Pixel, decision: DoubtDecision.Decision, decided_by: Person | None) -> Decided:
    """The same for all that is in doubt of the pixel by now."""
    done = Decided()
    for delivery in Delivery.objects.filter(pixel=pixel, state=Delivery.State.DOUBT).order_by("pk"):
        one = decide_doubt(delivery=delivery, decision=decision, decided_by=decided_by)
        done = Decided(done.deliveries + one.deliveries, done.events + one.events, done.missed + one.missed)
    return done


def _events_of(delivery: Delivery) -> list[Event]:
    events = Event.objects.filter(
        advertiser=delivery.advertiser_id,
        pixel=delivery.pixel_id,
        log_offset__range=(delivery.first_offset, delivery.last_offset),
        received_at__range=(delivery.first_received_at, delivery.last_received_at),
    ).defer("payload")
    if delivery.offsets is not None:
        events = events.filter(log_offset__in=delivery.offsets)
    if delivery.replay_id is not None:
        return list(events)
    rejected = set(
        RejectionRow.objects.filter(
            pixel=delivery.pixel_id, log_offset__range=(delivery.first_offset, delivery.last_offset)
        ).values_list("log_offset", flat=True)
    )
    return [event for event in events if event.log_offset not in rejected]


def _given_up(event: Event, delivery: Delivery) -> RejectionRow:
    return RejectionRow(
        advertiser_id=event.advertiser_id,
        pixel_id=event.pixel_id,
        log_offset=event.log_offset,
        received_at=event.received_at,
        reason=RejectionRow.Reason.GIVEN_UP,
        delivery=delivery,
        event_name=event.event_name,
        event_id=event.event_id,
    )


def policies_of(pixel: Pixel) -> list[DoubtPolicy]:
    """The pixel's policies; the one for all other names last."""
    return list(DoubtPolicy.objects.filter(pixel=pixel).order_by("-event_name"))


@transaction.atomic
def set_doubt_policy(
    *, pixel: Pixel, event_name: str, action: DoubtPolicy.Action, changed_by: Person | None
) -> None:
    """From the next doubt on, events of the name are sent again or held; empty: of all other names."""
    DoubtPolicy.objects.update_or_create(
        pixel=pixel,
        event_name=event_name,
        defaults={
            "advertiser_id": pixel.advertiser_id,
            "action": action,
            "changed_by": changed_by,
            "changed_at": timezone.now(),
        },
    )


@transaction.atomic
def drop_doubt_policy(*, pixel: Pixel, event_name: str) -> None:
    """The name follows the policy for all other names again."""
    DoubtPolicy.objects.filter(pixel=pixel, event_name=event_name).delete()


def decisions_of(pixel: Pixel) -> list[DoubtDecision]:
    """What people decided about the pixel's doubts, the latest first."""
    found = DoubtDecision.objects.filter(pixel=pixel).select_related("delivery", "decided_by")
    return list(found.order_by("-pk")[:LISTED])
