"""`manage.py guardian look --all`: how do all tokens stand, now and not within the day?"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections import Counter
from typing import Any, Final

from django.core.management.base import BaseCommand

from onboarding.services.outages import open_outage
from onboarding.services.rounds import guard_round, look_at_all
from partnerhub.lib.graph import graph_client

# A line of progress so often.
SECONDS_A_LINE: Final = 2.0


class Command(BaseCommand):
    """Looks at tokens."""

    help = "Looks at the tokens that are due, or with --all at every one in use, and says what was found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`look`, at what is due or at all of them."""
        acts = parser.add_subparsers(dest="act", required=True)
        look = acts.add_parser("look", help="look at tokens now")
        look.add_argument("--all", action="store_true", help="every token in use, due or not")
        look.add_argument("--limit", type=int, metavar="N", help="so many at most")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print progress, then what was found."""
        if not options["all"]:
            done = guard_round(client=graph_client())
            self.stdout.write(
                f"{done.credentials} tokens looked at, and {done.of_partners} of partners and shared pixels."
            )
            return
        found: Counter[str] = Counter()
        said_at = time.monotonic()

        def report(looked: int, what: str) -> None:
            nonlocal said_at
            found[what] += 1
            if time.monotonic() - said_at >= SECONDS_A_LINE:
                said_at = time.monotonic()
                self.stdout.write(f"{looked} looked at")

        looked = look_at_all(client=graph_client(), limit=options["limit"], report=report)
        words = ", ".join(f"{count} {what}" for what, count in sorted(found.items()) if " " not in what)
        self.stdout.write(f"{looked} looked at: {words or 'no token of an advertiser'}.")
        if open_outage() is not None:
            self.stdout.write("Graph refuses many at once and is not believed: nothing is held.")
