"""Encryption of secrets at rest: an envelope a secret, bound to the row that it belongs to.

Each secret is sealed with a data key of its own (AES-256-GCM), and the data key with a named master key. The row's
identity and the layout's version are associated data of both, so a sealed secret that was moved, altered, or marked
as another version does not open. Nothing here stores anything, and no error or `repr` holds a secret.
"""

from partnerhub.lib.vault.envelope import Vault
from partnerhub.lib.vault.keys import (
    KeyService,
    KeyServiceAwayError,
    MasterKeys,
    VaultError,
    is_key_name,
    new_key_line,
)
from partnerhub.lib.vault.secret import Secret
from partnerhub.lib.vault.source import key_service

__all__ = [
    "KeyService",
    "KeyServiceAwayError",
    "MasterKeys",
    "Secret",
    "Vault",
    "VaultError",
    "is_key_name",
    "key_service",
    "new_key_line",
]
