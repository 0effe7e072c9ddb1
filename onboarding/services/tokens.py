"""Tokens of advertisers, sealed in rows of their own: put in, opened, erased."""

from __future__ import annotations

import uuid

from onboarding.models import SealedToken
from partnerhub.lib.vault import Secret
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
