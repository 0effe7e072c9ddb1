"""What the pages about events read: fates, pages of the log, counts, and in how many queries."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events import selectors
from events.lives import event_detail
from events.models import Attempt, Delivery, Event, Rejection
from events.replay import Fate
from onboarding.models import Pixel
from tests.support.factories import ConnectedPixel, make_advertiser, make_connected_pixel, make_partner
from tests.support.log import append_count, append_events, make_event

LEASED = {Delivery.State.CLAIMED, Delivery.State.SENDING}


def deliver(pixel: Pixel, first: int, last: int, state: Delivery.State) -> Delivery:
    """A delivery over these offsets in this state."""
    now = timezone.now()
    lease = {"lease_until": now + timedelta(seconds=60), "lease_token": uuid.uuid4()}
    return Delivery.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        first_offset=first,
        last_offset=last,
        first_received_at=now,
        last_received_at=now,
        state=state,
        **(lease if state in LEASED else {}),
    )


def reject(pixel: Pixel, log_offset: int, delivery: Delivery | None = None) -> Rejection:
    """A rejection of the event at this offset, by Meta."""
    event = Event.objects.get(pixel=pixel, log_offset=log_offset)
    return Rejection.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        log_offset=log_offset,
        received_at=event.received_at,
        reason=Rejection.Reason.REFUSED,
        delivery=delivery,
        event_name=event.event_name,
        event_id=event.event_id,
        code=100,
        subcode=2804050,
    )


def fates(pixel: Pixel) -> list[Fate]:
    """The fates of the pixel's events, oldest first."""
    return [row.fate for row in reversed(selectors.event_page(pixel).rows)]


def test_an_event_waits_until_a_delivery_covers_it(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 1)

    assert fates(connected.pixel) == [Fate.WAITING]


@pytest.mark.parametrize(
    ("state", "fate"),
    [
        (Delivery.State.WAITING, Fate.WAITING),
        (Delivery.State.CLAIMED, Fate.SENDING),
        (Delivery.State.SENDING, Fate.SENDING),
        (Delivery.State.ACCEPTED, Fate.ACCEPTED),
        (Delivery.State.DOUBT, Fate.DOUBT),
        (Delivery.State.REJECTED, Fate.REJECTED),
    ],
)
def test_an_event_has_the_fate_of_its_delivery(
    connected: ConnectedPixel, state: Delivery.State, fate: Fate
) -> None:
    append_count(connected.pixel, 2)

    deliver(connected.pixel, 0, 0, state)

    assert fates(connected.pixel) == [fate, Fate.WAITING]


def test_a_rejected_event_stays_so_in_a_batch_that_is_accepted(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 3)
    delivery = deliver(connected.pixel, 0, 2, Delivery.State.ACCEPTED)

    reject(connected.pixel, 1, delivery)

    assert fates(connected.pixel) == [Fate.ACCEPTED, Fate.REJECTED, Fate.ACCEPTED]


def test_the_halves_of_a_split_batch_speak_for_it(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 2)
    deliver(connected.pixel, 0, 1, Delivery.State.SPLIT)
    deliver(connected.pixel, 0, 0, Delivery.State.ACCEPTED)
    deliver(connected.pixel, 1, 1, Delivery.State.SENDING)

    assert fates(connected.pixel) == [Fate.ACCEPTED, Fate.SENDING]


def test_pages_of_the_log_meet_without_a_gap_or_a_repeat(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 7)
    seen: list[list[int]] = []
    before: int | None = None

    while True:
        page = selectors.event_page(connected.pixel, before=before, size=3)
        seen.append([row.log_offset for row in page.rows])
        if page.older is None:
            break
        before = page.older

    assert seen == [[6, 5, 4], [3, 2, 1], [0]]


@pytest.mark.parametrize("before", [0, 2, 10**18])
def test_a_page_below_any_offset_is_a_page(connected: ConnectedPixel, before: int) -> None:
    append_count(connected.pixel, 2)

    page = selectors.event_page(connected.pixel, before=before)

    assert [row.log_offset for row in page.rows] == list(range(min(before, 2) - 1, -1, -1))


def test_the_detail_tells_what_the_door_mended_and_every_attempt(connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    custom = {"currency": "USD", "value": "50"}
    append_events(
        pixel,
        [make_event(event_name="Purchase", event_id=None, action_source=None, custom_data=custom)],
    )
    delivery = deliver(pixel, 0, 0, Delivery.State.ACCEPTED)
    for outcome in (Attempt.Outcome.UNSENT, Attempt.Outcome.ACCEPTED):
        Attempt.objects.create(
            advertiser_id=pixel.advertiser_id, pixel=pixel, delivery=delivery, outcome=outcome
        )

    detail = event_detail(pixel, 0)

    assert detail is not None
    assert set(detail.notices) >= {
        "action_source was missing; the pixel's default was used.",
        "event_id was missing; we made one, so repeats of this event cannot be recognised.",
        "custom_data.value came as text; it is sent as a number.",
    }
    assert '"value": 50' in detail.payload
    assert [attempt.outcome for attempt in detail.attempts] == ["unsent", "accepted"]
    assert event_detail(pixel, 1) is None


def test_an_overview_counts_each_event_once(connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    append_count(pixel, 10)
    # 2 accepted; 3 in doubt; 4 being sent, of which 1 is rejected already; 1 not covered.
    deliver(pixel, 0, 1, Delivery.State.ACCEPTED)
    deliver(pixel, 2, 4, Delivery.State.DOUBT)
    sending = deliver(pixel, 5, 8, Delivery.State.SENDING)
    reject(pixel, 5, sending)
    pixel.log.tail = 9
    pixel.log.save(update_fields=["tail"])

    [overview] = selectors.overviews([pixel], now=timezone.now())

    assert (overview.taken_today, overview.waiting, overview.in_doubt, overview.rejected) == (10, 4, 3, 1)
    assert len(overview.hours) == 24


def test_a_failure_is_in_words(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 1)
    reject(connected.pixel, 0)

    [failure] = selectors.recent_failures(connected.pixel, language="en")

    assert failure.explanation.title == "The event does not say enough about the person"


@pytest.mark.django_db
def test_a_fleet_of_ten_takes_the_queries_of_a_fleet_of_one() -> None:
    counts = []
    for size in (1, 10):
        partner = make_partner()
        for _ in range(size):
            make_connected_pixel(make_advertiser(partner))
        with CaptureQueriesContext(connection) as queries:
            rows = selectors.fleet(partner, now=timezone.now())
        assert len(rows) == size
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_long_page_of_the_log_takes_the_queries_of_a_short_one(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 40)
    for first in range(0, 40, 4):
        deliver(connected.pixel, first, first + 3, Delivery.State.ACCEPTED)
    counts = []

    for size in (1, 40):
        with CaptureQueriesContext(connection) as queries:
            assert len(selectors.event_page(connected.pixel, size=size).rows) == size
        counts.append(len(queries))

    assert counts[0] == counts[1]
