"""What is stored: whether each secret opens, and the books are right. It reads every secret and every event."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.utils import timezone

from events.doctor.finding import Finding, some
from events.doctor.neighbours import FEWEST_TICKS
from events.ledger import audit_ledger
from events.models import LedgerCheck
from partnerhub.lib.config import config
from partnerhub.lib.vault import KeyServiceAwayError
from tenants.sealed import check_secrets

SECRETS_AT_A_TIME: Final = 200
# They are checked once a day (events.book_checks).
UNCHECKED_AFTER: Final = timedelta(days=2)


def look_at_vault() -> Iterator[Finding]:
    """Whether every secret opens."""
    try:
        faults = check_secrets(batch=SECRETS_AT_A_TIME).faults
    except KeyServiceAwayError as error:
        yield Finding(f"The secrets could not be opened. {error}", "Run the doctor again when it answers.")
        return
    if faults:
        yield Finding(
            f"Secrets do not open ({len(faults)}): {some([fault.rstrip('.') for fault in faults])}.",
            "Is a master key missing from VAULT_KEYS? `manage.py vault check` lists them all; see docs/vault.md.",
        )


def look_at_ledger_checks() -> Iterator[Finding]:
    """What the last check by the clock found, and whether there was one lately."""
    found = [check.text for check in LedgerCheck.objects.exclude(findings=0).order_by("advertiser")]
    if found:
        yield Finding(
            f"The nightly check found books that disagree with the log: {some(found)}.",
            "`manage.py ledger check` looks again and lists all. Keep the database as it is, and report it.",
        )
    late = timezone.now() - UNCHECKED_AFTER
    unchecked = (
        LedgerCheck.objects.filter(checked_at__lt=late).order_by("checked_at").values_list("advertiser")
    )
    if names := [f"advertiser {advertiser_id}" for (advertiser_id,) in unchecked]:
        yield Finding(
            f"The books of {some(names)} have not been checked for two days.",
            'Do beat and the workers run? The workers\' logs say "books not checked" where a check broke off.',
        )


def look_at_ledger() -> Iterator[Finding]:
    """Whether the books are right."""
    audit = audit_ledger(None, overdue_seconds=FEWEST_TICKS * config().delivery_sweep_seconds)
    if not audit.holds:
        found = [f"{one.rule} pixel {one.pixel_id}: {one.text}" for one in audit.findings]
        yield Finding(
            f"The books disagree with the log: {some(found)}.",
            "`manage.py ledger check` lists all. Keep the database as it is, and report it: it is a fault of ours.",
        )
