"""What becomes of a group of batches, once their pixels' logs are locked: stored, a repeat, a clash, refused.
Pure.

Offsets are dense from each log's head, in the order of the batches. An event that came before with the same
content is acknowledged and counted, and not stored. One that came before with other content is stored with a
rejection, so that it is kept and shown, and not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from events.collector.copy import EventRow, RepeatRow
from events.payload import PreparedEvent

# events.models.Origin.SERVER, which cannot be read without Django; a test holds the two together.
SERVER: Final = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request to one pixel."""

    pixel_id: int
    advertiser_id: int
    events: Sequence[PreparedEvent]
    # What the door did to the request as a whole; it is kept with each of its events.
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class Ends:
    """A pixel's log, locked. The head moves as its events are planned."""

    advertiser_id: int
    head: int
    awake: bool


class Known(NamedTuple):
    """An event that the log holds already. Keys have 16 bytes."""

    pixel_id: int
    repeat_key: bytes
    content_key: bytes


class Clash(NamedTuple):
    """A stored event that will not be sent."""

    advertiser_id: int
    pixel_id: int
    log_offset: int
    event_name: str
    event_id: str


class CountKey(NamedTuple):
    """What one hourly counter counts."""

    advertiser_id: int
    pixel_id: int
    event_name: str
    origin: int


@dataclass(slots=True)
class Count:
    """What this group adds to it."""

    taken: int = 0
    repeated: int = 0


@dataclass(slots=True)
class Plan:
    """What one transaction is to write."""

    events: list[EventRow] = field(default_factory=list)
    repeats: list[RepeatRow] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)
    counts: dict[CountKey, Count] = field(default_factory=dict)
    # The new head of each log that grew.
    heads: dict[int, int] = field(default_factory=dict)
    # Pixels that had no work and now have.
    woken: list[int] = field(default_factory=list)
    # Places in the group of batches whose pixel is not there, or is another advertiser's.
    strangers: set[int] = field(default_factory=set)


def plan_group(batches: Sequence[Batch], logs: dict[int, Ends], known: Iterable[Known]) -> Plan:
    """What to write for `batches`, given the locked `logs` by pixel and what they hold of the same ids."""
    plan = Plan()
    contents: set[tuple[int, bytes, bytes]] = set(known)
    identities = {(pixel_id, repeat_key) for pixel_id, repeat_key, _ in contents}
    for place, batch in enumerate(batches):
        pixel_id, advertiser_id = batch.pixel_id, batch.advertiser_id
        ends = logs.get(pixel_id)
        if ends is None or ends.advertiser_id != advertiser_id:
            plan.strangers.add(place)
            continue
        head = ends.head
        counts: dict[str, Count] = {}
        for event in batch.events:
            name, event_id, _, expires_at, fragment, repeat_key, content_key, notices = event
            if (count := counts.get(name)) is None:
                key = CountKey(advertiser_id, pixel_id, name, SERVER)
                count = counts[name] = plan.counts.setdefault(key, Count())
            if (content := (pixel_id, repeat_key, content_key)) in contents:
                count.repeated += 1
                continue
            count.taken += 1
            plan.events.append(
                EventRow(
                    advertiser_id,
                    pixel_id,
                    head,
                    expires_at,
                    SERVER,
                    name,
                    event_id,
                    fragment,
                    " ".join((*batch.notices, *notices)),
                )
            )
            plan.repeats.append(RepeatRow(advertiser_id, pixel_id, repeat_key, content_key, head))
            if (identity := (pixel_id, repeat_key)) in identities:
                plan.clashes.append(Clash(advertiser_id, pixel_id, head, name, event_id))
            contents.add(content)
            identities.add(identity)
            head += 1
        if head > ends.head:
            if not ends.awake:
                plan.woken.append(pixel_id)
                ends.awake = True
            ends.head = plan.heads[pixel_id] = head
    return plan
