"""What is done to the processes: each fault with its end, so that what it was can be told from what came of it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from django.db import DatabaseError, InterfaceError, connection
from psycopg import sql

from onboarding.models import Pixel
from onboarding.services.proofs import TestTooSoon, TestUnderWay, request_connection_test
from partnerhub.dev import postgres
from partnerhub.lib.broker import QUEUES, queue_name
from partnerhub.lib.config import config
from tests.soak.shop import Shop
from tests.support.collector import CollectorProcess
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess

Process = WorkerProcess | CollectorProcess

START_SECONDS: Final = 60
MEND_SECONDS: Final = 45


class Seat:
    """The place of a process, which a supervisor fills again when the process has gone."""

    def __init__(self, make: Callable[[], Process]) -> None:
        self._make = make
        self.process = make()

    @property
    def has_gone(self) -> bool:
        """Whether the process ended, by whatever."""
        assert self.process._process is not None
        return self.process._process.poll() is not None

    def kill(self) -> None:
        """End it without a word."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def replace(self) -> None:
        """Start another in its place."""
        self.process.stop()
        self.process = self._make()
        self.process.start()

    def close(self) -> None:
        """End it in good order, also one that was stopped."""
        if not self.has_gone:
            self.process.send_signal(signal.SIGCONT)
        self.process.stop()


@dataclass(slots=True)
class Stage:
    """All that faults are thrown at."""

    database: TestDatabase
    # The name of the server that is this run's own.
    cluster: str
    sandbox: SandboxProcess
    targets: Sequence[ConnectedPixel]
    collectors: list[Seat]
    workers: list[Seat]
    shop: Shop
    chance: random.Random


Fault = Callable[[Stage], AbstractContextManager[None]]


def _killed(seats: Callable[[Stage], list[Seat]]) -> Fault:
    @contextmanager
    def fault(stage: Stage) -> Iterator[None]:
        seat = stage.chance.choice(seats(stage))
        seat.kill()
        try:
            yield
        finally:
            seat.replace()

    return fault


@contextmanager
def _killed_sending(stage: Stage) -> Iterator[None]:
    """Sends take a moment, so that one is under way when the worker dies: it may have been stored."""
    with _knob("latency", latency_ms=500)(stage):
        time.sleep(1)
        with _killed(_workers)(stage):
            yield


def _stopped(seats: Callable[[Stage], list[Seat]]) -> Fault:
    @contextmanager
    def fault(stage: Stage) -> Iterator[None]:
        process = stage.chance.choice(seats(stage)).process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    return fault


def _knob(kind: str, *, one_pixel: bool = False, **options: Any) -> Fault:
    @contextmanager
    def fault(stage: Stage) -> Iterator[None]:
        target = {"pixel_id": stage.chance.choice(stage.targets).pixel.meta_id} if one_pixel else {}
        knob = stage.sandbox.client.add_knob(kind, **target, **options)
        try:
            yield
        finally:
            stage.sandbox.client.remove_knob(knob)

    return fault


@contextmanager
def _event_refused(stage: Stage) -> Iterator[None]:
    guilty = [stage.shop.upcoming_id(stage.chance.randint(20, 60)) for _ in range(3)]
    knob = stage.sandbox.client.add_knob("error", code=100, subcode=2804010, event_ids=guilty)
    try:
        yield
    finally:
        stage.sandbox.client.remove_knob(knob)


@contextmanager
def _token_refused(stage: Stage) -> Iterator[None]:
    """190 for one pixel, until somebody mends it and tests the connection."""
    target = stage.chance.choice(stage.targets)
    stage.sandbox.client.set_token_state(target.access_token, "expired")
    try:
        yield
    finally:
        stage.sandbox.client.set_token_state(target.access_token, "live")
        _mend(target.pixel.pk)


def _mend(pixel_id: int) -> None:
    deadline = time.monotonic() + MEND_SECONDS
    while time.monotonic() < deadline:
        try:
            pixel = Pixel.objects.get(pk=pixel_id)
            if not pixel.held_at:
                return
            with suppress(TestUnderWay, TestTooSoon):
                request_connection_test(pixel=pixel, requested_by=None)
        except (DatabaseError, InterfaceError):
            connection.close()
        time.sleep(0.5)


@contextmanager
def _clock_ahead(stage: Stage) -> Iterator[None]:
    stage.sandbox.client.move_clock(stage.chance.choice([-3600, 3600]))
    try:
        yield
    finally:
        stage.sandbox.client.move_clock(0)


@contextmanager
def _connections_cut(stage: Stage) -> Iterator[None]:
    _admin(
        stage,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid()",
        sql.Literal(stage.database.name),
    )
    connection.close()
    yield


@contextmanager
def _messages_lost(stage: Stage) -> Iterator[None]:
    for queue in QUEUES:
        _admin(stage, "DELETE FROM {}", sql.Identifier("pgmq", f"q_{queue_name(config(), queue)}"))
    yield


@contextmanager
def _database_killed(stage: Stage) -> Iterator[None]:
    """A crash: PostgreSQL recovers from its log, and its keeper starts it again."""
    folder = postgres.STATE.absolute() / stage.cluster
    pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    connection.close()
    try:
        yield
    finally:
        _wait_for_database(stage)


@contextmanager
def _database_restarted(stage: Stage) -> Iterator[None]:
    postgres.stop(name=stage.cluster)
    connection.close()
    try:
        yield
    finally:
        # Held until this run ends.
        postgres.ensure_running(name=stage.cluster)
        _wait_for_database(stage)


def _admin(stage: Stage, statement: str, *parts: sql.Composable) -> None:
    with psycopg.connect(stage.database.admin_url(), autocommit=True) as admin:
        admin.execute(sql.SQL(statement).format(*parts))


def _wait_for_database(stage: Stage) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            _admin(stage, "SELECT 1")
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _workers(stage: Stage) -> list[Seat]:
    return stage.workers


def _collectors(stage: Stage) -> list[Seat]:
    return stage.collectors


# What, and for how many seconds at the least and at the most. A lease is four seconds long, and a send takes three.
FAULTS: Final[dict[str, tuple[Fault, float, float]]] = {
    "worker killed": (_killed(_workers), 0.0, 1.0),
    "worker killed while it sends": (_killed_sending, 0.0, 1.0),
    "collector killed": (_killed(_collectors), 0.0, 1.0),
    "worker stopped and awake again": (_stopped(_workers), 1.0, 9.0),
    "collector stopped and awake again": (_stopped(_collectors), 0.5, 4.0),
    "Graph: 500 with a page": (_knob("html", status=500, probability=0.5), 0.5, 3.0),
    "Graph: 200 with a page": (_knob("html", status=200, probability=0.5), 0.5, 3.0),
    "Graph: Service Unavailable": (_knob("text", probability=0.5), 0.5, 3.0),
    "Graph: cut": (_knob("cut", probability=0.5), 0.5, 3.0),
    "Graph: cut after it stored": (_knob("cut", store=True, probability=0.5), 0.5, 3.0),
    "Graph: no answer": (_knob("timeout", probability=0.5), 0.5, 3.0),
    "Graph: no answer after it stored": (_knob("timeout", store=True, probability=0.5), 0.5, 3.0),
    "Graph: slow": (_knob("latency", latency_ms=800), 1.0, 6.0),
    "Graph: an error of its own": (_knob("error", code=2, status=500), 0.5, 3.0),
    "Graph: a limit of the app": (_knob("error", code=4, status=429, retry_after_s=2), 0.5, 2.0),
    "Graph: a limit of a pixel": (
        _knob("error", one_pixel=True, code=80004, status=429, retry_after_s=2),
        1.0,
        4.0,
    ),
    "Graph: events refused": (_event_refused, 3.0, 6.0),
    "Graph: 190, then mended": (_token_refused, 1.0, 4.0),
    "Graph: another clock": (_clock_ahead, 1.0, 4.0),
    "database connections cut": (_connections_cut, 0.0, 0.0),
    "database killed": (_database_killed, 0.0, 0.5),
    "database restarted": (_database_restarted, 0.0, 2.0),
    "messages lost": (_messages_lost, 0.0, 0.0),
}


def log_of(process: Process) -> str:
    """The end of what it wrote."""
    assert process._log is not None
    return Path(process._log.name).read_text()[-2_000:]
