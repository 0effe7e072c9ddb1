"""Hints cost their giver nothing, whatever the broker does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from partnerhub.lib import hints
from partnerhub.lib.config import read_config
from partnerhub.lib.hints import QUEUED_HINTS, Hint, Line, Publisher


class Broker:
    """Takes hints, unless it is told to fail or to hang."""

    def __init__(self) -> None:
        self.taken: list[Hint] = []
        self.fails = False
        self.lets_through = threading.Event()
        self.lets_through.set()

    def __call__(self, hint: Hint) -> None:
        self.lets_through.wait(10)
        if self.fails:
            raise OSError("amqp://user:secret@broker is away")
        self.taken.append(hint)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.lets_through.set()


def test_hints_are_published_in_order(broker: Broker) -> None:
    publisher = Publisher(broker)

    for number in range(5):
        assert publisher.send(("events.deliver", (number,)))

    assert publisher.flush(5)
    assert broker.taken == [("events.deliver", (number,)) for number in range(5)]


def test_a_hint_that_waits_already_is_sent_once_and_one_on_its_way_again(broker: Broker) -> None:
    publisher = Publisher(broker)
    broker.lets_through.clear()
    publisher.send(("a", (1,)))
    while publisher._waiting:
        time.sleep(0.001)

    for _ in range(3):
        publisher.send(("a", (1,)))
        publisher.send(("b", (1,)))
    broker.lets_through.set()

    assert publisher.flush(5)
    assert broker.taken == [("a", (1,)), ("a", (1,)), ("b", (1,))]


def test_a_broker_that_hangs_holds_up_nobody_and_fills_a_bounded_queue(broker: Broker) -> None:
    publisher = Publisher(broker)
    broker.lets_through.clear()
    slowest = 0.0

    for number in range(QUEUED_HINTS + 100):
        begun = time.perf_counter()
        publisher.send(("events.deliver", (number,)))
        slowest = max(slowest, time.perf_counter() - begun)

    assert slowest < 0.2
    assert len(publisher._waiting) == QUEUED_HINTS
    assert not publisher.flush(0.01)


def test_after_a_failure_hints_are_dropped_for_a_while_and_then_tried_again(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    publisher = Publisher(broker, clock=clock)
    broker.fails = True
    publisher.send(("a", (1,)))
    assert publisher.flush(5)

    assert not publisher.send(("a", (2,)))
    clock.now += 1.01
    assert publisher.send(("a", (3,)))
    assert publisher.flush(5)
    clock.now += 1.01
    assert not publisher.send(("a", (4,)))  # the second rest is twice as long
    clock.now += 1.01
    broker.fails = False
    assert publisher.send(("a", (5,)))
    assert publisher.flush(5)
    assert publisher.send(("a", (6,)))
    assert publisher.flush(5)

    assert broker.taken == [("a", (5,)), ("a", (6,))]
    assert caplog.text.count("hints dropped") == 2
    assert "secret" not in caplog.text


def test_rests_grow_to_half_a_minute_and_no_further(broker: Broker) -> None:
    clock = Clock()
    publisher = Publisher(broker, clock=clock)
    broker.fails = True

    for _ in range(10):
        publisher.send(("a", (1,)))
        assert publisher.flush(5)
        rest = publisher._rests_until - clock.now
        clock.now = publisher._rests_until

    assert rest == hints.LONGEST_REST_SECONDS


@pytest.mark.parametrize("url", ["amqp://guest:guest@127.0.0.1:9//", "redis://127.0.0.1:9/0"])
def test_a_broker_that_is_away_is_an_error_of_the_line_within_its_deadline(url: str) -> None:
    line = Line(read_config(os.environ | {"BROKER_URL": url}), "door")
    begun = time.monotonic()

    with pytest.raises(Exception, match="refused"):
        line(("events.deliver", (1,)))

    assert time.monotonic() - begun < 5


SCRIPT = """
import sys, time
from partnerhub.lib.hints import send_hint
begun = time.perf_counter()
for number in range(100):
    send_hint("events.deliver", number)
print(time.perf_counter() - begun < 0.2, "django" in sys.modules)
"""


@pytest.mark.parametrize("url", ["pgmq://", "amqp://guest:guest@127.0.0.1:9//"])
def test_a_process_without_django_gives_hints_and_ends_at_once(url: str) -> None:
    environment = os.environ | {
        "BROKER_URL": url,
        "PROCESS": "door",
        "DATABASE_URL_DOOR": "postgresql://nobody@127.0.0.1:9/nowhere",
    }
    begun = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    # What is not configured logs to standard output, too, if the broker was found away before the end.
    assert "True False" in done.stdout.splitlines()
    assert time.monotonic() - begun < 8
    assert "Traceback" not in done.stderr
