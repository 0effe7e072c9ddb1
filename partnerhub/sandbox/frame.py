"""What surrounds every answer of Graph: versions, the error envelope, trace ids, usage headers.

Pure, but for the randomness of a trace id. It decides nothing about a request.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

import orjson

KNOWN_VERSIONS = range(21, 27)
# v21.0 to v26.0 answer in 2026 (Graph API Changelog, read 2026-11-24).

TIERS = {"full": "standard_access", "limited": "development_access"}
# The headers still use the tiers' old words ("Marketing API Rate Limiting", 2026-05-05).

Header = tuple[bytes, bytes]

DOCUMENTATION = "Please read the Graph API documentation at https://developers.facebook.com/docs/graph-api"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal in Graph's terms. `status` None means: 401 for code 190, else 400."""

    code: int
    message: str
    type: str = "OAuthException"
    subcode: int | None = None
    title: str | None = None
    user_message: str | None = None
    is_transient: bool | None = None
    error_data: Any = None
    status: int | None = None
    headers: tuple[Header, ...] = field(default=())

    @property
    def http_status(self) -> int:
        """The status to answer with; clients are meant to look at the numbers in the body instead."""
        if self.status is not None:
            return self.status
        return 401 if self.code == 190 else 400

    @property
    def label(self) -> str:
        """`code` or `code/subcode`, the key under which refusals are counted."""
        return f"{self.code}" if self.subcode is None else f"{self.code}/{self.subcode}"

    def envelope(self, fbtrace_id: str) -> bytes:
        """The JSON body, keys in Graph's order, absent where Graph leaves them out."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "code": self.code}
        optional = (
            ("error_data", self.error_data),
            ("error_subcode", self.subcode),
            ("is_transient", self.is_transient),
            ("error_user_title", self.title),
            ("error_user_msg", self.user_message),
        )
        error |= {key: value for key, value in optional if value is not None}
        error["fbtrace_id"] = fbtrace_id
        return orjson.dumps({"error": error})


def new_trace_id() -> str:
    """A fresh `fbtrace_id`: 23 characters that begin with `A`, as Graph's look."""
    return "A" + secrets.token_urlsafe(16)


def version_refusal(major: int, minor: int, path: str) -> Refusal | None:
    """None for a version that answers; else Graph's refusal of a withdrawn or an unknown one."""
    if minor == 0 and major in KNOWN_VERSIONS:
        return None
    if minor == 0 and 0 < major < KNOWN_VERSIONS.start:
        newest = KNOWN_VERSIONS.stop - 1
        return Refusal(
            2635,
            "(#2635) You are calling a deprecated version of the Ads API. "
            f"Please update to the latest version: v{newest}.0.",
        )
    return unknown_path(path)


def unknown_path(path: str) -> Refusal:
    """Graph's refusal of a path that it does not know."""
    return Refusal(2500, f"Unknown path components: {path}")


def no_such_object(verb: str, object_id: str) -> Refusal:
    """100/33, the same for an object that is missing and for one that the token may not reach."""
    return Refusal(
        100,
        f"Unsupported {verb.lower()} request. Object with ID '{object_id}' does not exist, cannot be loaded "
        f"due to missing permissions, or does not support this operation. {DOCUMENTATION}",
        type="GraphMethodException",
        subcode=33,
    )


def usage_headers(
    business_id: str, *, call_count: int, regain_minutes: int = 0, tier: str = "full"
) -> tuple[Header, ...]:
    """`X-App-Usage` and `X-Business-Use-Case-Usage`, JSON in a string; `call_count` in per cent."""
    app = {"call_count": call_count, "total_cputime": 1, "total_time": 2}
    business = {
        "type": "ads_management",
        "call_count": call_count,
        "total_cputime": 1,
        "total_time": 2,
        "estimated_time_to_regain_access": regain_minutes,
        "ads_api_access_tier": TIERS[tier],
    }
    return (
        (b"x-app-usage", orjson.dumps(app)),
        (b"x-business-use-case-usage", orjson.dumps({business_id: [business]})),
    )


def answer_headers(refusal: Refusal | None = None) -> list[Header]:
    """The headers of a JSON answer, without length, version and usage."""
    headers: list[Header] = [
        (b"content-type", b"application/json; charset=UTF-8"),
        (b"cache-control", b"private, no-cache, no-store, must-revalidate"),
        (b"pragma", b"no-cache"),
    ]
    if refusal is not None:
        if refusal.code in (102, 104, 190):
            challenge = f'OAuth "Facebook Platform" "invalid_token" "{refusal.message}"'
            headers.append((b"www-authenticate", challenge.encode("latin-1", "replace")))
        headers.extend(refusal.headers)
    return headers
