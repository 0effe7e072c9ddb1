"""Erasure: all that is stored of one person, gone from the log and the books' details; and the receipt.

Holds the wish, and the job that goes through a pixel's log, newest first. What is looked for is kept as a hash, as long
as it is looked for. Payloads are emptied, the one update that the log knows: offsets, names, times and fates stay, so
the books still add up. What has not been sent is rejected as erased first.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
import structlog
from django.db import connection, transaction
from django.utils import timezone

from events import normalise
from events.facts import WIDEST_RANGE
from events.models import Erasure, PixelLog
from onboarding.models import Pixel
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.hints import send_hint
from tenants.models import Advertiser, Person

logger = structlog.get_logger(__name__)

ERASE: Final = "events.erase"
# Events looked at in one transaction, and such transactions in one task.
LOOKED_AT: Final = 2_000
STEPS_A_TASK: Final = 20
LISTED: Final = 50


def hash_of(kind: str, text: str, *, default_country: str | None) -> str | None:
    """What is looked for, as a hash: of an address or a number as Meta wants them hashed, of an external_id as it is.

    64 hex digits are taken for the hash itself. None where the text is none of its kind.
    """
    text = text.strip()
    if match := normalise.HASHED.fullmatch(text):
        return match[1].lower()
    normal: str | None = text or None
    if kind == Erasure.Kind.EM:
        normal = normalise.em(text)
    elif kind == Erasure.Kind.PH:
        normal = normalise.ph(text, default_country=default_country)
    return None if normal is None else normalise.sha256_hex(normal)


def is_of(payload: bytes, kind: str, needle: str) -> bool:
    """Whether the stored event is of the person whose hash is looked for."""
    user_data = orjson.loads(payload).get("user_data") or {}
    values = user_data.get(kind) or []
    for value in values if isinstance(values, list) else [values]:
        text = str(value)
        # Meta's parameter builder puts its appendix behind a hash.
        if text.split(".", 1)[0].lower() == needle:
            return True
        if kind == Erasure.Kind.EXTERNAL_ID and normalise.sha256_hex(text) == needle:
            return True
    return False


@transaction.atomic
def request_erasure(
    *, advertiser: Advertiser, pixel: Pixel | None, kind: str, needle: str, requested_by: Person | None
) -> Erasure:
    """Erase all that is stored of the person by now, of one pixel or of all the advertiser's: a job."""
    logs = PixelLog.objects.filter(advertiser=advertiser)
    if pixel is not None:
        logs = logs.filter(pixel=pixel)
    cursors = {str(log.pixel_id): log.head for log in logs}
    erasure = Erasure.objects.create(
        advertiser=advertiser,
        pixel=pixel,
        kind=kind,
        needle=needle,
        cursors=cursors,
        total=sum(cursors.values()),
        requested_by=requested_by,
    )
    hint_after_commit(ERASE, advertiser.pk, erasure.pk)
    return erasure


def erasures_of(advertiser: Advertiser) -> list[Erasure]:
    """The advertiser's latest erasures."""
    found = Erasure.objects.filter(advertiser=advertiser).select_related("pixel", "requested_by")
    return list(found.order_by("-pk")[:LISTED])


def work_on_erasure(advertiser_id: int, erasure_id: int) -> None:
    """Go on with an erasure for some time, and then at the back of the queue. An unknown one is nothing."""
    for _ in range(STEPS_A_TASK):
        with tenant_scope(advertiser_id=advertiser_id), connection.cursor() as cursor:
            erasure = (
                Erasure.objects.select_for_update().filter(pk=erasure_id, state=Erasure.State.RUNNING).first()
            )
            if erasure is None or not _step(cursor, erasure):
                return
    send_hint(ERASE, advertiser_id, erasure_id)


def sweep_erasures() -> int:
    """Hint at each erasure that is under way: what it waited for, or the hint it lost. How many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT erasure_id, advertiser_id FROM events_open_erasures()")
        found = cursor.fetchall()
    for erasure_id, advertiser_id in found:
        send_hint(ERASE, advertiser_id, erasure_id)
    return len(found)


class _Found(NamedTuple):
    """An event of the person."""

    log_offset: int
    received_at: datetime
    event_name: str
    event_id: str


_READ: Final = """
SELECT log_offset, received_at, event_name, event_id, payload FROM events_event
WHERE advertiser_id = %(advertiser)s AND pixel_id = %(pixel)s AND log_offset >= %(low)s AND log_offset < %(high)s
  AND octet_length(payload) > 0
  -- Hashes stand in the payload as they are; of an external_id it may be the value itself.
  AND (%(kind)s = 'external_id' OR position(%(needle)s::bytea IN payload) > 0)
ORDER BY log_offset DESC
"""
# Claims take this row: none begins while it is held.
_LOCK_LOG: Final = "SELECT 1 FROM events_pixellog WHERE pixel_id = %s FOR NO KEY UPDATE"
_COVERS: Final = """
SELECT id, state, first_offset, last_offset, offsets, replay_id IS NOT NULL FROM events_delivery
WHERE pixel_id = %(pixel)s AND first_offset BETWEEN %(first)s - %(widest)s AND %(last)s
  AND last_offset >= %(first)s AND state NOT IN ('split', 'cancelled')
FOR UPDATE
"""
_REJECT: Final = """
INSERT INTO events_rejection (advertiser_id, pixel_id, log_offset, received_at, reason, event_name, event_id)
SELECT %(advertiser)s, %(pixel)s, one.log_offset, one.received_at, 'erased', one.event_name, one.event_id
FROM unnest(%(offsets)s::bigint[], %(times)s::timestamptz[], %(names)s::text[], %(ids)s::text[])
    AS one (log_offset, received_at, event_name, event_id)
ON CONFLICT DO NOTHING
"""
_EMPTY: Final = """
UPDATE events_event SET payload = ''
WHERE advertiser_id = %(advertiser)s AND pixel_id = %(pixel)s AND log_offset = ANY (%(offsets)s)
  AND received_at BETWEEN %(first_received_at)s AND %(last_received_at)s
"""
_EMPTY_REJECTIONS: Final = """
UPDATE events_rejection SET field = ''
WHERE pixel_id = %(pixel)s AND log_offset = ANY (%(offsets)s) AND field <> ''
"""
# A doubt of which nothing is left to send, to find or to decide.
_CLOSE_DOUBTS: Final = """
UPDATE events_delivery AS delivery
SET state = 'rejected', due_at = NULL, settled_at = clock_timestamp()
WHERE delivery.id = ANY (%(deliveries)s) AND delivery.state = 'doubt' AND delivery.replay_id IS NULL
  AND NOT EXISTS (
    SELECT FROM unnest(coalesce(delivery.offsets,
        ARRAY (SELECT generate_series(delivery.first_offset, delivery.last_offset)))) AS one
    WHERE NOT EXISTS (
        SELECT FROM events_rejection AS rejection
        WHERE rejection.pixel_id = delivery.pixel_id AND rejection.log_offset = one))
"""
_ON_ITS_WAY: Final = ("claimed", "sending")
_NOT_SENT: Final = ("waiting", "doubt")


def _step(cursor: Any, erasure: Erasure) -> bool:
    """Look through the next events; whether there is more to do at once."""
    pixel_id = next((int(key) for key, high in sorted(erasure.cursors.items()) if high > 0), None)
    if pixel_id is None:
        erasure.state, erasure.needle, erasure.finished_at = Erasure.State.DONE, "", timezone.now()
        erasure.save(update_fields=["state", "needle", "finished_at"])
        logger.info("erasure done", erasure_id=erasure.pk, events=erasure.events_erased)
        return False
    high = erasure.cursors[str(pixel_id)]
    low = max(0, high - LOOKED_AT)
    cursor.execute(
        _READ,
        {
            "advertiser": erasure.advertiser_id,
            "pixel": pixel_id,
            "low": low,
            "high": high,
            "kind": erasure.kind,
            "needle": erasure.needle.encode(),
        },
    )
    found = [
        _Found(*row)
        for *row, payload in cursor.fetchall()
        if is_of(bytes(payload), erasure.kind, erasure.needle)
    ]
    erased = _erase(cursor, erasure, pixel_id, found) if found else set()
    # What is on its way is in a worker's hands: everything from it on is looked at again.
    busy = [one.log_offset for one in found if one.log_offset not in erased]
    reached = max(busy) + 1 if busy else low
    erasure.cursors[str(pixel_id)] = reached
    erasure.looked_at += high - reached
    erasure.save(update_fields=["cursors", "looked_at", "events_erased", "events_stopped"])
    return not busy


def _erase(cursor: Any, erasure: Erasure, pixel_id: int, found: Collection[_Found]) -> set[int]:
    """Empty these events, except those on their way to Meta; the offsets of those that were."""
    cursor.execute(_LOCK_LOG, [pixel_id])
    offsets = [one.log_offset for one in found]
    cursor.execute(
        _COVERS,
        {"pixel": pixel_id, "first": min(offsets), "last": max(offsets), "widest": WIDEST_RANGE},
    )
    covers = cursor.fetchall()
    states: dict[int, set[str]] = {at: set() for at in offsets}
    doubts = []
    for delivery_id, state, first, last, held, is_replay in covers:
        if is_replay and state not in _ON_ITS_WAY:
            # Beside the books: it finds the payload empty.
            continue
        if state == "doubt":
            doubts.append(delivery_id)
        for at in offsets:
            if (first <= at <= last) if held is None else at in held:
                states[at].add(state)
    chosen = [one for one in found if states[one.log_offset].isdisjoint(_ON_ITS_WAY)]
    if not chosen:
        return set()
    stopped = [
        one
        for one in chosen
        # Without a delivery it waits to be claimed.
        if not states[one.log_offset] or not states[one.log_offset].isdisjoint(_NOT_SENT)
    ]
    own = {"advertiser": erasure.advertiser_id, "pixel": pixel_id}
    cursor.execute(
        _REJECT,
        {
            **own,
            "offsets": [one.log_offset for one in stopped],
            "times": [one.received_at for one in stopped],
            "names": [one.event_name for one in stopped],
            "ids": [one.event_id for one in stopped],
        },
    )
    erasure.events_stopped += max(0, cursor.rowcount)
    gone = [one.log_offset for one in chosen]
    times = [one.received_at for one in chosen]
    emptied = {**own, "offsets": gone, "first_received_at": min(times), "last_received_at": max(times)}
    cursor.execute(_EMPTY, emptied)
    erasure.events_erased += max(0, cursor.rowcount)
    cursor.execute(_EMPTY_REJECTIONS, emptied)
    cursor.execute(_CLOSE_DOUBTS, {"deliveries": doubts})
    return set(gone)
