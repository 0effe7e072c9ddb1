"""Sealing and opening one secret.

Layout, version 1:

    1 byte   version
    1 byte   length n of the master key's name
    n bytes  the name, ASCII
    2 bytes  length w of the wrapped data key, big-endian
    w bytes  the wrapped data key, as the key service made it
    12 bytes nonce
    rest     the secret's UTF-8 under the data key, with its tag (16 bytes)

Associated data of both layers: version, key name and identity, so each of them is authentic.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from partnerhub.lib.vault.keys import (
    KEY_BYTES,
    NONCE_BYTES,
    KeyService,
    KeyServiceAwayError,
    VaultError,
    is_key_name,
)
from partnerhub.lib.vault.secret import Secret

VERSION = 1
# What its two bytes of length can say.
WRAPPED_BYTES = 65_535
Answer = TypeVar("Answer")
_PROBE = "the start-up probe"


@dataclass(frozen=True, slots=True)
class _Envelope:
    name: str
    wrapped: bytes
    nonce: bytes
    sealed: bytes


class Vault:
    """Seals under the key service's primary key; opens what any of its keys sealed. Thread-safe."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    @property
    def primary(self) -> str:
        """The name of the key that seals. Raises VaultError where the key service has none of use."""
        name = _ask(lambda: self._keys.primary)
        if not isinstance(name, str) or not is_key_name(name):
            raise VaultError("The key service's primary key has no name that a master key may have.")
        return name

    @property
    def head(self) -> bytes:
        """How each secret begins that is sealed under the primary key."""
        return _head(VERSION, self.primary)

    def probe(self) -> None:
        """Seal and open something, as a process does at its start. Raises VaultError where that fails."""
        self.open(self.seal(Secret(_PROBE), identity=_PROBE), identity=_PROBE)

    def seal(self, secret: Secret, *, identity: str) -> bytes:
        """The sealed secret, bound to `identity` (the row it will stand in). Each call gives other bytes.

        Raises ValueError where the identity is empty: it would bind to no row. Raises VaultError, naming the
        identity, where the key service does not do its part.
        """
        if not identity:
            raise ValueError("A sealed secret needs the identity of its row.")
        try:
            name = self.primary
            context = _context(VERSION, name, identity)
            data_key = os.urandom(KEY_BYTES)
            wrapped = _ask(lambda: bytes(self._keys.wrap(data_key, name=name, context=context)))
            if not 0 < len(wrapped) <= WRAPPED_BYTES:
                raise VaultError(f"The key service wrapped a key in {len(wrapped)} bytes.")
        except KeyServiceAwayError as error:
            raise KeyServiceAwayError(f"The secret of {identity} cannot be sealed now. {error}") from None
        except VaultError as error:
            raise VaultError(f"The secret of {identity} cannot be sealed. {error}") from None
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(data_key).encrypt(nonce, secret.reveal().encode(), context)
        return b"".join((_head(VERSION, name), len(wrapped).to_bytes(2, "big"), wrapped, nonce, sealed))

    def open(self, sealed: bytes, *, identity: str) -> Secret:
        """The secret. Raises VaultError, naming the identity and the key, for all but what `seal` made for it.

        Raises KeyServiceAwayError, which is one, where nothing can be said of it now.
        """
        key = "no master key that can be told"
        try:
            envelope = _parse(sealed)
            key = f"the master key {envelope.name}"
            context = _context(VERSION, envelope.name, identity)
            data_key = _ask(
                lambda: bytes(self._keys.unwrap(envelope.wrapped, name=envelope.name, context=context))
            )
            text = AESGCM(data_key).decrypt(envelope.nonce, envelope.sealed, context)
            return Secret(text.decode())
        except KeyServiceAwayError as error:
            raise KeyServiceAwayError(
                f"The secret of {identity}, under {key}, cannot be opened now. {error}"
            ) from None
        except VaultError as error:
            reason = str(error)
        except (InvalidTag, ValueError):
            reason = "It was altered, or sealed for another row."
        raise VaultError(f"The secret of {identity}, under {key}, cannot be opened. {reason}")

    def key_name(self, sealed: bytes) -> str:
        """The name of the master key that sealed it. Raises VaultError where it is no sealed secret."""
        return _parse(sealed).name


def _ask(call: Callable[[], Answer]) -> Answer:
    """What the key service answers. What else than VaultError it raises may hold anything: only its kind is told."""
    try:
        return call()
    except VaultError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever it is built on may raise anything)
        raise KeyServiceAwayError(f"The key service failed with {type(error).__name__}.") from None


def _head(version: int, name: str) -> bytes:
    return bytes((version, len(name))) + name.encode("ascii")


def _context(version: int, name: str, identity: str) -> bytes:
    # The name's length stands before it: no name and identity can be read as another pair.
    return _head(version, name) + identity.encode()


def _parse(sealed: bytes) -> _Envelope:
    if not sealed:
        raise VaultError("It was erased.")
    if sealed[0] != VERSION:
        raise VaultError(f"Its layout {sealed[0]} is unknown.")
    try:
        length = sealed[1]
        name = sealed[2 : 2 + length].decode("ascii")
        start = 2 + length
        width = int.from_bytes(sealed[start : start + 2], "big")
        wrapped = sealed[start + 2 : start + 2 + width]
        rest = sealed[start + 2 + width :]
    except (IndexError, UnicodeDecodeError):
        raise VaultError("It is not a sealed secret.") from None
    if len(rest) <= NONCE_BYTES:
        raise VaultError("It is cut short.")
    return _Envelope(name, wrapped, rest[:NONCE_BYTES], rest[NONCE_BYTES:])
