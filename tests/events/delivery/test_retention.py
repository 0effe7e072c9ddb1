"""Retention: old days go once all of them is settled, no door waits for it, and the books stay right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from events import selectors
from events.delivery import retention
from events.delivery.retention import drop_old_days
from events.ledger import audit_ledger
from events.models import Event, PixelLog
from onboarding.models import Pixel
from tenants.models import Partner
from tests.events.delivery.conftest import TakeTurn, is_drained
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]
OLD = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=40)


@pytest.fixture(autouse=True)
def old_days(target: ConnectedPixel, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two days long ago have tables; whatever a test leaves of them goes."""
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(retention, "TRIES", 3)
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_make_partitions(%s, 2)", [OLD])
    yield
    with connection.cursor() as cursor:
        for day in days():
            if day < OLD + dt.timedelta(days=2):
                for parent in ("events_event", "events_repeat"):
                    cursor.execute(f"DROP TABLE IF EXISTS {parent}_{day:%Y%m%d}")


def days() -> list[dt.date]:
    return retention._days()


def old_days_kept() -> int:
    return sum(day < OLD + dt.timedelta(days=2) for day in days())


def age(pixel: Pixel, events: int, day: dt.date) -> None:
    """The pixel's first events, and all that is said of them, are of that day."""
    moment = dt.datetime.combine(day, dt.time(12), dt.UTC)
    with connection.cursor() as cursor:
        for statement in (
            "UPDATE events_event SET received_at = %s WHERE pixel_id = %s AND log_offset < %s",
            "UPDATE events_repeat SET received_at = %s WHERE pixel_id = %s AND log_offset < %s",
            "UPDATE events_delivery SET first_received_at = %s WHERE pixel_id = %s AND first_offset < %s",
            "UPDATE events_pixellog SET tail_received_at = %s WHERE pixel_id = %s AND tail < %s",
        ):
            cursor.execute(statement, [moment, pixel.pk, events])
        cursor.execute(
            "UPDATE events_delivery AS delivery SET last_received_at = (SELECT received_at FROM events_event"
            " AS event WHERE event.pixel_id = delivery.pixel_id AND log_offset = last_offset)"
            " WHERE pixel_id = %s",
            [pixel.pk],
        )
        cursor.execute("DELETE FROM events_hourlycount WHERE pixel_id = %s", [pixel.pk])
        cursor.execute(
            "INSERT INTO events_hourlycount (advertiser_id, pixel_id, hour, event_name, origin, taken)"
            " SELECT advertiser_id, pixel_id, date_trunc('hour', received_at, 'UTC'), event_name, origin, count(*)"
            " FROM events_event WHERE pixel_id = %s GROUP BY 1, 2, 3, 4, 5",
            [pixel.pk],
        )


def drop(as_role: AsRole) -> int:
    with as_role("worker"):
        return drop_old_days()


def deliver(pixel: Pixel, take_turn: TakeTurn) -> None:
    while take_turn(pixel).idle is None:
        pass
    assert is_drained(pixel)


def test_days_that_nobody_keeps_are_dropped_and_the_books_stay_right(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 5)
    deliver(target.pixel, take_turn)
    append_count(target.pixel, 3)
    deliver(target.pixel, take_turn)
    age(target.pixel, 5, OLD)
    assert audit_ledger([target.pixel.pk]).findings == []

    assert drop(as_role) == 2
    assert drop(as_role) == 0

    assert old_days_kept() == 0
    assert list(Event.objects.order_by("log_offset").values_list("log_offset", flat=True)) == [5, 6, 7]
    assert PixelLog.objects.get(pk=target.pixel.pk).kept_from == 5
    audited = audit_ledger([target.pixel.pk])
    assert audited.findings == []
    assert (audited.accounts[target.pixel.pk].taken, audited.accounts[target.pixel.pk].accepted) == (3, 3)
    page = selectors.event_page(target.pixel, size=3)
    assert ([row.log_offset for row in page.rows], page.older) == ([7, 6, 5], None)


def test_a_log_of_which_all_was_dropped_is_whole(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)
    deliver(target.pixel, take_turn)
    age(target.pixel, 2, OLD)

    drop(as_role)

    assert Event.objects.count() == 0
    assert audit_ledger([target.pixel.pk]).findings == []
    append_count(target.pixel, 1)
    assert audit_ledger([target.pixel.pk]).findings == []


def test_events_that_are_lost_and_not_dropped_are_a_finding(
    target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 4)
    deliver(target.pixel, take_turn)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event WHERE log_offset < 2")

    assert {finding.rule for finding in audit_ledger([target.pixel.pk]).findings} >= {"L1", "L4"}


@pytest.mark.parametrize("holds", ["unclaimed", "backlog", "waiting", "sending", "doubt"])
def test_a_day_that_holds_what_is_not_settled_stays_and_so_do_those_after_it(
    holds: str, target: ConnectedPixel, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)
    deliver(target.pixel, take_turn)
    if holds == "unclaimed":
        append_count(target.pixel, 1)
    with connection.cursor() as cursor:
        if holds == "backlog":
            cursor.execute(
                "INSERT INTO events_backlog (advertiser_id, pixel_id, first_offset, next_offset, last_offset,"
                " next_received_at, last_received_at) SELECT advertiser_id, pixel_id, 0, 0, 1, %s, now()"
                " FROM events_pixellog WHERE pixel_id = %s",
                [dt.datetime.combine(OLD, dt.time(12), dt.UTC), target.pixel.pk],
            )
        elif holds != "unclaimed":
            cursor.execute(
                "UPDATE events_delivery SET state = %s, lease_until = now(), lease_token = gen_random_uuid()",
                [holds],
            )
    age(target.pixel, 3, OLD)

    assert drop(as_role) == 0

    assert old_days_kept() == 2
    assert PixelLog.objects.get(pk=target.pixel.pk).kept_from == 0
    with as_role("worker"), connection.cursor() as cursor:
        cursor.execute("SELECT events_drop_day(%s)", [OLD])
        assert cursor.fetchone() == ("unsettled",)


def test_nobody_can_drop_a_day_of_now(target: ConnectedPixel, as_role: AsRole) -> None:
    with as_role("worker"), connection.cursor() as cursor:
        for ago in (-1, 0, 1):
            cursor.execute("SELECT events_drop_day(%s)", [timezone.now().date() - dt.timedelta(days=ago)])
            assert cursor.fetchone() == ("unsettled",)


def test_while_somebody_reads_the_log_the_day_stays_and_no_door_waits(
    target: ConnectedPixel, as_role: AsRole, database: TestDatabase
) -> None:
    with psycopg.connect(database.url("owner")) as reader:
        reader.execute("SELECT count(*) FROM events_event")

        assert drop(as_role) == 0
        append_count(target.pixel, 1)

    assert old_days_kept() == 2
    # What waits is of today: the days before it go.
    assert drop(as_role) == 2
    assert old_days_kept() == 0


def test_a_day_that_was_detached_when_the_process_died_is_dropped_by_the_next(
    target: ConnectedPixel, as_role: AsRole
) -> None:
    with as_role("worker"), connection.cursor() as cursor:
        cursor.execute("SELECT events_drop_day(%s)", [OLD])
        assert cursor.fetchone() == ("detached",)
    assert OLD in days()

    assert drop(as_role) == 2

    assert old_days_kept() == 0


def test_a_partner_keeps_its_events_for_as_long_as_it_says(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    stranger = make_connected_pixel()
    sandbox.client.put_pixel(stranger.pixel.meta_id)
    sandbox.client.put_token(stranger.access_token, pixels=[stranger.pixel.meta_id])
    for pixel in (target.pixel, stranger.pixel):
        append_count(pixel, 2)
        deliver(pixel, take_turn)
        age(pixel, 2, OLD)
    Partner.objects.filter(pk=stranger.pixel.advertiser.partner_id).update(log_retention_days=50)

    assert drop(as_role) == 0

    assert set(Event.objects.values_list("pixel_id", flat=True)) == {stranger.pixel.pk}
    assert old_days_kept() == 2
    assert audit_ledger([target.pixel.pk, stranger.pixel.pk]).findings == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT pixel_id FROM events_repeat")
        assert cursor.fetchall() == [(stranger.pixel.pk,)]


def test_log_verify_says_whether_the_log_is_whole(target: ConnectedPixel, take_turn: TakeTurn) -> None:
    append_count(target.pixel, 3)
    out = StringIO()
    call_command("log", "verify", "--pixel", str(target.pixel.pk), stdout=out)
    assert out.getvalue() == "1 pixels, 3 events: the log is whole\n"

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event WHERE log_offset = 1")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("log", "verify", "--pixel", str(target.pixel.pk), stdout=out)
    assert "L1" in out.getvalue()
    assert "L5" in out.getvalue()
