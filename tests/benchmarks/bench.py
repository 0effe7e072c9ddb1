"""`make bench`: PartnerHub beside Meta's own SDK, in one run, interleaved, on one machine.

Everything is started by this command and stopped at its end: PostgreSQL, the stand-in Graph API, a collector, a
worker. The figures are ratios of one run; absolute rates say something of this machine only.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from django.core.management import call_command
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from events.payload import PixelRules, prepare_events
from partnerhub.dev.shop import traffic
from tests.benchmarks.bench_door import event, made_requests, refused_cpu_ms
from tests.benchmarks.bench_guardian import measure_guardian, report
from tests.support.brokers import prepared_broker
from tests.support.collector import CollectorProcess
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.load import post, run_load
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs" / "performance.md"
RESULT = CHECKOUT / ".partnerhub" / "bench.json"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

THOUSANDS = 40
SINGLES = 4_000
SDK_THOUSANDS = 6
SDK_SINGLES = 400
PACED = 1_000
PACED_PER_SECOND = 200
DRAIN_SECONDS = 60
RULES = PixelRules("website", "IT")


@dataclass(slots=True)
class Figure:
    """One measured thing, a value a round."""

    name: str
    unit: str
    better: str = "higher"
    floor: float | None = None
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    def row(self) -> tuple[str, str, str, str]:
        """Name, median with its unit, spread, floor."""
        spread = f"{_short(min(self.values))} … {_short(max(self.values))}"
        return (
            self.name,
            f"{_short(self.median)} {self.unit}",
            spread,
            "" if self.floor is None else f"{self.floor:g}",
        )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


class Bench:
    """The running platform and the figures."""

    def __init__(self, sandbox: SandboxProcess, collector: CollectorProcess, target: ConnectedPixel) -> None:
        self.sandbox = sandbox
        self.collector = collector
        self.target = target
        self.meta_id = target.pixel.meta_id
        self.figures: dict[str, Figure] = {}
        self._numbers = itertools.count(0, 10_000_000)

    def note(
        self, name: str, value: float, unit: str, *, better: str = "higher", floor: float | None = None
    ) -> float:
        """Keep one round's value of a figure."""
        figure = self.figures.setdefault(name, Figure(name, unit, better, floor))
        figure.values.append(value)
        return value

    def through_partnerhub(self, size: int, count: int, connections: int) -> tuple[float, float]:
        """Events a second until the door had answered for all, and until all were at Graph."""
        path = f"/v26.0/{self.meta_id}/events"
        bodies = made_requests(path, self.target.ingest_token, size, next(self._numbers), count)
        before = self._stored()
        begun = time.perf_counter()
        load = uvloop.run(
            run_load(self.collector.port, bodies, connections=connections, seconds=DRAIN_SECONDS)
        )
        answered = time.perf_counter() - begun
        if load.statuses[200] != count:
            raise SystemExit(f"The door did not take every request: {dict(load.statuses)}")
        while self._stored() - before < size * count:
            if time.perf_counter() - begun > DRAIN_SECONDS:
                raise SystemExit("Not everything arrived at Graph in time.")
            time.sleep(0.005)
        return size * count / answered, size * count / (time.perf_counter() - begun)

    def with_the_sdk(self, size: int, count: int) -> float:
        """Events a second that the SDK sends straight to Graph; its event objects are made beforehand."""
        run = f"sdk{next(self._numbers)}"
        made = [made.sdk() for made in traffic(size * count, run=run, now=int(time.time()), days=1)]
        batches: list[list[Event]] = [made[start : start + size] for start in range(0, len(made), size)]
        begun = time.perf_counter()
        for batch in batches:
            EventRequest(pixel_id=self.meta_id, events=batch).execute()
        return size * count / (time.perf_counter() - begun)

    def sandbox_alone(self) -> float:
        """Events a second that the stand-in takes from a bare client, its checks on."""
        path = f"/v26.0/{self.meta_id}/events"
        bodies = _prepared_requests(path, self.target.access_token, next(self._numbers), THOUSANDS)
        begun = time.perf_counter()
        load = uvloop.run(run_load(self.sandbox.port, bodies, connections=2, seconds=DRAIN_SECONDS))
        if load.statuses[200] != THOUSANDS:
            raise SystemExit(f"The stand-in did not take every request: {dict(load.statuses)}")
        return 1000 * THOUSANDS / (time.perf_counter() - begun)

    def latencies(self) -> list[float]:
        """Milliseconds from sending a single event to the door until it is at Graph, at a steady rate."""
        first = next(self._numbers)
        path = f"/v26.0/{self.meta_id}/events"
        sent: dict[str, float] = {}

        def paced() -> Iterator[bytes]:
            begun = time.time()
            for number, request in enumerate(made_requests(path, self.target.ingest_token, 1, first, PACED)):
                due = begun + number / PACED_PER_SECOND
                # From the intended start: a slow answer must not hide the wait of those behind it.
                sent[f"bench-{first + number}"] = due
                time.sleep(max(0.0, due - time.time()))
                yield request

        since = time.time()
        uvloop.run(run_load(self.collector.port, paced(), connections=4, seconds=DRAIN_SECONDS))
        deadline = time.time() + DRAIN_SECONDS
        while time.time() < deadline:
            arrived = {
                stored.event_id: stored.first_arrival
                for stored in self.sandbox.client.stored(self.meta_id, since=since - 1)
            }
            if sent.keys() <= arrived.keys():
                return sorted(1000 * (arrived[event_id] - at) for event_id, at in sent.items())
            time.sleep(0.1)
        raise SystemExit("Not every paced event arrived at Graph.")

    def _stored(self) -> int:
        return int(self.sandbox.client.account(self.meta_id)["events"])


def _prepared_requests(path: str, token: str, first: int, count: int) -> Iterator[bytes]:
    """Requests of 1,000 events as PartnerHub sends them: hashed beforehand."""
    made = []
    for place in range(count):
        raw: list[object] = [event(first + 1000 * place + one) for one in range(1000)]
        prepared = prepare_events(raw, rules=RULES, now=time.time(), make_id=lambda: "")
        data = b",".join(one.fragment for one in prepared)
        made.append(post(path, b'{"access_token":"%b","data":[%b]}' % (token.encode(), data)))
    return iter(made)


def _prepare(raw: list[object]) -> None:
    prepare_events(raw, rules=RULES, now=time.time(), make_id=lambda: "")


def _microseconds(work: Callable[[], object], times: int) -> float:
    begun = time.process_time()
    work()
    return 1e6 * (time.process_time() - begun) / times


def measure(bench: Bench, rounds: int, say: Callable[[str], None]) -> None:
    """All figures, `rounds` times, the sides in turn."""
    FacebookSession.GRAPH = bench.sandbox.base_url
    FacebookAdsApi.init(access_token=bench.target.access_token, crash_log=False)
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        note = bench.note
        ingest, through = bench.through_partnerhub(1000, THOUSANDS, 8)
        sdk = bench.with_the_sdk(1000, SDK_THOUSANDS)
        note("door, 1,000 events a request", ingest, "events/s")
        note("end to end, 1,000 events a request", through, "events/s")
        note("SDK to Graph, 1,000 events a request", sdk, "events/s")
        note("end to end ÷ SDK, 1,000 events a request", through / sdk, "×")
        note(
            "stand-in ÷ PartnerHub (must not be the bottleneck)",
            bench.sandbox_alone() / through,
            "×",
            floor=3,
        )
        ingest_one, through_one = bench.through_partnerhub(1, SINGLES, 64)
        sdk_one = bench.with_the_sdk(1, SDK_SINGLES)
        note("door, 1 event a request", ingest_one, "events/s")
        note("end to end, 1 event a request", through_one, "events/s")
        note("SDK to Graph, 1 event a request", sdk_one, "events/s")
        note("end to end ÷ SDK, 1 event a request", through_one / sdk_one, "×")
        waits = bench.latencies()
        note(
            f"door to Graph at {PACED_PER_SECOND} events/s, median",
            statistics.median(waits),
            "ms",
            better="lower",
        )
        note(
            f"door to Graph at {PACED_PER_SECOND} events/s, p99",
            waits[int(0.99 * len(waits))],
            "ms",
            better="lower",
        )
        raw: list[object] = [event(one) for one in range(2000)]
        prepare = _microseconds(functools.partial(_prepare, raw), 2000)
        note("check, normalise and hash one event", prepare, "µs of CPU", better="lower")
    path = f"/v26.0/{bench.meta_id}/events"
    for name, spent in refused_cpu_ms(bench.collector, path, bench.target.ingest_token):
        bench.note(f"refused: {name}", spent, "ms of CPU", better="lower", floor=50)


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


def table(figures: list[Figure]) -> str:
    """The figures as Markdown."""
    lines = ["| figure | median | spread | limit |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(figure.row()) + " |" for figure in figures]
    return "\n".join(lines)


def write_docs(text: str) -> None:
    """Put the figures between the marks of docs/performance.md."""
    head, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCS.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main(database: TestDatabase) -> None:
    """Measure, print, keep. The database is empty yet."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write-docs", action="store_true", help="rewrite the table in docs/performance.md")
    parser.add_argument("--guardian", type=int, metavar="N", help="only the look at so many tokens")
    arguments = parser.parse_args()
    where = machine(database)

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    say(where)
    call_command("migrate", verbosity=0)
    if arguments.guardian:
        report(database, arguments.guardian, say)
        return
    target = make_connected_pixel()
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess())
        sandbox.client.put_pixel(target.pixel.meta_id)
        sandbox.client.put_token(target.access_token, pixels=[target.pixel.meta_id])
        os.environ["GRAPH_API_BASE_URL"] = sandbox.base_url
        stack.enter_context(prepared_broker("pgmq"))
        stack.enter_context(WorkerProcess())
        collector = stack.enter_context(CollectorProcess(LOG_LEVEL="WARNING"))
        bench = Bench(sandbox, collector, target)
        # A first pass fills caches and pools, and is not counted.
        bench.through_partnerhub(1000, 4, 4)
        measure(bench, arguments.rounds, say)
        for name, value, unit in measure_guardian(sandbox, database):
            bench.note(name, value, unit, better="higher" if unit.endswith("/s") else "lower")
    figures = list(bench.figures.values())
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps(
            [
                {
                    "figure": one.name,
                    "value": round(one.median, 3),
                    "floor": one.floor,
                    "aim": None,
                    "better": one.better,
                }
                for one in figures
            ],
            indent=2,
        )
        + "\n"
    )
    say(table(figures))
    if arguments.write_docs:
        write_docs(f"{where}; {arguments.rounds} rounds.\n\n{table(figures)}")
