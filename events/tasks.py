"""The events' jobs. Each takes an id and calls the engine; doubled, late and foreign ones change nothing."""

from __future__ import annotations

from celery import shared_task

from events import erasures, letters, replays
from events.book_checks import check_books as check_books_due
from events.call_counts import count_calls as count_calls_anew
from events.delivery import retention, urgent
from events.delivery import sweep as sweeping
from events.delivery.engine import deliver_pixel
from events.delivery.progress import PROGRESS
from events.replay import STEP
from onboarding.services import DELIVER
from partnerhub.lib.graph import graph_client


@shared_task(name=DELIVER, ignore_result=True)
def deliver(pixel_id: int) -> None:
    """One turn of a pixel."""
    PROGRESS.heard()
    deliver_pixel(pixel_id, graph_client())


@shared_task(name="events.sweep", ignore_result=True)
def sweep() -> None:
    """Hint at what waits, and take over what dead workers left."""
    sweeping.sweep()


@shared_task(name="events.make_partitions", ignore_result=True)
def make_partitions() -> None:
    """Make the log's days, a week ahead."""
    sweeping.make_partitions()


@shared_task(name="events.tell_people", ignore_result=True)
def tell_people() -> None:
    """Send the mails about tokens that are owed."""
    letters.tell_people()


@shared_task(name="events.count_calls", ignore_result=True)
def count_calls() -> None:
    """Count the calls that App Review asks for."""
    count_calls_anew()


@shared_task(name="events.drop_old_days", ignore_result=True)
def drop_old_days() -> None:
    """Drop the days of the log that nobody keeps any more."""
    retention.drop_old_days()


@shared_task(name="events.check_books", ignore_result=True)
def check_books() -> None:
    """Recount the books that are due."""
    check_books_due()


@shared_task(name=STEP, ignore_result=True)
def step_replay(replay_id: int) -> None:
    """Go on with a replay."""
    replays.work_on_replay(replay_id)


@shared_task(name=erasures.ERASE, ignore_result=True)
def erase(advertiser_id: int, erasure_id: int) -> None:
    """Go on with an erasure."""
    erasures.work_on_erasure(advertiser_id, erasure_id)


@shared_task(name="events.sweep_jobs", ignore_result=True)
def sweep_jobs() -> None:
    """Hint at replays and erasures that are under way."""
    replays.sweep_replays()
    erasures.sweep_erasures()


@shared_task(name="events.bring_forward", ignore_result=True)
def bring_forward() -> None:
    """Find what of the piles is near Meta's age limit."""
    urgent.bring_forward()
