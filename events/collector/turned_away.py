"""What a door refused of whom: counted in memory, and written every few seconds.

Only requests whose token opened a pixel: of others nobody knows whose they were. A sample says when, under which
fbtrace_id of ours, and which event of the request; no value, and no name that the client made up. What a killed process
had not written yet is lost: a count of refusals is no event.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import psycopg
import structlog

from events.collector.copy import Bigints
from events.collector.link import Link
from events.collector.tokens import Grant
from events.collector.trace import without_text
from events.normalise import HASHED_KEYS
from events.payload import EVENT_KEYS, PLAIN_KEYS
from events.refusals import Refusal

log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 5.0
# Of each reason and hour: enough to find a few in a client's own log.
SAMPLES: Final = 3
# Reasons of pixels at a time, some 300 bytes each. Past it the rest is counted without its field.
KEPT: Final = 5_000
MORE: Final = "more_reasons"

_STEP: Final = re.compile(r"\[[0-9]+\]")
# Meta's own names. Whatever else stands in a path, a client wrote it.
KNOWN: Final = frozenset(
    {
        *HASHED_KEYS,
        *PLAIN_KEYS,
        *EVENT_KEYS,
        *("data", "app_data", "original_event_data", "ph", "external_id"),
        *("value", "currency", "contents", "content_ids", "content_type", "order_id", "num_items"),
        *("id", "quantity", "item_price", "delivery_category"),
        *("test_event_code", "partner_agent", "upload_id", "upload_tag", "upload_source", "access_token"),
    }
)

_WRITE: Final = """
INSERT INTO events_doorrefusal AS kept (advertiser_id, pixel_id, hour, reason, field, requests, sample)
SELECT pixel.advertiser_id, pixel.id, refused.hour, refused.reason, refused.field, refused.requests,
    refused.sample::jsonb
FROM unnest(%(pixel_ids)s, %(hours)s::timestamptz[], %(reasons)s::text[], %(fields)s::text[], %(requests)s,
    %(samples)s::text[]) AS refused (pixel_id, hour, reason, field, requests, sample)
JOIN onboarding_pixel AS pixel ON pixel.id = refused.pixel_id
ORDER BY pixel.id, refused.hour, refused.reason, refused.field
ON CONFLICT (pixel_id, hour, reason, field) DO UPDATE
SET requests = kept.requests + excluded.requests, sample = excluded.sample
"""


class _Key(NamedTuple):
    pixel_id: int
    hour: datetime
    reason: str
    field: str


@dataclass(slots=True)
class _Count:
    requests: int = 0
    sample: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class TurnedAway:
    """The counts of one collector process, and the task that writes them."""

    def __init__(self, link: Link, *, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._clock = clock
        self._counts: dict[_Key, _Count] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, grant: Grant, refusal: Refusal, fbtrace_id: str) -> None:
        """Count a refusal of the pixel's. Costs a look into a dictionary."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        reason = refusal.title.lower().replace(" ", "_")[:80]
        key = _Key(
            grant.pixel_id,
            now.replace(minute=0, second=0, microsecond=0),
            reason,
            known_field(refusal.field),
        )
        if key not in self._counts and len(self._counts) >= KEPT:
            key = key._replace(reason=MORE, field="")
            if key not in self._counts and len(self._counts) >= 2 * KEPT:
                return
        count = self._counts.setdefault(key, _Count())
        count.requests += 1
        count.sample.append(
            {"at": now.isoformat(timespec="seconds"), "fbtrace_id": fbtrace_id, "index": refusal.index}
        )

    def start(self) -> None:
        """Begin to write what is counted."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="turned away")

    async def close(self) -> None:
        """Write what is left, and stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.write()
        await self._link.drop()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write the counts, in one statement; where that fails they are kept for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        keys = sorted(counts)
        try:
            connection = await self._link.get()
            with self._link.limit(connection):
                await connection.execute(
                    _WRITE,
                    {
                        "pixel_ids": Bigints([key.pixel_id for key in keys]),
                        "hours": [key.hour for key in keys],
                        "reasons": [key.reason for key in keys],
                        "fields": [key.field for key in keys],
                        "requests": Bigints([counts[key].requests for key in keys]),
                        "samples": [json.dumps(list(counts[key].sample)) for key in keys],
                    },
                )
        except psycopg.Error as error:
            log.warning("refusals not written", **without_text(error))
            await self._link.drop()
            self._put_back(counts)

    def _put_back(self, counts: dict[_Key, _Count]) -> None:
        for key, count in counts.items():
            if key in self._counts or len(self._counts) < KEPT:
                self._counts.setdefault(key, _Count(0, count.sample)).requests += count.requests


def known_field(path: str | None) -> str:
    """The path of a field without its indexes; a step that is none of Meta's names, and all behind it, is left out."""
    steps: list[str] = []
    for step in _STEP.sub("", path or "").split("."):
        if step not in KNOWN:
            break
        steps.append(step)
    return ".".join(steps)
