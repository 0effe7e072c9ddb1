"""Events into a pixel's log without a door: its own preparing and group commit, as the door's role."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

from events.collector.append import Trail, append_group
from events.collector.link import Link
from events.collector.plan import Batch
from events.payload import PixelRules, PreparedEvent, prepare_events
from onboarding.models import Pixel

_numbers = itertools.count(1)


def make_event(**changes: Any) -> dict[str, Any]:
    """A PageView of now with an id of its own; None takes a field out."""
    number = next(_numbers)
    event: dict[str, Any] = {
        "event_name": "PageView",
        "event_time": int(time.time()) - 60,
        "event_id": f"e-{number}",
        "action_source": "website",
        "event_source_url": "https://shop.example/",
        "user_data": {"external_id": f"visitor-{number}", "client_user_agent": "Mozilla/5.0"},
    } | changes
    return {key: value for key, value in event.items() if value is not None}


def prepare(events: Sequence[dict[str, Any]], *, now: float | None = None) -> list[PreparedEvent]:
    """The events as a door would store them, were it `now`."""
    rules = PixelRules(default_action_source="website", default_country="IT")
    return prepare_events(
        list(events),
        rules=rules,
        now=time.time() if now is None else now,
        make_id=lambda: f"supplied-{next(_numbers)}",
    )


def append_events(pixel: Pixel, events: Sequence[dict[str, Any]], *, now: float | None = None) -> list[str]:
    """Commit the events to the pixel's log, a thousand a batch; their ids. No hint is sent."""
    prepared = prepare(events, now=now)
    groups = [prepared[start : start + 1000] for start in range(0, len(prepared), 1000)]

    async def append() -> None:
        link = Link(os.environ["DATABASE_URL_DOOR"])
        try:
            connection = await link.get()
            for group in groups:
                await append_group(connection, [Batch(pixel.pk, pixel.advertiser_id, group)], Trail())
        finally:
            await link.drop()

    asyncio.run(append())
    return [event.event_id for event in prepared]


def append_count(pixel: Pixel, count: int) -> list[str]:
    """Commit so many ordinary events; their ids."""
    return append_events(pixel, [make_event() for _ in range(count)])
