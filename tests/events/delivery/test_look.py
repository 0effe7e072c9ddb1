"""Without messages: each worker's own look, the beat's sweep, lines that break, and the watch over progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from django.db import connection

from events.delivery.progress import Progress
from events.models import Delivery
from onboarding.services import DELIVER
from tests.events.delivery.conftest import is_drained
from tests.support.beat import BeatProcess
from tests.support.brokers import GIVEN, Broker, prepared_broker
from tests.support.environment import ROLES
from tests.support.factories import ConnectedPixel
from tests.support.ledger import audit
from tests.support.log import append_count
from tests.support.proxy import Proxy
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until

NOBODY_LISTENS = "amqp://guest:guest@127.0.0.1:9//"


@pytest.fixture
def own_broker(broker: Broker, transactional_db: None) -> Iterator[Broker]:
    """Queues that no other test's worker takes from."""
    with prepared_broker(broker.name, prefix=f"{broker.settings.broker_prefix}look_") as own:
        yield own


def test_without_any_broker_a_worker_delivers_all_the_same(
    target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    append_count(target.pixel, 6_000)

    with WorkerProcess(
        awaits_broker=False,
        BROKER_URL=NOBODY_LISTENS,
        DELIVERY_IDLE_SECONDS="0.2",
        GRAPH_API_BASE_URL=sandbox.base_url,
    ) as worker:
        wait_until(lambda: is_drained(target.pixel))
        append_count(target.pixel, 1)
        wait_until(lambda: is_drained(target.pixel) and Delivery.objects.count() == 7)
        assert worker.exit_code is None

    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_pixel_whose_hint_was_lost_is_delivered_after_a_sweep(
    target: ConnectedPixel, sandbox: SandboxProcess, own_broker: Broker
) -> None:
    settings = {**own_broker.environment, "DELIVERY_SWEEP_SECONDS": "1", "DELIVERY_IDLE_SECONDS": "600"}
    with WorkerProcess(settings, GRAPH_API_BASE_URL=sandbox.base_url), BeatProcess(settings):
        append_count(target.pixel, 2)

        wait_until(lambda: is_drained(target.pixel))

    assert audit(sandbox.client, [target.pixel]).findings == []


def test_after_its_lines_to_the_broker_were_cut_a_worker_hears_again(
    target: ConnectedPixel, sandbox: SandboxProcess, own_broker: Broker
) -> None:
    with breakable(own_broker) as (environment, cut):
        environment |= {"GRAPH_API_BASE_URL": sandbox.base_url, "DELIVERY_IDLE_SECONDS": "600"}
        with WorkerProcess(environment) as worker:
            own_broker.send_hint(DELIVER, target.pixel.pk)
            cut()
            append_count(target.pixel, 1)
            begun = time.monotonic()

            def is_heard() -> bool:
                # Again and again: a hint that is on its way when a line breaks may be lost.
                own_broker.send_hint(DELIVER, target.pixel.pk)
                return is_drained(target.pixel)

            wait_until(is_heard, seconds=30)
            assert time.monotonic() - begun < 20
            assert worker.exit_code is None


@contextmanager
def breakable(broker: Broker) -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """The environment for a worker whose lines to the broker break when the second is called."""
    if broker.name not in GIVEN:
        yield dict(broker.environment), end_backends
        return
    url = urlsplit(broker.environment["BROKER_URL"])
    assert url.hostname is not None
    assert url.port is not None
    with Proxy((url.hostname, url.port)) as proxy:
        account, at, _ = url.netloc.rpartition("@")
        through = url._replace(netloc=f"{account}{at}127.0.0.1:{proxy.port}").geturl()

        def cut() -> None:
            proxy.refuses = True
            proxy.cut()
            time.sleep(1.0)
            proxy.refuses = False

        yield {**broker.environment, "BROKER_URL": through}, cut


def end_backends() -> None:
    """End the worker's sessions with the queues in PostgreSQL, the listening one too."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE usename = %s AND application_name = 'partnerhub queue'",
            [ROLES.worker],
        )
        assert cursor.fetchone()[0] >= 2


def test_a_worker_that_finds_work_and_hears_no_message_ends_itself(
    target: ConnectedPixel, sandbox: SandboxProcess, own_broker: Broker
) -> None:
    """It is connected, and its hints go elsewhere: as deaf as one whose subscription was forgotten."""
    with WorkerProcess(
        own_broker.environment,
        GRAPH_API_BASE_URL=sandbox.base_url,
        DELIVERY_IDLE_SECONDS="0.1",
        DELIVERY_STUCK_SECONDS="1.5",
    ) as worker:
        deadline = time.monotonic() + 20
        while worker.exit_code is None and time.monotonic() < deadline:
            append_count(target.pixel, 1)
            time.sleep(0.05)

        assert worker.exit_code == 0
        assert "no message comes from the broker" in worker.log
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_worker_with_nothing_to_do_stays(
    target: ConnectedPixel, sandbox: SandboxProcess, own_broker: Broker
) -> None:
    with WorkerProcess(
        own_broker.environment,
        GRAPH_API_BASE_URL=sandbox.base_url,
        DELIVERY_IDLE_SECONDS="0.1",
        DELIVERY_STUCK_SECONDS="0.5",
    ) as worker:
        time.sleep(2.5)

        assert worker.exit_code is None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_process_is_stuck_when_it_neither_works_nor_looks() -> None:
    clock = Clock()
    progress = Progress(clock=clock)

    clock.now += 5
    assert (progress.stuck_seconds(), progress.idle_seconds()) == (5, 5)
    progress.looked(has_worked=False)
    assert (progress.stuck_seconds(), progress.idle_seconds()) == (0, 5)
    clock.now += 2
    progress.took_work()
    clock.now += 1
    assert (progress.stuck_seconds(), progress.idle_seconds()) == (1, 1)


def test_a_process_is_deaf_while_looks_alone_find_work() -> None:
    clock = Clock()
    progress = Progress(clock=clock)

    progress.looked(has_worked=True)
    clock.now += 3
    progress.looked(has_worked=True)
    assert progress.deaf_seconds() == 3
    progress.heard()
    assert progress.deaf_seconds() == 0
    progress.looked(has_worked=True)
    clock.now += 2
    assert progress.deaf_seconds() == 2
    progress.looked(has_worked=False)
    clock.now += 2
    assert progress.deaf_seconds() == 0
