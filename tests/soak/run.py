"""`make soak MINUTES=n`: the real processes under a steady load, faults thrown at them at random, and the books after.

Two collectors, two workers, beat, PostgreSQL with the queues in it, and the stand-in Graph API. It stops by itself,
and ends only what it started. The seed chooses the faults and their times; what meets which event, no seed says.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection

from events.doubts import decide_doubts
from events.ledger import Audit, Key, audit_ledger
from events.models import Delivery, DoubtDecision, Rejection
from onboarding.graph import TEST_EVENT_NAME
from tests.soak.faults import FAULTS, Seat, Stage, log_of
from tests.soak.shop import Shop
from tests.support.beat import BeatProcess
from tests.support.collector import CollectorProcess
from tests.support.drain import is_drained
from tests.support.environment import TestDatabase
from tests.support.factories import make_connected_pixel
from tests.support.ledger import at_meta
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess

PIXELS: Final = 5
COLLECTORS: Final = 2
WORKERS: Final = 2
# Between the end of a fault and the next.
REST_SECONDS: Final = (0.5, 3.0)
# After the load: doubts are sent again after 20 s, and a person looks at those that are not.
DRAIN_SECONDS: Final = 180
SETTINGS: Final[dict[str, str]] = {
    "DELIVERY_DEADLINE_SECONDS": "3",
    "DELIVERY_LEASE_SECONDS": "4",
    "DELIVERY_IDLE_SECONDS": "0.5",
    "DELIVERY_SWEEP_SECONDS": "1",
    "WORKER_THREADS": "4",
}
# What was taken in before a fault's end has had its answer, or is in doubt.
_BEHIND: Final = """
SELECT count(*) FROM unnest(%s::bigint[], %s::bigint[]) AS asked (pixel_id, head)
JOIN events_pixellog AS log ON log.pixel_id = asked.pixel_id
WHERE log.tail < asked.head
   OR EXISTS (SELECT FROM events_backlog AS pile
              WHERE pile.pixel_id = asked.pixel_id AND drained_at IS NULL AND next_offset < asked.head)
   OR EXISTS (SELECT FROM events_delivery AS delivery
              WHERE delivery.pixel_id = asked.pixel_id AND state IN ('waiting', 'claimed', 'sending')
                AND first_offset < asked.head)
"""


@dataclass(slots=True)
class Pending:
    """A fault that has ended, and what had been taken in then; None while the database does not say."""

    fault: str
    ended: float
    heads: dict[int, int] | None = None


@dataclass(slots=True)
class Account:
    """What was done, and what came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[float, str]] = field(default_factory=list)
    decided: int = 0
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Soak:
    """The run: faults one after the other while the load goes on, then the drain."""

    def __init__(self, stage: Stage, kinds: list[str]) -> None:
        self._stage = stage
        self._kinds = kinds
        self._pixels = [target.pixel for target in stage.targets]
        self._pending: list[Pending] = []
        self.account = Account()

    def run(self, seconds: float) -> None:
        """Throw faults for so long."""
        ends = time.monotonic() + seconds
        order: list[str] = []
        while time.monotonic() < ends:
            # In rounds, so that each kind has its turn, in an order that chance gives.
            order = order or self._stage.chance.sample(self._kinds, len(self._kinds))
            self._throw(order.pop(), ends)
            self._watch_for(self._stage.chance.uniform(*REST_SECONDS), ends)

    def drain(self) -> None:
        """Wait for all that was taken in to come to its end."""
        ends = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < ends:
            self._watch()
            if self._ask(lambda: is_drained(self._pixels)) and not self._pending:
                return
            time.sleep(0.5)
        states = Delivery.objects.exclude(state__in=["accepted", "rejected", "split"])
        self.account.problems.append(
            f"not drained within {DRAIN_SECONDS} s: "
            f"{[*states.values_list('pk', 'pixel_id', 'state', 'due_at', 'failure_class')[:10]]}, "
            f"waiting for {[one.fault for one in self._pending]}"
        )

    def _throw(self, name: str, ends: float) -> None:
        fault, shortest, longest = FAULTS[name]
        lasts = self._stage.chance.uniform(shortest, longest)
        say(f"{name}, {lasts:.1f} s")
        with fault(self._stage):
            self._watch_for(lasts, ends + longest, replaces=False)
        self.account.faults[name] += 1
        self._pending.append(Pending(name, time.monotonic()))

    def _watch_for(self, seconds: float, ends: float, *, replaces: bool = True) -> None:
        until = min(time.monotonic() + seconds, ends)
        while (rest := until - time.monotonic()) > 0:
            self._watch(replaces=replaces)
            time.sleep(min(0.25, max(rest, 0.0)))

    def _watch(self, *, replaces: bool = True) -> None:
        """Note who has recovered, decide as a person would, and fill the places of those who left by themselves."""
        for pending in list(self._pending):
            if pending.heads is None:
                pending.heads = self._ask(self._heads)
            elif self._ask(lambda pending=pending: self._has_passed(pending.heads)):
                self._pending.remove(pending)
                self.account.recoveries.append((time.monotonic() - pending.ended, pending.fault))
        self._ask(self._decide)
        if not replaces:
            return
        for name, seats in (("collector", self._stage.collectors), ("worker", self._stage.workers)):
            for seat in seats:
                if seat.has_gone:
                    self.account.left.append(name)
                    say(f"a {name} left by itself:\n{log_of(seat.process)}")
                    seat.replace()

    def _ask(self, question: Any) -> Any:
        """The answer, or None while the database is away."""
        try:
            return question()
        except (DatabaseError, InterfaceError):
            connection.close()
            return None

    def _heads(self) -> dict[int, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pixel_id, head FROM events_pixellog")
            return dict(cursor.fetchall())

    def _has_passed(self, heads: dict[int, int]) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_BEHIND, [list(heads), list(heads.values())])
            return bool(cursor.fetchone()[0] == 0)

    def _decide(self) -> None:
        """What was in doubt too often for the policy waits for a person, who has it sent again."""
        kept = Delivery.objects.filter(state=Delivery.State.DOUBT, due_at=None)
        for pixel in self._pixels:
            if kept.filter(pixel=pixel).exists():
                self.account.decided += 1
                decide_doubts(pixel=pixel, decision=DoubtDecision.Decision.AGAIN, decided_by=None)


@contextmanager
def _stage(database: TestDatabase, cluster: str, *, seed: int, folder: Path) -> Iterator[Stage]:
    """Everything, running; ended in good order however the block ends."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess())
        call_command("migrate", verbosity=0)
        call_command("broker", "prepare", verbosity=0)
        targets = [make_connected_pixel() for _ in range(PIXELS)]
        for one in targets:
            sandbox.client.put_pixel(one.pixel.meta_id)
            sandbox.client.put_token(one.access_token, pixels=[one.pixel.meta_id])
        settings: dict[str, Any] = SETTINGS | {
            "GRAPH_API_BASE_URL": sandbox.base_url,
            "EMAIL_URL": f"smtp://127.0.0.1:{sandbox.smtp_port}",
        }
        collectors = [Seat(lambda: CollectorProcess(**settings)) for _ in range(COLLECTORS)]
        workers = [Seat(lambda: WorkerProcess(**settings)) for _ in range(WORKERS)]
        for seat in [*collectors, *workers]:
            seat.process.start()
            stack.callback(seat.close)
        stack.enter_context(BeatProcess(**settings))

        def doors() -> list[str]:
            return [f"http://127.0.0.1:{seat.process.port}" for seat in collectors]  # type: ignore[union-attr]

        shop = Shop(doors, targets, record=folder / "told", seed=seed)
        yield Stage(
            database=database,
            cluster=cluster,
            sandbox=sandbox,
            targets=targets,
            collectors=collectors,
            workers=workers,
            shop=shop,
            chance=random.Random(seed),
        )


def check(stage: Stage, told: dict[int, dict[Key, int]]) -> tuple[Audit, int, int]:
    """The ledger check; events that were answered 200 and are neither at Meta nor rejected; those doubled."""
    pixels = [target.pixel for target in stage.targets]
    held = {pixel.pk: at_meta(stage.sandbox.client, pixel) for pixel in pixels}
    for keys in held.values():
        # What the connection test of a mended pixel sends.
        for key in [key for key in keys if key[0] == TEST_EVENT_NAME]:
            del keys[key]
    audit = audit_ledger([pixel.pk for pixel in pixels], told=told, at_meta=held)
    rejected = set(Rejection.objects.values_list("pixel_id", "event_name", "event_id"))
    lost = sum(
        status == 200 and key not in held[pixel_id] and (pixel_id, *key) not in rejected
        for pixel_id, answers in told.items()
        for key, status in answers.items()
    )
    doubled = sum(int(finding.text.split()[0]) for finding in audit.findings if finding.rule == "L7")
    return audit, lost, doubled


def main(database: TestDatabase, *, cluster: str) -> int:
    """The process's exit code: 1 where something is lost, doubled, stuck, or wrong in the books."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=None, help="printed by each run")
    parser.add_argument(
        "--only", action="append", choices=list(FAULTS), help="one kind alone; as often as wanted"
    )
    arguments = parser.parse_args()
    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    say(f"seed {seed}, {arguments.minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        with _stage(database, cluster, seed=seed, folder=Path(folder)) as stage:
            soak = Soak(stage, arguments.only or list(FAULTS))
            with stage.shop:
                soak.run(60 * arguments.minutes)
            say("draining")
            soak.drain()
            told = stage.shop.told()
            audit, lost, doubled = check(stage, told)
        return _report(stage, soak.account, audit, lost=lost, doubled=doubled, seed=seed)


def _report(stage: Stage, account: Account, audit: Audit, *, lost: int, doubled: int, seed: int) -> int:
    shop = stage.shop
    for name, count in sorted(account.faults.items()):
        say(f"  {count:4} × {name}")
    answers = ", ".join(f"{count} × {status or 'none'}" for status, count in sorted(shop.answers.items()))
    say(f"events sent {shop.events}, sent again though answered {shop.repeats}; answers {answers}")
    say(
        f"taken in {audit.total('taken')} = accepted {audit.total('accepted')} + rejected"
        f" {audit.total('rejected')} + in doubt {audit.total('in_doubt')} + waiting {audit.total('waiting')}"
        f" + in flight {audit.total('in_flight')}"
    )
    say(
        f"doubts {audit.total('doubts')}, copies that they explain {audit.total('surplus')}, decided by a person"
        f" {account.decided}; left by themselves: {len(account.left)} {sorted(set(account.left))}"
    )
    if account.recoveries:
        seconds, name = max(account.recoveries)
        say(f"slowest recovery {seconds:.1f} s, after: {name}")
    problems = [
        *account.problems,
        *(f"{one.rule} pixel {one.pixel_id}: {one.text}" for one in audit.findings),
        *(["a collector left by itself"] if "collector" in account.left else []),
    ]
    if audit.total("taken") == 0:
        problems.append("no event was taken in")
    for problem in problems:
        say(problem)
    is_well = not problems and not lost and not doubled
    if not is_well:
        say(f"again with: python -m tests.soak --seed {seed}")
    say(
        f"soak: {shop.events} events, {account.faults.total()} faults, lost {lost}, doubled {doubled}:"
        f" {'ok' if is_well else 'not ok'}"
    )
    return 0 if is_well else 1


def say(text: str) -> None:
    """A line for the person at the terminal, with the time."""
    is_last = text.startswith("soak: ")
    sys.stdout.write(f"{text}\n" if is_last else f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()
