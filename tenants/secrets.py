"""This process's vault, opened with the master keys of the settings."""

from __future__ import annotations

import functools

from partnerhub.lib.config import config
from partnerhub.lib.vault import MasterKeys, Vault


@functools.cache
def vault() -> Vault:
    """The vault. Raises ConfigurationError-like sentences from MasterKeys where the keys are unusable."""
    return Vault(MasterKeys.parse(config().vault_keys.get_secret_value()))
