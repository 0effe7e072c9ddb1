"""The calls that App Review counts, rolled up from our books: set, not added, so that twice is as once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.utils import timezone

from onboarding.models import ConnectionTest, GraphCallCount, Option
from onboarding.services.partner_tokens import partners
from partnerhub.lib.db import tenant_scope

# An attempt is settled within minutes of its day's end; yesterday is counted again until then.
DAYS_COUNTED_AGAIN = 2


def recent_days(now: datetime | None = None) -> list[date]:
    """The days (UTC) whose counts may still change."""
    today = (now or timezone.now()).astimezone(UTC).date()
    return [today - timedelta(days=back) for back in range(DAYS_COUNTED_AGAIN)]


@transaction.atomic
def set_call_count(
    *, partner_id: int, day: date, source: GraphCallCount.Source, succeeded: int, failed: int
) -> None:
    """The calls of one day from one book, in the place of what was counted before. In the partner's scope."""
    GraphCallCount.objects.update_or_create(
        partner_id=partner_id, day=day, source=source, defaults={"succeeded": succeeded, "failed": failed}
    )


def count_tests(*, day: date) -> None:
    """Count the calls of each partner's connection tests on this day: its reads, and its test events."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for partner_id in partners():
        with tenant_scope(partner_id=partner_id):
            tests = ConnectionTest.objects.filter(
                advertiser__partner=partner_id,
                created_at__gte=begin,
                created_at__lt=begin + timedelta(days=1),
            ).exclude(credential__option=Option.PASTED_TOKEN)
            outcomes = [
                rung["outcome"]
                for rungs in tests.exclude(credential=None).values_list("rungs", flat=True)
                for rung in rungs
                if rung["rung"] in ("reachable", "counted")
            ]
            succeeded = outcomes.count("passed")
            if outcomes:
                set_call_count(
                    partner_id=partner_id,
                    day=day,
                    source=GraphCallCount.Source.TESTS,
                    succeeded=succeeded,
                    failed=len(outcomes) - succeeded,
                )
