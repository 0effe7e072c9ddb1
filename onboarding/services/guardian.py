"""The token guardian: looks at each credential in use once a day, refreshes what Graph refreshes, says what died.

A look is three steps: taken up under a lease, in one transaction; asked of Graph, outside of any; written down in
another, unless the credential is another one by then. Tokens of the partner's own are in partner_tokens.py.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from onboarding.graph.reach import reach_pixel
from onboarding.guardian import (
    LOOK_AGAIN,
    LOOK_AT_REFUSED,
    TELL_ANYWAY_AFTER,
    Finding,
    finding,
    is_to_be_refreshed,
    look_again,
    next_look,
)
from onboarding.ladder import SENDING_SCOPES
from onboarding.models import Credential, CredentialEvent, Notice, Option, Pixel
from onboarding.options import ADAPTERS
from onboarding.options.base import Opening, Standing
from onboarding.options.log_in import NoSecret
from onboarding.services.credentials import install_credential
from onboarding.services.notices import end_of_token, now_or, owe_notice, owe_reminder
from onboarding.services.openings import opening_of_credential
from onboarding.services.outages import is_refusal_doubted, open_outage
from onboarding.services.pixels import hold_pixel, release_pixel
from onboarding.services.revocations import revoke_later
from onboarding.services.tokens import erase_token, seal_token
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import (
    FailureClass,
    GraphError,
    PermissionRefused,
    RateLimited,
)
from partnerhub.lib.vault import Secret, VaultError
from tenants.models import Person, TokenFacts

logger = structlog.get_logger(__name__)

# A look takes three calls at the most, each within its deadline; a dead worker's credential waits so long.
LOOK_LEASE: Final = timedelta(minutes=5)
# Of one tick, a minute apart: 144,000 a day, and no tick outlasts the next.
TICK_LOOKS: Final = 100
TICK_SECONDS: Final = 40.0
# While Graph is suspected: few, singly, of those alone that it refused.
TICK_LOOKS_IN_OUTAGE: Final = 20
# So many in a row that Graph did not answer: it is away, and the rest of the tick would be in vain.
UNTOLD_IN_A_ROW: Final = 5
# A permission to read: with one of these, "no such object" speaks of the pixel and not of the token.
READING_SCOPES: Final = frozenset({"ads_read", "ads_management", "business_management"})

_chance = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Subject:
    """A credential that is looked at, under a lease."""

    credential_id: int
    advertiser_id: int
    pixel_id: int
    option: Option
    # Which secret was asked about: with another one the answer says nothing.
    secret_id: int | None
    opening: Opening


@dataclass(frozen=True, slots=True)
class Seen:
    """What Graph told."""

    finding: Finding
    standing: Standing
    reach: str = "untold"
    error: GraphError | None = None


def due_credentials(*, limit: int, now: datetime, only_refused: bool = False) -> list[tuple[int, int]]:
    """Credentials that are due, with their advertisers: the refused ones first, for their events wait.

    Then the longest due. Shared pixels have their own way (partner_tokens.py).
    """
    due = (
        Credential.objects.filter(look_due_at__lte=now)
        .exclude(state=TokenFacts.State.RETIRED)
        .exclude(option=Option.SHARED_PIXEL)
        .order_by("look_due_at", "pk")
        .values_list("pk", "advertiser_id")
    )
    found = list(due.filter(refused_at__isnull=False)[:limit])
    if not only_refused and len(found) < limit:
        found += due.filter(refused_at=None)[: limit - len(found)]
    return found


def look_at_due(
    *,
    client: GraphClient,
    limit: int = TICK_LOOKS,
    seconds: float = TICK_SECONDS,
    now: datetime | None = None,
) -> int:
    """Look at what is due, within a number of looks and of seconds. How many were looked at.

    Any number of workers at once: each credential is taken up by one.
    """
    moment = now_or(now)
    is_outage = open_outage() is not None
    if is_outage:
        limit = min(limit, TICK_LOOKS_IN_OUTAGE)
    ends = time.monotonic() + seconds
    looked = untold = 0
    for credential_id, advertiser_id in due_credentials(limit=limit, now=moment, only_refused=is_outage):
        if time.monotonic() > ends:
            break
        seen = look_at_credential(
            credential_id=credential_id, advertiser_id=advertiser_id, client=client, now=now
        )
        if seen is None:
            continue
        looked += 1
        untold = untold + 1 if seen.finding == Finding.UNTOLD else 0
        if untold >= UNTOLD_IN_A_ROW or isinstance(seen.error, RateLimited):
            logger.warning("Graph does not answer the guardian", looked=looked)
            break
    return looked


def look_at_credential(
    *,
    credential_id: int,
    advertiser_id: int,
    client: GraphClient,
    now: datetime | None = None,
    is_forced: bool = False,
) -> Seen | None:
    """Look at one credential; None where it is not due, another is at it, or its secret does not open."""
    with tenant_scope(advertiser_id=advertiser_id):
        subject = _take_up(credential_id, now_or(now), is_forced=is_forced)
    if subject is None:
        return None
    seen = ask(subject.option, subject.opening, client)
    with tenant_scope(advertiser_id=advertiser_id):
        is_old = _keep(subject, seen, now_or(now))
    if is_old and _refresh(subject, client, now_or(now)):
        logger.info("token refreshed", credential_id=credential_id)
    return seen


def _take_up(credential_id: int, now: datetime, *, is_forced: bool) -> Subject | None:
    rows = Credential.objects.filter(pk=credential_id).exclude(state=TokenFacts.State.RETIRED)
    if not is_forced:
        rows = rows.filter(look_due_at__lte=now)
    credential = (
        rows.select_for_update(of=("self",), skip_locked=True)
        .select_related("pixel", "secret", "advertiser__partner")
        .first()
    )
    if credential is None:
        return None
    Credential.objects.filter(pk=credential_id).update(look_due_at=now + LOOK_LEASE)
    try:
        opening = opening_of_credential(credential, credential.advertiser.partner)
    except VaultError as error:
        # Our fault, and no word on the token: an operator must look (`manage.py vault check`).
        logger.error("token does not open", credential_id=credential_id, reason=str(error))
        return None
    return Subject(
        credential_id=credential_id,
        advertiser_id=credential.advertiser_id,
        pixel_id=credential.pixel_id,
        option=Option(credential.option),
        secret_id=credential.secret_id,
        opening=opening,
    )


def ask(option: Option, opening: Opening, client: GraphClient) -> Seen:
    """What Graph tells of the token and of its reach. Speaks to Graph; never raises GraphError, sends no event."""
    standing, error = Standing(), None
    try:
        standing = ADAPTERS[option].look(opening, client)
    except GraphError as failure:
        # It is the app that was refused, or Graph is away: no word on the token.
        error = failure
    except NoSecret:
        logger.error("the partner's app secret is missing: its tokens cannot be looked at")
    if standing.is_valid is False:
        return Seen(Finding.DEAD, standing, error=standing.error)
    scopes = frozenset(standing.scopes)
    reach, refusal = reach_pixel(
        client,
        opening.meta_id,
        token=opening.token,
        app_secret=opening.partner.app_secret if option.is_of_partners_app else None,
        may_read=not READING_SCOPES.isdisjoint(scopes),
    )
    found = finding(
        is_valid=standing.is_valid,
        reach=reach,
        has_sending_scope=not SENDING_SCOPES.isdisjoint(scopes) if scopes else None,
    )
    return Seen(found, standing, reach, refusal or error)


def told(standing: Standing) -> dict[str, Any]:
    """What Graph told of the token, as fields of a TokenFacts; what it kept to itself is left out."""
    fields: dict[str, Any] = {}
    if standing.never_expires:
        fields |= {"expiry": TokenFacts.Expiry.NEVER, "expires_at": None}
    elif standing.expires_at is not None:
        fields |= {"expiry": TokenFacts.Expiry.DATED, "expires_at": standing.expires_at}
    if standing.is_valid:
        fields["data_access_expires_at"] = standing.data_access_expires_at
    if standing.scopes:
        fields["scopes"] = list(standing.scopes)
    if standing.app_id:
        fields["issuing_app_id"] = standing.app_id
    return fields


def _keep(subject: Subject, seen: Seen, now: datetime) -> bool:
    """Write down what was seen; whether the token is to be refreshed."""
    credential = (
        Credential.objects.select_for_update(of=("self",))
        .select_related("advertiser")
        .filter(pk=subject.credential_id, secret=subject.secret_id)
        .exclude(state=TokenFacts.State.RETIRED)
        .first()
    )
    if credential is None:
        return False
    fields = told(seen.standing)
    for name, value in fields.items():
        setattr(credential, name, value)
    match seen.finding:
        case Finding.UNTOLD:
            due = _keep_untold(credential, now)
        case Finding.ALIVE:
            due = keep_alive(credential, is_readable=seen.reach == "readable", now=now, fields=fields)
        case _:
            due = keep_refused(credential, seen, now=now, fields=fields)
    Credential.objects.filter(pk=credential.pk).update(**fields, look_due_at=due)
    return (
        seen.finding == Finding.ALIVE
        and credential.state != TokenFacts.State.REFUSED
        and subject.option.is_of_partners_app
        and is_to_be_refreshed(expiry=credential.expiry, expires_at=credential.expires_at, now=now)
    )


def _keep_untold(credential: Credential, now: datetime) -> datetime:
    if (
        credential.state == TokenFacts.State.REFUSED
        and credential.refused_at is not None
        and credential.refused_at <= now - TELL_ANYWAY_AFTER
        and open_outage() is None
    ):
        owe_notice(of=credential, kind=Notice.Kind.DIED, about=credential.refused_at)
    owe_reminder(of=credential, now=now)
    return look_again(wait=LOOK_AGAIN, now=now, draw=_chance.random())


def keep_alive(
    credential: Credential, *, is_readable: bool, now: datetime, fields: dict[str, Any]
) -> datetime:
    """The credential answers: mends what was refused, as far as this proves it; when to look next."""
    fields["looked_at"] = now
    if credential.state == TokenFacts.State.REFUSED and not _is_mended(credential, is_readable=is_readable):
        # The token lives, and a delivery or a test was refused: its word stands.
        _owe_refusal(credential)
        return look_again(wait=LOOK_AT_REFUSED, now=now, draw=_chance.random())
    forgotten = {"refused_at": None, "failure_class": "", "code": None, "subcode": None}
    fields |= forgotten | {"last_good_at": now}
    if credential.state == TokenFacts.State.REFUSED:
        fields["state"] = TokenFacts.State.WORKING
        note(credential, CredentialEvent.Kind.MENDED)
        release_pixel(pixel_id=credential.pixel_id)
    owe_reminder(of=credential, now=now)
    return next_look(
        end_of_token(credential), now=now, is_first=credential.looked_at is None, draw=_chance.random()
    )


def _is_mended(credential: Credential, *, is_readable: bool) -> bool:
    """A dead token that answers is mended. A refused access is, where a look had found it lost and now finds it."""
    if credential.failure_class != FailureClass.PERMISSION:
        return True
    return is_readable and _was_lost(credential)


def _was_lost(credential: Credential) -> bool:
    """Whether a look has found the pixel out of reach since the refusal."""
    losses = CredentialEvent.objects.filter(credential=credential, kind=CredentialEvent.Kind.ACCESS_LOST)
    return losses.filter(at__gte=credential.refused_at).exists()


def keep_refused(credential: Credential, seen: Seen, *, now: datetime, fields: dict[str, Any]) -> datetime:
    """The credential is refused: its pixel is held and people are told, unless Graph is suspected. The next look."""
    again = look_again(wait=LOOK_AGAIN, now=now, draw=_chance.random())
    error = None if seen.finding == Finding.SHORT else seen.error
    error = error or PermissionRefused("The token holds no permission to send.", code=200)
    if credential.state == TokenFacts.State.REFUSED and open_outage() is not None:
        return again
    if is_refusal_doubted(
        credential_id=credential.pk,
        failure_class=error.failure_class,
        code=error.code,
        subcode=error.subcode,
    ):
        return again
    is_dead = seen.finding == Finding.DEAD
    hold_pixel(
        credential_id=credential.pk,
        hold=Pixel.Hold.CREDENTIAL if is_dead else Pixel.Hold.PERMISSION,
        error=error,
    )
    credential.refresh_from_db(fields=["state", "refused_at", "failure_class", "code", "subcode"])
    is_lost = seen.finding == Finding.LOST
    if is_lost and not _was_lost(credential):
        note(credential, CredentialEvent.Kind.ACCESS_LOST)
    fields["looked_at"] = now
    _owe_refusal(credential, Notice.Kind.ACCESS_LOST if is_lost else Notice.Kind.DIED)
    return look_again(wait=LOOK_AT_REFUSED, now=now, draw=_chance.random())


def _owe_refusal(credential: Credential, kind: Notice.Kind = Notice.Kind.DIED) -> None:
    if credential.refused_at is not None and open_outage() is None:
        owe_notice(of=credential, kind=kind, about=credential.refused_at)


def note(credential: Credential, kind: CredentialEvent.Kind, **detail: Any) -> None:
    """A line of the credential's story."""
    CredentialEvent.objects.create(
        advertiser_id=credential.advertiser_id,
        pixel_id=credential.pixel_id,
        credential=credential,
        kind=kind,
        detail=detail,
    )


# Refreshing: the new token is proven before the old one is retired; retiring it revokes it (revocations.py).


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new token that Graph gave for an old one, and what it tells of it."""

    token: Secret
    standing: Standing
    is_proven: bool


def _refresh(subject: Subject, client: GraphClient, now: datetime) -> bool:
    """Put a refreshed token in the place of the old one; False where Graph refreshes none, or it proves nothing."""
    try:
        given = ADAPTERS[subject.option].refresh(subject.opening, client)
    except GraphError as error:
        logger.warning("token not refreshed", failure=str(error.failure_class), code=error.code)
        return False
    if given is None or given[0].reveal() == subject.opening.token.reveal():
        return False
    token, life_seconds = given
    seen = ask(subject.option, dataclasses.replace(subject.opening, token=token), client)
    fresh = Fresh(token, dated(seen.standing, life_seconds, now), seen.finding == Finding.ALIVE)
    with tenant_scope(advertiser_id=subject.advertiser_id):
        return _replace(subject, fresh, now)


def dated(standing: Standing, life_seconds: int, now: datetime) -> Standing:
    """With the end that the refresh's own answer gave, where debug_token gives none."""
    if standing.expires_at is not None or standing.never_expires:
        return standing
    return dataclasses.replace(standing, expires_at=now + timedelta(seconds=life_seconds))


def _replace(subject: Subject, fresh: Fresh, now: datetime) -> bool:
    """The refreshed token in the old one's place, as a credential of its own; whether it is.

    A delivery that is under way with the old token holds nothing then: its credential is retired. A new token that
    proves nothing, or comes too late, is revoked.
    """
    # As install_credential locks: the pixel first.
    pixel = Pixel.objects.select_for_update(no_key=True).get(pk=subject.pixel_id)
    old = (
        Credential.objects.select_for_update(of=("self",))
        .filter(pk=subject.credential_id, secret=subject.secret_id)
        .exclude(state=TokenFacts.State.RETIRED)
        .first()
    )
    secret = seal_token(advertiser_id=subject.advertiser_id, token=fresh.token)
    if old is None or not fresh.is_proven:
        logger.warning("a refreshed token is not used", credential_id=subject.credential_id)
        left = revoke_later(advertiser_id=subject.advertiser_id, option=subject.option, secret_id=secret.pk)
        erase_token(left)
        return False
    new = install_credential(
        pixel=pixel,
        option=subject.option,
        secret=secret,
        # A worker may not read all of a person: the key is enough.
        created_by=Person(pk=old.created_by_id) if old.created_by_id else None,
        state=old.state,
        last_good_at=now,
        looked_at=now,
        client_business_id=old.client_business_id,
        system_user_id=old.system_user_id,
        external_business_id=old.external_business_id,
        **told(fresh.standing),
    )
    due = next_look(end_of_token(new), now=now, is_first=False, draw=_chance.random())
    Credential.objects.filter(pk=new.pk).update(look_due_at=due)
    note(new, CredentialEvent.Kind.REFRESHED)
    return True
