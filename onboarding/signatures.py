"""Whether a call says the truth about being Meta's: signatures of webhooks and of signed requests. Pure.

"Webhooks: Getting Started" and "Data Deletion Request Callback" (read 2026-11-24). The key is the app's secret, which
the caller chose by the address that was called, never by what was sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any, Final

_PREFIX: Final = "sha256="
ALGORITHM: Final = "HMAC-SHA256"
# Meta's are some 200 characters; what is longer is not decoded.
SIGNED_REQUEST_CHARACTERS: Final = 8_192


class Forged(Exception):
    """A signed request that Meta did not sign, or not for this app, or that has run out."""


def is_signed(body: bytes, header: str | None, key: bytes) -> bool:
    """Whether `X-Hub-Signature-256` is that of these very bytes. In constant time."""
    expected = _PREFIX + hmac.new(key, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (header or "").encode("utf-8", "replace"))


def is_same(said: str, known: str) -> bool:
    """Whether two texts are the same, in constant time; an empty one is nobody's."""
    return bool(known) and hmac.compare_digest(said.encode("utf-8", "replace"), known.encode())


def read_signed_request(text: str, key: bytes, *, now: float) -> dict[str, Any]:
    """The payload of `b64url(signature).b64url(payload)`. Raises Forged; nothing is read before the signature fits."""
    if len(text) > SIGNED_REQUEST_CHARACTERS:
        raise Forged("It is longer than any of Meta's.")
    signature, _, payload = text.partition(".")
    if not payload:
        raise Forged("It has no two parts.")
    # Over the payload as it is encoded, not as it is meant.
    expected = hmac.new(key, payload.encode("utf-8", "replace"), hashlib.sha256).digest()
    if not hmac.compare_digest(expected, _decoded(signature)):
        raise Forged("The signature is another's.")
    try:
        said = json.loads(_decoded(payload))
    except (ValueError, RecursionError):
        raise Forged("The payload is no JSON.") from None
    if not isinstance(said, dict) or said.get("algorithm") != ALGORITHM:
        raise Forged(f"The algorithm is not {ALGORITHM}.")
    expires = said.get("expires")
    if isinstance(expires, int | float) and 0 < expires < now:
        raise Forged("It has run out.")
    return said


def _decoded(text: str) -> bytes:
    """base64url with or without its padding."""
    try:
        padded = text.rstrip("=").encode("ascii")
        return base64.b64decode(padded + b"=" * (-len(padded) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Forged("It is no base64url.") from None
