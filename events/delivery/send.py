"""Sending: a claim's events are read, marked as on their way, and sent. What came back is judged elsewhere.

The mark is committed before the first byte leaves: a delivery found marked, its worker dead, is in doubt, and
one found unmarked was never sent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
import structlog
from django.db import connection
from django.utils import timezone

from events.delivery import books, watch
from events.delivery.claim import Claim
from onboarding.models import Pixel
from onboarding.services import hold_pixel
from partnerhub.lib.config import LEASE_SPARE_SECONDS, config
from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphAnswer, GraphClient, limits
from partnerhub.lib.graph.errors import GraphError, Unsent
from partnerhub.lib.vault import Secret, VaultError
from tenants.models import PartnerCredential, partner_identity
from tenants.secrets import vault

logger = structlog.get_logger(__name__)

# A token that does not open with our keys is our fault, and takes a person: looked at again so often.
SEALED_SECONDS: Final = 300
# Until the guardian has looked at a refused token of the partner's: it is called at once.
CONFIRM_SECONDS: Final = 15


class Piece(NamedTuple):
    """One event of a parcel, as _READ reads it."""

    log_offset: int
    received_at: datetime
    expires_at: datetime
    event_name: str
    event_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claim with its events, marked as being sent."""

    claim: Claim
    attempt_id: int
    attempts: int
    credential_id: int
    meta_id: str
    token: Secret
    # For tokens of the partner's own app: its secret, which proves them. Another app's go without.
    app_secret: Secret | None
    partner_agent: str
    pieces: Sequence[Piece]
    # On this process's monotonic clock: when the lease was renewed with the mark.
    marked_at: float


_ADDRESS: Final = """
SELECT pixel.meta_id, pixel.held_at IS NOT NULL, partner.partner_agent, partner.id, credential.id,
    credential.option, secret.sealed, secret.vault_identity, shared.sealed, shared.state,
    coalesce(shared.looked_at >= shared.refused_at, false),
    CASE WHEN credential.option <> 'pasted_token' THEN app.sealed END
FROM onboarding_pixel AS pixel
JOIN tenants_advertiser AS advertiser ON advertiser.id = pixel.advertiser_id
JOIN tenants_partner AS partner ON partner.id = advertiser.partner_id
LEFT JOIN onboarding_credential AS credential
    ON credential.pixel_id = pixel.id AND credential.state <> 'retired'
LEFT JOIN onboarding_sealedtoken AS secret ON secret.id = credential.secret_id
LEFT JOIN tenants_partnercredential AS shared ON shared.id = credential.partner_credential_id
LEFT JOIN tenants_partnercredential AS app ON app.partner_id = partner.id AND app.kind = 'app_secret'
WHERE pixel.id = %s
"""
_READ: Final = """
SELECT log_offset, received_at, expires_at, event_name, event_id, payload
FROM events_event AS event
WHERE advertiser_id = %(advertiser)s AND pixel_id = %(pixel)s
  AND log_offset BETWEEN %(first)s AND %(last)s
  AND received_at BETWEEN %(first_received_at)s AND %(last_received_at)s
  AND {which}
ORDER BY log_offset
"""
# Few ranges hold a rejection: one look at all of it spares one for each event.
_NOT_REJECTED: Final = """(NOT EXISTS (
    SELECT FROM events_rejection
    WHERE pixel_id = %(pixel)s AND log_offset BETWEEN %(first)s AND %(last)s)
  OR NOT EXISTS (
    SELECT FROM events_rejection AS rejection
    WHERE rejection.pixel_id = event.pixel_id AND rejection.log_offset = event.log_offset))"""
_READ_RANGE: Final = _READ.format(which=_NOT_REJECTED)
_READ_SELECTION: Final = _READ.format(which=f"log_offset = ANY (%(offsets)s) AND {_NOT_REJECTED}")
# Of a replay: what was rejected is what it is for; what was erased is empty.
_READ_REPLAY: Final = _READ.format(
    which="(%(offsets)s::bigint[] IS NULL OR log_offset = ANY (%(offsets)s)) AND octet_length(payload) > 0"
)
_MARK: Final = """
UPDATE events_delivery
SET state = 'sending', attempts = attempts + 1, events_sent = %(events)s,
    lease_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(delivery)s AND lease_token = %(token)s AND state = 'claimed'
RETURNING attempts
"""
_ATTEMPT: Final = """
INSERT INTO events_attempt (advertiser_id, pixel_id, delivery_id, outcome) VALUES (%s, %s, %s, 'sending')
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a pixel's events go and what opens it, as _ADDRESS reads it: secrets still sealed."""

    meta_id: str
    is_held: bool
    partner_agent: str
    partner_id: int
    credential_id: int | None
    option: str | None
    sealed: bytes | None
    identity: str | None
    sealed_of_partner: bytes | None
    partners_token_state: str | None
    # The guardian has seen for itself that it is refused.
    is_refusal_confirmed: bool
    sealed_app_secret: bytes | None

    def token(self) -> Secret:
        """The token to send with. Raises VaultError."""
        if self.sealed is not None and self.identity is not None:
            return vault().open(bytes(self.sealed), identity=self.identity)
        return self._partners(PartnerCredential.Kind.SENDING_TOKEN, self.sealed_of_partner)

    def app_secret(self) -> Secret | None:
        """The app secret that proves the token; None where it is another app's. Raises VaultError."""
        if self.sealed_app_secret is None:
            return None
        return self._partners(PartnerCredential.Kind.APP_SECRET, self.sealed_app_secret)

    def _partners(self, kind: PartnerCredential.Kind, sealed: bytes | None) -> Secret:
        return vault().open(bytes(sealed or b""), identity=partner_identity(self.partner_id, kind))


@watch.mark
def take_up(claim: Claim) -> Parcel | None:
    """The claim's events, marked as being sent; None where nothing is to be sent.

    That is: the lease is another's by now, the pixel was held meanwhile, its token does not open, or no event
    of the claim is young enough. Whichever it is, it is in the books.
    """
    with tenant_scope(advertiser_id=claim.advertiser_id), connection.cursor() as cursor:
        cursor.execute(_ADDRESS, [claim.pixel_id])
        address = _Address(*cursor.fetchone())
        if address.is_held or address.credential_id is None:
            books.put_back(cursor, claim)
            return None
        if address.partners_token_state == PartnerCredential.State.REFUSED:
            # One refusal told of all shared pixels: no call is spent on this one.
            if address.is_refusal_confirmed:
                hold_pixel(credential_id=address.credential_id, hold=Pixel.Hold.PARTNER)
                books.put_back(cursor, claim)
            else:
                # It may be Graph's bad hour, and would stop them all: the guardian looks first.
                books.put_back(cursor, claim, wait_seconds=CONFIRM_SECONDS)
                books.pause_pixel(cursor, claim.pixel_id, CONFIRM_SECONDS)
            return None
        try:
            token = address.token()
            app_secret = address.app_secret()
        except VaultError as error:
            logger.error("token does not open", pixel_id=claim.pixel_id, reason=str(error))
            books.put_back(cursor, claim, wait_seconds=SEALED_SECONDS)
            books.pause_pixel(cursor, claim.pixel_id, SEALED_SECONDS)
            return None
        pieces = _read(cursor, claim)
        if pieces is None:
            return None
        cursor.execute(
            _MARK,
            {
                "events": len(pieces),
                "lease": config().delivery_lease_seconds,
                "delivery": claim.delivery_id,
                "token": claim.lease_token,
            },
        )
        if (marked := cursor.fetchone()) is None:
            return None
        cursor.execute(_ATTEMPT, [claim.advertiser_id, claim.pixel_id, claim.delivery_id])
        (attempt_id,) = cursor.fetchone()
    return Parcel(
        claim=claim,
        attempt_id=attempt_id,
        attempts=marked[0],
        credential_id=address.credential_id,
        meta_id=address.meta_id,
        token=token,
        app_secret=app_secret,
        partner_agent=address.partner_agent,
        pieces=pieces,
        marked_at=time.monotonic(),
    )


def put_back_unsent(claim: Claim) -> None:
    """A claim that this process will not send now waits again, for whoever does."""
    with tenant_scope(advertiser_id=claim.advertiser_id), connection.cursor() as cursor:
        books.put_back(cursor, claim)


def _read(cursor: Any, claim: Claim) -> list[Piece] | None:
    """The events to send; those too old by now are rejected. None where none is left, which is settled."""
    statement = _READ_RANGE if claim.offsets is None else _READ_SELECTION
    # In binary form, which Django's cursors do not know: as text each event takes four times as long to read.
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as reading:
        reading.execute(
            statement if claim.replay_id is None else _READ_REPLAY,
            {
                "advertiser": claim.advertiser_id,
                "pixel": claim.pixel_id,
                "first": claim.first_offset,
                "last": claim.last_offset,
                "first_received_at": claim.first_received_at,
                "last_received_at": claim.last_received_at,
                "offsets": claim.offsets,
            },
            binary=True,
        )
        found = [Piece(*row) for row in reading]
    # Meta's own limit is an hour later, so our clock need not be exact.
    deadline = timezone.now() + timedelta(seconds=limits.AGE_MARGIN_SECONDS)
    pieces = [piece for piece in found if piece.expires_at > deadline]
    expired = [piece for piece in found if piece.expires_at <= deadline] if len(pieces) < len(found) else []
    if expired and claim.doubts:
        # Meta may have them: what is in doubt never turns into "rejected, too old".
        books.hold_doubt(cursor, claim)
        return None
    if claim.replay_id is None:
        books.reject(cursor, claim, expired, reason="too_old")
    if not pieces:
        books.close_rejected(cursor, claim)
        return None
    return pieces


@watch.sending
def send(parcel: Parcel, client: GraphClient) -> GraphAnswer | GraphError:
    """What came back for the parcel. Outside of any transaction."""
    deadline = config().delivery_deadline_seconds
    lease_left = parcel.marked_at + config().delivery_lease_seconds - time.monotonic()
    if lease_left < deadline + LEASE_SPARE_SECONDS / 2:
        # This process stood still since the mark: another may take the delivery over before Graph answers.
        return Unsent("The lease was about to end.")
    try:
        answer = client.send_events(
            parcel.meta_id,
            token=parcel.token,
            fragments=[piece.payload for piece in parcel.pieces],
            partner_agent=parcel.partner_agent,
            app_secret=parcel.app_secret,
            deadline_seconds=deadline,
        )
    except GraphError as error:
        crash_point("after_send")
        return error
    crash_point("after_send")
    return answer
