"""What Prometheus is shown: the processes' counts over the whole road, and the gauges that stand in the database."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection
from django.utils import timezone

from events import readings
from events.models import Delivery, PixelLog
from onboarding.models import Credential, Pixel
from partnerhub.lib import metrics, metrics_files
from partnerhub.lib.metrics import Family, Reading
from tests.events.delivery.conftest import forget_events, introduce, is_drained
from tests.support.brokers import prepared_broker
from tests.support.collector import CollectorProcess
from tests.support.exporter import ExporterProcess, sample
from tests.support.factories import ConnectedPixel, hold, make_connected_pixel, make_pixel
from tests.support.log import append_count, make_event
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-prometheus"


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def events(transactional_db: None) -> Iterator[None]:
    yield
    forget_events()


@pytest.fixture
def read(as_role: Callable[[str], AbstractContextManager[None]]) -> Iterator[Callable[[], readings.Readings]]:
    """The gauges, read with the worker's rights."""

    def look() -> readings.Readings:
        with as_role("worker"):
            return readings.read()

    yield look
    with connection.cursor() as cursor:
        cursor.execute("RESET statement_timeout")


def by_word(found: readings.Readings, family: Reading) -> dict[str, float]:
    return {words[0]: amount for words, amount in found[family].items() if amount}


# Over the whole road.


def test_from_door_to_graph_every_process_counts(
    events: None, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    target = make_connected_pixel()
    introduce(sandbox, target)
    folder = str(tmp_path)
    with (
        prepared_broker("pgmq") as broker,
        CollectorProcess(broker.environment, METRICS_DIR=folder) as door,
        WorkerProcess(broker.environment, GRAPH_API_BASE_URL=sandbox.base_url, METRICS_DIR=folder),
        ExporterProcess(tmp_path, BROKER_PREFIX=broker.settings.broker_prefix) as exporter,
    ):
        repeated = make_event()
        assert send(door, target, [repeated, make_event(), make_event()]) == 200
        assert send(door, target, [repeated]) == 200
        assert send(door, target, [make_event(event_name=None)]) == 400
        assert send(door, target, [make_event()], token="pht_nobody's") == 401
        wait_until(lambda: is_drained(target.pixel))
        wait_until(
            lambda: exporter.scrape().get(sample("partnerhub_deliveries_total", outcome="accepted")) == 1.0
        )
        # Celery is read with the first hint, and a worker's own look may have been quicker.
        wait_until(lambda: exporter.scrape()[sample("partnerhub_hints_total", outcome="sent")] >= 1)
        shown = exporter.scrape()
        text = requests.get(exporter.url, timeout=20).text

    assert shown[sample("partnerhub_door_events_total", outcome="stored")] == 3
    assert shown[sample("partnerhub_door_events_total", outcome="repeated")] == 1
    assert shown[sample("partnerhub_door_refusals_total", reason="missing_event_name")] == 1
    assert shown[sample("partnerhub_door_refusals_total", reason="invalid_access_token")] == 1
    assert shown[sample("partnerhub_door_seconds_count")] == 2
    assert shown[sample("partnerhub_door_queue_limit_events")] == 50_000
    assert shown[sample("partnerhub_delivered_events_total")] == 3
    assert shown[sample("partnerhub_delivery_events_sum")] == 3
    assert shown[sample("partnerhub_delivery_lag_seconds_count")] == 1
    assert 0 < shown[sample("partnerhub_delivery_lag_seconds_sum")] < 60
    assert shown[sample("partnerhub_graph_answers_total", outcome="accepted")] == 1
    assert shown[sample("partnerhub_graph_seconds_count")] == 1
    assert shown[sample("partnerhub_delivery_claims_total", outcome="claimed")] == 1
    assert shown[sample("partnerhub_worker_threads")] == 8
    assert shown[sample("partnerhub_delivery_sends")] == 0
    assert shown[sample("partnerhub_processes", process="collector")] == 1
    assert shown[sample("partnerhub_processes", process="worker")] == 1
    assert shown[sample("partnerhub_database_up")] == 1
    assert shown[sample("partnerhub_waiting_events", why="ready")] == 0
    assert_labels_are_listed(shown)
    assert target.pixel.meta_id not in text
    assert target.ingest_token not in text


def send(
    door: CollectorProcess, target: ConnectedPixel, data: list[dict[str, object]], *, token: str | None = None
) -> int:
    url = f"{door.base_url}/v26.0/{target.pixel.meta_id}/events"
    body = json.dumps({"access_token": token or target.ingest_token, "data": data})
    return requests.post(url, data=body, headers={"content-type": "application/json"}, timeout=20).status_code


def assert_labels_are_listed(shown: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    families = {family.name: family for family in Family.all}
    for name, labels in shown:
        family = families.get(name) or families[re.sub(r"_(bucket|sum|count|created)$", "", name)]
        for label, value in labels:
            assert label == "le" or value in (*family.labels[label], metrics.OTHER)


def test_the_web_sites_processes_are_added_up(transactional_db: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["-m", "gunicorn", "partnerhub.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    web = subprocess.Popen(
        [
            sys.executable,
            *command,
            "--worker-class",
            "gthread",
            "--no-control-socket",
            "--log-level",
            "critical",
        ],
        cwd=CHECKOUT,
        env={**os.environ, "METRICS_DIR": str(tmp_path), "ALLOWED_HOSTS": "127.0.0.1"},
    )
    try:
        wait_until(lambda: metrics_files.living(tmp_path)["web"] == 2)
        statuses = [
            requests.get(f"http://127.0.0.1:{port}/{path}", timeout=20).status_code
            for path in ["healthz"] * 6 + ["nowhere"]
        ]
        counted = {
            sample.labels["status"]: sample.value
            for family in metrics_files.collect(tmp_path)
            for sample in family.samples
            if sample.name == "partnerhub_web_seconds_count"
        }
    finally:
        web.terminate()
        web.wait(20)

    assert statuses == [200] * 6 + [404]
    assert counted == {"2xx": 6, "4xx": 1}


# Who may look.


def test_with_a_token_nobody_else_is_shown_anything(tmp_path: Path, transactional_db: None) -> None:
    with ExporterProcess(tmp_path, METRICS_TOKEN=TOKEN) as exporter:
        refused = [
            requests.get(exporter.url, headers=headers, timeout=20)
            for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": TOKEN})
        ]
        shown = exporter.scrape(Authorization=f"Bearer {TOKEN}")
        alive = requests.get(exporter.url.replace("/metrics", "/healthz"), timeout=20)
        elsewhere = requests.get(exporter.url + "/x", timeout=20)
        posted = requests.post(exporter.url, timeout=20)

    assert [(answer.status_code, "partnerhub_" in answer.text) for answer in refused] == [(401, False)] * 3
    assert sample("partnerhub_database_up") in shown
    assert (alive.status_code, elsewhere.status_code, posted.status_code) == (200, 404, 405)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"METRICS_DIR": ""}, "METRICS_DIR is not set"),
        ({"METRICS_ADDRESS": "0.0.0.0:0", "METRICS_DIR": "/nowhere"}, "METRICS_TOKEN is not set"),
    ],
)
def test_what_it_cannot_start_with_is_a_sentence(settings: dict[str, str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "events.exporter"],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, words in done.stderr, done.stdout) == (2, True, "")


# What stands in the database.


def test_what_waits_is_told_by_why_it_waits(events: None, read: Callable[[], readings.Readings]) -> None:
    ready, held, backing_off = (make_connected_pixel().pixel for _ in range(3))
    append_count(ready, 3)
    append_count(held, 2)
    append_count(backing_off, 1)
    hold(held)
    soon = timezone.now() + timedelta(minutes=5)
    PixelLog.objects.filter(pk=backing_off.pk).update(due_at=soon)
    PixelLog.objects.filter(pk=ready.pk).update(tail_received_at=timezone.now() - timedelta(minutes=10))

    found = read()

    assert by_word(found, metrics.WAITING_EVENTS) == {"ready": 3, "held": 2, "backing_off": 1}
    assert 600 <= found[metrics.WAITING_SECONDS][("ready",)] < 660
    assert found[metrics.WAITING_SECONDS][("held",)] < 60
    assert found[metrics.AWAKE_PIXELS] == {(): 3}
    assert by_word(found, metrics.HELD_PIXELS) == {"credential": 1}


def test_deliveries_are_told_by_what_they_wait_for(
    events: None, read: Callable[[], readings.Readings]
) -> None:
    pixel = make_connected_pixel().pixel
    now = timezone.now()
    later, over = now + timedelta(minutes=1), now - timedelta(minutes=1)
    lease = {"lease_token": "00000000-0000-0000-0000-000000000001"}
    made: list[dict[str, Any]] = [
        {"state": "waiting", "due_at": later, "first": 0, "last": 9},
        {"state": "waiting", "due_at": over, "first": 10, "last": 10},
        {"state": "sending", "lease_until": later, "first": 11, "last": 12, **lease},
        {"state": "claimed", "lease_until": over, "first": 13, "last": 13, **lease},
        {"state": "doubt", "due_at": later, "first": 14, "last": 17},
        {"state": "doubt", "due_at": None, "first": 18, "last": 22},
        {"state": "accepted", "first": 23, "last": 99},
    ]
    for one in made:
        Delivery.objects.create(
            pixel=pixel,
            advertiser_id=pixel.advertiser_id,
            first_offset=one.pop("first"),
            last_offset=one.pop("last"),
            first_received_at=over,
            last_received_at=now,
            **one,
        )

    found = read()

    assert by_word(found, metrics.WAITING_EVENTS) == {"backing_off": 10, "ready": 1}
    assert found[metrics.IN_FLIGHT] == {(): 2}
    assert found[metrics.EXPIRED_LEASES] == {(): 1}
    assert by_word(found, metrics.DOUBT_EVENTS) == {"again": 4, "kept": 5}


def test_what_is_set_aside_waits_too(events: None, read: Callable[[], readings.Readings]) -> None:
    pixel = make_connected_pixel().pixel
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_backlog (advertiser_id, pixel_id, first_offset, next_offset, last_offset,"
            " next_received_at, last_received_at) VALUES (%s, %s, 0, 5, 11, now() - interval '1 hour', now())",
            [pixel.advertiser_id, pixel.pk],
        )

    found = read()

    assert by_word(found, metrics.WAITING_EVENTS) == {"ready": 7}
    assert found[metrics.WAITING_SECONDS][("ready",)] >= 3600


def test_credentials_are_told_by_state_and_by_when_they_end(
    events: None, read: Callable[[], readings.Readings]
) -> None:
    ends: list[tuple[str, float | None]] = [
        ("unknown", None),
        ("never", None),
        ("dated", -1),
        ("dated", 0.5),
        ("dated", 6),
        ("dated", 20),
        ("dated", 90),
    ]
    for expiry, days in ends:
        pixel = make_connected_pixel().pixel
        at = None if days is None else timezone.now() + timedelta(days=days)
        Credential.objects.filter(pixel=pixel).update(expiry=expiry, expires_at=at, state="working")
    make_pixel()
    Credential.objects.filter(pixel=pixel).update(state="refused")

    found = read()

    assert by_word(found, metrics.CREDENTIALS) == {"working": 6, "refused": 1}
    assert by_word(found, metrics.EXPIRING_CREDENTIALS) == dict.fromkeys(
        ["unknown", "never", "over", "1", "7", "30", "later"], 1.0
    )
    assert by_word(found, metrics.CONNECTION_TESTS) == {"none": 8}


def test_days_ahead_end_at_the_first_gap(
    transactional_db: None, read: Callable[[], readings.Readings]
) -> None:
    day = (timezone.now() + timedelta(days=3)).strftime("%Y%m%d")
    before = read()[metrics.LOG_DAYS_AHEAD][()]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE events_repeat_{day}")
        try:
            after = read()[metrics.LOG_DAYS_AHEAD][()]
        finally:
            cursor.execute("SELECT events_make_partitions((now() AT TIME ZONE 'UTC')::date - 1, 9)")

    assert (before >= 7, after) == (True, 2)


def test_a_gauge_that_cannot_be_read_leaves_the_others(
    transactional_db: None, read: Callable[[], readings.Readings]
) -> None:
    # No queues are prepared: the table is not there.
    found = read()

    assert found[metrics.DATABASE_UP] == {(): 0}
    assert metrics.BROKER_MESSAGES not in found
    assert metrics.WAITING_EVENTS in found
    assert metrics.DATABASE_BYTES in found


def test_every_gauge_that_is_listed_is_read(
    transactional_db: None, read: Callable[[], readings.Readings]
) -> None:
    listed = {family for family in Family.all if isinstance(family, Reading)}

    with prepared_broker("pgmq", prefix=os.environ["BROKER_PREFIX"]):
        found = read()

    # No beat is connected; and the processes are counted where their files are.
    assert listed - found.keys() == {metrics.BEAT_SECONDS, metrics.PROCESSES_ALIVE}
    assert found[metrics.DATABASE_UP] == {(): 1}
    assert Pixel.objects.count() == 0
