"""One turn of a pixel: some deliveries, one after the other, and then the back of the queue.

The turn is short, so that every pixel gets its own whatever its neighbour's backlog is. Several turns of one
pixel at once are harmless: each claims something else.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Final

import structlog
from django.db import InterfaceError, OperationalError, connection

from events.delivery import watch
from events.delivery.claim import Claim, Idle, LogDamaged, claim_next, end_turn, next_of_partner
from events.delivery.leases import LEASES
from events.delivery.outage import OUTAGE
from events.delivery.progress import PROGRESS
from events.delivery.seats import Seats
from events.delivery.send import Parcel, put_back_unsent, send, take_up
from events.delivery.settle import settle
from events.delivery.signs import sign_of
from events.pace import lanes
from events.replay import STEP
from onboarding.services import DELIVER
from partnerhub.lib.config import config
from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.graph.errors import GraphError, InDoubt
from partnerhub.lib.hints import send_hint

logger = structlog.get_logger(__name__)

# At 1,000 events and some 300 ms each, a neighbour waits a second.
TURN_DELIVERIES: Final = 4
# Between two tries to write down an answer while the database is away.
SETTLE_AGAIN_SECONDS: Final = 0.5


@functools.cache
def seats() -> Seats:
    """The seats of this process's threads."""
    return Seats(config().worker_threads)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn did, and why it ended: None where there may be more, and a hint was sent."""

    deliveries: int
    idle: Idle | None


@watch.turn
def deliver_pixel(pixel_id: int, client: GraphClient) -> Turn:
    """Deliver what one turn of the pixel takes.

    Raises DatabaseError where the database is away: what was claimed is found by its lease.
    """
    with seats().take(pixel_id) as has_seat:
        if has_seat:
            return _take_turn(pixel_id, client)
    # Others of the pixel's turns are at work here, and go on.
    end_turn(pixel_id)
    return Turn(0, Idle.BUSY)


def _take_turn(pixel_id: int, client: GraphClient) -> Turn:
    deliveries = 0
    claim: Claim | None = None
    while True:
        if not OUTAGE.may_send():
            # Its rows keep it awake: the sweep finds it when Graph is back.
            return Turn(deliveries, Idle.OUTAGE)
        try:
            claimed = claim_next(pixel_id, lanes(deliveries), takes_slow=seats().has_slow_seat)
        except LogDamaged as error:
            logger.error("log damaged", pixel_id=pixel_id, reason=str(error))
            claimed = Idle.DAMAGED
        if not isinstance(claimed, Claim):
            if claim is not None and claim.capped_partner_id is not None:
                _hand_over(claim)
            return Turn(deliveries, claimed)
        claim = claimed
        deliveries += 1
        PROGRESS.took_work()
        crash_point("after_claim")
        if claim.is_widened:
            send_hint(DELIVER, pixel_id)
        # One without an answer may have taken as long as a send may: the neighbours are next.
        if not deliver_claim(claim, client) or deliveries >= TURN_DELIVERIES * claim.weight:
            break
    if claim.capped_partner_id is not None:
        _hand_over(claim)
    else:
        send_hint(DELIVER, pixel_id)
    return Turn(deliveries, None)


def _hand_over(claim: Claim) -> None:
    """Of a partner with a ceiling: the turn's place goes to the pixel that has waited for it longest."""
    assert claim.capped_partner_id is not None
    following = next_of_partner(claim.pixel_id, claim.capped_partner_id)
    if following is not None:
        send_hint(DELIVER, following)


@watch.delivery
def deliver_claim(claim: Claim, client: GraphClient) -> bool:
    """Send what the claim covers, and settle it; False where no answer of Graph's came."""
    with seats().take_slow(claim.is_slow) as has_seat, LEASES.hold(claim):
        if not has_seat:
            # Another thread took the last one meanwhile.
            put_back_unsent(claim)
            return False
        parcel = take_up(claim)
        if parcel is None:
            _tell_replay(claim)
            return True
        crash_point("after_mark")
        outcome = send(parcel, client)
        OUTAGE.record(claim.pixel_id, sign_of(outcome, time.monotonic() - parcel.marked_at))
        _settle_while_leased(parcel, outcome)
        _tell_replay(claim)
        return not isinstance(outcome, InDoubt)


def _tell_replay(claim: Claim) -> None:
    """Its replay goes on."""
    if claim.replay_id is not None:
        send_hint(STEP, claim.replay_id)


def _settle_while_leased(parcel: Parcel, outcome: GraphAnswer | GraphError) -> None:
    """Settle it; while the database is away, again: the answer is in hand, and shall not become a doubt."""
    renewed_at = max(parcel.marked_at, LEASES.renewed_at(parcel.claim))
    lease_ends_at = renewed_at + config().delivery_lease_seconds
    while True:
        try:
            settle(parcel, outcome)
            return
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() + SETTLE_AGAIN_SECONDS >= lease_ends_at:
                raise
            time.sleep(SETTLE_AGAIN_SECONDS)
