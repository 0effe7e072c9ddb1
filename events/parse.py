"""A request's bytes → its token and its events, in every form that Conversions API clients send. Pure.

JSON, urlencoded forms and multipart forms; `data` as an array, as its JSON in a text, or as an array of JSON
texts (Meta's Python SDK); the token in the body, the query or the Authorization header. The rules for odd
JSON, by name:

- NaN, Infinity and numbers beyond a double (1e400) are refused; so are numbers beyond 64 bits (events.payload);
- a lone surrogate is refused, a NUL byte too (events.payload), and text that is not UTF-8;
- a byte order mark before the JSON is taken off;
- of a key that stands twice in an object the last one counts, as in most parsers; a form's field that stands
  twice with different contents is refused, and so is a form with a `%` that is no escape;
- more than 150,000 keys, 150,000 objects and lists, or 400,000 values are refused unparsed;
- nesting is at most 32 deep (events.payload), and parsing itself stops a deep pile of brackets early.

Parameters that are none of the door's are ignored, as Graph ignores them: nothing of an event is in them.
"""

from __future__ import annotations

import binascii
import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final, NamedTuple

import orjson

from events import refusals
from events.refusals import Refusal
from partnerhub.lib.graph.limits import EVENTS_PER_REQUEST

BOM: Final = b"\xef\xbb\xbf"
# Fields of a form or a query; clients send fewer than ten.
FIELDS: Final = 64
# Counted before parsing, as colons: 150 keys for each of a thousand events, five times what clients send.
# Half a million keys fit into 8 MiB, and parsing them takes 0.2 s of CPU, whoever sends them.
KEYS: Final = 150_000
# Counted before parsing, as commas: four million zeros fit into 8 MiB. A thousand purchases of a hundred things
# have fewer.
VALUES: Final = 400_000
# Counted before parsing, as opening brackets: a list costs four times what a key does, and four million fit into
# 8 MiB without a comma between them.
CONTAINERS: Final = 150_000
# No text of this size holds more than any of the three.
FEW_BYTES: Final = min(KEYS, VALUES, CONTAINERS)
# Of a refused body of up to this size (a thousand usual events) we look for the guilty value; of a larger one we
# say the position.
DIAGNOSED_BYTES: Final = 2 * 1024 * 1024
# Of one part of a multipart body; clients send 150 bytes.
PART_HEAD_BYTES: Final = 4 * 1024
PATH_CHARACTERS: Final = 200

# What we do not pass on, and so refuse rather than drop in silence.
REFUSED_PARAMETERS: Final[dict[str, str]] = {
    "test_event_code": "Test events are sent from the pixel's page in PartnerHub, not through this door.",
    "upload_id": "Offline uploads are not passed on.",
    "upload_tag": "Offline uploads are not passed on.",
    "upload_source": "Offline uploads are not passed on.",
    "namespace_id": "namespace_id is not passed on.",
}


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client submitted: its token, and its events as it wrote them."""

    access_token: str | None
    data: list[object]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A request whose token is known and whose events are not looked at yet."""

    access_token: str | None
    parameters: Mapping[str, Any]


def open_request(body: bytes, content_type: str, query: bytes, authorization: str | None) -> Opened:
    """The parameters of an (inflated) request. Raises Refusal. `query` is the raw query string."""
    in_query: Mapping[str, Any] = _form(query, "query") if query else {}
    in_body = _body(body, content_type)
    if "data" in in_query and "data" in in_body:
        raise Refusal("It stands in the query and in the body.", field="data")
    return Opened(_token(in_query, in_body, authorization), {**in_query, **in_body})


def read_submission(opened: Opened) -> Submission:
    """The submission of a request, once its token is known to be good. Raises Refusal.

    `appsecret_proof` is ignored: it proves an app of Meta's, and the token is ours. `partner_agent` is
    replaced by the partner's at delivery, which a notice says.
    """
    parameters = opened.parameters
    for name, reason in REFUSED_PARAMETERS.items():
        if parameters.get(name):
            raise Refusal(reason, field=name)
    notices = ("partner_agent:replaced",) if parameters.get("partner_agent") else ()
    return Submission(opened.access_token, _events(parameters.get("data")), notices)


def parse_submission(body: bytes, content_type: str, query: bytes, authorization: str | None) -> Submission:
    """Both steps at once. Raises Refusal."""
    return read_submission(open_request(body, content_type, query, authorization))


def _token(in_query: Mapping[str, Any], in_body: Mapping[str, Any], authorization: str | None) -> str | None:
    given = [in_query.get("access_token"), in_body.get("access_token")]
    if authorization and authorization[:7].lower() == "bearer ":
        given.append(authorization[7:].strip())
    # Of a JSON body it can be anything; what is no text is no token.
    found = {token for token in given if isinstance(token, str) and token}
    if len(found) > 1:
        raise Refusal("The request carries different access tokens.", field="access_token")
    return next(iter(found), None)


class _Media(NamedTuple):
    """What a Content-Type says."""

    kind: str
    charset: str | None
    boundary: str


@functools.lru_cache(maxsize=256)
def _media(content_type: str) -> _Media:
    # Remembered, for it takes longer to read than a small body; a boundary that is new each time falls out again.
    message = Message()
    message["Content-Type"] = content_type or "application/json"
    charset = message.get_param("charset")
    return _Media(
        message.get_content_type(),
        None if charset is None else str(charset),
        str(message.get_param("boundary") or ""),
    )


def _body(body: bytes, content_type: str) -> dict[str, Any]:
    media = _media(content_type)
    if media.charset is not None and media.charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise refusals.unsupported_media(f"The charset {media.charset[:40]!r}")
    if media.kind == "application/x-www-form-urlencoded":
        return _form(body, "body")
    if media.kind == "multipart/form-data":
        return _multipart(body, media.boundary)
    if media.kind.endswith(("/json", "+json")) or media.kind == "text/plain":
        parsed = _json(body, "body")
        if not isinstance(parsed, dict):
            raise Refusal("The body must be a JSON object with `data` in it.", field="data")
        return parsed
    raise refusals.unsupported_media(f"The content type {media.kind[:60]!r}")


def _form(form: bytes, place: str) -> dict[str, Any]:
    """The fields of an application/x-www-form-urlencoded text."""
    if form.count(b"&") >= FIELDS:
        raise Refusal(f"The {place} has more than {FIELDS} fields.")
    pairs = []
    for pair in form.split(b"&"):
        name, _, value = pair.partition(b"=")
        if pair:
            pairs.append((_unquoted(name, place), _unquoted(value, place)))
    return _once_each(pairs)


# `%` and `+` as quoted-printable has them.
_TO_QUOTED_PRINTABLE: Final = bytes.maketrans(b"%+", b"= ")


def _unquoted(text: bytes, place: str) -> str:
    """The text behind `%22` and `+`.

    Decoded as quoted-printable, whose escapes are the same but for their first sign: that is done in C, and the
    standard library's own `unquote` takes forty times as long, most of all for the SDKs' JSON, which is a third
    escapes. An escape makes the text two bytes shorter and nothing else does, so the length shows a broken one.
    """
    escapes = text.count(b"%")
    # A line's end behind `=` would be quoted-printable's soft line break: no escape, and two bytes shorter, too.
    is_broken = escapes > 0 and (b"%\n" in text or b"%\r" in text)
    decoded = binascii.a2b_qp(text.replace(b"=", b"=3D").translate(_TO_QUOTED_PRINTABLE))
    if is_broken or len(decoded) != len(text) - 2 * escapes:
        raise Refusal(f"The {place} holds a % that is no escape: it is not encoded as a form must be.")
    if not text.isascii():
        raise Refusal(f"The {place} is not UTF-8, or not encoded as a form must be.")
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        raise Refusal(f"The {place} is not UTF-8, or not encoded as a form must be.") from None


def _once_each(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A form's fields by name. Of two that differ one would be lost in silence, so that is refused."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if fields.setdefault(name, value) != value:
            raise Refusal("It stands twice in the form.", field=_printable(name[:60]))
    return fields


def _multipart(body: bytes, boundary: str) -> dict[str, Any]:
    """The plain fields of multipart/form-data (RFC 7578), each with its whole content."""
    if not 0 < len(boundary) <= 70 or not boundary.isascii():
        raise Refusal("The multipart body has no usable boundary.")
    mark = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) > FIELDS + 2:
        raise Refusal(f"The body has more than {FIELDS} fields.")
    if len(pieces) < 2 or pieces[0].strip() or not pieces[-1].startswith(b"--"):
        raise Refusal("The multipart body is incomplete.")
    pairs = []
    for piece in pieces[1:-1]:
        head, separator, content = piece.partition(b"\r\n\r\n")
        if len(head) > PART_HEAD_BYTES:
            raise Refusal("The headers of a part of the multipart body are too long.")
        part = Message()
        for line in head.decode("latin-1").split("\r\n"):
            if line.lower().startswith("content-disposition:"):
                part["Content-Disposition"] = line.split(":", 1)[1].strip()
        name = part.get_param("name", header="Content-Disposition")
        if not separator or not isinstance(name, str):
            raise Refusal("A part of the multipart body has no name.")
        try:
            pairs.append((name, content.decode()))
        except UnicodeDecodeError:
            raise Refusal("The part is not UTF-8.", field=_printable(name[:60])) from None
    return _once_each(pairs)


def _events(data: Any) -> list[object]:
    if data is None or data == "":
        raise Refusal("The list of events is missing.", field="data")
    if isinstance(data, str):
        data = _json(data.encode(), "data")
    if not isinstance(data, list):
        raise Refusal("It must be a list of events.", field="data")
    if not data:
        raise Refusal("It holds no event.", field="data")
    if len(data) > EVENTS_PER_REQUEST:
        raise Refusal(
            f"It holds {len(data)} events; {EVENTS_PER_REQUEST} are the most in one request.", field="data"
        )
    return [
        _json(event.encode(), f"data[{index}]") if isinstance(event, str) else event
        for index, event in enumerate(data)
    ]


def _json(text: bytes, place: str) -> Any:
    text = text.removeprefix(BOM)
    field = None if place == "body" else place
    if len(text) > FEW_BYTES:
        _count(text, field)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # A field of a form can hold one, as the JSON text of an event or as its whole data.
        raise _diagnosis(text, place, error) from None


def _count(text: bytes, field: str | None) -> None:
    """Refuse what would take too long to read, before it is read."""
    if text.count(b":") > KEYS:
        raise Refusal(f"It holds more than {KEYS} keys.", field=field)
    if text.count(b"[") + text.count(b"{") > CONTAINERS:
        raise Refusal(f"It holds more than {CONTAINERS} objects and lists.", field=field)
    if text.count(b",") > VALUES:
        raise Refusal(f"It holds more than {VALUES} values.", field=field)


def _diagnosis(text: bytes, place: str, error: orjson.JSONDecodeError) -> Refusal:
    """Which value of a broken JSON text is to blame, where that can be told."""
    field = None if place == "body" else place
    try:
        text.decode()
    except UnicodeDecodeError as fault:
        return Refusal(f"The text is not UTF-8, at byte {fault.start}.", field=field)
    where = f"at line {error.lineno}, column {error.colno}"
    if len(text) <= DIAGNOSED_BYTES and (found := _guilty(text)) is not None:
        path, what = found
        inner = "" if place == "body" else place
        whole = f"{inner}{path}" if path.startswith("[") or not inner else f"{inner}.{path}"
        return Refusal(what, field=whole.removeprefix("."))
    if "surrogate" in error.msg:
        return Refusal(f"A text holds a lone surrogate, which is no character, {where}.", field=field)
    return Refusal(f"This is not valid JSON: {error.msg.split(':')[0]}, {where}.", field=field)


def _guilty(text: bytes) -> tuple[str, str] | None:
    """The path of the first value that Python's lenient parser takes and JSON does not allow, and what it is."""
    try:
        found = _find_guilty(json.loads(text))
    except (ValueError, RecursionError):
        return None
    if found is None:
        return None
    steps, what = found
    return _printable("".join(reversed(steps)).lstrip(". ")[:PATH_CHARACTERS]), what


def _find_guilty(value: object) -> tuple[list[str], str] | None:
    """The steps to the guilty value, last first: they are written down on the way back only."""
    if isinstance(value, str):
        if not value.isascii() and _has_surrogate(value):
            return [], "It holds a lone surrogate, which is no character."
    elif isinstance(value, float):
        if not math.isfinite(value):
            return [], "It is no finite number (NaN, Infinity, or beyond a double's range)."
    elif isinstance(value, dict):
        for key, item in value.items():
            if (found := _find_guilty(key)) is not None:
                found[0].append(" (a key)")
                return found
            if (found := _find_guilty(item)) is not None:
                found[0].append(f".{key[:PATH_CHARACTERS]}")
                return found
    elif isinstance(value, list):
        for number, item in enumerate(value):
            if (found := _find_guilty(item)) is not None:
                found[0].append(f"[{number}]")
                return found
    return None


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _printable(path: str) -> str:
    text = path.encode("ascii", "replace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in text)
