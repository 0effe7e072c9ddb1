"""Settling: what came back for a parcel, written into the books in one transaction.

Only the holder of the lease settles, and only what is marked as being sent: a late one changes nothing.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import structlog
from django.db import connection

from events.delivery import books, watch
from events.delivery.doubts import follow_policy
from events.delivery.seats import SLOW_SECONDS
from events.delivery.send import Parcel
from events.delivery.signs import sign_of
from events.pace import is_app_wider, next_width
from events.retry import (
    APP_PAUSE_SECONDS,
    LONGEST_ASKED_SECONDS,
    doubt_wait_seconds,
    halves_wait_seconds,
    pixel_pause_seconds,
    wait_seconds,
)
from onboarding.models import Pixel
from onboarding.services import hold_pixel
from onboarding.services.outages import is_refusal_doubted, note_good_answer
from onboarding.services.partner_tokens import refuse_partner_token
from partnerhub.lib.config import config
from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphAnswer
from partnerhub.lib.graph.errors import (
    BatchRefused,
    CredentialRefused,
    GraphError,
    InDoubt,
    PermissionRefused,
    RateLimited,
    TooOld,
    Unsent,
)

logger = structlog.get_logger(__name__)

_chance = secrets.SystemRandom()

_SETTLE: Final = """
UPDATE events_delivery
SET state = {state}, due_at = clock_timestamp() + %(wait)s * interval '1 second', lease_until = NULL,
    lease_token = NULL, doubts = doubts + %(doubt)s, failure_class = %(failure_class)s, code = %(code)s,
    subcode = %(subcode)s, fbtrace_id = %(fbtrace_id)s, events_received = %(events_received)s,
    settled_at = CASE WHEN %(ends)s THEN clock_timestamp() END
WHERE id = %(delivery)s AND lease_token = %(token)s AND state = 'sending'
"""
_STATE: Final = _SETTLE.format(state="%(state)s")
# What was ever in doubt waits as in doubt, whatever an attempt after it came to.
_WAITING: Final = _SETTLE.format(state="CASE WHEN doubts > 0 THEN 'doubt' ELSE 'waiting' END")
_FINISH_ATTEMPT: Final = """
UPDATE events_attempt
SET outcome = %(outcome)s, finished_at = clock_timestamp(), http_status = %(http_status)s,
    failure_class = %(failure_class)s, code = %(code)s, subcode = %(subcode)s, fbtrace_id = %(fbtrace_id)s,
    latency_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000
WHERE id = %(attempt)s
"""
_FIRST_DOUBT: Final = """
SELECT extract(epoch FROM clock_timestamp() - min(started_at))::float8
FROM events_attempt
WHERE pixel_id = %(pixel)s AND (delivery_id = %(delivery)s OR delivery_id IN (
    WITH RECURSIVE above AS (
        SELECT parent_id FROM events_delivery WHERE id = %(delivery)s
        UNION ALL
        SELECT parent.parent_id FROM events_delivery AS parent JOIN above ON parent.id = above.parent_id)
    SELECT parent_id FROM above WHERE parent_id IS NOT NULL))
  AND outcome IN ('doubt', 'sending')
"""
_HALF: Final = """
INSERT INTO events_delivery
    (advertiser_id, pixel_id, kind, parent_id, replay_id, first_offset, last_offset, offsets,
     first_received_at, last_received_at, state, due_at, doubts)
SELECT advertiser_id, pixel_id, 'half', id, replay_id, %(first)s, %(last)s,
    (SELECT array_agg(one ORDER BY one) FROM unnest(offsets) AS one WHERE one BETWEEN %(first)s AND %(last)s),
    %(first_received_at)s, %(last_received_at)s,
    CASE WHEN doubts > 0 THEN 'doubt' ELSE 'waiting' END, clock_timestamp() + %(wait)s * interval '1 second',
    doubts
FROM events_delivery WHERE id = %(delivery)s
"""
# Of the batch that it is a half of, or a half's half.
_REFUSALS: Final = """
WITH RECURSIVE above AS (
    SELECT parent_id, pixel_id, first_offset, last_offset FROM events_delivery WHERE id = %s
    UNION ALL
    SELECT parent.parent_id, parent.pixel_id, parent.first_offset, parent.last_offset
    FROM events_delivery AS parent JOIN above ON parent.id = above.parent_id)
SELECT count(*) FROM events_delivery AS refused JOIN above AS batch
    ON batch.parent_id IS NULL AND refused.pixel_id = batch.pixel_id
    AND refused.first_offset BETWEEN batch.first_offset AND batch.last_offset
WHERE refused.state IN ('split', 'rejected')
"""


@watch.settling
def settle(parcel: Parcel, outcome: GraphAnswer | GraphError) -> bool:
    """Write what came back; whether it was written: not where the lease has passed to another."""
    crash_point("before_settle")
    with tenant_scope(advertiser_id=parcel.claim.advertiser_id), connection.cursor() as cursor:
        match outcome:
            case GraphAnswer():
                is_settled = _accept(cursor, parcel, outcome)
            case BatchRefused() | TooOld():
                is_settled = _refuse(cursor, parcel, outcome)
            case CredentialRefused() | PermissionRefused():
                is_settled = _park(cursor, parcel, outcome)
            case InDoubt():
                is_settled = _doubt(cursor, parcel, outcome)
            case _:
                is_settled = _wait(cursor, parcel, outcome)
        if is_settled:
            _learn(cursor, parcel, outcome)
    if not is_settled:
        logger.warning(
            "late settle dropped", delivery_id=parcel.claim.delivery_id, pixel_id=parcel.claim.pixel_id
        )
    crash_point("after_settle")
    return is_settled


def _learn(cursor: Any, parcel: Parcel, outcome: GraphAnswer | GraphError) -> None:
    """Keep what the answer says of how wide the pixel may send, and whether it is slow; mostly that is nothing new."""
    claim = parcel.claim
    seconds = time.monotonic() - parcel.marked_at
    is_slow = seconds >= SLOW_SECONDS or (claim.is_slow and isinstance(outcome, InDoubt))
    sign = sign_of(outcome, seconds)
    width = next_width(claim.width, sign, is_full=claim.is_full)
    if width != claim.width or is_slow != claim.is_slow:
        books.set_pace(cursor, claim.pixel_id, step=width - claim.width, is_slow=is_slow)
    if claim.app_partner_id is not None and is_app_wider(sign, is_full=claim.is_app_full):
        books.widen_app(cursor, claim.app_partner_id)


def _accept(cursor: Any, parcel: Parcel, answer: GraphAnswer) -> bool:
    received = answer.events_received
    count = received if type(received) is int and abs(received) < 2**63 else None
    if not _write(cursor, parcel, answer, state="accepted", outcome="accepted", ends=True, received=count):
        return False
    if parcel.claim.replay_id is not None:
        books.lift_rejections(cursor, parcel.claim.pixel_id, [piece.log_offset for piece in parcel.pieces])
    note_good_answer(cursor, parcel.credential_id)
    if received != len(parcel.pieces):
        # Undocumented, so no verdict on any event: Graph took the request. Somebody should look.
        sent = len(parcel.pieces)
        books.find_other_count(cursor, parcel.claim, sent=sent, received=count, fbtrace_id=answer.fbtrace_id)
        logger.warning(
            "Graph counted other than we sent",
            delivery_id=parcel.claim.delivery_id,
            pixel_id=parcel.claim.pixel_id,
            sent=sent,
            received=repr(received)[:40],
            fbtrace_id=answer.fbtrace_id,
        )
    return True


def _wait(cursor: Any, parcel: Parcel, error: GraphError) -> bool:
    """Nothing was taken in, and it will pass: a fault of Meta's, a limit, no connection."""
    asked = error.retry_after_seconds
    wait = wait_seconds(parcel.attempts, asked_seconds=asked, draw=_chance.random())
    outcome = "unsent" if isinstance(error, Unsent) else "refused"
    if not _write(cursor, parcel, error, state=None, outcome=outcome, wait=wait):
        return False
    books.pause_pixel(cursor, parcel.claim.pixel_id, pixel_pause_seconds(wait, asked_seconds=asked))
    if isinstance(error, RateLimited) and error.scope == "app" and parcel.claim.app_partner_id is not None:
        logger.warning("app limited", partner_id=parcel.claim.app_partner_id, code=error.code)
        books.pause_app(cursor, parcel.claim.app_partner_id, max(wait, APP_PAUSE_SECONDS), code=error.code)
    return True


def _park(cursor: Any, parcel: Parcel, error: GraphError) -> bool:
    """A person must mend it: the pixel is held, and its events wait, this delivery's whole.

    Not so where the refusal is taken for Graph's own fault, and not at once where it is of the partner's token, which
    opens many pixels: then the pixel backs off, and it passes, or the guardian finds that it does not.
    """
    if not _write(cursor, parcel, error, state=None, outcome="refused", wait=0.0):
        return False
    is_partners = isinstance(error, CredentialRefused) and refuse_partner_token(
        credential_id=parcel.credential_id, last_four=parcel.token.last_four, error=error
    )
    if is_partners or is_refusal_doubted(
        credential_id=parcel.credential_id,
        failure_class=error.failure_class,
        code=error.code,
        subcode=error.subcode,
    ):
        books.pause_pixel(cursor, parcel.claim.pixel_id, wait_seconds(parcel.attempts, draw=_chance.random()))
        return True
    hold = Pixel.Hold.CREDENTIAL if isinstance(error, CredentialRefused) else Pixel.Hold.PERMISSION
    # Where it was mended while this was on its way, the refusal is the old token's and holds nothing.
    if hold_pixel(credential_id=parcel.credential_id, hold=hold, error=error):
        logger.warning("pixel held", pixel_id=parcel.claim.pixel_id, hold=str(hold), code=error.code)
    return True


def _doubt(cursor: Any, parcel: Parcel, error: GraphError) -> bool:
    wait = doubt_wait(cursor, parcel.claim.delivery_id, parcel.claim.pixel_id, parcel.claim.doubts + 1)
    if not _write(cursor, parcel, error, state="doubt", outcome="doubt", wait=wait, doubt=1):
        return False
    follow_policy(cursor, parcel.claim.delivery_id, parcel.claim.pixel_id, wait)
    if error.retry_after_seconds:
        asked = min(error.retry_after_seconds, LONGEST_ASKED_SECONDS)
        books.pause_pixel(cursor, parcel.claim.pixel_id, asked)
    return True


def doubt_wait(cursor: Any, delivery_id: int, pixel_id: int, doubts: int) -> float | None:
    """Seconds until what is in doubt for the `doubts`-th time is sent again; None: never by itself."""
    cursor.execute(_FIRST_DOUBT, {"pixel": pixel_id, "delivery": delivery_id})
    (ago,) = cursor.fetchone()
    return doubt_wait_seconds(
        doubts,
        retries=config().delivery_doubt_retries,
        first_doubt_seconds_ago=ago or 0.0,
        draw=_chance.random(),
    )


def _refuse(cursor: Any, parcel: Parcel, error: GraphError) -> bool:
    """One event at least is refused, and Graph took none. Which one, halving finds."""
    pieces = parcel.pieces
    if len(pieces) > 1:
        if not _write(cursor, parcel, error, state="split", outcome="refused", ends=True):
            return False
        crash_point("mid_split")
        claim = parcel.claim
        middle = len(pieces) // 2
        last_of_first = pieces[middle - 1]
        cursor.execute(_REFUSALS, [claim.delivery_id])
        wait = halves_wait_seconds(cursor.fetchone()[0], draw=_chance.random())
        half = {"delivery": claim.delivery_id, "wait": wait}
        cursor.execute(
            _HALF,
            half
            | {
                "first": claim.first_offset,
                "last": last_of_first.log_offset,
                "first_received_at": claim.first_received_at,
                "last_received_at": last_of_first.received_at,
            },
        )
        cursor.execute(
            _HALF,
            half
            | {
                "first": last_of_first.log_offset + 1,
                "last": claim.last_offset,
                # Times never go back along a log.
                "first_received_at": last_of_first.received_at,
                "last_received_at": claim.last_received_at,
            },
        )
        return True
    is_too_old = isinstance(error, TooOld)
    if is_too_old and parcel.claim.doubts:
        # Meta may have had it in time: what is in doubt never turns into "rejected, too old".
        return _write(cursor, parcel, error, state="doubt", outcome="refused")
    if not _write(cursor, parcel, error, state="rejected", outcome="refused", ends=True):
        return False
    if parcel.claim.replay_id is not None:
        # The books have a fate for it: an event that Meta once accepted is not rejected by this.
        return True
    books.reject(
        cursor,
        parcel.claim,
        pieces,
        reason="too_old" if is_too_old else "refused",
        code=error.code,
        subcode=error.subcode,
        field=error.blame[0] if error.blame else "",
    )
    return True


def _write(
    cursor: Any,
    parcel: Parcel,
    result: GraphAnswer | GraphError,
    *,
    state: str | None,
    outcome: str,
    wait: float | None = None,
    doubt: int = 0,
    ends: bool = False,
    received: int | None = None,
) -> bool:
    """Settle the delivery and finish its attempt; whether the lease was ours. State None: it waits again."""
    error = result if isinstance(result, GraphError) else None
    numbers = {
        "failure_class": str(error.failure_class) if error else "",
        "code": error.code if error else None,
        "subcode": error.subcode if error else None,
        "fbtrace_id": (result.fbtrace_id or "")[:64],
    }
    cursor.execute(
        _WAITING if state is None else _STATE,
        {
            **numbers,
            "state": state,
            "wait": wait,
            "doubt": doubt,
            "events_received": received,
            "ends": ends,
            "delivery": parcel.claim.delivery_id,
            "token": parcel.claim.lease_token,
        },
    )
    if not cursor.rowcount:
        return False
    cursor.execute(
        _FINISH_ATTEMPT,
        {**numbers, "outcome": outcome, "http_status": result.status, "attempt": parcel.attempt_id},
    )
    return True
