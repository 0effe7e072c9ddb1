"""The partner's own tokens, and the pixels that are shared with it: one token opens them all.

Its death is one incident of the partner's. What a delivery is refused with is not believed at once, for it would stop
every shared pixel: `debug_token` decides, with the app's word and not the token's. Until then deliveries back off.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import connection, models
from django.utils import timezone

from onboarding import graph
from onboarding.graph.reach import reach_pixel
from onboarding.guardian import (
    CONFIRM_AFTER,
    LOOK_AGAIN,
    LOOK_AT_REFUSED,
    TELL_ANYWAY_AFTER,
    Finding,
    is_to_be_refreshed,
    look_again,
    next_look,
)
from onboarding.models import Credential, CredentialEvent, Notice, Pixel
from onboarding.options.base import Opening, PartnerSide, Standing
from onboarding.options.log_in import NoSecret, standing_of
from onboarding.services.guardian import (
    LOOK_LEASE,
    Seen,
    dated,
    keep_alive,
    keep_refused,
    note,
    told,
)
from onboarding.services.notices import end_of_token, now_or, owe_notice, owe_reminder
from onboarding.services.openings import partner_side
from onboarding.services.outages import open_outage
from onboarding.services.pixels import release_pixel
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import FailureClass, GraphError
from partnerhub.lib.vault import Secret, VaultError
from tenants.models import Partner, PartnerCredential, TokenFacts
from tenants.secrets import vault

logger = structlog.get_logger(__name__)

LOOK_AT_PARTNER: Final = "onboarding.look_at_partner"
# Pixels that are missing from the list of shared ones and are asked for singly, of one look.
CONFIRMED_LOSSES: Final = 50

_TOKENS: Final = (PartnerCredential.Kind.SENDING_TOKEN, PartnerCredential.Kind.ASSIGNING_TOKEN)
_chance = secrets.SystemRandom()


def refuse_partner_token(*, credential_id: int, last_four: str, error: GraphError) -> bool:
    """Note that Graph refused the token with which the credential's pixel is sent to, where it is the partner's.

    False where it is the credential's own. The guardian is called at once to see whether it is so; a refusal of a
    token that is another by now changes nothing. In the scope of the pixel's advertiser.
    """
    found = (
        Credential.objects.filter(pk=credential_id, partner_credential__isnull=False)
        .values_list("partner_credential", "partner_credential__partner")
        .first()
    )
    if found is None:
        return False
    token_id, partner_id = found
    now = timezone.now()
    marked = (
        PartnerCredential.objects.filter(pk=token_id, last_four=last_four)
        .exclude(state=TokenFacts.State.REFUSED)
        .update(
            state=TokenFacts.State.REFUSED,
            refused_at=now,
            failure_class=error.failure_class,
            code=error.code,
            subcode=error.subcode,
            look_due_at=now,
        )
    )
    if marked:
        logger.error("a partner's sending token is refused", partner_id=partner_id, code=error.code)
        hint_after_commit(LOOK_AT_PARTNER, partner_id)
    return True


def is_confirmed(token: PartnerCredential) -> bool:
    """Whether a look has confirmed that the token is refused: until then no shared pixel is held."""
    return (
        token.state == TokenFacts.State.REFUSED
        and token.refused_at is not None
        and token.looked_at is not None
        and token.looked_at >= token.refused_at
    )


def partners() -> list[int]:
    """Every partner's key. For a worker's sweep."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenants_all_partners()")
        found: list[int] = cursor.fetchone()[0]
    return found


@dataclass(frozen=True, slots=True)
class Held:
    """A partner's token that is looked at, and the sealed bytes that it was opened from."""

    token_id: int
    kind: str
    sealed: bytes
    opening: Opening


def look_at_partner(
    *, partner_id: int, client: GraphClient, now: datetime | None = None, is_forced: bool = False
) -> int:
    """Look at the partner's tokens that are due, and with the sending one at all pixels shared with it.

    How many tokens and pixels were looked at. Twice at once: one of the two finds nothing due.
    """
    with tenant_scope(partner_id=partner_id):
        partner = Partner.objects.filter(pk=partner_id).first()
        if partner is None:
            return 0
        held = _take_up(partner, now_or(now), is_forced=is_forced)
        sending = PartnerCredential.objects.filter(
            partner=partner, kind=PartnerCredential.Kind.SENDING_TOKEN
        ).first()
        wants_list = sending is not None and _is_list_due(sending, held, now_or(now))
    for token in held:
        _look_at_token(partner_id, token, client, now_or(now))
    looked = len(held)
    if sending is None or not (held or wants_list):
        return looked
    with tenant_scope(partner_id=partner_id):
        sending.refresh_from_db()
    if sending.state != TokenFacts.State.REFUSED:
        _release_shared(sending)
        if wants_list:
            looked += _look_at_shared(partner_id, sending, client, now_or(now))
    return looked


def _take_up(partner: Partner, now: datetime, *, is_forced: bool) -> list[Held]:
    rows = PartnerCredential.objects.filter(partner=partner, kind__in=_TOKENS)
    if not is_forced:
        rows = rows.filter(look_due_at__lte=now)
    tokens = list(rows.select_for_update(skip_locked=True).order_by("pk"))
    if not tokens:
        return []
    PartnerCredential.objects.filter(pk__in=[row.pk for row in tokens]).update(look_due_at=now + LOOK_LEASE)
    try:
        side = partner_side(partner)
    except VaultError as error:
        logger.error("a partner's token does not open", partner_id=partner.pk, reason=str(error))
        return []
    by_kind = {
        PartnerCredential.Kind.SENDING_TOKEN: side.sending_token,
        PartnerCredential.Kind.ASSIGNING_TOKEN: side.assigning_token,
    }
    found = []
    for row in tokens:
        token = by_kind[PartnerCredential.Kind(row.kind)]
        if token is not None:
            found.append(Held(row.pk, row.kind, bytes(row.sealed), Opening("", side, token)))
    return found


def _is_list_due(sending: PartnerCredential, held: list[Held], now: datetime) -> bool:
    # With the token's own daily look, and for pixels that came meanwhile.
    return (
        any(one.token_id == sending.pk for one in held)
        or _shared(sending).filter(look_due_at__lte=now).exists()
    )


def _shared(sending: PartnerCredential) -> models.QuerySet[Credential]:
    return Credential.objects.filter(partner_credential=sending).exclude(state=TokenFacts.State.RETIRED)


def _look_at_token(partner_id: int, held: Held, client: GraphClient, now: datetime) -> None:
    standing = _standing(held.opening, held.opening.token, client)
    with tenant_scope(partner_id=partner_id):
        is_old = _keep(held, standing, now)
    if standing.is_valid is None:
        logger.warning("nothing told of a partner's token", partner_id=partner_id, kind=held.kind)
    if is_old:
        _refresh(partner_id, held, client, now)


def _standing(opening: Opening, token: Secret, client: GraphClient) -> Standing:
    """What debug_token tells; nothing where the app is refused, or Graph is away."""
    try:
        return standing_of(opening.partner, token, client)
    except (GraphError, NoSecret):
        return Standing()


def _keep(held: Held, standing: Standing, now: datetime) -> bool:
    """Write down what was told; whether the token is to be refreshed."""
    row = PartnerCredential.objects.select_for_update().filter(pk=held.token_id).first()
    if row is None or bytes(row.sealed) != held.sealed:
        return False
    fields = told(standing)
    for name, value in fields.items():
        setattr(row, name, value)
    is_unconfirmed = row.state == TokenFacts.State.REFUSED and not is_confirmed(row)
    wait = CONFIRM_AFTER if is_unconfirmed else LOOK_AGAIN
    again = look_again(wait=wait, now=now, draw=_chance.random())
    if standing.is_valid:
        due = next_look(end_of_token(row), now=now, is_first=row.looked_at is None, draw=_chance.random())
        fields |= {
            "state": TokenFacts.State.WORKING,
            "last_good_at": now,
            "looked_at": now,
            "refused_at": None,
            "failure_class": "",
            "code": None,
            "subcode": None,
        }
        owe_reminder(of=row, now=now)
    elif standing.is_valid is False and open_outage() is None:
        due = look_again(wait=LOOK_AT_REFUSED, now=now, draw=_chance.random())
        fields |= _refusal(row, standing, now)
        owe_notice(of=row, kind=Notice.Kind.DIED, about=fields["refused_at"])
    elif _is_overdue(row, now):
        # Graph says nothing of the token for an hour, and refuses it: then it is so.
        due = again
        fields["looked_at"] = now
        assert row.refused_at is not None
        owe_notice(of=row, kind=Notice.Kind.DIED, about=row.refused_at)
    else:
        due = again
    PartnerCredential.objects.filter(pk=row.pk).update(**fields, look_due_at=due)
    return bool(standing.is_valid) and is_to_be_refreshed(
        expiry=row.expiry, expires_at=row.expires_at, now=now
    )


def _refusal(row: PartnerCredential, standing: Standing, now: datetime) -> dict[str, Any]:
    error = standing.error
    fields: dict[str, Any] = {"looked_at": now, "refused_at": row.refused_at or now}
    if row.state != TokenFacts.State.REFUSED:
        fields |= {
            "state": TokenFacts.State.REFUSED,
            "refused_at": now,
            "failure_class": error.failure_class if error else FailureClass.CREDENTIAL,
            "code": error.code if error else None,
            "subcode": error.subcode if error else None,
        }
    return fields


def _is_overdue(row: PartnerCredential, now: datetime) -> bool:
    return (
        row.state == TokenFacts.State.REFUSED
        and row.refused_at is not None
        and row.refused_at <= now - TELL_ANYWAY_AFTER
        and open_outage() is None
    )


def _refresh(partner_id: int, held: Held, client: GraphClient, now: datetime) -> None:
    side = held.opening.partner
    assert side.app_secret is not None  # debug_token was asked with it
    try:
        granted = graph.refresh_token(
            client, app_id=side.app_id, app_secret=side.app_secret, token=held.opening.token
        )
    except GraphError as error:
        logger.warning("a partner's token is not refreshed", partner_id=partner_id, code=error.code)
        return
    if granted.token.reveal() == held.opening.token.reveal():
        return
    standing = _standing(held.opening, granted.token, client)
    is_replaced = False
    if standing.is_valid:
        facts = told(dated(standing, granted.expires_in or graph.LONG_LIFE_SECONDS, now))
        with tenant_scope(partner_id=partner_id):
            is_replaced = _replace(held, granted.token, facts, now)
    logger.info("a partner's token is refreshed", partner_id=partner_id, kind=held.kind, used=is_replaced)
    # The old one; or the new one, where it proves nothing or came too late.
    _revoke(side.app_id, side.app_secret, held.opening.token if is_replaced else granted.token, client)


def _revoke(app_id: str, app_secret: Secret, token: Secret, client: GraphClient) -> None:
    try:
        graph.revoke_token(client, app_id=app_id, app_secret=app_secret, token=token)
    except GraphError as error:
        # It ends by itself within 60 days.
        logger.warning("a partner's old token is not revoked", code=error.code)


def _replace(held: Held, token: Secret, facts: dict[str, Any], now: datetime) -> bool:
    row = PartnerCredential.objects.select_for_update().get(pk=held.token_id)
    if bytes(row.sealed) != held.sealed:
        return False
    PartnerCredential.objects.filter(pk=row.pk).update(
        sealed=vault().seal(token, identity=row.vault_identity),
        last_four=token.last_four,
        created_at=now,
        **facts,
    )
    return True


# The pixels that are shared with the partner.


def _release_shared(sending: PartnerCredential) -> int:
    """Let the pixels go on that waited for the partner's token alone. How many; a second call finds none."""
    waiting = (
        _shared(sending)
        .filter(pixel__hold=Pixel.Hold.PARTNER)
        .values_list("advertiser_id", "pk", "pixel_id")
        .order_by("advertiser_id", "pk")
    )
    released = 0
    for advertiser_id, credential_id, pixel_id in list(waiting):
        with tenant_scope(advertiser_id=advertiser_id):
            credential = (
                Credential.objects.select_for_update()
                .filter(pk=credential_id, failure_class="")
                .exclude(state=TokenFacts.State.RETIRED)
                .first()
            )
            if credential is None:
                continue
            Credential.objects.filter(pk=credential_id, state=TokenFacts.State.REFUSED).update(
                state=TokenFacts.State.WORKING, refused_at=None
            )
            note(credential, CredentialEvent.Kind.MENDED)
            released += release_pixel(pixel_id=pixel_id)
    if released:
        logger.info("shared pixels go on", partner_id=sending.partner_id, pixels=released)
    return released


def _look_at_shared(partner_id: int, sending: PartnerCredential, client: GraphClient, now: datetime) -> int:
    """Whether each shared pixel is still among those that Graph lists: one list, not a call a pixel."""
    with tenant_scope(partner_id=partner_id):
        partner = Partner.objects.get(pk=partner_id)
        rows = list(
            _shared(sending)
            .order_by("advertiser_id", "pk")
            .values_list("advertiser_id", "pk", "pixel__meta_id")
        )
        try:
            side = partner_side(partner)
        except VaultError:
            return 0
    token = side.assigning_token or side.sending_token
    if not rows or token is None or side.sending_token is None or not side.business_id:
        return 0
    try:
        found = graph.client_pixels(client, side.business_id, token=token, app_secret=side.app_secret)
    except GraphError as error:
        logger.warning("shared pixels not listed", partner_id=partner_id, code=error.code)
        return 0
    listed = {pixel.id for pixel in found}
    missing = [row for row in rows if row[2] not in listed]
    losses = {
        credential_id: _confirm(side, meta_id, client)
        for _, credential_id, meta_id in missing[:CONFIRMED_LOSSES]
    }
    unconfirmed = {row[1] for row in missing[CONFIRMED_LOSSES:]}
    for advertiser_id in dict.fromkeys(row[0] for row in rows):
        own = [row[1] for row in rows if row[0] == advertiser_id and row[1] not in unconfirmed]
        with tenant_scope(advertiser_id=advertiser_id):
            _keep_shared(own, losses, now)
    return len(rows) - len(unconfirmed)


def _confirm(side: PartnerSide, meta_id: str, client: GraphClient) -> Seen:
    """A pixel that is not listed, asked for singly: it may be the partner's own, or the list be late."""
    assert side.sending_token is not None
    reach, error = reach_pixel(
        client, meta_id, token=side.sending_token, app_secret=side.app_secret, may_read=True
    )
    found = {"lost": Finding.LOST, "readable": Finding.ALIVE}.get(reach, Finding.UNTOLD)
    return Seen(found, Standing(), reach, error)


def _keep_shared(credential_ids: list[int], losses: dict[int, Seen], now: datetime) -> None:
    rows = (
        Credential.objects.select_for_update(of=("self",))
        .select_related("advertiser", "partner_credential")
        .filter(pk__in=credential_ids)
        .exclude(state=TokenFacts.State.RETIRED)
        .order_by("pk")
    )
    for credential in rows:
        seen = losses.get(credential.pk, _LISTED)
        fields: dict[str, Any] = {}
        if credential.partner_credential is not None:
            fields["last_four"] = credential.partner_credential.last_four
        if seen.finding == Finding.LOST:
            due = keep_refused(credential, seen, now=now, fields=fields)
        elif seen.finding == Finding.ALIVE:
            due = keep_alive(credential, is_readable=True, now=now, fields=fields)
        else:
            due = look_again(wait=LOOK_AGAIN, now=now, draw=_chance.random())
        # The partner's look comes for all at once.
        due = max(due, now + timedelta(hours=1))
        Credential.objects.filter(pk=credential.pk).update(**fields, look_due_at=due)


_LISTED: Final = Seen(Finding.ALIVE, Standing(), "readable")
