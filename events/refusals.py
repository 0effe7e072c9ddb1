"""Why a door refuses a request, in Graph's shape. Pure.

Graph refuses a request whole, so there is one refusal a request. Its message names the field and the event's
place; what was sent is not repeated in it, for it may be personal.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

OAUTH: Final = "OAuthException"
GRAPH_METHOD: Final = "GraphMethodException"

_STEP: Final = re.compile(r"\[([0-9]{1,9})\]|([^.\[]+)")


class Refusal(Exception):
    """A refused request: an HTTP status and Graph's error envelope."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: int = 100,
        subcode: int | None = None,
        kind: str = OAUTH,
        title: str = "Invalid parameter",
        field: str | None = None,
        index: int | None = None,
        is_transient: bool = False,
    ) -> None:
        """`field` is the path within the event, or of the request; `index` the event's place in `data`."""
        place = "" if index is None else f"data[{index}]"
        where = ".".join(part for part in (place, field) if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.message = str(self)
        self.status = status
        self.code = code
        self.subcode = subcode
        self.kind = kind
        self.title = title
        self.field = field
        self.index = index
        self.is_transient = is_transient

    def envelope(self, fbtrace_id: str) -> bytes:
        """The response's body."""
        error: dict[str, object] = {
            "message": f"(#{self.code}) {self.message}",
            "type": self.kind,
            "code": self.code,
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        error["is_transient"] = self.is_transient
        error["error_user_title"] = self.title
        error["error_user_msg"] = self.message
        if self.field is not None:
            place: list[str | int] = [] if self.index is None else ["data", self.index]
            error["error_data"] = {"blame_field_specs": [place + _steps(self.field)]}
        error["fbtrace_id"] = fbtrace_id
        return orjson.dumps({"error": error})


def _steps(path: str) -> list[str | int]:
    """`data[1].user_data` as Meta's blame_field_specs has it: "data", 1, "user_data"."""
    return [int(number) if number else name for number, name in _STEP.findall(path)]


def invalid_token() -> Refusal:
    """No token, an unknown or a revoked one."""
    return Refusal(
        "Invalid access token. Use an ingest token of this pixel, as PartnerHub showed it when it was made.",
        status=401,
        code=190,
        title="Invalid access token",
    )


def unknown_pixel(meta_id: str) -> Refusal:
    """A pixel that does not exist, or is not the token's: nobody can tell which."""
    return Refusal(
        f"Unsupported post request. Object with ID '{meta_id}' does not exist, cannot be loaded due to missing"
        " permissions, or does not support this operation.",
        subcode=33,
        kind=GRAPH_METHOD,
        title="Unknown pixel",
    )


def unknown_path() -> Refusal:
    """An address that is none of the door's."""
    return Refusal(
        "Unknown path. Events are sent to /v{N}.0/{pixel_id}/events.",
        status=404,
        code=2500,
        title="Unknown path",
    )


def unknown_version() -> Refusal:
    """A version of Graph that we do not speak."""
    return Refusal("Unknown API version in the path.", code=2635, title="Unknown API version")


def wrong_method() -> Refusal:
    """Another verb than POST."""
    return Refusal("Unsupported request method: events are sent with POST.", status=405, title="Wrong method")


def body_too_large() -> Refusal:
    """More than the limit, as sent or as inflated."""
    return Refusal(
        "The body is larger than 8 MiB, as sent or inflated. Send fewer events a request.",
        status=413,
        title="Body too large",
    )


def body_too_slow() -> Refusal:
    """The body did not come in time."""
    return Refusal("The body did not arrive in time.", status=408, title="Body too slow", is_transient=True)


def unsupported_encoding(encoding: str) -> Refusal:
    """A Content-Encoding that is none of ours."""
    return Refusal(
        f"Content-Encoding {encoding[:40]!r} is not supported: use gzip, deflate or none.",
        status=415,
        title="Unsupported encoding",
    )


def broken_encoding(encoding: str) -> Refusal:
    """A body that is not what its Content-Encoding says."""
    return Refusal(f"The body is not valid {encoding}.", title="Broken encoding")


def unsupported_media(what: str) -> Refusal:
    """A Content-Type or charset that is none of ours."""
    return Refusal(
        f"{what} is not supported: send JSON, a urlencoded form or multipart/form-data, in UTF-8.",
        status=415,
        title="Unsupported content type",
    )


def unavailable() -> Refusal:
    """Nothing can be stored now; the client sends again after Retry-After."""
    return Refusal(
        "Events cannot be taken in at this moment. Send the same request again after the time in Retry-After.",
        status=503,
        code=2,
        title="Temporarily unavailable",
        is_transient=True,
    )


def unstorable() -> Refusal:
    """The database refused these events and no others: our fault, and no use in sending them again."""
    return Refusal(
        "These events cannot be stored. Nothing of the request was kept.", code=1, title="Not stored"
    )
