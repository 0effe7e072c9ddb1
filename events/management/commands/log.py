"""`manage.py log verify`: is the log whole?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand

from events.ledger import audit_ledger
from partnerhub.lib.config import config

# Of the ledger check's rules, those that speak of the log itself: offsets dense, ranges that tile it, counters that
# are its rows, owners that are its pixels'.
_RULES: Final = ("L1", "L3", "L5", "L8")


class Command(BaseCommand):
    """Looks at the log."""

    help = "Verifies that offsets are dense, ranges tile the log and counters are its rows; ends with 1 where not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`verify`, and of which pixel."""
        acts = parser.add_subparsers(dest="act", required=True)
        verify = acts.add_parser("verify", help="compare the log with its ranges and counters")
        verify.add_argument("--pixel", type=int, metavar="KEY", help="our key of one pixel")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print each finding, and how much was looked at."""
        audit = audit_ledger(
            None if options["pixel"] is None else [options["pixel"]],
            overdue_seconds=3 * config().delivery_sweep_seconds,
        )
        findings = [finding for finding in audit.findings if finding.rule in _RULES]
        for finding in findings:
            self.stdout.write(f"{finding.rule} pixel {finding.pixel_id}: {finding.text}")
        verdict = f"{len(findings)} findings" if findings else "the log is whole"
        self.stdout.write(f"{len(audit.accounts)} pixels, {audit.total('taken')} events: {verdict}")
        if findings:
            sys.exit(1)
