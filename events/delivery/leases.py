"""The leases that this process holds, and the heartbeat that keeps them alive while it works on them.

A lease that is over stays over: whoever slept through it (a stopped process beats no more) finds that its token
settles nothing. And none is kept for ever: a thread that hangs shall not keep a delivery from the others.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import connection

from events.delivery.claim import Claim
from partnerhub.lib.config import config

# Of a lease: three beats may be lost to a database that is away before it ends.
BEATS_A_LEASE: Final = 4

_RENEW: Final = """
UPDATE events_delivery AS delivery
SET lease_until = clock_timestamp() + %s * interval '1 second'
FROM unnest(%s::bigint[], %s::uuid[]) AS held (id, lease_token)
WHERE delivery.id = held.id AND delivery.lease_token = held.lease_token
  AND delivery.state IN ('claimed', 'sending') AND delivery.lease_until > clock_timestamp()
RETURNING delivery.lease_token
"""


@dataclass(slots=True)
class _Held:
    delivery_id: int
    since: float
    renewed_at: float


class Leases:
    """Times on a monotonic clock; each entry is written by its own thread and by the heartbeat."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[uuid.UUID, _Held] = {}

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[None]:
        """Renew the claim's lease with each beat, while the block runs."""
        now = self._clock()
        with self._lock:
            self._held[claim.lease_token] = _Held(claim.delivery_id, now, now)
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(claim.lease_token, None)

    def renewed_at(self, claim: Claim) -> float:
        """When the heartbeat last renewed the claim's lease, or when it was taken; 0 where it is not held."""
        with self._lock:
            held = self._held.get(claim.lease_token)
            return held.renewed_at if held else 0.0

    def beat(self) -> int:
        """Renew what is held, but for what has been held longer than any send takes; how many leases live on."""
        lease = config().delivery_lease_seconds
        now = self._clock()
        with self._lock:
            tokens = {
                token: held
                for token, held in self._held.items()
                if now - held.since < config().delivery_deadline_seconds
            }
        if not tokens:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_RENEW, [lease, [held.delivery_id for held in tokens.values()], list(tokens)])
            renewed = [token for (token,) in cursor.fetchall()]
        for token in renewed:
            tokens[token].renewed_at = now
        return len(renewed)


LEASES: Final = Leases()
