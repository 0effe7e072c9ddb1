"""Only what Meta signed with this app's secret is believed, whatever bytes come."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.signatures import Forged, is_same, is_signed, read_signed_request

KEY = b"the-app-secret"
NOW = 1_800_000_000.0


def webhook_header(body: bytes, key: bytes = KEY) -> str:
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def request_of(payload: Any, key: bytes = KEY, *, pad: bool = False) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode())
    encoded = encoded if pad else encoded.rstrip(b"=")
    signature = base64.urlsafe_b64encode(hmac.new(key, encoded, hashlib.sha256).digest())
    return f"{(signature if pad else signature.rstrip(b'=')).decode()}.{encoded.decode()}"


def payload(**more: Any) -> dict[str, Any]:
    return {"algorithm": "HMAC-SHA256", "user_id": "123", "issued_at": int(NOW), **more}


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=40))
def test_a_webhook_is_believed_by_its_own_bytes_and_key_alone(body: bytes, key: bytes) -> None:
    header = webhook_header(body, key)

    assert is_signed(body, header, key)
    assert not is_signed(body + b" ", header, key)
    assert not is_signed(body, header, key + b"x")
    assert not is_signed(body, header.removeprefix("sha256="), key)


@given(st.binary(max_size=50), st.none() | st.text(max_size=90))
def test_no_header_breaks_it(body: bytes, header: str | None) -> None:
    assert is_signed(body, header, KEY) == (header == webhook_header(body))


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_texts_are_the_same_or_not(said: str, known: str) -> None:
    assert is_same(said, known) == (said == known != "")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=30), max_size=5), st.booleans())
def test_a_signed_request_is_read_with_and_without_padding(more: dict[str, Any], pad: bool) -> None:
    said = more | payload()

    assert read_signed_request(request_of(said, pad=pad), KEY, now=NOW) == said


@given(st.text(max_size=120))
def test_no_text_is_taken_for_a_signed_request(text: str) -> None:
    with pytest.raises(Forged):
        read_signed_request(text, KEY, now=NOW)


@given(st.data())
def test_one_changed_letter_is_a_forgery(data: st.DataObject) -> None:
    text = request_of(payload())
    at = data.draw(st.integers(0, len(text) - 1))
    # The last letter of an unpadded text carries bits that say nothing: another letter may mean the same bytes.
    last_of_signature = text.index(".") - 1
    if at == last_of_signature:
        return
    other = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda letter: letter != text[at]))

    with pytest.raises(Forged):
        read_signed_request(text[:at] + other + text[at + 1 :], KEY, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        request_of(payload(), b"another-app"),
        request_of(payload(algorithm="none")),
        request_of(payload(algorithm="HMAC-SHA1")),
        request_of({"user_id": "123"}),
        request_of(["HMAC-SHA256"]),
        request_of(payload(expires=NOW - 1)),
        "." + request_of(payload()).partition(".")[2],
        request_of(payload(long="x" * 10_000)),
    ],
    ids=["key", "none", "sha1", "no algorithm", "no object", "expired", "unsigned", "long"],
)
def test_what_does_not_fit_is_a_forgery(text: str) -> None:
    with pytest.raises(Forged):
        read_signed_request(text, KEY, now=NOW)


def test_one_that_has_no_end_or_a_later_one_is_read() -> None:
    assert read_signed_request(request_of(payload(expires=0)), KEY, now=NOW)["user_id"] == "123"
    assert read_signed_request(request_of(payload(expires=NOW + 60)), KEY, now=NOW)["user_id"] == "123"
