"""Credentials: sealed, put in the place of the one before without a gap, retired, erased."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from onboarding.models import Credential, CredentialEvent, Option, Pixel, SealedToken
from onboarding.services.revocations import revoke_later
from onboarding.services.tokens import erase_token, open_token, seal_token
from partnerhub.lib.vault import Secret
from tenants.models import PartnerCredential, Person

__all__ = [
    "erase_token",
    "install_credential",
    "open_token",
    "retire_credential",
    "save_pasted_token",
    "seal_token",
]


@transaction.atomic
def retire_credential(
    *, pixel: Pixel, person: Person | None = None, is_replaced: bool = False
) -> Credential | None:
    """Retire the credential in use; None where the pixel has none.

    Its secret is erased, by a worker where its option can be undone at Meta: once that is done.
    """
    old = (
        Credential.objects.select_for_update()
        .filter(pixel=pixel)
        .exclude(state=Credential.State.RETIRED)
        .first()
    )
    if old is None:
        return None
    secret_id = old.secret_id
    Credential.objects.filter(pk=old.pk).update(
        state=Credential.State.RETIRED, retired_at=timezone.now(), secret=None
    )
    erase_token(
        revoke_later(
            advertiser_id=pixel.advertiser_id,
            option=Option(old.option),
            secret_id=secret_id,
            meta_id=pixel.meta_id,
            client_business_id=old.client_business_id,
            system_user_id=old.system_user_id if old.option == Option.SHARED_PIXEL else "",
            external_business_id=old.external_business_id,
            credential_id=old.pk,
            is_replaced=is_replaced,
        )
    )
    CredentialEvent.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        credential=old,
        kind=CredentialEvent.Kind.RETIRED,
        person=person,
    )
    return old


@transaction.atomic
def install_credential(
    *,
    pixel: Pixel,
    option: Option,
    secret: SealedToken | None = None,
    partner_credential: PartnerCredential | None = None,
    created_by: Person | None = None,
    **facts: Any,
) -> Credential:
    """The credential of the pixel from now on, in the place of the one before, which is retired.

    Deliveries see the one or the other and never neither. It is untested where `facts` do not say otherwise;
    a held pixel stays held until a test passes.
    """
    # Two that install at once come one after the other.
    Pixel.objects.select_for_update(no_key=True).filter(pk=pixel.pk).get()
    retire_credential(pixel=pixel, person=created_by, is_replaced=True)
    credential = Credential.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        option=option,
        secret=secret,
        partner_credential=partner_credential,
        last_four=secret.last_four if secret else partner_credential.last_four if partner_credential else "",
        created_by=created_by,
        **facts,
    )
    CredentialEvent.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        credential=credential,
        kind=CredentialEvent.Kind.ISSUED,
        person=created_by,
        detail={"option": str(option)},
    )
    return credential


def save_pasted_token(*, pixel: Pixel, token: Secret, created_by: Person | None) -> Credential:
    """The pasted token, sealed and untested, as the pixel's credential."""
    with transaction.atomic():
        return install_credential(
            pixel=pixel,
            option=Option.PASTED_TOKEN,
            secret=seal_token(advertiser_id=pixel.advertiser_id, token=token),
            created_by=created_by,
        )
