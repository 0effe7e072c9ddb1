"""What is to be undone at Meta of an access in use no more: noted in the transaction that lets go of it, done later.

The row holds the token until a worker has done it, or Meta has refused it for a week. Nothing that is in use again
by then is undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from onboarding.journey import ENDS
from onboarding.models import Credential, CredentialEvent, OnboardingSession, Option, Revocation, SealedToken
from onboarding.options import ADAPTERS
from onboarding.options.base import Leftover, is_passing
from onboarding.options.log_in import NoSecret
from onboarding.services.openings import NEEDED, partner_side
from onboarding.services.tokens import erase_token, open_token
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import GraphError
from partnerhub.lib.vault import Secret, VaultError

RUN_REVOCATION: Final = "onboarding.run_revocation"

logger = structlog.get_logger(__name__)

# Longer than the two calls that undo takes.
LEASE: Final = timedelta(seconds=60)
FIRST_WAIT: Final = timedelta(seconds=10)
LONGEST_WAIT: Final = timedelta(hours=6)
# Tokens that live are a risk, and so is keeping them: after a week of refusals the row lets go.
GIVE_UP_AFTER: Final = timedelta(days=7)
# A token that another takes the place of is left alive until the sends that hold it have come to their end
# (DELIVERY_DEADLINE_SECONDS and the lease after it): none of them is refused for the change.
OUTLIVES_BY: Final = timedelta(minutes=2)


def revoke_later(
    *,
    advertiser_id: int,
    option: Option,
    secret_id: int | None,
    meta_id: str = "",
    client_business_id: str = "",
    system_user_id: str = "",
    external_business_id: str = "",
    credential_id: int | None = None,
    is_replaced: bool = False,
) -> int | None:
    """Hand what is to be undone to a worker, with its secret. The secret to erase where there is nothing to undo.

    What is replaced by another is undone a while later (OUTLIVES_BY).

    The caller has let go of the secret and erases what it gets back. In the caller's transaction.
    """
    if not ADAPTERS[option].undoing or not (secret_id or system_user_id):
        return secret_id
    made = Revocation.objects.create(
        advertiser_id=advertiser_id,
        credential_id=credential_id,
        option=option,
        secret_id=secret_id,
        meta_id=meta_id,
        client_business_id=client_business_id,
        system_user_id=system_user_id,
        external_business_id=external_business_id,
        due_at=timezone.now() + (OUTLIVES_BY if is_replaced else timedelta(0)),
    )
    if not is_replaced:
        hint_after_commit(RUN_REVOCATION, made.pk)
    return None


@dataclass(frozen=True, slots=True)
class _Taken:
    revocation: Revocation
    leftover: Leftover | None


def run_revocation(*, revocation_id: int, client: GraphClient) -> None:
    """Undo it at Meta; tried again where that fails. Doubled, late and foreign hints change nothing."""
    advertiser_id = (
        Revocation.objects.filter(pk=revocation_id).values_list("advertiser_id", flat=True).first()
    )
    if advertiser_id is None:
        return
    with tenant_scope(advertiser_id=advertiser_id):
        taken = _take(revocation_id)
    if taken is None:
        return
    error: GraphError | None = None
    is_done = taken.leftover is not None
    if taken.leftover is not None:
        try:
            ADAPTERS[Option(taken.revocation.option)].revoke(taken.leftover, client)
        except GraphError as failure:
            error, is_done = failure, False
        except NoSecret:
            is_done = False
    with tenant_scope(advertiser_id=advertiser_id):
        _settle(taken.revocation, error, is_done=is_done)


def _take(revocation_id: int) -> _Taken | None:
    """The revocation, leased, with what is still to be undone; None where nothing is due.

    A leftover of None: its secret does not open.
    """
    now = timezone.now()
    due = Revocation.objects.filter(pk=revocation_id, due_at__lte=now)
    if not due.update(due_at=now + LEASE, attempts=F("attempts") + 1):
        return None
    row = Revocation.objects.select_related("advertiser__partner", "secret", "credential").get(
        pk=revocation_id
    )
    try:
        return _Taken(row, _leftover(row))
    except VaultError as error:
        logger.warning("a token to be revoked does not open", revocation=row.pk, reason=str(error))
        return _Taken(row, None)


def _leftover(row: Revocation) -> Leftover:
    """What of it is in use by nothing now. Raises VaultError."""
    side = partner_side(row.advertiser.partner, NEEDED[Option(row.option)])
    in_use = Credential.objects.filter(advertiser_id=row.advertiser_id).exclude(
        state=Credential.State.RETIRED
    )
    under_way = OnboardingSession.objects.filter(advertiser_id=row.advertiser_id).exclude(
        state__in=[str(state) for state in ENDS]
    )
    external_business_id = row.external_business_id
    if external_business_id and (
        in_use.filter(external_business_id=external_business_id).exists()
        or under_way.filter(facts__external_business_id=external_business_id).exists()
    ):
        external_business_id = ""
    system_user_id = row.system_user_id
    if system_user_id and (
        in_use.filter(option=Option.SHARED_PIXEL, pixel__meta_id=row.meta_id).exists()
        or under_way.filter(facts__assigned=True, facts__meta_id=row.meta_id).exists()
    ):
        system_user_id = ""
    token = open_token(row.secret) if row.secret else None
    if token is not None and _is_in_use(row, token):
        token = None
    return Leftover(
        partner=side,
        token=token,
        meta_id=row.meta_id,
        client_business_id=row.client_business_id,
        system_user_id=system_user_id,
        external_business_id=external_business_id,
    )


def _is_in_use(row: Revocation, token: Secret) -> bool:
    """Whether another row of the advertiser's holds the same token: Meta may give one twice."""
    alike = SealedToken.objects.filter(advertiser_id=row.advertiser_id, last_four=token.last_four)
    return any(other.pk != row.secret_id and open_token(other) == token for other in alike)


def _settle(taken: Revocation, error: GraphError | None, *, is_done: bool) -> None:
    row = Revocation.objects.select_for_update().get(pk=taken.pk)
    if row.state != Revocation.State.WAITING or row.attempts != taken.attempts:
        return
    now = timezone.now()
    if is_done:
        _end(row, Revocation.State.DONE, CredentialEvent.Kind.REVOKED)
        return
    if row.created_at < now - GIVE_UP_AFTER:
        logger.warning("Meta did not revoke", revocation=row.pk, code=error.code if error else None)
        _end(row, Revocation.State.FAILED, CredentialEvent.Kind.REVOKE_FAILED, error)
        return
    wait = min(FIRST_WAIT * (1 << min(row.attempts, 12)), LONGEST_WAIT)
    if error is not None and error.retry_after_seconds:
        wait = max(wait, timedelta(seconds=min(error.retry_after_seconds, LONGEST_WAIT.total_seconds())))
    Revocation.objects.filter(pk=row.pk).update(due_at=now + wait)
    # Said once, where it is more than Meta's bad moment; the end says it again.
    is_refusal = error is None or not is_passing(error.failure_class)
    if is_refusal and not _has_said(row):
        _say(row, CredentialEvent.Kind.REVOKE_FAILED, error)


def _end(
    row: Revocation, state: Revocation.State, kind: CredentialEvent.Kind, error: GraphError | None = None
) -> None:
    secret_id = row.secret_id
    Revocation.objects.filter(pk=row.pk).update(state=state, secret=None, due_at=None)
    erase_token(secret_id)
    _say(row, kind, error)


def _has_said(row: Revocation) -> bool:
    said = CredentialEvent.objects.filter(kind=CredentialEvent.Kind.REVOKE_FAILED)
    return row.credential is not None and said.filter(credential=row.credential).exists()


def _say(row: Revocation, kind: CredentialEvent.Kind, error: GraphError | None) -> None:
    """A line in the credential's life. What a session obtained in vain has none."""
    if row.credential is None:
        return
    CredentialEvent.objects.create(
        advertiser_id=row.advertiser_id,
        pixel_id=row.credential.pixel_id,
        credential=row.credential,
        kind=kind,
        failure_class=str(error.failure_class) if error else "",
        code=error.code if error else None,
        subcode=error.subcode if error else None,
        fbtrace_id=(error.fbtrace_id or "") if error else "",
    )


def sweep_revocations(*, limit: int) -> None:
    """Hint anew at what is due."""
    due = Revocation.objects.filter(due_at__lte=timezone.now()).order_by("due_at")
    with transaction.atomic():
        for pk in due.values_list("pk", flat=True)[:limit]:
            hint_after_commit(RUN_REVOCATION, pk)
