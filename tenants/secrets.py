"""This process's vault, opened with the master keys of the settings. Django's settings open it at the start."""

from __future__ import annotations

import functools

from partnerhub.lib.config import config
from partnerhub.lib.vault import Vault, key_service


@functools.cache
def vault() -> Vault:
    """The vault, proven to seal and open. Raises VaultError with a sentence where the keys are missing or unusable."""
    settings = config()
    keys = settings.vault_keys
    made = Vault(
        key_service(
            keys=None if keys is None else keys.get_secret_value(),
            command=settings.vault_keys_command,
            service=settings.vault_key_service,
        )
    )
    made.probe()
    return made
