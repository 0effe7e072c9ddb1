"""`make bench`: PartnerHub beside Meta's own SDK, in one run, interleaved, on one machine.

Everything is started by this command and stopped at its end: PostgreSQL, the stand-in Graph API, a collector, a
worker. The figures are ratios of one run; absolute rates say something of this machine only.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from django.core.management import call_command
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from tests.benchmarks.backlog import claims, delivery, neighbour
from tests.benchmarks.bench_guardian import report
from tests.benchmarks.context import context
from tests.benchmarks.doors import end_to_end, half_load, ingest
from tests.benchmarks.figures import (
    PICTURE,
    RESULT,
    Rounds,
    Values,
    gather,
    picture,
    table,
    write_docs,
    write_result,
)
from tests.benchmarks.fleet import fleet
from tests.benchmarks.piles import take_pattern
from tests.benchmarks.sides import Sides, Unmeasured
from tests.benchmarks.storage import storage
from tests.support.brokers import prepared_broker
from tests.support.collector import CollectorProcess
from tests.support.environment import TestDatabase
from tests.support.factories import make_connected_pixel
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess

# In this order, in each round. The claims come before their pile's neighbour: it drains some of it.
GROUPS: Final[dict[str, Callable[[Sides], Rounds]]] = {
    "context": context,
    "end-to-end": end_to_end,
    "ingest": ingest,
    "delivery": delivery,
    "claims": claims,
    "fleet": fleet,
    "half-load": half_load,
    "neighbour": neighbour,
    "storage": storage,
}


def machine(database: TestDatabase) -> str:
    """What it was measured on."""
    with database.server.admin() as admin:
        row = admin.execute("SHOW server_version").fetchone()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{dt.date.today().isoformat()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"  # noqa: DTZ011 - the day here
        f" {platform.release()} {platform.machine()}, Python {platform.python_version()},"
        f" PostgreSQL {row[0] if row else '?'}, load before the run {os.getloadavg()[0]:.1f}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the piles and the fleet; 1 is what is meant"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="rewrite docs/performance.md's table and picture"
    )
    parser.add_argument("--guardian", type=int, metavar="N", help="only the look at so many tokens")
    arguments = parser.parse_args()
    arguments.only = [name.strip() for name in arguments.only.split(",") if name.strip()] or list(GROUPS)
    if unknown := set(arguments.only) - GROUPS.keys():
        parser.error(f"There is no {', '.join(sorted(unknown))}; choose from {', '.join(GROUPS)}.")
    return arguments


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def _running(database: TestDatabase, rounds: int, scale: float) -> Iterator[Sides]:
    target = make_connected_pixel()
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess())
        os.environ["GRAPH_API_BASE_URL"] = sandbox.base_url
        FacebookSession.GRAPH = sandbox.base_url
        FacebookAdsApi.init(access_token=target.access_token, crash_log=False)
        stack.enter_context(prepared_broker("pgmq"))
        # It does not look by itself, so that what a group holds back for the next round stays there.
        worker = stack.enter_context(WorkerProcess(DELIVERY_IDLE_SECONDS="600"))
        collector = stack.enter_context(CollectorProcess(LOG_LEVEL="WARNING"))
        sides = Sides(database, sandbox, collector, worker, target, rounds, scale, _say)
        sides.admit(target)
        yield sides


def measure(sides: Sides, groups: list[str]) -> tuple[list[Values], list[str]]:
    """All rounds of the groups, in turn; and which groups could not be measured, the others being worth a table."""
    found: list[Values] = []
    failed: list[str] = []
    with ExitStack() as stack:
        running = {name: stack.enter_context(closing(GROUPS[name](sides))) for name in groups}  # type: ignore[type-var]
        for number in range(1, sides.rounds + 1):
            for name in list(running):
                begun = time.perf_counter()
                try:
                    found.append(next(running[name]))
                except Unmeasured as fault:
                    _say(f"{name}: {fault}")
                    failed.append(name)
                    del running[name]
                _say(f"round {number} of {sides.rounds}: {name}, {time.perf_counter() - begun:.0f} s")
    return found, failed


def main(database: TestDatabase) -> int:
    """Measure, print, keep. The database is empty yet. The process's exit code: 1 where a floor is not reached."""
    arguments = _arguments()
    where = machine(database)
    _say(where)
    call_command("migrate", verbosity=0)
    if arguments.guardian:
        report(database, arguments.guardian, _say)
        return 0
    begun = time.perf_counter()
    take_pattern()
    with _running(database, arguments.rounds, arguments.scale) as sides:
        found, failed = measure(sides, [name for name in GROUPS if name in arguments.only])
    # Those of the table first, then what explains them.
    measured = sorted(gather(found), key=lambda one: one.figure.aim is None)
    _say(table(measured))
    write_result(measured)
    missed = [*(one.figure.name for one in measured if one.is_missed), *failed]
    scaled = "" if arguments.scale == 1 else f", piles and fleet × {arguments.scale:g}"
    how = f"{where}; {arguments.rounds} rounds{scaled}, {time.perf_counter() - begun:.0f} s."
    _say(
        f"{how} In {RESULT.name}. "
        + (f"Floor not reached: {'; '.join(missed)}." if missed else "All floors reached.")
    )
    if arguments.write_docs:
        write_docs(f"{how}\n\n{table(measured)}")
        PICTURE.write_text(picture(measured, how))
    return 1 if missed else 0
