"""Credentials: sealed, put in the place of the one before without a gap, retired, erased."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.utils import timezone

from onboarding.models import Credential, CredentialEvent, Option, Pixel, SealedToken
from partnerhub.lib.vault import Secret
from tenants.models import PartnerCredential, Person
from tenants.secrets import vault


def seal_token(*, advertiser_id: int, token: Secret) -> SealedToken:
    """The token, sealed in a row of its own."""
    identity = f"token:{uuid.uuid4()}"
    return SealedToken.objects.create(
        advertiser_id=advertiser_id,
        sealed=vault().seal(token, identity=identity),
        vault_identity=identity,
        last_four=token.last_four,
    )


def erase_token(secret_id: int | None) -> None:
    """Delete a sealed token that nothing refers to any more."""
    if secret_id is not None:
        SealedToken.objects.filter(pk=secret_id).delete()


def open_token(secret: SealedToken) -> Secret:
    """The token. For workers: the web site's role may not read it. Raises VaultError."""
    return vault().open(bytes(secret.sealed), identity=secret.vault_identity)


@transaction.atomic
def retire_credential(*, pixel: Pixel, person: Person | None = None) -> Credential | None:
    """Retire the credential in use and erase its secret; None where the pixel has none."""
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
    erase_token(secret_id)
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
    """The credential of the pixel from now on, in the place of the one before, whose secret is erased.

    Deliveries see the one or the other and never neither. It is untested where `facts` do not say otherwise;
    a held pixel stays held until a test passes.
    """
    # Two that install at once come one after the other.
    Pixel.objects.select_for_update(no_key=True).filter(pk=pixel.pk).get()
    retire_credential(pixel=pixel, person=created_by)
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
