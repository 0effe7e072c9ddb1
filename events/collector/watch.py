"""What is seen of the door from outside: its lines' ids, its counts, its trace. It changes nothing of what it does."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from structlog.contextvars import bind_contextvars

from events.collector.append import Trail
from events.collector.plan import Batch, Plan
from events.refusals import Refusal
from partnerhub.lib import metrics, tracing


@contextmanager
def request(request_id: str) -> Iterator[None]:
    """A request for taking events in, around all that it takes to answer it."""
    began = time.monotonic()
    with tracing.span("door", kind="SERVER", request_id=request_id) as span:
        try:
            yield
        except Refusal as refusal:
            if span is not None:
                span.set_attributes({"partnerhub.status": refusal.status, "partnerhub.code": refusal.code})
            raise
    metrics.DOOR_SECONDS.observe(time.monotonic() - began)


def of_pixel(pixel_id: int) -> None:
    """The request's token opens this pixel."""
    bind_contextvars(pixel_id=pixel_id)
    if tracing.is_on():
        tracing.here().set_attribute("partnerhub.pixel_id", pixel_id)


def refused(refusal: Refusal) -> None:
    """A request is refused."""
    metrics.DOOR_REFUSALS.add(refusal.title.lower().replace(" ", "_"))


def committed(group: Sequence[tuple[Batch, Any]], plan: Plan, trail: Trail, *, queued: int) -> None:
    """A group was committed: each request's batch and span. `queued` are all events that have no answer yet."""
    if trail.received_at is None:
        return
    repeated = sum(count.repeated for count in plan.counts.values())
    written = len(plan.events) + repeated
    metrics.DOOR_EVENTS.add("stored", by=len(plan.events) - len(plan.clashes))
    metrics.DOOR_EVENTS.add("repeated", by=repeated)
    metrics.DOOR_EVENTS.add("clash", by=len(plan.clashes))
    metrics.REJECTED_EVENTS.add("clash", by=len(plan.clashes))
    metrics.DOOR_GROUP_EVENTS.observe(written)
    metrics.DOOR_COMMIT_SECONDS.observe(time.monotonic() - trail.began)
    metrics.DOOR_QUEUE_EVENTS.set(max(0, queued - written))
    if tracing.is_on():
        _trace(group, plan, trail)


def _trace(group: Sequence[tuple[Batch, Any]], plan: Plan, trail: Trail) -> None:
    """One span for each pixel that the commit is of, joined to its requests both ways; and the hint given for it."""
    assert trail.received_at is not None
    now = tracing.now_ns()
    began = now - round((time.monotonic() - trail.began) * 1e9)
    requests: dict[int, list[Any]] = defaultdict(list)
    for batch, span in group:
        if batch.pixel_id in plan.heads:
            requests[batch.pixel_id].append(span)
    for pixel_id, spans in requests.items():
        ids = tracing.commit_ids(pixel_id, trail.received_at)
        tracing.record(
            "commit",
            started_ns=began,
            ids=ids,
            links=[tracing.ids_of(span) for span in spans[: tracing.LINKS]],
            pixel_id=pixel_id,
            requests=len(spans),
            head=plan.heads[pixel_id],
        )
        for span in spans:
            tracing.link(span, ids)
        if pixel_id in plan.woken:
            tracing.record("hint", started_ns=now, kind="PRODUCER", below=ids, pixel_id=pixel_id)
