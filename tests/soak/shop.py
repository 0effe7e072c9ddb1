"""Shops' servers at our doors: a steady load that asks again until it is told, and again when it was told.

What it is told is on disk before it goes on: without that record nothing would prove that a 200 was kept.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import requests

from events.ledger import Key
from tests.support.factories import ConnectedPixel
from tests.support.log import make_event

# Each lane sends so often, with so many events at the most: some 100 events/s together, which two cores bear
# beside everything else.
LANES: Final = 3
EVERY_SECONDS: Final = 0.3
BATCH_EVENTS: Final = 20
# One batch in so many comes again, though it was answered: a client that lost our answer.
REPEATED: Final = 0.1
KEPT_BATCHES: Final = 200
CALL_SECONDS: Final = 10
AGAIN_SECONDS: Final = 0.5
# At the end: until what was not answered is.
LAST_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that go to a pixel in one request, always the same ones."""

    target: ConnectedPixel
    events: list[dict[str, Any]]

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [event["event_id"] for event in self.events]


class Shop:
    """`with Shop(…) as shop:` sends until the block's end, and then what is unanswered until it is answered."""

    def __init__(
        self, doors: Callable[[], list[str]], targets: Sequence[ConnectedPixel], *, record: Path, seed: int
    ) -> None:
        self._doors = doors
        self._targets = targets
        self._path = record
        self._record = record.open("a")
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._again: deque[tuple[float, Batch]] = deque()
        self._sent: deque[Batch] = deque(maxlen=KEPT_BATCHES)
        self._under_way = 0
        self._lanes = [
            threading.Thread(target=self._drive, args=[random.Random(f"{seed} {lane}")], name=f"lane {lane}")
            for lane in range(LANES)
        ]
        self.events = 0
        self.repeats = 0
        self.answers: Counter[int] = Counter()

    def upcoming_id(self, ahead: int) -> str:
        """The id of an event that is not sent yet."""
        with self._lock:
            return f"s-{self.events + ahead}"

    def told(self) -> dict[int, dict[Key, int]]:
        """By pixel, the best status that each event was answered with; 0 where no answer came."""
        told: dict[int, dict[Key, int]] = defaultdict(dict)
        for line in self._path.read_text().splitlines():
            pixel_id, status, ids = json.loads(line)
            for event_id in ids:
                key = ("PageView", event_id)
                if told[pixel_id].get(key) != 200:
                    told[pixel_id][key] = status
        return told

    def _drive(self, chance: random.Random) -> None:
        session = requests.Session()
        session.trust_env = False
        due = time.monotonic()
        while (batch := self._next(chance)) is not None:
            status = self._post(session, chance.choice(self._doors()), batch)
            self._write_down(batch, status)
            # No faster after a pause: the load is steady.
            due = max(due + EVERY_SECONDS, time.monotonic())
            self._ends.wait(due - time.monotonic())

    def _next(self, chance: random.Random) -> Batch | None:
        """What was not answered, else something that was, or something new. None: all is answered, at the end."""
        last = time.monotonic() + LAST_SECONDS
        while True:
            with self._lock:
                if self._again and self._again[0][0] <= time.monotonic():
                    self._under_way += 1
                    return self._again.popleft()[1]
                if not self._ends.is_set():
                    self._under_way += 1
                    return self._draw(chance)
                if not self._again and not self._under_way:
                    return None
            if time.monotonic() > last:
                return None
            time.sleep(0.05)

    def _draw(self, chance: random.Random) -> Batch:
        if self._sent and chance.random() < REPEATED:
            batch = chance.choice(self._sent)
            self.repeats += len(batch.events)
            return batch
        count = chance.randint(1, BATCH_EVENTS)
        events = [make_event(event_id=f"s-{self.events + place}") for place in range(count)]
        self.events += count
        batch = Batch(chance.choice(self._targets), events)
        # From now on another lane may send it, too, at the same moment.
        self._sent.append(batch)
        return batch

    def _post(self, session: requests.Session, door: str, batch: Batch) -> int:
        try:
            return session.post(
                f"{door}/v26.0/{batch.target.pixel.meta_id}/events",
                json={"access_token": batch.target.ingest_token, "data": batch.events},
                timeout=CALL_SECONDS,
            ).status_code
        except requests.RequestException:
            return 0

    def _write_down(self, batch: Batch, status: int) -> None:
        with self._lock:
            self._record.write(json.dumps([batch.target.pixel.pk, status, batch.ids]) + "\n")
            self._record.flush()
            os.fsync(self._record.fileno())
            self.answers[status] += 1
            self._under_way -= 1
            if status in (0, 429) or status >= 500:
                self._again.append((time.monotonic() + AGAIN_SECONDS, batch))

    def __enter__(self) -> Self:
        for lane in self._lanes:
            lane.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        for lane in self._lanes:
            lane.join()
        self._record.close()
