"""The ledger check: the books of each pixel, recounted from the rows themselves.

No number here is derived from another: events are counted where they lie, deliveries are laid end to end, and
what Meta's stand-in holds is compared byte by byte where it is given. It reads one snapshot of the database, as
the tables' owner, or as the workers' role with one advertiser in sight (events.book_checks). It repairs nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.db import connection, transaction

from partnerhub.lib.db import tenant_scope

# A lease that ended so many sweeps ago should have been taken over.
OVERDUE_SWEEPS: Final = 3
# Of a check by the clock: a snapshot keeps dead versions of the hottest rows alive for all.
STATEMENT_SECONDS: Final = 300

# (event_name, event_id): what a door and Meta both know an event by.
Key = tuple[str, str]


class AtMeta(NamedTuple):
    """What Meta, or its stand-in, holds under one key."""

    copies: int
    # BLAKE2b-128 of the event as it came first, in hex.
    digest: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold, in words. Rules are L1 to L9 of docs/delivery.md."""

    rule: str
    pixel_id: int
    text: str


@dataclass(slots=True)
class Account:
    """Where a pixel's events are. `taken` is the sum of the others where the books are right."""

    pixel_id: int
    meta_id: str
    taken: int = 0
    accepted: int = 0
    rejected: int = 0
    in_flight: int = 0
    in_doubt: int = 0
    waiting: int = 0
    # Attempts whose outcome nobody knows: each may have doubled its events.
    doubts: int = 0
    # Copies beyond the first that Meta holds, where its store was given.
    surplus: int = 0


@dataclass(slots=True)
class Audit:
    """What was counted, and what was found."""

    accounts: dict[int, Account] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every rule holds for every pixel."""
        return not self.findings

    def total(self, column: str) -> int:
        """The sum of one column over all accounts."""
        return sum(getattr(account, column) for account in self.accounts.values())


class _Delivery(NamedTuple):
    id: int
    parent_id: int | None
    kind: str
    state: str
    first: int
    last: int
    is_overdue: bool
    has_due_time: bool
    offsets: list[int] | None
    replay_id: int | None

    @property
    def held(self) -> list[int]:
        """Its offsets, in order."""
        return list(range(self.first, self.last + 1)) if self.offsets is None else sorted(self.offsets)


class _Piece(NamedTuple):
    """A stretch of offsets, and what covers it."""

    first: int
    last: int
    name: str


# Which column of the account an event of a delivery in this state stands in.
_COLUMN: Final = {
    "waiting": "waiting",
    "claimed": "in_flight",
    "sending": "in_flight",
    "accepted": "accepted",
    "doubt": "in_doubt",
}

_LOGS: Final = """
SELECT log.pixel_id, pixel.meta_id, log.head, log.tail, log.awake, pixel.held_at IS NOT NULL,
    log.advertiser_id = pixel.advertiser_id, log.kept_from
FROM events_pixellog AS log JOIN onboarding_pixel AS pixel ON pixel.id = log.pixel_id
WHERE log.pixel_id = ANY (%s) ORDER BY log.pixel_id
"""
_DENSE: Final = """
SELECT log.pixel_id, count(*), count(DISTINCT log_offset), min(log_offset), max(log_offset)
FROM events_event AS event JOIN events_pixellog AS log ON log.pixel_id = event.pixel_id
WHERE event.pixel_id = ANY (%s) AND event.log_offset >= log.kept_from GROUP BY log.pixel_id
"""
# A lease may have ended this long ago without anybody having taken the delivery over yet.
_DELIVERIES: Final = """
SELECT pixel_id, id, parent_id, kind, state, first_offset, last_offset,
    coalesce(lease_until < now() - %s * interval '1 second', false), due_at IS NOT NULL, offsets, replay_id
FROM events_delivery WHERE pixel_id = ANY (%s) ORDER BY first_offset, id
"""
_OF_DELIVERIES: Final = """
SELECT delivery.pixel_id, delivery.state, count(*)
FROM events_delivery AS delivery
JOIN events_event AS event
    ON event.advertiser_id = delivery.advertiser_id AND event.pixel_id = delivery.pixel_id
    AND event.log_offset BETWEEN delivery.first_offset AND delivery.last_offset
    AND event.received_at BETWEEN delivery.first_received_at AND delivery.last_received_at
    AND (delivery.offsets IS NULL OR event.log_offset = ANY (delivery.offsets))
JOIN events_pixellog AS log ON log.pixel_id = event.pixel_id AND event.log_offset >= log.kept_from
WHERE delivery.pixel_id = ANY (%s) AND delivery.state <> 'split'
  -- A replay is beside the books: its events stand where they stood, until they are accepted.
  AND delivery.replay_id IS NULL
  AND NOT EXISTS (
    SELECT FROM events_rejection AS rejection
    WHERE rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset)
GROUP BY delivery.pixel_id, delivery.state
"""
_BACKLOGS: Final = """
SELECT pixel_id, id, next_offset, last_offset FROM events_backlog
WHERE pixel_id = ANY (%s) AND next_offset <= last_offset
"""
_UNCLAIMED: Final = """
SELECT event.pixel_id, count(*)
FROM events_event AS event JOIN events_pixellog AS log ON log.pixel_id = event.pixel_id
WHERE event.pixel_id = ANY (%s)
  AND (event.log_offset >= log.tail
    OR EXISTS (
        SELECT FROM events_backlog AS backlog
        WHERE backlog.pixel_id = event.pixel_id AND backlog.drained_at IS NULL
          AND event.log_offset BETWEEN backlog.next_offset AND backlog.last_offset))
  AND NOT EXISTS (
    SELECT FROM events_rejection AS rejection
    WHERE rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset)
GROUP BY event.pixel_id
"""
_REJECTED: Final = """
SELECT rejection.pixel_id, count(*),
    count(*) FILTER (WHERE NOT EXISTS (
        SELECT FROM events_event AS event
        WHERE event.pixel_id = rejection.pixel_id AND event.log_offset = rejection.log_offset
          AND event.event_id = rejection.event_id))
FROM events_rejection AS rejection
JOIN events_pixellog AS log ON log.pixel_id = rejection.pixel_id AND rejection.log_offset >= log.kept_from
WHERE rejection.pixel_id = ANY (%s) GROUP BY rejection.pixel_id
"""
_DOUBTS: Final = """
SELECT pixel_id, count(*) FROM events_attempt
WHERE pixel_id = ANY (%s) AND outcome = 'doubt' GROUP BY pixel_id
"""
_COUNTERS: Final = """
WITH log AS (
    -- Days are dropped whole: of a pixel all hours before the first event that is kept, and that day's are there.
    SELECT pixel_id, kept_from, CASE WHEN kept_from = 0 THEN '-infinity' ELSE coalesce((
        SELECT date_trunc('day', received_at, 'UTC') FROM events_event AS event
        WHERE event.advertiser_id = events_pixellog.advertiser_id AND event.pixel_id = events_pixellog.pixel_id
          AND log_offset = kept_from), 'infinity') END AS since
    FROM events_pixellog WHERE pixel_id = ANY (%(pixels)s))
SELECT pixel_id, hour, event_name, origin, coalesce(counted.taken, 0), coalesce(kept.taken, 0)
FROM (SELECT counted.* FROM events_hourlycount AS counted JOIN log USING (pixel_id) WHERE hour >= since) AS counted
FULL JOIN (
    SELECT pixel_id, date_trunc('hour', received_at, 'UTC') AS hour, event_name, origin, count(*) AS taken
    FROM events_event JOIN log USING (pixel_id) WHERE log_offset >= kept_from GROUP BY 1, 2, 3, 4
) AS kept USING (pixel_id, hour, event_name, origin)
WHERE coalesce(counted.taken, 0) <> coalesce(kept.taken, 0)
"""
# Whose rows these are another tenant may not see: the function tells of each table, and of nothing else.
_OWNERS: Final = "SELECT pixel_id, relation, found FROM events_misowned(%s)"
_EVENTS: Final = """
SELECT event.log_offset, event.event_name, event.event_id, event.payload, rejection.reason, delivery.state,
    -- What may have come twice: each doubt, and each replay that Meta took.
    (SELECT count(*) FROM events_attempt AS attempt
     JOIN events_delivery AS tried ON tried.id = attempt.delivery_id
     WHERE attempt.pixel_id = event.pixel_id
       AND (attempt.outcome = 'doubt' OR attempt.outcome = 'accepted' AND tried.replay_id IS NOT NULL)
       AND event.log_offset BETWEEN tried.first_offset AND tried.last_offset
       AND (tried.offsets IS NULL OR event.log_offset = ANY (tried.offsets))),
    EXISTS (SELECT FROM events_doubtdecision AS decided
            WHERE decided.delivery_id = delivery.id AND decided.decision = 'delivered')
FROM events_event AS event
LEFT JOIN events_rejection AS rejection
    ON rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset
LEFT JOIN events_delivery AS delivery
    ON delivery.pixel_id = event.pixel_id AND delivery.state <> 'split'
    AND event.log_offset BETWEEN delivery.first_offset AND delivery.last_offset
    AND (delivery.offsets IS NULL OR event.log_offset = ANY (delivery.offsets))
    AND delivery.replay_id IS NULL
WHERE event.pixel_id = %s
"""
_SHOWN: Final = 5


def audit_ledger(
    pixel_ids: Iterable[int] | None = None,
    *,
    told: Mapping[int, Mapping[Key, int]] | None = None,
    at_meta: Mapping[int, Mapping[Key, AtMeta]] | None = None,
    overdue_seconds: float = 0.0,
    advertiser_id: int | None = None,
) -> Audit:
    """Recount the pixels' books; all pixels' where none is named.

    Without an advertiser, as the tables' owner. With one, as the workers' role: the pixels must be this
    advertiser's, and a statement that takes too long is cut off, as an OperationalError.

    `told` has, by pixel, the best status that a door answered for each key: 200, 4xx, or anything else for an
    answer that left it open. `at_meta` has what Meta's stand-in holds. Without them L2, and L6 with L7, are
    not looked at. A lease that ended less than `overdue_seconds` ago is nobody's fault yet.
    """
    audit = Audit()
    with _snapshot(advertiser_id) as cursor:
        if pixel_ids is None:
            cursor.execute("SELECT pixel_id FROM events_pixellog")
            pixel_ids = [pixel_id for (pixel_id,) in cursor.fetchall()]
        ids = sorted(pixel_ids)
        _Recount(cursor, audit, ids, overdue_seconds).run()
        for pixel_id in ids:
            if told is not None:
                _kept(cursor, audit, pixel_id, told.get(pixel_id, {}))
            if at_meta is not None:
                _truth(cursor, audit, pixel_id, at_meta.get(pixel_id, {}))
    return audit


@contextmanager
def _snapshot(advertiser_id: int | None) -> Iterator[Any]:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if advertiser_id is None:
            yield cursor
        else:
            with tenant_scope(advertiser_id=advertiser_id):
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
                yield cursor


class _Recount:
    """L1, L3, L4, L5, L8 and L9 of some pixels."""

    def __init__(self, cursor: Any, audit: Audit, ids: list[int], overdue_seconds: float) -> None:
        self._cursor = cursor
        self._audit = audit
        self._ids = ids
        self._overdue_seconds = overdue_seconds
        self._deliveries: dict[int, list[_Delivery]] = defaultdict(list)
        # What the backlogs have not passed yet.
        self._set_aside: dict[int, list[_Piece]] = defaultdict(list)

    def run(self) -> None:
        logs = self._rows(_LOGS)
        for pixel_id, meta_id, *_ in logs:
            self._audit.accounts[pixel_id] = Account(pixel_id, meta_id)
        self._cursor.execute(_DELIVERIES, [self._overdue_seconds, self._ids])
        for pixel_id, *row in self._cursor.fetchall():
            self._deliveries[pixel_id].append(_Delivery(*row))
        for pixel_id, backlog_id, first, last in self._rows(_BACKLOGS):
            self._set_aside[pixel_id].append(_Piece(first, last, f"backlog {backlog_id}"))
        kept = {row[0]: row[1:] for row in self._rows(_DENSE)}
        self._count()
        for pixel_id, _, head, tail, awake, is_held, is_owners, first_kept in logs:
            self._dense(pixel_id, first_kept, head, kept.get(pixel_id))
            self._cover(pixel_id, first_kept, tail)
            self._sum(pixel_id, head - first_kept)
            set_aside = sum(piece.last - piece.first + 1 for piece in self._set_aside[pixel_id])
            self._awake(pixel_id, head - tail + set_aside, awake=awake, is_held=is_held)
            if not is_owners:
                self._find("L8", pixel_id, "the log names another advertiser than its pixel's")
        for pixel_id, hour, name, origin, counted, rows in self._rows(_COUNTERS, named=True):
            self._find(
                "L5",
                pixel_id,
                f"{name} at {hour:%Y-%m-%d %H}h, door {origin}: {counted} counted, {rows} kept",
            )
        for pixel_id, name, count in self._rows(_OWNERS):
            self._find("L8", pixel_id, f"{count} rows of {name} name another advertiser than their pixel's")

    def _rows(self, query: str, *, named: bool = False) -> list[tuple[Any, ...]]:
        self._cursor.execute(query, {"pixels": self._ids} if named else [self._ids])
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def _find(self, rule: str, pixel_id: int, text: str) -> None:
        self._audit.findings.append(Finding(rule, pixel_id, text))

    def _count(self) -> None:
        accounts = self._audit.accounts
        for pixel_id, state, count in self._rows(_OF_DELIVERIES):
            if state == "rejected":
                self._find("L4", pixel_id, f"{count} events of rejected deliveries have no rejection")
            else:
                column = _COLUMN[state]
                setattr(accounts[pixel_id], column, getattr(accounts[pixel_id], column) + count)
        for pixel_id, count in self._rows(_UNCLAIMED):
            accounts[pixel_id].waiting += count
        for pixel_id, count, strangers in self._rows(_REJECTED):
            accounts[pixel_id].rejected = count
            if strangers:
                self._find("L4", pixel_id, f"{strangers} rejections are of no event of the log")
        for pixel_id, count in self._rows(_DOUBTS):
            accounts[pixel_id].doubts = count

    def _dense(
        self, pixel_id: int, first_kept: int, head: int, kept: tuple[int, int, int, int] | None
    ) -> None:
        """L1; what retention dropped is not missed."""
        if kept is None:
            if head > first_kept:
                self._find(
                    "L1", pixel_id, f"the log's head is {head}, and no event from {first_kept} on is kept"
                )
            return
        count, distinct, first, last = kept
        if first != first_kept:
            self._find("L1", pixel_id, f"the first event kept is {first}, and not {first_kept}")
        self._audit.accounts[pixel_id].taken = count
        if last != head - 1:
            self._find("L1", pixel_id, f"the last event kept is {last}, and the head is {head}")
        if count != distinct:
            self._find("L1", pixel_id, f"{count - distinct} offsets are there twice")
        if distinct != last - first + 1:
            self._find("L1", pixel_id, f"{last - first + 1 - distinct} offsets are missing")

    def _cover(self, pixel_id: int, first_kept: int, tail: int) -> None:
        """L3: originals and what backlogs have left tile what is before the tail, halves tile their parent."""
        halves: dict[int, list[_Delivery]] = defaultdict(list)
        covers = list(self._set_aside[pixel_id])
        for delivery in self._deliveries[pixel_id]:
            piece = _Piece(delivery.first, delivery.last, f"delivery {delivery.id}")
            if delivery.parent_id is not None:
                halves[delivery.parent_id].append(delivery)
            elif delivery.replay_id is None:
                covers.append(piece)
        kept = sorted(piece for piece in covers if piece.last >= first_kept)
        if gap := _first_gap(kept, min(first_kept, kept[0].first) if kept else tail, tail):
            self._find("L3", pixel_id, f"the deliveries do not tile the claimed part: {gap}")
        for delivery in self._deliveries[pixel_id]:
            children = halves.pop(delivery.id, [])
            if (delivery.state == "split") != bool(children):
                self._find(
                    "L3", pixel_id, f"delivery {delivery.id} is {delivery.state} with {len(children)} halves"
                )
            elif children and sorted(one for child in children for one in child.held) != delivery.held:
                self._find("L3", pixel_id, f"the halves of delivery {delivery.id} do not tile it")
        for parent_id in halves:
            self._find("L3", pixel_id, f"halves of delivery {parent_id}, which is not this pixel's")

    def _sum(self, pixel_id: int, taken: int) -> None:
        """L4: what was taken in is somewhere, once."""
        account = self._audit.accounts[pixel_id]
        parts = account.accepted + account.rejected + account.in_flight + account.in_doubt + account.waiting
        if parts != taken:
            self._find("L4", pixel_id, f"{taken} events were taken in, and {parts} are accounted for")

    def _awake(self, pixel_id: int, unclaimed: int, *, awake: bool, is_held: bool) -> None:
        """L9: work is under a lease, or has a due time, or its pixel is awake."""
        if unclaimed and not awake and not is_held:
            self._find("L9", pixel_id, f"{unclaimed} events are unclaimed, and the pixel sleeps")
        for delivery in self._deliveries[pixel_id]:
            if delivery.state == "waiting" and not delivery.has_due_time:
                self._find("L9", pixel_id, f"delivery {delivery.id} waits, and has no due time")
            if delivery.is_overdue:
                self._find(
                    "L9", pixel_id, f"delivery {delivery.id} is {delivery.state}, and its lease is over"
                )


def _first_gap(pieces: list[_Piece], start: int, end: int) -> str:
    """Where the pieces, in order, do not lie end to end from `start` up to `end`; empty where they do."""
    for piece in pieces:
        if piece.first != start:
            return f"{piece.name} begins at {piece.first}, not at {start}"
        start = piece.last + 1
    return "" if start == end else f"they end before {start}, not before {end}"


def _kept(cursor: Any, audit: Audit, pixel_id: int, told: Mapping[Key, int]) -> None:
    """L2: what was answered 200 is kept once, what was refused is not, what was left open at most once."""
    cursor.execute(
        "SELECT event_name, event_id FROM events_event AS event WHERE pixel_id = %s AND NOT EXISTS ("
        " SELECT FROM events_rejection AS rejection WHERE rejection.pixel_id = event.pixel_id"
        " AND rejection.log_offset = event.log_offset AND rejection.reason = 'clash')",
        [pixel_id],
    )
    kept: Counter[Key] = Counter((name, event_id) for name, event_id in cursor.fetchall())
    lost = [key for key, status in told.items() if status == 200 and kept[key] == 0]
    doubled = [key for key, count in kept.items() if count > 1]
    refused = [key for key, status in told.items() if 400 <= status < 500 and kept[key]]
    for text, keys in (
        ("answered 200 and not kept", lost),
        ("kept more than once", doubled),
        ("refused and kept", refused),
    ):
        if keys:
            audit.findings.append(Finding("L2", pixel_id, f"{len(keys)} events {text}: {_some(keys)}"))


def _truth(cursor: Any, audit: Audit, pixel_id: int, at_meta: Mapping[Key, AtMeta]) -> None:
    """L6 and L7: what the books say of Meta is what Meta holds."""
    cursor.execute(_EVENTS, [pixel_id])
    found: dict[str, list[Key]] = defaultdict(list)
    known: set[Key] = set()
    for _, name, event_id, payload, reason, state, doubts, is_decided in cursor.fetchall():
        key = (name, event_id)
        if reason == "clash":
            continue
        known.add(key)
        stored = at_meta.get(key)
        is_accepted = reason is None and state == "accepted"
        if is_accepted and stored is None and is_decided:
            # A person took it for delivered; Meta has never said so.
            continue
        if is_accepted and stored is None:
            found["L6 accepted and not at Meta"].append(key)
        elif is_accepted and stored and payload and stored.digest != _digest(payload):
            found["L6 at Meta other than stored"].append(key)
        elif reason is not None and stored is not None and not doubts:
            found["L6 rejected, at Meta, and no doubt on record"].append(key)
        if stored is not None and stored.copies > 1:
            audit.accounts[pixel_id].surplus += stored.copies - 1
            if stored.copies - 1 > doubts:
                found["L7 at Meta more often than the doubts on record explain"].append(key)
    found["L6 at Meta and not in the log"] = [key for key in at_meta if key not in known]
    for text, keys in found.items():
        if keys:
            rule, _, words = text.partition(" ")
            audit.findings.append(Finding(rule, pixel_id, f"{len(keys)} events {words}: {_some(keys)}"))


def _digest(payload: Any) -> str:
    return hashlib.blake2b(bytes(payload), digest_size=16).hexdigest()


def _some(keys: list[Key]) -> str:
    shown = ", ".join(f"{name} {event_id}" for name, event_id in keys[:_SHOWN])
    return f"{shown} …" if len(keys) > _SHOWN else shown
