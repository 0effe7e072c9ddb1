"""What "Meta" received: exact counters and ids for every event, whole requests in a bounded ring.

Columns rather than objects, for a run may bring a million events: a row costs about 200 bytes with its id.
Nothing here is dropped before a reset, except requests that fall out of the ring. No HTTP; the clock is an
argument.
"""

from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

DEDUPLICATION_SECONDS: Final = 48 * 3600
# A browser's and a server's event of one name and id count once within 48 h of the first (2023-01-25).

RING_REQUESTS: Final = 200
RING_BYTES: Final = 16 * 1024 * 1024
# The bodies of a benchmark are 1 MB each; two hundred of them would not fit the stand-in's memory.

DIGEST_BYTES: Final = 16
MAX_LABELS: Final = 1000
# Agents, user agents and event names come from outside: past this many, the rest is counted as one.
OTHER: Final = "(other)"
MINUTES_KEPT: Final = 24 * 60


def digest_of(event: Any) -> bytes:
    """BLAKE2b-128 of the event as orjson writes it, which is what a sender that uses orjson sent."""
    return blake2b(orjson.dumps(event), digest_size=DIGEST_BYTES).digest()


class Origin(NamedTuple):
    """What a request said beside `data`, shared by all of its events."""

    partner_agent: str | None
    test_event_code: str | None


class StoredEvent(NamedTuple):
    """One id as it first arrived by the server's road; `copies` is how often it arrived by it."""

    event_name: str
    event_id: str | None
    copies: int
    first_arrival: float
    digest: str
    partner_agent: str | None
    test_event_code: str | None
    row: int


class Repeat(NamedTuple):
    """A later arrival of an id that the server's road had brought before."""

    arrival: float
    digest: bytes


@dataclass(slots=True)
class Account:
    """All that one pixel received."""

    pixel_id: str
    requests: int = 0
    events: int = 0
    without_id: int = 0
    server_repeats: int = 0
    browser_events: int = 0
    browser_deduplicated: int = 0
    last_arrival: float = 0.0
    last_trace_id: str | None = None
    batch_sizes: Counter[int] = field(default_factory=Counter)
    event_names: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)
    user_agents: Counter[str] = field(default_factory=Counter)
    test_codes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    minutes: dict[int, int] = field(default_factory=dict)
    repeats: dict[int, list[Repeat]] = field(default_factory=dict)
    _rows: dict[str, dict[str, int]] = field(default_factory=dict)
    _nameless: list[tuple[int, str]] = field(default_factory=list)
    _browser: dict[str, dict[str, float]] = field(default_factory=dict)
    _matched: set[tuple[str, str]] = field(default_factory=set)
    _arrivals: "array[float]" = field(default_factory=lambda: array("d"))
    _counts: "array[int]" = field(default_factory=lambda: array("I"))
    _origin_of: "array[int]" = field(default_factory=lambda: array("I"))
    _digests: bytearray = field(default_factory=bytearray)
    _origins: list[Origin] = field(default_factory=list)
    _origin_index: dict[Origin, int] = field(default_factory=dict)

    @property
    def distinct(self) -> int:
        """How many different (event_name, event_id) the server's road brought."""
        return len(self._arrivals) - self.without_id

    def add(self, events: Sequence[dict[str, Any]], origin: Origin, user_agent: str, now: float) -> None:
        """Store one accepted request. The events have passed the checks; all of them arrived at `now`."""
        now = max(now, self.last_arrival)
        self.last_arrival = now
        size = len(events)
        self.requests += 1
        self.events += size
        self.batch_sizes[size] += 1
        minute = int(now // 60)
        self.minutes[minute] = self.minutes.get(minute, 0) + size
        if len(self.minutes) > MINUTES_KEPT:
            del self.minutes[min(self.minutes)]
        _count(self.agents, origin.partner_agent or "(none)", size)
        _count(self.user_agents, user_agent or "(none)", 1)
        if origin.test_event_code is not None:
            _count(self.test_codes, origin.test_event_code, size)
        origin_index = self._index_of(origin)
        names: Counter[str] = Counter()
        rows, arrivals = self._rows, self._arrivals
        for event in events:
            name, event_id = event["event_name"], event.get("event_id")
            names[name] += 1
            digest = digest_of(event)
            row = len(arrivals)
            if event_id is None:
                self.without_id += 1
                self._nameless.append((row, name))
            else:
                known = rows.get(name)
                if known is None:
                    known = rows[name] = {}
                first = known.setdefault(event_id, row)
                if first != row:
                    self._counts[first] += 1
                    self.server_repeats += 1
                    self.repeats.setdefault(first, []).append(Repeat(now, digest))
                    continue
                if self._browser:
                    self._match(name, event_id, self._browser.get(name, {}).get(event_id), now)
            arrivals.append(now)
            self._counts.append(1)
            self._origin_of.append(origin_index)
            self._digests += digest
        for name, count in names.items():
            _count(self.event_names, name, count)

    def add_browser(self, event_name: str, event_id: str | None, now: float) -> None:
        """Record an event of the browser's pixel, and match it with the server's of the same name and id."""
        self.browser_events += 1
        if event_id is None:
            return
        self._browser.setdefault(event_name, {}).setdefault(event_id, now)
        row = self._rows.get(event_name, {}).get(event_id)
        self._match(event_name, event_id, None if row is None else self._arrivals[row], now)

    def _match(self, name: str, event_id: str, other_arrival: float | None, now: float) -> None:
        if other_arrival is None or now - other_arrival > DEDUPLICATION_SECONDS:
            return
        if (name, event_id) not in self._matched:
            self._matched.add((name, event_id))
            self.browser_deduplicated += 1

    def _index_of(self, origin: Origin) -> int:
        index = self._origin_index.get(origin)
        if index is None:
            index = self._origin_index[origin] = len(self._origins)
            self._origins.append(origin)
        return index

    def stored(
        self, *, since: float = 0.0, after_row: int = -1, limit: int | None = None
    ) -> list[StoredEvent]:
        """The ids in order of their first arrival: from the time `since` on, and past the row `after_row`."""
        start = max(bisect_left(self._arrivals, since), after_row + 1)
        stop = len(self._arrivals) if limit is None else min(len(self._arrivals), start + limit)
        found: list[tuple[int, str, str | None]] = []
        for name, known in self._rows.items():
            # Each dictionary grew in the order of its rows, so the new ones are at its end.
            for event_id, row in reversed(known.items()):
                if row < start:
                    break
                if row < stop:
                    found.append((row, name, event_id))
        found.extend((row, name, None) for row, name in self._nameless if start <= row < stop)
        found.sort(key=lambda item: item[0])
        return [self._event(row, name, event_id) for row, name, event_id in found]

    def repeated(self) -> Iterator[tuple[StoredEvent, list[Repeat]]]:
        """The ids that arrived more than once by the server's road, with each later arrival."""
        for name, known in self._rows.items() if self.repeats else ():
            for event_id, row in known.items():
                if row in self.repeats:
                    yield self._event(row, name, event_id), self.repeats[row]

    def _event(self, row: int, name: str, event_id: str | None) -> StoredEvent:
        origin = self._origins[self._origin_of[row]]
        digest = bytes(self._digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES])
        return StoredEvent(name, event_id, self._counts[row], self._arrivals[row], digest.hex(), *origin, row)


def _count(counter: Counter[str], label: str, size: int) -> None:
    if label not in counter and len(counter) >= MAX_LABELS:
        label = OTHER
    counter[label] += size


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it came, its secrets masked, and the number that says how it went."""

    number: int
    arrival: float
    pixel_id: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    events: int
    outcome: str
    fbtrace_id: str


class Ring:
    """The last requests, whole, bounded by number and by bytes; the newest is always kept."""

    def __init__(self, max_requests: int = RING_REQUESTS, max_bytes: int = RING_BYTES) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self._requests: deque[ReceivedRequest] = deque()
        self._bytes = 0
        self.next_number = 1

    def add(self, request: ReceivedRequest) -> None:
        """Keep `request`, let go of the oldest that no longer fit."""
        self.next_number = request.number + 1
        self._requests.append(request)
        self._bytes += len(request.body)
        while len(self._requests) > 1 and (
            len(self._requests) > self._max_requests or self._bytes > self._max_bytes
        ):
            self._bytes -= len(self._requests.popleft().body)

    def newest(self, pixel_id: str | None = None, limit: int = RING_REQUESTS) -> list[ReceivedRequest]:
        """Up to `limit` requests (of one pixel), newest first."""
        chosen = (item for item in reversed(self._requests) if pixel_id is None or item.pixel_id == pixel_id)
        return [item for item, _ in zip(chosen, range(limit), strict=False)]

    def get(self, number: int) -> ReceivedRequest | None:
        """The request of that number, if it is still kept."""
        return next((item for item in self._requests if item.number == number), None)


class Store:
    """All accounts, and what could not be laid at any pixel's door."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.accounts: dict[str, Account] = {}
        self.unplaced: Counter[str] = Counter()
        self.ring = Ring()

    def account(self, pixel_id: str) -> Account:
        """The pixel's account, opened at its first use; for pixels that exist, or strangers could fill it."""
        account = self.accounts.get(pixel_id)
        if account is None:
            account = self.accounts[pixel_id] = Account(pixel_id)
        return account
