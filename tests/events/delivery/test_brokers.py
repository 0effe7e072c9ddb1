"""A real worker over each broker: hints lead to deliveries, and what is no hint leads to nothing."""

from __future__ import annotations

import pickle
import signal
import time
from collections.abc import Iterator

import pytest
from django.db import connection

from events.models import Delivery
from onboarding.models import ConnectionTest
from onboarding.services import DELIVER, request_connection_test
from partnerhub.lib.broker import HINTS, JOBS
from partnerhub.lib.config import config
from tests.events.delivery.conftest import is_drained
from tests.support.brokers import Broker, prepared_broker
from tests.support.environment import ROLES as DATABASE_ROLES
from tests.support.factories import ConnectedPixel
from tests.support.ledger import audit
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until


@pytest.fixture(scope="module")
def running_worker(broker: Broker, sandbox_process: SandboxProcess) -> Iterator[WorkerProcess]:
    """One worker for all tests of a broker."""
    with listening_worker(broker, sandbox_process) as process:
        yield process


@pytest.fixture
def worker(running_worker: WorkerProcess, target: ConnectedPixel) -> Iterator[WorkerProcess]:
    """The worker; it is left when it has nothing to do, so that the tables can be emptied."""
    yield running_worker
    quiet_looks = 0
    while quiet_looks < 5:
        quiet_looks = 0 if is_busy() else quiet_looks + 1
        time.sleep(0.05)


def is_busy() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state <> 'idle'",
            [DATABASE_ROLES.worker],
        )
        return bool(cursor.fetchone()[0])


def listening_worker(broker: Broker, sandbox: SandboxProcess) -> WorkerProcess:
    # No look of its own: what is delivered, messages told of.
    return WorkerProcess(broker.environment, DELIVERY_IDLE_SECONDS="600", GRAPH_API_BASE_URL=sandbox.base_url)


def arrived(sandbox: SandboxProcess, target: ConnectedPixel) -> int:
    return int(sandbox.client.account(target.pixel.meta_id)["unique_ids"])


def test_a_hint_has_the_pixel_delivered_within_a_second(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    ids = append_count(target.pixel, 3)
    begun = time.monotonic()

    broker.send_hint(DELIVER, target.pixel.pk)

    wait_until(lambda: len(sandbox.client.stored(target.pixel.meta_id)) == 3)
    assert time.monotonic() - begun < 1.0
    assert [event.event_id for event in sandbox.client.stored(target.pixel.meta_id)] == ids
    wait_until(lambda: is_drained(target.pixel))


def test_a_long_log_is_delivered_turn_by_turn(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    append_count(target.pixel, 9_500)

    broker.send_hint(DELIVER, target.pixel.pk)

    wait_until(lambda: is_drained(target.pixel))
    assert list(Delivery.objects.values_list("state", flat=True)) == ["accepted"] * 10
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_hundred_hints_do_not_wait_for_each_other(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    append_count(target.pixel, 1)
    strangers = [(DELIVER, (10_000 + number,)) for number in range(100)]
    begun = time.monotonic()

    broker.send_hints(*strangers, (DELIVER, (target.pixel.pk,)))

    wait_until(lambda: len(sandbox.client.stored(target.pixel.meta_id)) == 1)
    assert time.monotonic() - begun < 5.0


def test_doubled_hints_deliver_once(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    append_count(target.pixel, 2_500)

    broker.send_hints(*[(DELIVER, (target.pixel.pk,))] * 50)

    wait_until(lambda: is_drained(target.pixel))
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert (audited.accounts[target.pixel.pk].accepted, audited.accounts[target.pixel.pk].surplus) == (
        2_500,
        0,
    )


def test_what_is_no_hint_is_dropped_with_a_line_that_quotes_nothing(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    canary = "canary-of-the-forger"
    headers = {"lang": "py", "task": DELIVER, "id": "1", "root_id": "1", "retries": 0}
    for ids in ((), (canary,), (-1,), (2**70,), (None,), (target.pixel.pk, canary), (True,)):
        broker.send_hint(DELIVER, *ids)
    broker.send_hint("os.system", canary)
    broker.send_hint("events.unknown", 1)
    broker.publish_raw(HINTS, {"hello": canary})
    broker.publish_raw(HINTS, canary * 50_000)
    broker.publish_raw(HINTS, [[canary * 50_000], {}, {}], headers=headers)
    broker.publish_raw(HINTS, "not json: " + canary, headers=headers, content_type="application/json")
    broker.publish_raw(JOBS, pickle.dumps(canary), content_type="application/x-python-serialize")
    broker.publish_raw(
        JOBS, pickle.dumps([[canary], {}, {}]), headers=headers, content_type="application/x-python-serialize"
    )
    append_count(target.pixel, 1)

    broker.send_hint(DELIVER, target.pixel.pk)

    wait_until(lambda: len(sandbox.client.stored(target.pixel.meta_id)) == 1)
    wait_until(lambda: worker.log.count("message dropped") == 15, what="a line for each")
    assert worker.exit_code is None
    assert canary not in worker.log


def test_a_foreign_or_unknown_id_delivers_nothing_and_says_nothing(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    said_before = len(worker.log)
    broker.send_hint(DELIVER, 2**62)
    append_count(target.pixel, 1)
    broker.send_hint(DELIVER, target.pixel.pk)

    wait_until(lambda: len(sandbox.client.stored(target.pixel.meta_id)) == 1)
    assert worker.log[said_before:] == ""


def test_a_persons_test_is_run(
    worker: WorkerProcess, broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    test = request_connection_test(pixel=target.pixel, requested_by=None)

    broker.send_hint("onboarding.run_connection_test", test.pk)

    wait_until(lambda: ConnectionTest.objects.get(pk=test.pk).is_finished)
    assert ConnectionTest.objects.get(pk=test.pk).state == "passed"


def test_a_worker_that_is_told_to_end_finishes_what_it_sends(
    broker: Broker, target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    sandbox.client.add_knob("latency", latency_ms=1500)
    append_count(target.pixel, 2)

    with (
        prepared_broker(broker.name, prefix=f"{config().broker_prefix}own_") as own,
        listening_worker(own, sandbox) as worker,
    ):
        own.send_hint(DELIVER, target.pixel.pk)
        wait_until(lambda: Delivery.objects.filter(state="sending").exists())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 0

    assert list(Delivery.objects.values_list("state", "doubts")) == [("accepted", 0)]


def test_queues_in_postgres_give_each_role_what_it_needs_and_no_more(broker: Broker) -> None:
    if broker.name != "pgmq":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, grantee, string_agg(privilege_type, ' ' ORDER BY privilege_type)"
            " FROM information_schema.role_table_grants"
            " WHERE table_schema = 'pgmq' AND grantee LIKE 'partnerhub_test_%' AND grantee NOT LIKE '%owner'"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        )
        found = cursor.fetchall()
    prefix = broker.environment["BROKER_PREFIX"]
    throttle = [("notify_insert_throttle", f"partnerhub_test_{role}", "SELECT UPDATE") for role in ROLES]
    tables = [
        (f"q_{prefix}{queue}", f"partnerhub_test_{role}", rights)
        for queue in (HINTS, JOBS)
        for role, rights in (("app", "INSERT"), ("door", "INSERT"), ("worker", "DELETE INSERT SELECT UPDATE"))
    ]
    assert found == throttle + tables


ROLES = ("app", "door", "worker")
