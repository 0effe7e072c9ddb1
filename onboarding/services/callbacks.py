"""Meta's calls: kept before they are answered, handled by a worker. Doubled, late and out of order they harm nobody.

A call only says where to look: a pixel is held when Graph confirms what it said (services.guardian).
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from onboarding.callback_content import Change, News, news_of
from onboarding.models import Credential, CredentialEvent, MetaCallback, Option
from onboarding.services.guardian import look_at_credential, note
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from tenants.models import Advertiser, Partner
from tenants.tokens import new_token

logger = structlog.get_logger(__name__)

HANDLE: Final = "onboarding.handle_callbacks"
# A hint is published within seconds; what waits longer is hinted at again.
HINT_AGAIN_AFTER: Final = timedelta(seconds=30)
# Of one turn; the next hint takes the rest.
BATCH: Final = 200
# A person's log-in opened some connection, and Meta does not say which: so many of the newest are looked at, and the
# others within a day, as always.
DEAUTHORISE_LOOKS: Final = 50
# The time of a call is in whole seconds, and Meta's clock is not ours.
CLOCK_TOLERANCE: Final = timedelta(seconds=60)

_BY_LOG_IN: Final = (Option.BUSINESS_EXTENSION, Option.LOGIN_FOR_BUSINESS)


@transaction.atomic
def keep_webhook(*, partner: Partner, changes: list[Change]) -> int:
    """Keep a verified webhook's changes; those that are there already stay as they are. How many there are."""
    MetaCallback.objects.bulk_create(
        [
            MetaCallback(
                partner=partner, kind=MetaCallback.Kind.WEBHOOK, digest=change.digest, body=change.body
            )
            for change in changes
        ],
        ignore_conflicts=True,
    )
    if changes:
        hint_after_commit(HANDLE, partner.pk)
    return len(changes)


@transaction.atomic
def keep_signed_request(
    *, partner: Partner, kind: MetaCallback.Kind, text: str, payload: dict[str, Any]
) -> MetaCallback:
    """Keep a verified signed request; the same again gives the same row, and so the same confirmation code."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    code = new_token() if kind == MetaCallback.Kind.DATA_DELETION else ""
    MetaCallback.objects.bulk_create(
        [
            MetaCallback(
                partner=partner,
                kind=kind,
                digest=digest,
                body={"user_id": str(payload.get("user_id", ""))[:64]},
                confirmation_code=code,
            )
        ],
        ignore_conflicts=True,
    )
    hint_after_commit(HANDLE, partner.pk)
    return MetaCallback.objects.get(partner=partner, kind=kind, digest=digest)


def handle_callbacks(*, partner_id: int, client: GraphClient, now: datetime | None = None) -> int:
    """Handle the partner's calls that wait, the oldest first. How many. Twice at once harms nothing."""
    with tenant_scope(partner_id=partner_id):
        waiting = list(
            MetaCallback.objects.filter(partner=partner_id, state=MetaCallback.State.WAITING).order_by("pk")[
                :BATCH
            ]
        )
    for callback in waiting:
        _handle(callback, client, now or timezone.now())
    if len(waiting) == BATCH:
        hint_after_commit(HANDLE, partner_id)
    return len(waiting)


def _handle(callback: MetaCallback, client: GraphClient, now: datetime) -> None:
    match callback.kind:
        case MetaCallback.Kind.WEBHOOK:
            state, outcome = _handle_news(callback, client, now)
        case MetaCallback.Kind.DEAUTHORISE:
            looked = _look_at(_newest_by_log_in(callback.partner_id), client)
            state, outcome = MetaCallback.State.HANDLED, f"{looked} connections looked at"
        case _:
            state, outcome = MetaCallback.State.HANDLED, _erase_person(callback)
    with tenant_scope(partner_id=callback.partner_id):
        MetaCallback.objects.filter(pk=callback.pk, state=MetaCallback.State.WAITING).update(
            state=state, outcome=outcome, handled_at=now
        )
    logger.info("callback of Meta's handled", callback=callback.pk, kind=callback.kind, outcome=outcome)


def _handle_news(callback: MetaCallback, client: GraphClient, now: datetime) -> tuple[str, str]:
    news = news_of(callback.body)
    if news is None:
        return MetaCallback.State.IGNORED, "about nothing that we keep"
    if news.is_stale(now):
        return MetaCallback.State.IGNORED, "too old"
    found = _meant(callback.partner_id, news)
    if not found:
        return MetaCallback.State.IGNORED, "no connection of ours"
    if news.is_removal:
        for credential in found:
            with tenant_scope(advertiser_id=credential.advertiser_id):
                _note_removal(credential, callback.pk)
    return MetaCallback.State.HANDLED, f"{_look_at(found, client)} connections looked at"


def _of_partner(partner_id: int) -> Any:
    in_use = Credential.objects.filter(advertiser__in=_advertisers(partner_id), option__in=_BY_LOG_IN)
    return in_use.exclude(state=Credential.State.RETIRED)


def _advertisers(partner_id: int) -> list[int]:
    return list(Advertiser.objects.filter(partner=partner_id).values_list("pk", flat=True))


def _meant(partner_id: int, news: News) -> list[Credential]:
    """The credentials in use that it speaks of; one that was issued after it is another connection."""
    who = Q(pk__in=[])
    if news.business_id:
        who |= Q(client_business_id=news.business_id)
    if news.external_business_id:
        who |= Q(external_business_id=news.external_business_id)
    with tenant_scope(partner_id=partner_id):
        found = _of_partner(partner_id).filter(who)
        if news.at is not None and news.is_removal:
            found = found.filter(created_at__lte=news.at + CLOCK_TOLERANCE)
        return list(found.order_by("pk"))


def _newest_by_log_in(partner_id: int) -> list[Credential]:
    with tenant_scope(partner_id=partner_id):
        return list(_of_partner(partner_id).order_by("-pk")[:DEAUTHORISE_LOOKS])


def _note_removal(credential: Credential, callback_id: int) -> None:
    """One line of the credential's story a call, however often it is handled."""
    events = CredentialEvent.objects.filter(
        credential=credential, kind=CredentialEvent.Kind.APP_REMOVED, detail__callback=callback_id
    )
    if not events.exists():
        note(credential, CredentialEvent.Kind.APP_REMOVED, callback=callback_id)


def _look_at(credentials: list[Credential], client: GraphClient) -> int:
    for credential in credentials:
        look_at_credential(
            credential_id=credential.pk,
            advertiser_id=credential.advertiser_id,
            client=client,
            is_forced=True,
        )
    return len(credentials)


def _erase_person(callback: MetaCallback) -> str:
    """Erase what is kept of the person: Meta's number of them, in this request and in those before."""
    user_id = callback.body.get("user_id")
    with tenant_scope(partner_id=callback.partner_id):
        if user_id:
            MetaCallback.objects.filter(partner=callback.partner_id, body__user_id=user_id).update(body={})
    return "erased"


def sweep_callbacks() -> None:
    """Hint again at what waits though it was hinted at."""
    waiting = MetaCallback.objects.filter(
        state=MetaCallback.State.WAITING, received_at__lt=timezone.now() - HINT_AGAIN_AFTER
    )
    for partner_id in waiting.values_list("partner", flat=True).distinct():
        hint_after_commit(HANDLE, partner_id)
