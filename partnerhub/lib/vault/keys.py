"""Master keys by name: they wrap data keys and nothing else.

A key service (a KMS, an HSM) fits by offering the same two calls as MasterKeys.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class VaultError(Exception):
    """A secret cannot be sealed or opened. The text names the row and the key, never a secret."""


class KeyService(Protocol):
    """What wraps data keys."""

    @property
    def primary(self) -> str:
        """The name of the key that wraps new data keys."""
        ...

    def wrap(self, data_key: bytes, *, name: str, context: bytes) -> bytes:
        """The data key, sealed under the named master key and the context."""
        ...

    def unwrap(self, wrapped: bytes, *, name: str, context: bytes) -> bytes:
        """The data key again. Raises VaultError for an unknown name, another context, or altered bytes."""
        ...


class MasterKeys:
    """Master keys held by this process."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys`: name → 32 bytes; the first one seals, the others only open. Raises VaultError."""
        if not keys:
            raise VaultError("There is no master key: VAULT_KEYS is empty.")
        for name, key in keys.items():
            if len(key) != KEY_BYTES:
                raise VaultError(f"VAULT_KEYS: the key {name} has {len(key)} bytes; {KEY_BYTES} are needed.")
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._primary = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> MasterKeys:
        """Keys from `name:base64,name:base64`. Raises VaultError with a sentence that holds no key."""
        keys: dict[str, bytes] = {}
        for number, item in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
            name, colon, encoded = item.partition(":")
            if not colon or not _NAME.fullmatch(name):
                # What stands there may be a key without its name: it is not repeated.
                raise VaultError(f"VAULT_KEYS, key {number}: give it as name:base64, the name in lower case.")
            if name in keys:
                raise VaultError(f"VAULT_KEYS: two keys are named {name}.")
            try:
                keys[name] = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                raise VaultError(f"VAULT_KEYS: the key {name} is not base64.") from None
        return cls(keys)

    @property
    def primary(self) -> str:
        """The name of the key that seals."""
        return self._primary

    def wrap(self, data_key: bytes, *, name: str, context: bytes) -> bytes:
        """Nonce and sealed data key."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._key(name).encrypt(nonce, data_key, context)

    def unwrap(self, wrapped: bytes, *, name: str, context: bytes) -> bytes:
        """The data key. Raises VaultError."""
        try:
            return self._key(name).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise VaultError(f"The master key {name} does not open it.") from None

    def _key(self, name: str) -> AESGCM:
        try:
            return self._keys[name]
        except KeyError:
            raise VaultError(f"The master key {name} is not among VAULT_KEYS.") from None

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self._keys)})"
