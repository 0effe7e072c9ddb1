"""`manage.py ledger check`: are the books right?"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand

from events.ledger import OVERDUE_SWEEPS, Account, Audit, audit_ledger
from partnerhub.lib import metrics
from partnerhub.lib.config import config

_COLUMNS: Final = (
    "taken",
    "accepted",
    "rejected",
    "in_flight",
    "in_doubt",
    "waiting",
    "doubts",
)


class Command(BaseCommand):
    """Recounts the books."""

    help = "Recounts the books of every pixel, or of one, and ends with 1 where a rule does not hold."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`check`, and of which pixel."""
        acts = parser.add_subparsers(dest="act", required=True)
        check = acts.add_parser("check", help="recount the books")
        check.add_argument("--pixel", type=int, metavar="KEY", help="our key of one pixel")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line a pixel, and each finding."""
        audit = audit_ledger(
            None if options["pixel"] is None else [options["pixel"]],
            # Whoever takes over has its turns: a sweep, and the look of an idle worker.
            overdue_seconds=OVERDUE_SWEEPS * config().delivery_sweep_seconds,
        )
        metrics.begin("operator")
        metrics.LEDGER_FINDINGS.set(len(audit.findings))
        metrics.LEDGER_CHECKED.set(time.time())
        for line in report(audit):
            self.stdout.write(line)
        if not audit.holds:
            sys.exit(1)


def report(audit: Audit) -> list[str]:
    """The audit as lines of a table, then its findings, then the verdict."""
    lines = ["  ".join(["pixel".rjust(20), *(column.replace("_", " ").rjust(9) for column in _COLUMNS)])]
    lines += [_line(account) for account in audit.accounts.values()]
    lines += [f"{finding.rule} pixel {finding.pixel_id}: {finding.text}" for finding in audit.findings]
    rules = f"{len(audit.findings)} findings" if audit.findings else "the books are right"
    lines.append(f"{len(audit.accounts)} pixels: {rules}")
    return lines


def _line(account: Account) -> str:
    return "  ".join(
        [account.meta_id.rjust(20), *(str(getattr(account, column)).rjust(9) for column in _COLUMNS)]
    )
