"""Workers that stall, are replaced, lose their database or have no broker, under load: late is allowed, lost and
unexplained repeats are not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from events.models import Attempt, Delivery
from onboarding.models import Pixel
from onboarding.services import DELIVER
from partnerhub.lib.hints import send_hint
from tests.support.collector import CollectorProcess
from tests.support.drain import wait_until_drained
from tests.support.driver import Driver
from tests.support.environment import ROLES, TestDatabase
from tests.support.factories import ConnectedPixel
from tests.support.ledger import audit
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until

SHORT: dict[str, Any] = {
    "DELIVERY_DEADLINE_SECONDS": "3",
    "DELIVERY_LEASE_SECONDS": "4",
    "DELIVERY_IDLE_SECONDS": "0.3",
}
# Nothing answers there.
NO_BROKER: dict[str, Any] = {"BROKER_URL": "amqp://guest:guest@127.0.0.1:9//"}


def pixels_of(targets: Sequence[ConnectedPixel]) -> list[Pixel]:
    return [target.pixel for target in targets]


@pytest.mark.parametrize(("point", "surplus"), [("after_mark", 0), ("after_send", 5)])
def test_awake_again_after_its_lease_a_worker_changes_nothing(
    point: str, surplus: int, targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None
) -> None:
    (target, *_) = targets
    settings = SHORT | {"GRAPH_API_BASE_URL": sandbox.base_url}
    append_count(target.pixel, 5)

    with WorkerProcess(crash_points=f"{point}:stall:8", **settings) as stalled:
        wait_until(lambda: Delivery.objects.filter(state="sending").exists(), what="the mark")
        with WorkerProcess(**settings):
            wait_until_drained([target.pixel])
            # It sends nothing after its lease, and what it had sent it does not settle.
            wait_until(lambda: "late settle dropped" in stalled.log, what="the late settle")

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.doubts) == ("accepted", 1)
    assert list(Attempt.objects.order_by("pk").values_list("outcome", flat=True)) == ["doubt", "accepted"]
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert audited.total("surplus") == surplus


def test_workers_replaced_under_load_put_nothing_in_doubt(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"GRAPH_API_BASE_URL": sandbox.base_url}
    # So that a send is under way whenever a worker is told to end.
    sandbox.client.add_knob("latency", latency_ms=200)

    with CollectorProcess() as collector:
        driver = Driver(collector.base_url, targets, record=tmp_path / "told", batch=10, rest_seconds=0.02)
        worker = WorkerProcess(**settings).start()
        with driver:
            for _ in range(3):
                following = WorkerProcess(**settings).start()
                worker.send_signal(signal.SIGTERM)
                assert worker.wait() == 0
                worker.stop()
                worker = following
        wait_until_drained(pixels_of(targets))
        assert worker.stop() == 0

    audited = audit(sandbox.client, pixels_of(targets), told=driver.told())
    assert audited.findings == []
    assert (audited.total("doubts"), audited.total("surplus")) == (0, 0)
    assert audited.total("accepted") == audited.total("taken") > 0


def test_without_any_broker_everything_is_delivered(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, tmp_path: Path
) -> None:
    settings = SHORT | NO_BROKER | {"GRAPH_API_BASE_URL": sandbox.base_url}

    with (
        CollectorProcess(**NO_BROKER) as collector,
        WorkerProcess(awaits_broker=False, **settings) as worker,
    ):
        with Driver(
            collector.base_url, targets, record=tmp_path / "told", batch=10, rest_seconds=0.02
        ) as driver:
            wait_until(lambda: driver.batches >= 100, what="the load")
        wait_until_drained(pixels_of(targets))
        assert worker.exit_code is None

    assert {status for answers in driver.told().values() for status in answers.values()} == {200}
    audited = audit(sandbox.client, pixels_of(targets), told=driver.told())
    assert audited.findings == []
    assert audited.total("doubts") == 0
    assert audited.total("accepted") == audited.total("taken") >= 1000


def test_workers_whose_database_connections_are_cut_go_on_and_listen_again(
    targets: list[ConnectedPixel],
    sandbox: SandboxProcess,
    broker: None,
    tmp_path: Path,
    database: TestDatabase,
) -> None:
    settings = SHORT | {"GRAPH_API_BASE_URL": sandbox.base_url}

    with CollectorProcess() as collector, WorkerProcess(**settings) as worker:
        driver = Driver(collector.base_url, targets, record=tmp_path / "told", batch=10, rest_seconds=0.02)
        with driver:
            for _ in range(10):
                time.sleep(0.3)
                cut_connections(database, ROLES.worker)
        wait_until_drained(pixels_of(targets))
        assert worker.exit_code is None

    audited = audit(sandbox.client, pixels_of(targets), told=driver.told())
    assert audited.findings == []
    assert audited.total("accepted") == audited.total("taken") > 0


def test_a_worker_cut_from_its_queue_hears_hints_again(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, database: TestDatabase
) -> None:
    (target, *_) = targets
    # No look of its own: what it delivers, it was told.
    with WorkerProcess(GRAPH_API_BASE_URL=sandbox.base_url, DELIVERY_IDLE_SECONDS="100") as worker:
        cut_connections(database, ROLES.worker)
        append_count(target.pixel, 1)
        send_hint(DELIVER, target.pixel.pk)

        wait_until_drained([target.pixel], seconds=20)
        assert worker.exit_code is None


def test_a_worker_that_takes_no_work_though_it_waits_ends_itself_and_the_next_delivers(
    targets: list[ConnectedPixel], sandbox: SandboxProcess
) -> None:
    (target, *_) = targets
    # One look stands still with its claim; no message tells another thread of work.
    settings = SHORT | NO_BROKER | {"GRAPH_API_BASE_URL": sandbox.base_url}
    stuck = settings | {"DELIVERY_STUCK_SECONDS": "3"}

    with WorkerProcess(crash_points="after_claim:stall:8", awaits_broker=False, **stuck) as worker:
        append_count(target.pixel, 1)
        assert worker.wait(30) == 0
        assert "work waits and is not taken" in worker.log
    with WorkerProcess(awaits_broker=False, **settings):
        wait_until_drained([target.pixel])

    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert (audited.total("doubts"), audited.total("surplus")) == (0, 0)


def test_a_worker_that_seldom_looks_is_not_stuck(transactional_db: None) -> None:
    settings = SHORT | NO_BROKER | {"DELIVERY_IDLE_SECONDS": "60", "DELIVERY_STUCK_SECONDS": "1"}

    with WorkerProcess(awaits_broker=False, **settings) as worker:
        time.sleep(4)

        assert worker.exit_code is None


def test_a_worker_whose_broker_is_away_is_not_deaf(
    targets: list[ConnectedPixel], sandbox: SandboxProcess
) -> None:
    (target, *_) = targets
    settings = SHORT | NO_BROKER | {"GRAPH_API_BASE_URL": sandbox.base_url, "DELIVERY_STUCK_SECONDS": "2"}

    with WorkerProcess(awaits_broker=False, **settings) as worker:
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            append_count(target.pixel, 1)
            time.sleep(0.1)

        assert worker.exit_code is None
        wait_until_drained([target.pixel])


def cut_connections(database: TestDatabase, role: str) -> None:
    """End the role's sessions in this run's database, as a failing server would."""
    connection.close()
    with psycopg.connect(database.admin_url(), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
            [database.name, role],
        )
