"""Which events have a fate: what a number of the flow picture opens. Reads only, a page at a time, by index."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from events.models import Backlog, Delivery, PixelLog, Rejection
from events.replay import Fate
from onboarding.models import Pixel

_STATES = {
    Fate.WAITING: [Delivery.State.WAITING],
    Fate.SENDING: [Delivery.State.CLAIMED, Delivery.State.SENDING],
    Fate.ACCEPTED: [Delivery.State.ACCEPTED],
    Fate.DOUBT: [Delivery.State.DOUBT],
}
# Deliveries that one page looks at; a page with fewer events than it could hold says where the next one begins.
_DELIVERIES = 200
_LOOKED_AT = 2_000


def offsets_with(pixel: Pixel, fate: Fate, *, before: int | None, size: int) -> tuple[list[int], int | None]:
    """The highest offsets below `before` whose events have the fate, and what to ask the next page with.

    That is None where there are no more. A page may hold fewer than `size`, and there be more.
    """
    log = PixelLog.objects.filter(pixel=pixel).first()
    end = log.head if log and before is None else min(before or 0, log.head if log else 0)
    if fate is Fate.REJECTED:
        rejections = Rejection.objects.filter(pixel=pixel, log_offset__lt=end).order_by("-log_offset")
        found = list(rejections.values_list("log_offset", flat=True)[: size + 1])
        return found[:size], found[size - 1] if len(found) > size else None
    deliveries = list(
        Delivery.objects.filter(
            pixel=pixel, replay=None, state__in=_STATES[fate], first_offset__lt=end
        ).order_by("-first_offset")[:_DELIVERIES]
    )
    # Below what was read there may be more.
    floor = deliveries[-1].first_offset if len(deliveries) == _DELIVERIES else 0
    sources = [_descending(delivery, end) for delivery in deliveries]
    if fate is Fate.WAITING and log is not None:
        sources.append(iter(range(min(log.head, end) - 1, log.tail - 1, -1)))
        sources += [
            iter(range(min(pile.last_offset + 1, end) - 1, pile.next_offset - 1, -1))
            for pile in Backlog.objects.filter(pixel=pixel, drained_at=None)
        ]
    found, looked_at = [], 0
    merged = (offset for offset in heapq.merge(*sources, reverse=True) if offset >= floor)
    for batch in _batches(merged, size):
        looked_at += len(batch)
        rejected = set(
            Rejection.objects.filter(pixel=pixel, log_offset__in=batch).values_list("log_offset", flat=True)
        )
        found += [offset for offset in batch if offset not in rejected]
        if len(found) > size:
            return found[:size], found[size - 1]
        if looked_at >= _LOOKED_AT:
            return found, batch[-1]
    return found, floor or None


def _descending(delivery: Delivery, end: int) -> Iterator[int]:
    if delivery.offsets is not None:
        return iter(sorted((offset for offset in delivery.offsets if offset < end), reverse=True))
    return iter(range(min(delivery.last_offset + 1, end) - 1, delivery.first_offset - 1, -1))


def _batches(offsets: Iterable[int], size: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for offset in offsets:
        batch.append(offset)
        if len(batch) > size:
            yield batch
            batch = []
    if batch:
        yield batch
