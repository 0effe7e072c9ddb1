"""What is seen of a delivery from outside: the ids that its log lines share, its counts, its trace.

Each function here wraps a step of the engine and changes nothing of what it does.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from partnerhub.lib import metrics, tracing
from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.graph.errors import (
    BatchRefused,
    CredentialRefused,
    GraphError,
    InDoubt,
    PermissionRefused,
    TooOld,
)

if TYPE_CHECKING:
    from events.delivery.claim import Claim, Idle
    from events.delivery.engine import Turn
    from events.delivery.send import Parcel

logger = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# When the claim under way began, for the span of the delivery that comes of it.
_claim_began: ContextVar[int] = ContextVar("claim_began", default=0)


def turn(step: Callable[[int, GraphClient], Turn]) -> Callable[[int, GraphClient], Turn]:
    """One turn of a pixel: its lines carry the pixel's key."""

    @functools.wraps(step)
    def watched(pixel_id: int, client: GraphClient) -> Turn:
        with bound_contextvars(pixel_id=pixel_id):
            return step(pixel_id, client)

    return watched


def claim(step: Callable[P, Claim | Idle]) -> Callable[P, Claim | Idle]:
    """A claim: counted, also where there was nothing to claim."""

    @functools.wraps(step)
    def watched(*args: P.args, **kwargs: P.kwargs) -> Claim | Idle:
        _claim_began.set(tracing.now_ns())
        claimed = step(*args, **kwargs)
        # An Idle is a word; a Claim is none.
        metrics.CLAIMS.add(claimed if isinstance(claimed, str) else "claimed")
        return claimed

    return watched


def delivery(step: Callable[[Claim, GraphClient], bool]) -> Callable[[Claim, GraphClient], bool]:
    """One attempt of a delivery: its lines carry both keys, its span holds all that comes of it."""

    @functools.wraps(step)
    def watched(claimed: Claim, client: GraphClient) -> bool:
        with bound_contextvars(pixel_id=claimed.pixel_id, delivery_id=claimed.delivery_id):
            if not tracing.is_on():
                return step(claimed, client)
            began = _claim_began.get()
            ids = tracing.delivery_ids(claimed.delivery_id, claimed.attempts)
            with tracing.span(
                "delivery",
                kind="CONSUMER",
                ids=ids,
                started_ns=began,
                attempt=claimed.attempts + 1,
                pixel_id=claimed.pixel_id,
                delivery_id=claimed.delivery_id,
            ):
                tracing.record(
                    "claim",
                    started_ns=began,
                    first_offset=claimed.first_offset,
                    last_offset=claimed.last_offset,
                    pixel_id=claimed.pixel_id,
                    delivery_id=claimed.delivery_id,
                )
                return step(claimed, client)

    return watched


def mark(step: Callable[[Claim], Parcel | None]) -> Callable[[Claim], Parcel | None]:
    """A claim's events read and marked as being sent."""

    @functools.wraps(step)
    def watched(claimed: Claim) -> Parcel | None:
        with tracing.span("mark", pixel_id=claimed.pixel_id, delivery_id=claimed.delivery_id):
            return step(claimed)

    return watched


def sending(
    step: Callable[[Parcel, GraphClient], GraphAnswer | GraphError],
) -> Callable[[Parcel, GraphClient], GraphAnswer | GraphError]:
    """A request to Graph: timed, counted by what came back, and joined to the doors' commits it is made of."""

    @functools.wraps(step)
    def watched(parcel: Parcel, client: GraphClient) -> GraphAnswer | GraphError:
        events = len(parcel.pieces)
        metrics.DELIVERY_EVENTS.observe(events)
        if parcel.attempts > 1:
            metrics.DELIVERY_RETRIES.add()
        metrics.DELIVERY_SENDS.add(1)
        began = time.monotonic()
        try:
            with tracing.span(
                "send",
                kind="CLIENT",
                links=_commits(parcel) if tracing.is_on() else (),
                pixel_id=parcel.claim.pixel_id,
                delivery_id=parcel.claim.delivery_id,
                events=events,
            ) as span:
                outcome = step(parcel, client)
                word = "accepted" if isinstance(outcome, GraphAnswer) else str(outcome.failure_class)
                if span is not None:
                    span.set_attribute("partnerhub.outcome", word)
                    span.set_attribute("partnerhub.fbtrace_id", outcome.fbtrace_id or "")
        finally:
            metrics.DELIVERY_SENDS.add(-1)
            metrics.GRAPH_SECONDS.observe(time.monotonic() - began)
        metrics.GRAPH_ANSWERS.add(word)
        return outcome

    return watched


def settling(
    step: Callable[[Parcel, GraphAnswer | GraphError], bool],
) -> Callable[[Parcel, GraphAnswer | GraphError], bool]:
    """What became of it, counted once it is committed."""

    @functools.wraps(step)
    def watched(parcel: Parcel, outcome: GraphAnswer | GraphError) -> bool:
        word = _fate(parcel, outcome)
        with tracing.span(
            "settle",
            pixel_id=parcel.claim.pixel_id,
            delivery_id=parcel.claim.delivery_id,
            outcome=word,
        ):
            is_settled = step(parcel, outcome)
        if logger.isEnabledFor(logging.DEBUG):
            # One a request to Graph: the books hold the same, so not in the ordinary run.
            logger.debug(
                "delivery settled",
                outcome=word if is_settled else "lease_lost",
                events=len(parcel.pieces),
                attempt=parcel.attempts,
                fbtrace_id=outcome.fbtrace_id,
            )
        if not is_settled:
            metrics.DELIVERIES.add("lease_lost")
            return False
        metrics.DELIVERIES.add(word)
        if isinstance(outcome, GraphAnswer):
            metrics.DELIVERED_EVENTS.add(by=len(parcel.pieces))
            metrics.DELIVERY_LAG.observe(time.time() - parcel.pieces[0].received_at.timestamp())
        return True

    return watched


def rejecting(step: Callable[..., None]) -> Callable[..., None]:
    """Events that get their rejection."""

    @functools.wraps(step)
    def watched(cursor: Any, claimed: Claim, events: Sequence[Any], *, reason: str, **numbers: Any) -> None:
        step(cursor, claimed, events, reason=reason, **numbers)
        metrics.REJECTED_EVENTS.add(reason, by=len(events))

    return watched


def taking_over(found: str) -> None:
    """A lease ended before its delivery was settled."""
    metrics.LEASES_LOST.add(found)


def sweeping(step: Callable[[], int]) -> Callable[[], int]:
    """A sweep, which found so many pixels."""

    @functools.wraps(step)
    def watched() -> int:
        pixels = step()
        metrics.SWEPT_PIXELS.add(by=pixels)
        return pixels

    return watched


def _fate(parcel: Parcel, outcome: GraphAnswer | GraphError) -> str:
    """What of events_delivery's states it will be, as far as that can be told before."""
    match outcome:
        case GraphAnswer():
            return "accepted"
        case BatchRefused() | TooOld():
            return "split" if len(parcel.pieces) > 1 else "rejected"
        case CredentialRefused() | PermissionRefused():
            return "held"
        case InDoubt():
            return "doubt"
        case _:
            return "waiting"


def _commits(parcel: Parcel) -> list[tracing.Ids]:
    """The commits that its events came with, the first ones where they are many."""
    moments = dict.fromkeys(piece.received_at for piece in parcel.pieces)
    return [tracing.commit_ids(parcel.claim.pixel_id, moment) for moment in list(moments)[: tracing.LINKS]]
