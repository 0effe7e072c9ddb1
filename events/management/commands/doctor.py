"""`manage.py doctor`: what is wrong with this installation?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.doctor import examine


class Command(BaseCommand):
    """Looks at everything, and says what is wrong."""

    help = "Looks at an installation, says in sentences what is wrong and what to do, and ends with 1 where it is."
    # It says more of the settings than Django does, and may have to do without a database.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How much is looked at."""
        parser.add_argument(
            "--quick", action="store_true", help="leave out what reads every secret and every event"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """A line for each check, and two for each finding."""
        if settings.PROCESS != "operator":
            # Row-level security would show no row, and all would seem well.
            raise CommandError("This runs as the tables' owner: leave PROCESS unset.")
        count = 0
        for name, findings in examine(quick=options["quick"]):
            self.stdout.write(f"{name}: {'see below' if findings else 'well'}")
            for finding in findings:
                count += 1
                self.stdout.write(f"  - {finding.problem}\n    {finding.remedy}")
        self.stdout.write(f"Findings: {count}." if count else "Nothing is wrong.")
        if count:
            sys.exit(1)
