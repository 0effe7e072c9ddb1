"""The collector dies, is stopped, or finds no database, under load: nothing that it said 200 to is lost or
doubled.

The driver writes what it was told to a file of its own, flushed to the disk before it asks for more.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest
import requests

from events.models import Event, HourlyCount, PixelLog
from tests.events.collector.conftest import Client, make_event
from tests.support.collector import CollectorProcess
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel
from tests.support.load import post
from tests.support.proxy import database_proxy, proxied_url

BROKEN = 0
THREADS = 8


class Driver:
    """Clients that post an event after another until the door refuses connections or `stop` is called."""

    def __init__(
        self, base_url: str, target: ConnectedPixel, told: Path, *, name: str, threads: int = THREADS
    ) -> None:
        self._base_url, self._target = base_url, target
        self._told = told.open("a")
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(f"{name}-{number}",)) for number in range(threads)
        ]

    def _run(self, name: str) -> None:
        client = Client(self._base_url, self._target)
        number = 0
        while not self._stopping.is_set():
            event_id = f"{name}-{number}"
            number += 1
            try:
                status = client.send(make_event(event_id)).status_code
            except requests.ConnectionError as error:
                if "Connection refused" in str(error):
                    return
                status = BROKEN
            self._tell(event_id, status)

    def _tell(self, event_id: str, status: int) -> None:
        with self._lock:
            self._told.write(json.dumps([event_id, status]) + "\n")
            self._told.flush()
            os.fsync(self._told.fileno())

    def stop(self) -> None:
        """Let each client hear its last answer."""
        self._stopping.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(30)
        self._told.close()


def told_in(path: Path) -> dict[str, int]:
    """The status that each event's client was told."""
    return dict(json.loads(line) for line in path.read_text().splitlines())


def assert_the_log_agrees(target: ConnectedPixel, told: dict[str, int]) -> None:
    """L1, L2 and L5 of the ledger: dense offsets, every 200 once, nothing twice, counters that agree."""
    rows = list(
        Event.objects.filter(pixel_id=target.pixel.pk)
        .order_by("log_offset")
        .values_list("log_offset", "event_id")
    )
    copies = Counter(event_id for _, event_id in rows)
    assert [offset for offset, _ in rows] == list(range(len(rows)))
    assert PixelLog.objects.get(pixel=target.pixel).head == len(rows)
    assert {event_id: count for event_id, count in copies.items() if count > 1} == {}
    assert [event_id for event_id, status in told.items() if status == 200 and not copies[event_id]] == []
    assert [event_id for event_id, status in told.items() if 400 <= status < 500 and copies[event_id]] == []
    assert set(copies) <= set(told)
    taken = HourlyCount.objects.filter(pixel=target.pixel).values_list("taken", flat=True)
    assert sum(taken) == len(rows)


@pytest.mark.parametrize("point", ["before_copy", "mid_copy", "before_commit", "after_commit"])
def test_killed_at_a_crash_point_under_load_it_loses_and_doubles_nothing(
    point: str, target: ConnectedPixel, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    for life, nth in enumerate((3, 8, 21)):
        with (
            CollectorProcess(crash_points=f"{point}:kill:{nth}") as door,
            Driver(door.base_url, target, told, name=f"life{life}"),
        ):
            assert door.wait(20) == -signal.SIGKILL

    answers = told_in(told)
    assert set(answers.values()) == {200, BROKEN}
    assert_the_log_agrees(target, answers)
    broken = {event_id for event_id, status in answers.items() if status == BROKEN}
    stored = set(
        Event.objects.filter(pixel_id=target.pixel.pk, event_id__in=broken).values_list("event_id", flat=True)
    )
    if point == "after_commit":
        assert stored, "it was not killed between its commit and the answer"


def test_a_client_that_lost_its_answer_sends_again_and_is_stored_once(target: ConnectedPixel) -> None:
    event = make_event()
    with CollectorProcess(crash_points="after_commit:kill") as door, pytest.raises(requests.ConnectionError):
        Client(door.base_url, target).send(event)

    with CollectorProcess() as door:
        response = Client(door.base_url, target).send(event)

    assert (response.status_code, response.json()["events_received"]) == (200, 1)
    assert Event.objects.filter(pixel_id=target.pixel.pk).count() == 1


def test_stopped_under_load_it_answers_what_it_took_and_goes(target: ConnectedPixel, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with CollectorProcess() as door, Driver(door.base_url, target, told, name="stopped"):
        time.sleep(0.5)
        door.send_signal(signal.SIGTERM)
        stopped_at = time.monotonic()
        assert door.wait() == 0
    assert time.monotonic() - stopped_at < 10

    answers = told_in(told)
    assert set(answers.values()) <= {200, BROKEN}
    assert_the_log_agrees(target, answers)
    # Broken are at most the requests that met a closing connection before it read them.
    broken = [event_id for event_id, status in answers.items() if status == BROKEN]
    assert not Event.objects.filter(pixel_id=target.pixel.pk, event_id__in=broken).exists()


def test_two_collectors_under_load_share_a_log_while_one_is_replaced(
    target: ConnectedPixel, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    with (
        CollectorProcess() as stays,
        CollectorProcess() as goes,
        Driver(stays.base_url, target, told, name="stays", threads=4),
        Driver(goes.base_url, target, told, name="goes", threads=4),
    ):
        time.sleep(0.5)
        goes.send_signal(signal.SIGTERM)
        assert goes.wait() == 0
        with CollectorProcess(port=goes.port) as came, Driver(came.base_url, target, told, name="came"):
            time.sleep(0.3)

    answers = told_in(told)
    assert {event_id.split("-")[0] for event_id, status in answers.items() if status == 200} == {
        "stays",
        "goes",
        "came",
    }
    assert_the_log_agrees(target, answers)


def test_clients_that_hang_up_cost_nobody_else_an_answer(target: ConnectedPixel, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with CollectorProcess() as door:
        hung_up = [f"hung-up-{number}" for number in range(200)]
        with Driver(door.base_url, target, told, name="stays", threads=4):
            for event_id in hung_up:
                body = json.dumps(
                    {"access_token": target.ingest_token, "data": [make_event(event_id)]}
                ).encode()
                with socket.create_connection(("127.0.0.1", door.port), 10) as line:
                    line.sendall(post(f"/v26.0/{target.pixel.meta_id}/events", body)[: -random.randrange(60)])
        assert "error" not in door.log

    answers = told_in(told)
    assert set(answers.values()) == {200}
    assert_the_log_agrees(target, answers | dict.fromkeys(hung_up, BROKEN))


def drip(seconds: float) -> Iterator[bytes]:
    """A body that comes a byte at a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        yield b"x"


def test_a_client_that_drips_does_not_hold_up_the_end(target: ConnectedPixel) -> None:
    statuses: list[int] = []

    def send() -> None:
        statuses.append(requests.post(url, data=drip(20), timeout=20).status_code)

    with CollectorProcess() as door:
        url = Client(door.base_url, target).url
        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(0.3)
        door.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert door.wait() == 0
        assert time.monotonic() - started < 6
        thread.join(25)

    assert statuses == [408]


def test_a_body_that_does_not_come_in_time_is_refused(target: ConnectedPixel) -> None:
    with CollectorProcess(COLLECTOR_READ_SECONDS="0.5") as door:
        response = requests.post(Client(door.base_url, target).url, data=drip(1), timeout=20)

    assert (response.status_code, response.headers["connection"]) == (408, "close")


def test_with_the_database_stalled_the_queue_fills_and_the_rest_is_turned_away(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    answers: list[requests.Response] = []

    def send() -> None:
        client = Client(door.base_url, target)
        answers.append(client.send(*(make_event() for _ in range(10))))

    with (
        CollectorProcess(COLLECTOR_QUEUE_EVENTS="40") as door,
        psycopg.connect(database.url("owner")) as stray,
    ):
        assert Client(door.base_url, target).send(make_event()).status_code == 200
        stray.execute("SELECT FROM events_pixellog WHERE pixel_id = %s FOR UPDATE", [target.pixel.pk])
        threads = [threading.Thread(target=send) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads[4:]:
            thread.join(0.02)
        early = [answer.status_code for answer in answers]
        stray.rollback()
        for thread in threads:
            thread.join(10)

    # While the lock was held, some were turned away at once and none was told that it is stored.
    assert set(early) == {503}
    turned_away = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.headers["retry-after"] == "2" for answer in turned_away)
    assert all(answer.json()["error"]["is_transient"] is True for answer in turned_away)
    stored = 1 + 10 * sum(answer.status_code == 200 for answer in answers)
    assert PixelLog.objects.get(pixel=target.pixel).head == stored > 1


def test_bodies_past_the_memory_that_there_is_are_turned_away_unread(target: ConnectedPixel) -> None:
    with CollectorProcess(COLLECTOR_QUEUE_BYTES="100000") as door:
        client = Client(door.base_url, target)
        turned_away = client.post(b"x" * 200_000)
        # What a request held is free again after its answer, whatever that was.
        after = [client.post(b"x" * 40_000).status_code for _ in range(5)]
        after += [client.send(*(make_event() for _ in range(100))).status_code for _ in range(5)]

    assert (turned_away.status_code, turned_away.headers["retry-after"]) == (503, "2")
    assert after == [400] * 5 + [200] * 5


def test_without_a_database_it_lives_says_503_and_comes_back(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    with database_proxy(database) as proxy:
        proxy.refuses = True
        with CollectorProcess(DATABASE_URL_DOOR=proxied_url(database, "door", proxy)) as door:
            client = Client(door.base_url, target)
            away = [client.send(make_event()).status_code for _ in range(3)]
            alive, unready = (
                requests.get(f"{door.base_url}/{path}", timeout=20) for path in ("healthz", "readyz")
            )
            proxy.refuses = False
            deadline = time.monotonic() + 10
            while requests.get(f"{door.base_url}/readyz", timeout=20).status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            back = client.send(make_event()).status_code

    assert (away, alive.status_code, back) == ([503, 503, 503], 200, 200)
    assert unready.status_code == 503
    assert unready.text.endswith("database: away\n")
