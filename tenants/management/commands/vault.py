"""`manage.py vault rotate`, `vault check`, `vault keys new NAME`: master keys and what they seal (docs/vault.md)."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from partnerhub.lib.vault import KeyServiceAwayError, VaultError, new_key_line
from tenants.sealed import check_secrets, count_by_key, rotate
from tenants.secrets import vault

# One transaction on so many rows took 0.08 s, 0.17 s at the most: who wants one of them waits no longer.
BATCH: Final = 200


class Command(BaseCommand):
    """Looks after what is sealed."""

    help = "Seals all secrets anew under the first master key, sees whether each of them opens, or makes a new key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The acts and their options."""
        acts = parser.add_subparsers(dest="act", required=True)
        turn = acts.add_parser(
            "rotate", help="seal anew what is not under the first key; may run at any time"
        )
        look = acts.add_parser("check", help="open every secret, and end with 1 where one does not open")
        for act in (turn, look):
            act.add_argument(
                "--batch", type=_count, default=BATCH, help=f"rows at a time, {BATCH} by default"
            )
        keys = acts.add_parser("keys", help="new keys").add_subparsers(dest="what", required=True)
        new = keys.add_parser("new", help="print a new key, to be put among the others")
        new.add_argument("name", help="lower-case letters, digits, - and _")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one of them."""
        if options["act"] == "keys":
            self._new_key(options["name"])
            return
        if settings.PROCESS != "operator":
            # Row-level security would show no row, and all would seem well.
            raise CommandError("This runs as the tables' owner: leave PROCESS unset.")
        try:
            if options["act"] == "rotate":
                self._rotate(options["batch"])
            else:
                self._check(options["batch"])
        except KeyServiceAwayError as error:
            raise CommandError(f"{error} Run it again later.") from None

    def _new_key(self, name: str) -> None:
        try:
            self.stdout.write(new_key_line(name))
        except VaultError as error:
            raise CommandError(str(error)) from None

    def _rotate(self, batch: int) -> None:
        primary = vault().primary
        left = count_by_key()
        due = left.total() - left.pop(primary, 0)
        self.stdout.write(f"{due} to seal anew under {primary}{_listed(left)}.")
        resealed = 0
        faults: dict[tuple[str, int], str] = {}
        with _signals() as is_stopping:
            for step in rotate(batch=batch):
                resealed += step.resealed
                faults |= {(step.table, pk): text for pk, text in step.faults.items()}
                self.stdout.write(f"{step.table}: {step.resealed} sealed anew, {resealed} of {due} in all.")
                self.stdout.flush()
                if is_stopping():
                    break
        for text in faults.values():
            self.stdout.write(text)
        left = count_by_key()
        kept = left.pop(primary, 0)
        if not left:
            self.stdout.write(f"All {kept} secrets are under {primary}.")
            return
        self.stdout.write(f"{kept} secrets are under {primary}; left: {left.total()}{_listed(left)}.")
        if is_stopping():
            raise CommandError("Stopped. Run it again: it goes on where it stopped.")
        raise CommandError(
            "Those that do not open stay as they are."
            if faults
            else "Run it again: somebody sealed under another key."
        )

    def _check(self, batch: int) -> None:
        audit = check_secrets(batch=batch)
        for text in audit.faults:
            self.stdout.write(text)
        self.stdout.write(f"{audit.opened.total()} secrets open{_listed(audit.opened)}.")
        if audit.faults:
            raise CommandError(f"{len(audit.faults)} cannot be opened.")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _listed(counts: Counter[str]) -> str:
    """`: 3 under old, 2 under older`, or nothing."""
    return (
        ": " + ", ".join(f"{count} under {name}" for name, count in sorted(counts.items())) if counts else ""
    )


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT are noted, and end nothing: whether one came."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
