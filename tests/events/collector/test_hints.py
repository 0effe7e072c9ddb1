"""Hints go out beside the loop, a pixel that waits only once, and never hold anybody up."""

from __future__ import annotations

import threading
import time

from events.collector import hints as room
from events.collector.hints import DELIVER, Hints


class Broker:
    """Takes hints down; the first one waits until the broker is let go."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[int, ...]]] = []
        self.asked = threading.Event()
        self.answers = threading.Event()

    def send(self, task: str, *ids: int) -> None:
        self.asked.set()
        self.answers.wait(5)
        self.sent.append((task, ids))


def test_a_pixel_that_waits_for_its_hint_gets_one() -> None:
    broker = Broker()
    hints = Hints(broker.send)
    hints.start()
    hints.wake([1])
    broker.asked.wait(5)

    # 1 is on its way, so news of it needs another; 2 waits already.
    for _ in range(3):
        hints.wake([2, 1])
    broker.answers.set()
    hints.close(5)

    assert broker.sent == [(DELIVER, (1,)), (DELIVER, (2,)), (DELIVER, (1,))]


def test_a_broker_that_is_away_holds_up_nobody_and_costs_no_memory() -> None:
    broker = Broker()
    hints = Hints(broker.send)
    hints.start()

    started = time.monotonic()
    hints.wake(range(room.QUEUE_PIXELS + 5_000))
    hints.close(0.1)

    assert time.monotonic() - started < 1
    assert len(hints._waiting) <= room.QUEUE_PIXELS
    broker.answers.set()
