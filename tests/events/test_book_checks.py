"""The ledger check by the clock: as the workers' role, each advertiser's books once a day, and its outcome is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from events import book_checks
from events.book_checks import check_books
from events.doctor.stored import look_at_ledger_checks
from events.ledger import Audit, audit_ledger
from events.models import LedgerCheck, PixelLog
from partnerhub.lib import metrics
from partnerhub.lib.broker import celery_settings
from partnerhub.lib.config import config
from tenants.models import Person
from tests.events.delivery.conftest import forget_events
from tests.support.factories import PASSWORD, ConnectedPixel, make_connected_pixel
from tests.support.log import append_count

AsRole = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def two(transactional_db: None) -> Iterator[list[ConnectedPixel]]:
    """Pixels of two advertisers with three events each."""
    targets = [make_connected_pixel(), make_connected_pixel()]
    for target in targets:
        append_count(target.pixel, 3)
    yield targets
    forget_events()


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the gauges of the ledger were set to."""
    values: dict[str, float] = {}
    for gauge in (metrics.LEDGER_FINDINGS, metrics.LEDGER_CHECKED):
        monkeypatch.setattr(gauge, "set", lambda value, name=gauge.name: values.update({name: value}))
    return values


def time_passes(**words: float) -> None:
    """All checks are so much older."""
    for check in LedgerCheck.objects.all():
        check.checked_at -= timedelta(**words)
        check.save(update_fields=["checked_at"])


def check_of(target: ConnectedPixel) -> LedgerCheck:
    return LedgerCheck.objects.get(advertiser=target.pixel.advertiser_id)


def run(as_role: AsRole) -> int:
    with as_role("worker"):
        return check_books()


def test_right_books_are_looked_at_once_a_day_by_the_workers_role(
    two: list[ConnectedPixel], as_role: AsRole, gauges: dict[str, float]
) -> None:
    assert run(as_role) == 2

    for target in two:
        check = check_of(target)
        assert (check.pixels, check.taken, check.findings, check.text) == (1, 3, 0, "")
    assert gauges["partnerhub_ledger_findings"] == 0
    oldest = min(check.checked_at for check in LedgerCheck.objects.all())
    assert gauges["partnerhub_ledger_check_timestamp_seconds"] == pytest.approx(oldest.timestamp(), abs=0.01)
    # Midnight may have come between: then they are due again, and rightly.
    if timezone.now().date() == oldest.date():
        assert run(as_role) == 0
    time_passes(days=1)
    assert run(as_role) == 2


def test_beat_asks_for_it_every_hour() -> None:
    (entry,) = [
        entry
        for entry in celery_settings(config(), "worker", publishes_only=False)["beat_schedule"].values()
        if entry["task"] == "events.check_books"
    ]

    assert entry["schedule"].minute == {17}
    assert len(entry["schedule"].hour) == 24


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("L1", "DELETE FROM events_event WHERE log_offset = 1 AND pixel_id = %s"),
        ("L4", "UPDATE events_pixellog SET tail = tail + 1 WHERE pixel_id = %s"),
        ("L5", "UPDATE events_hourlycount SET taken = taken + 1 WHERE pixel_id = %s"),
        ("L9", "UPDATE events_pixellog SET awake = false WHERE pixel_id = %s"),
    ],
)
def test_books_that_disagree_are_told_and_looked_at_again_within_the_hour(
    rule: str,
    statement: str,
    two: list[ConnectedPixel],
    as_role: AsRole,
    gauges: dict[str, float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong, right = two
    with connection.cursor() as cursor:
        cursor.execute(statement, [wrong.pixel.pk])

    assert run(as_role) == 2

    check = check_of(wrong)
    assert check.findings >= 1
    assert f"{rule} pixel {wrong.pixel.pk}: " in check.text
    assert check_of(right).findings == 0
    assert gauges["partnerhub_ledger_findings"] == check.findings
    assert [record.levelname for record in caplog.records if "the books disagree" in record.getMessage()] == [
        "CRITICAL"
    ]
    # What a client named its event stands in no line of the log.
    assert "PageView" not in caplog.text
    (found,) = look_at_ledger_checks()
    assert check.text in found.problem

    LedgerCheck.objects.filter(pk=check.pk).update(checked_at=timezone.now() - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_hourlycount")
        cursor.execute("DELETE FROM events_event")
        cursor.execute("UPDATE events_pixellog SET head = 0, tail = 0")
    run(as_role)
    assert check_of(wrong).findings == 0
    assert gauges["partnerhub_ledger_findings"] == 0
    assert list(look_at_ledger_checks()) == []


def test_a_row_that_names_another_advertiser_is_found_though_the_worker_may_not_see_it(
    two: list[ConnectedPixel], as_role: AsRole
) -> None:
    wrong, right = two
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_event SET advertiser_id = %s WHERE log_offset = 0 AND pixel_id = %s",
            [right.pixel.advertiser_id, wrong.pixel.pk],
        )

    with as_role("worker"):
        audit = audit_ledger([wrong.pixel.pk], advertiser_id=wrong.pixel.advertiser_id)

    assert "1 rows of events_event name another advertiser than their pixel's" in {
        finding.text for finding in audit.findings if finding.rule == "L8"
    }


def test_a_check_that_breaks_off_is_said_and_the_others_are_made(
    two: list[ConnectedPixel],
    as_role: AsRole,
    gauges: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(as_role)
    time_passes(days=3)
    broken, other = two
    long_ago = check_of(broken).checked_at

    def audit(pixel_ids: list[int], **options: Any) -> Audit:
        if broken.pixel.pk in pixel_ids:
            raise OperationalError("canceling statement due to statement timeout")
        return audit_ledger(pixel_ids, **options)

    monkeypatch.setattr(book_checks, "audit_ledger", audit)
    assert run(as_role) == 1

    assert check_of(broken).checked_at == long_ago
    assert check_of(other).checked_at > long_ago
    assert "books not checked" in caplog.text
    # So the alert on unchecked books comes.
    assert gauges["partnerhub_ledger_check_timestamp_seconds"] == pytest.approx(
        long_ago.timestamp(), abs=0.01
    )
    (found,) = look_at_ledger_checks()
    assert f"The books of advertiser {broken.pixel.advertiser_id} have not been checked" in found.problem


def test_the_operators_page_shows_the_last_outcome(
    two: list[ConnectedPixel], as_role: AsRole, client: Client
) -> None:
    operator = Person.objects.create_superuser("operator@hub.example", PASSWORD)
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    PixelLog.objects.filter(pixel=two[0].pixel).update(awake=False)
    run(as_role)

    with as_role("app"):
        page = client.get("/operator/log/").content.decode()

    assert "The books are right." in page
    assert f"1 finding: L9 pixel {two[0].pixel.pk}: 3 events are unclaimed, and the pixel sleeps" in page
