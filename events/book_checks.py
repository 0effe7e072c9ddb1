"""The ledger check by the clock: each advertiser's books once a day, as the workers' role, one in sight at a time.

What came of it stands in LedgerCheck, for the doctor and the operator's page. A tick that was lost, or a worker that
died in the middle, is made up for by the next hour's; books that disagree are looked at every hour until they agree.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from events.ledger import OVERDUE_SWEEPS, Audit, audit_ledger
from partnerhub.lib import metrics
from partnerhub.lib.config import config
from partnerhub.lib.db import tenant_scope

logger = structlog.get_logger(__name__)

# Of the findings, so many are kept in words: `manage.py ledger check` lists all.
KEPT_FINDINGS: Final = 3

# By days of UTC, for the first tick after midnight finds all; an hour less a little, so that each tick finds what
# the one before found to disagree.
_DUE: Final = """
SELECT log.advertiser_id, array_agg(log.pixel_id)
FROM events_pixellog AS log LEFT JOIN events_ledgercheck AS past ON past.advertiser_id = log.advertiser_id
WHERE past.advertiser_id IS NULL OR past.checked_at < date_trunc('day', now(), 'UTC')
   OR past.findings > 0 AND past.checked_at < now() - interval '50 minutes'
GROUP BY log.advertiser_id, past.checked_at ORDER BY past.checked_at NULLS FIRST, log.advertiser_id
"""
_KEEP: Final = """
INSERT INTO events_ledgercheck (advertiser_id, checked_at, pixels, taken, findings, text)
VALUES (%s, clock_timestamp(), %s, %s, %s, %s)
ON CONFLICT (advertiser_id) DO UPDATE
SET checked_at = excluded.checked_at, pixels = excluded.pixels, taken = excluded.taken,
    findings = excluded.findings, text = excluded.text
"""
_LATEST: Final = """
SELECT coalesce(sum(findings), 0), extract(epoch FROM min(checked_at))::float8 FROM events_ledgercheck
"""


def check_books() -> int:
    """How many advertisers' books were looked at: those that nobody looked at today, or that disagreed an hour ago.

    Two runs at once look twice, and do no harm.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        due = cursor.fetchall()
    checked = sum(_check(advertiser_id, pixel_ids) for advertiser_id, pixel_ids in due)
    with connection.cursor() as cursor:
        cursor.execute(_LATEST)
        findings, oldest = cursor.fetchone()
    metrics.LEDGER_FINDINGS.set(findings)
    # All books were looked at since: those of an advertiser that cannot be are old, and the alert says so.
    metrics.LEDGER_CHECKED.set(time.time() if oldest is None else oldest)
    return checked


def _check(advertiser_id: int, pixel_ids: list[int]) -> bool:
    try:
        audit = audit_ledger(
            pixel_ids,
            advertiser_id=advertiser_id,
            overdue_seconds=OVERDUE_SWEEPS * config().delivery_sweep_seconds,
        )
    except (DatabaseError, InterfaceError) as error:
        # Cut off, or the database went away; the others' are looked at all the same.
        logger.error("books not checked", advertiser_id=advertiser_id, error=type(error).__name__)
        close_old_connections()
        return False
    if not audit.holds:
        logger.critical(
            "the books disagree",
            advertiser_id=advertiser_id,
            findings=len(audit.findings),
            rules=sorted({finding.rule for finding in audit.findings}),
            pixel_ids=sorted({finding.pixel_id for finding in audit.findings}),
        )
    _keep(advertiser_id, audit)
    return True


def _keep(advertiser_id: int, audit: Audit) -> None:
    text = "; ".join(f"{one.rule} pixel {one.pixel_id}: {one.text}" for one in audit.findings[:KEPT_FINDINGS])
    with tenant_scope(advertiser_id=advertiser_id), connection.cursor() as cursor:
        cursor.execute(
            _KEEP, [advertiser_id, len(audit.accounts), audit.total("taken"), len(audit.findings), text]
        )
