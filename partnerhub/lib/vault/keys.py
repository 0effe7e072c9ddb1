"""Master keys by name: they wrap data keys and nothing else.

A key service (a KMS, an HSM) fits by offering the same calls as MasterKeys: docs/vault.md shows one.
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
_RULE = "lower-case letters, digits, - and _, at most 32 of them"


class VaultError(Exception):
    """A secret cannot be sealed or opened. The text names the row and the key, never a secret."""


class KeyServiceAwayError(VaultError):
    """The key service cannot be asked now. Nothing is known of the secret, which may be whole."""


class KeyService(Protocol):
    """What wraps data keys. It is called from many threads at a time."""

    @property
    def primary(self) -> str:
        """The name of the key that wraps new data keys: lower-case letters, digits, `-` and `_`, at most 32."""
        ...

    def wrap(self, data_key: bytes, *, name: str, context: bytes) -> bytes:
        """The data key, sealed under the named master key and the context, in at most 65535 bytes.

        Raises VaultError for an unknown name, KeyServiceAwayError where it cannot be asked.
        """
        ...

    def unwrap(self, wrapped: bytes, *, name: str, context: bytes) -> bytes:
        """The data key again. Raises VaultError for an unknown name, another context, or altered bytes.

        Raises KeyServiceAwayError where it cannot be asked: then the secret is not taken for a broken one.
        """
        ...


def is_key_name(name: str) -> bool:
    """Whether a master key may be called so."""
    return _NAME.fullmatch(name) is not None


def new_key_line(name: str) -> str:
    """A new random master key as `name:base64`. Raises VaultError where a key cannot be called so."""
    if not is_key_name(name):
        raise VaultError(f"A key cannot be called {name!r}: take {_RULE}.")
    return f"{name}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


class MasterKeys:
    """Master keys held by this process."""

    def __init__(self, keys: Mapping[str, bytes], *, source: str = "VAULT_KEYS") -> None:
        """`keys`: name → 32 bytes; the first one seals, the others only open. Raises VaultError.

        `source` is where they came from, for the sentences.
        """
        if not keys:
            raise VaultError(f"There is no master key: {source} is empty.")
        for name, key in keys.items():
            if len(key) != KEY_BYTES:
                raise VaultError(f"{source}: the key {name} has {len(key)} bytes; {KEY_BYTES} are needed.")
        self._source = source
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._primary = next(iter(keys))

    @classmethod
    def parse(cls, text: str, *, source: str = "VAULT_KEYS") -> MasterKeys:
        """Keys from `name:base64`, each on its own line or with commas between them.

        Raises VaultError with a sentence that holds no key.
        """
        keys: dict[str, bytes] = {}
        items = filter(None, (part.strip() for part in re.split(r"[,\n]", text)))
        for number, item in enumerate(items, start=1):
            name, colon, encoded = item.partition(":")
            if not colon or not is_key_name(name):
                # What stands there may be a key without its name: it is not repeated.
                raise VaultError(f"{source}, key {number}: give it as name:base64, the name in lower case.")
            if name in keys:
                raise VaultError(f"{source}: two keys are named {name}.")
            try:
                keys[name] = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                raise VaultError(f"{source}: the key {name} is not base64.") from None
        return cls(keys, source=source)

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
            raise VaultError(f"The master key {name} is not among {self._source}.") from None

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self._keys)})"
