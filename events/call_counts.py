"""How many requests went to Meta with tokens of each partner's own app: counted from the attempts, for App Review."""

from __future__ import annotations

from datetime import date

from django.db import connection

from onboarding.models import GraphCallCount
from onboarding.services.call_counts import count_tests, recent_days, set_call_count
from partnerhub.lib.db import tenant_scope


def count_calls(days: list[date] | None = None) -> None:
    """Count today's and yesterday's calls anew, of deliveries and of connection tests. Twice is as once."""
    for day in recent_days() if days is None else days:
        with connection.cursor() as cursor:
            cursor.execute("SELECT partner_id, succeeded, failed FROM events_calls_of_day(%s)", [day])
            counted = cursor.fetchall()
        for partner_id, succeeded, failed in counted:
            with tenant_scope(partner_id=partner_id):
                set_call_count(
                    partner_id=partner_id,
                    day=day,
                    source=GraphCallCount.Source.DELIVERIES,
                    succeeded=succeeded,
                    failed=failed,
                )
        count_tests(day=day)
