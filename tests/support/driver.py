"""A shop's server at our door that writes down what it was told, on disk before it asks again.

Without such a record nothing would prove that what was answered 200 is kept.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from events.ledger import Key
from tests.support.factories import ConnectedPixel
from tests.support.log import make_event

CALL_SECONDS = 20


def ids_of(batch: int, size: int) -> list[str]:
    """The ids of the events in a driver's batch, counted from 0 over all pixels: known before it is sent."""
    return [f"e-{batch}-{place}" for place in range(size)]


class Driver:
    """`with Driver(…) as driver:` sends batches in turn to each pixel from a thread of its own until the end."""

    def __init__(
        self,
        base_url: str,
        targets: Sequence[ConnectedPixel],
        *,
        record: Path,
        batch: int,
        rest_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._targets = targets
        self._record = record
        self._batch = batch
        self._rest_seconds = rest_seconds
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="driver")
        self.batches = 0

    def told(self) -> dict[int, dict[Key, int]]:
        """By pixel, the status that each event was answered with; 0 where no answer came."""
        told: dict[int, dict[Key, int]] = defaultdict(dict)
        for line in self._record.read_text().splitlines():
            pixel_id, status, ids = json.loads(line)
            told[pixel_id] |= dict.fromkeys((("PageView", event_id) for event_id in ids), status)
        return told

    def _drive(self) -> None:
        session = requests.Session()
        session.trust_env = False
        with self._record.open("a") as record:
            while not self._ends.is_set():
                target = self._targets[self.batches % len(self._targets)]
                ids = ids_of(self.batches, self._batch)
                status = self._post(session, target, [make_event(event_id=event_id) for event_id in ids])
                record.write(json.dumps([target.pixel.pk, status, ids]) + "\n")
                record.flush()
                os.fsync(record.fileno())
                self.batches += 1
                time.sleep(self._rest_seconds)

    def _post(self, session: requests.Session, target: ConnectedPixel, events: list[dict[str, Any]]) -> int:
        try:
            return session.post(
                f"{self._base_url}/v26.0/{target.pixel.meta_id}/events",
                json={"access_token": target.ingest_token, "data": events},
                timeout=CALL_SECONDS,
            ).status_code
        except requests.RequestException:
            return 0

    def __enter__(self) -> Self:
        self._record.touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
