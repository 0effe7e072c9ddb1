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
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from partnerhub.lib.vault.keys import KEY_BYTES, NONCE_BYTES, KeyService, VaultError
from partnerhub.lib.vault.secret import Secret

VERSION = 1


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

    def seal(self, secret: Secret, *, identity: str) -> bytes:
        """The sealed secret, bound to `identity` (the row it will stand in). Each call gives other bytes.

        Raises ValueError where the identity is empty: it would bind to no row.
        """
        if not identity:
            raise ValueError("A sealed secret needs the identity of its row.")
        name = self._keys.primary
        context = _context(VERSION, name, identity)
        data_key = os.urandom(KEY_BYTES)
        wrapped = self._keys.wrap(data_key, name=name, context=context)
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(data_key).encrypt(nonce, secret.reveal().encode(), context)
        return b"".join(
            (
                bytes((VERSION, len(name))),
                name.encode("ascii"),
                len(wrapped).to_bytes(2, "big"),
                wrapped,
                nonce,
                sealed,
            )
        )

    def open(self, sealed: bytes, *, identity: str) -> Secret:
        """The secret. Raises VaultError, naming the identity and the key, for all but what `seal` made for it."""
        key = "no master key that can be told"
        try:
            envelope = _parse(sealed)
            key = f"the master key {envelope.name}"
            context = _context(VERSION, envelope.name, identity)
            data_key = self._keys.unwrap(envelope.wrapped, name=envelope.name, context=context)
            text = AESGCM(data_key).decrypt(envelope.nonce, envelope.sealed, context)
            return Secret(text.decode())
        except VaultError as error:
            reason = str(error)
        except (InvalidTag, ValueError):
            reason = "It was altered, or sealed for another row."
        raise VaultError(f"The secret of {identity}, under {key}, cannot be opened. {reason}")

    def key_name(self, sealed: bytes) -> str:
        """The name of the master key that sealed it. Raises VaultError where it is no sealed secret."""
        return _parse(sealed).name


def _context(version: int, name: str, identity: str) -> bytes:
    # The name's length stands before it: no name and identity can be read as another pair.
    return bytes((version, len(name))) + name.encode() + identity.encode()


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
