"""Mails that are owed about tokens: the row first, in its own place, then the mail; each once.

A mail that was under way when its worker died is not sent again: it may have gone, and a reminder has others after it.
What the mail server did not take is tried again. So it is told at most once.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db import models
from django.utils import timezone

from onboarding.guardian import CONFIRM_AFTER, End, end_of, reminder_due
from onboarding.models import Credential, CredentialEvent, Notice
from onboarding.services.outages import open_outage
from partnerhub.lib.db import tenant_scope
from tenants.models import AdvertiserMembership, PartnerCredential, PartnerMembership, Person, TokenFacts
from tenants.roles import AdvertiserRole, PartnerRole

logger = structlog.get_logger(__name__)

# Longer than any mail server is waited for.
UNDER_WAY: Final = timedelta(minutes=10)
# After a mail server's refusal: doubled with each, two hours in all, and then a person must look.
TRY_AGAIN: Final = timedelta(minutes=4)
ATTEMPTS: Final = 6


def end_of_token(facts: TokenFacts) -> End | None:
    """When the token ends, as far as it is known. A shared pixel has none of its own."""
    if isinstance(facts, Credential) and facts.partner_credential_id is not None:
        return None
    return end_of(
        expiry=facts.expiry,
        expires_at=facts.expires_at,
        data_access_expires_at=facts.data_access_expires_at,
        created_at=facts.created_at,
    )


def owe_reminder(*, of: Credential | PartnerCredential, now: datetime) -> bool:
    """Owe people the reminder that is due, if one is. Whether it was not owed yet; twice at once is once."""
    end = end_of_token(of)
    days = reminder_due(end, now=now)
    if end is None or days is None:
        return False
    return owe_notice(of=of, kind=Notice.Kind.EXPIRING, about=end.at, days=days, is_guess=end.is_guess)


def owe_notice(
    *,
    of: Credential | PartnerCredential,
    kind: Notice.Kind,
    about: datetime,
    days: int = 0,
    is_guess: bool = False,
) -> bool:
    """Owe people one mail about the token. Whether it was not owed yet: a constraint says so, not a look-up."""
    row = Notice(kind=kind, about=about, days=days, is_guess=is_guess)
    if kind != Notice.Kind.EXPIRING:
        # A bad hour of Graph's shows within so long, and then there is nothing to tell.
        row.due_at = timezone.now() + CONFIRM_AFTER
    if isinstance(of, Credential):
        row.credential, row.advertiser, row.partner_id = of, of.advertiser, of.advertiser.partner_id
        same = Notice.objects.filter(credential=of)
    else:
        row.partner_credential, row.partner_id = of, of.partner_id
        same = Notice.objects.filter(partner_credential=of)
    same = same.filter(kind=kind, about=about, days=days)
    if same.exists():
        return False
    Notice.objects.bulk_create([row], ignore_conflicts=True)
    return True


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A mail to be sent, and in whose scope."""

    notice_id: int
    advertiser_id: int | None
    partner_id: int

    def scope(self) -> AbstractContextManager[None]:
        """The transaction in which the notice and what it is about are seen."""
        if self.advertiser_id is None:
            return tenant_scope(partner_id=self.partner_id)
        return tenant_scope(advertiser_id=self.advertiser_id)


def due_notices(*, limit: int, now: datetime) -> list[DueNotice]:
    """Mails that are due, the oldest first. Of all tenants: no scope is needed."""
    found = Notice.objects.filter(state=Notice.State.WAITING, due_at__lte=now).order_by("due_at", "pk")
    return [DueNotice(*row) for row in found.values_list("pk", "advertiser_id", "partner_id")[:limit]]


def take_notice(*, notice_id: int, now: datetime) -> Notice | None:
    """The notice, now being sent, with what it is about; None where another took it or it is no longer true.

    Committed before the mail leaves: whoever finds it so does not send it. While Graph is suspected no death is told.
    """
    if open_outage() is not None and Notice.objects.filter(pk=notice_id, state=Notice.State.WAITING).exclude(
        kind=Notice.Kind.EXPIRING
    ).update(due_at=now + UNDER_WAY):
        return None
    taken = Notice.objects.filter(pk=notice_id, state=Notice.State.WAITING).update(
        state=Notice.State.SENDING, due_at=now, attempts=models.F("attempts") + 1
    )
    if not taken:
        return None
    notice = Notice.objects.select_related(
        "partner",
        "advertiser",
        "credential__pixel",
        "credential__advertiser",
        "partner_credential",
    ).get(pk=notice_id)
    if not is_true(notice, now=now):
        Notice.objects.filter(pk=notice_id).update(state=Notice.State.DROPPED)
        return None
    return notice


def is_true(notice: Notice, *, now: datetime) -> bool:
    """Whether what the notice says still is so: the token is in use, and as dead or as near its end as then."""
    of = notice.credential or notice.partner_credential
    if of is None or of.state == TokenFacts.State.RETIRED:
        return False
    if notice.kind != Notice.Kind.EXPIRING:
        return of.state == TokenFacts.State.REFUSED
    end = end_of_token(of)
    return end is not None and end.at == notice.about and reminder_due(end, now=now) == notice.days


def recipients(notice: Notice) -> list[Person]:
    """Who is told: the advertiser's admins and who pasted the token; of a partner's token its owners and managers."""
    if notice.partner_credential is not None:
        roles = [PartnerRole.OWNER, PartnerRole.MANAGER]
        held = PartnerMembership.objects.filter(partner=notice.partner_id, role__in=roles)
        found = _people(held.values_list("person", flat=True))
    else:
        admins = AdvertiserMembership.objects.filter(advertiser=notice.advertiser, role=AdvertiserRole.ADMIN)
        keys = list(admins.values_list("person", flat=True))
        if notice.credential is not None and notice.credential.created_by_id is not None:
            keys.append(notice.credential.created_by_id)
        found = _people(keys)
    return found


def _people(keys: Iterable[int]) -> list[Person]:
    """Those of them who have a role there still, by row-level security: nobody else is found."""
    found = Person.objects.filter(pk__in=list(keys), is_active=True).order_by("pk")
    return list(found.only("pk", "email", "name"))


def settle_notice(*, notice: Notice, told: int, now: datetime) -> None:
    """The mail was sent to so many. A reminder stands in the credential's story."""
    Notice.objects.filter(pk=notice.pk, state=Notice.State.SENDING).update(
        state=Notice.State.SENT, sent_at=now, recipients=told
    )
    if notice.credential is not None:
        CredentialEvent.objects.create(
            advertiser_id=notice.credential.advertiser_id,
            pixel_id=notice.credential.pixel_id,
            credential=notice.credential,
            kind=CredentialEvent.Kind.REMINDED,
            detail={"about": notice.kind, "days": notice.days, "recipients": told},
        )


def put_notice_back(*, notice: Notice, now: datetime) -> None:
    """The mail server did not take the mail: it waits, and in the end is given up."""
    if notice.attempts >= ATTEMPTS:
        logger.error("notice given up: the mail server does not take it", notice_id=notice.pk)
        Notice.objects.filter(pk=notice.pk, state=Notice.State.SENDING).update(state=Notice.State.FAILED)
        return
    wait = TRY_AGAIN * 2 ** (notice.attempts - 1)
    Notice.objects.filter(pk=notice.pk, state=Notice.State.SENDING).update(
        state=Notice.State.WAITING, due_at=now + wait
    )


def lost_notices(*, limit: int, now: datetime) -> list[DueNotice]:
    """Mails that were under way when their worker died: sent or not, nobody knows."""
    found = Notice.objects.filter(state=Notice.State.SENDING, due_at__lt=now - UNDER_WAY).order_by("due_at")
    return [DueNotice(*row) for row in found.values_list("pk", "advertiser_id", "partner_id")[:limit]]


def doubt_notice(*, notice_id: int) -> None:
    """It may have been sent, and is not sent again."""
    doubted = Notice.objects.filter(pk=notice_id, state=Notice.State.SENDING).update(state=Notice.State.DOUBT)
    if doubted:
        logger.error("notice in doubt: its worker died while it was sent", notice_id=notice_id)


def now_or(moment: datetime | None) -> datetime:
    """The moment, or now: so that a test may say when it is."""
    return moment or timezone.now()
