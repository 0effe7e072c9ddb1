"""The vault: what was sealed opens for its own row under its own key, and in no other case."""

import base64
import copy
import json
import pickle
import traceback
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.vault import MasterKeys, Secret, Vault, VaultError, envelope

OLD = bytes(range(32))
NEW = bytes(range(32, 64))
CANARY = "EAAcanary00000000000000000000000000wxyz"
IDENTITY = "credential:0190c0de"


def _vault(**keys: bytes) -> Vault:
    return Vault(MasterKeys(keys))


@given(text=st.text(min_size=1), identity=st.text(min_size=1))
def test_a_sealed_secret_opens_as_it_was(text: str, identity: str) -> None:
    vault = _vault(k1=OLD)

    opened = vault.open(vault.seal(Secret(text), identity=identity), identity=identity)

    assert opened.reveal() == text


def test_every_flipped_bit_of_every_byte_fails_closed() -> None:
    vault = _vault(k1=OLD, k0=NEW)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    for place in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[place] ^= 1 << bit

            with pytest.raises(VaultError):
                vault.open(bytes(altered), identity=IDENTITY)


def test_every_cut_and_every_appended_byte_fails_closed() -> None:
    vault = _vault(k1=OLD)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    for length in range(len(sealed)):
        with pytest.raises(VaultError):
            vault.open(sealed[:length], identity=IDENTITY)
    with pytest.raises(VaultError):
        vault.open(sealed + b"\0", identity=IDENTITY)


@given(st.binary(max_size=200))
def test_foreign_bytes_fail_closed(foreign: bytes) -> None:
    vault = _vault(k1=OLD)

    for altered in (foreign, b"\x01" + foreign, b"\x01\x02k1" + foreign):
        with pytest.raises(VaultError):
            vault.open(altered, identity=IDENTITY)


@given(other=st.text(min_size=1).filter(lambda identity: identity != IDENTITY))
def test_a_moved_row_fails_closed(other: str) -> None:
    vault = _vault(k1=OLD)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    with pytest.raises(VaultError, match="under the master key k1"):
        vault.open(sealed, identity=other)


def test_another_version_fails_closed() -> None:
    vault = _vault(k1=OLD)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    for version in (0, 2, 255):
        with pytest.raises(VaultError, match="layout"):
            vault.open(bytes((version,)) + sealed[1:], identity=IDENTITY)


def test_a_lowered_or_raised_version_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = _vault(k1=OLD)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    # As once there is a second layout, whose bytes are marked as the first one's or the other way.
    monkeypatch.setattr(envelope, "VERSION", 2)

    with pytest.raises(VaultError, match="does not open it"):
        vault.open(b"\x02" + sealed[1:], identity=IDENTITY)


def test_a_changed_key_name_is_not_believed_even_where_the_key_is_the_same() -> None:
    vault = _vault(k1=OLD, k2=OLD)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    with pytest.raises(VaultError, match="master key k2 does not open it"):
        vault.open(sealed.replace(b"k1", b"k2", 1), identity=IDENTITY)


def test_another_key_under_the_same_name_fails_closed() -> None:
    sealed = _vault(k1=OLD).seal(Secret(CANARY), identity=IDENTITY)

    with pytest.raises(VaultError, match=r"credential:0190c0de, under the master key k1"):
        _vault(k1=NEW).open(sealed, identity=IDENTITY)


def test_a_key_that_is_gone_is_named() -> None:
    sealed = _vault(autumn=OLD).seal(Secret(CANARY), identity=IDENTITY)

    with pytest.raises(VaultError) as caught:
        _vault(spring=NEW).open(sealed, identity=IDENTITY)

    assert str(caught.value) == (
        "The secret of credential:0190c0de, under the master key autumn, cannot be opened. "
        "The master key autumn is not among VAULT_KEYS."
    )


def test_an_error_never_holds_the_secret() -> None:
    vault = _vault(k1=OLD)
    sealed = vault.seal(Secret(CANARY), identity=IDENTITY)

    with pytest.raises(VaultError) as caught:
        vault.open(sealed, identity="credential:other")

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_first_key_seals_and_all_open() -> None:
    sealed = _vault(old=OLD).seal(Secret(CANARY), identity=IDENTITY)
    rotating = _vault(new=NEW, old=OLD)

    again = rotating.seal(rotating.open(sealed, identity=IDENTITY), identity=IDENTITY)

    assert (rotating.key_name(sealed), rotating.key_name(again)) == ("old", "new")
    assert _vault(new=NEW).open(again, identity=IDENTITY).reveal() == CANARY


def test_sealing_twice_shares_no_key_and_no_nonce() -> None:
    vault = _vault(k1=OLD)

    first, second = (vault.seal(Secret(CANARY), identity=IDENTITY) for _ in range(2))

    assert first[:6] == second[:6]  # version, name, length of the wrapped key
    assert all(first[start : start + 12] != second[start : start + 12] for start in range(6, len(first) - 12))


def test_a_secret_without_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="identity"):
        _vault(k1=OLD).seal(Secret(CANARY), identity="")


def test_keys_are_parsed_and_the_first_seals() -> None:
    text = f" new:{base64.b64encode(NEW).decode()} , old:{base64.b64encode(OLD).decode()} "

    keys = MasterKeys.parse(text)

    assert keys.primary == "new"
    assert repr(keys) == "MasterKeys(new, old)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "VAULT_KEYS is empty"),
        (" , ", "VAULT_KEYS is empty"),
        ("just-a-value-without-its-name", "key 1: give it as name:base64"),
        (f"k1:{base64.b64encode(OLD).decode()},{base64.b64encode(NEW).decode()}", "key 2: give it as"),
        (f":{base64.b64encode(OLD).decode()}", "key 1: give it as"),
        ("k1:not base64!", "the key k1 is not base64"),
        ("k1:", "the key k1 has 0 bytes; 32 are needed"),
        ("k1:AAAA", "the key k1 has 3 bytes; 32 are needed"),
        (f"k1:{base64.b64encode(OLD).decode()},k1:{base64.b64encode(NEW).decode()}", "two keys are named k1"),
    ],
)
def test_bad_keys_are_refused_with_a_sentence_that_shows_no_key(text: str, sentence: str) -> None:
    with pytest.raises(VaultError, match=sentence) as caught:
        MasterKeys.parse(text)

    shown = "".join(traceback.format_exception(caught.value))
    for value in (
        base64.b64encode(OLD).decode(),
        base64.b64encode(NEW).decode(),
        "not base64!",
        "just-a-value",
    ):
        assert value not in shown


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(CANARY)

    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>40}",
        "{}".format(secret),  # noqa: UP032  # the older form is one more way to show a value
        repr([secret]),
    ]

    assert not any(CANARY[:8] in text for text in shown)
    assert secret.last_four == "wxyz"
    assert Secret("short").last_four == ""


def test_a_secret_is_neither_stored_nor_sent_by_accident() -> None:
    secret = Secret(CANARY)

    acts: list[Any] = [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        orjson.dumps,
        hash,
        vars,
        list,
        len,
    ]
    for act in acts:
        with pytest.raises(TypeError):
            act(secret)
    with pytest.raises(TypeError):
        "Bearer " + secret  # type: ignore[operator]


def test_secrets_are_compared_by_what_they_hold() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("other")
    assert Secret(CANARY) != CANARY


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Secret("")
