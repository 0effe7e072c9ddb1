"""Reading what a client put into a request, in each of the shapes that Meta's SDKs use.

JSON, urlencoded and multipart; `data` as an array, as the text of one, or as an array of texts (the python
SDK). Pure. Also the one place that masks secrets before a request is kept.
"""

import io
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus

import orjson
import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from partnerhub.sandbox.frame import Header, Refusal

MASK: Final = "***"
SECRET_PARAMETERS: Final = (
    "access_token",
    "appsecret_proof",
    "input_token",
    "client_secret",
    "code",
    "fb_exchange_token",
    "revoke_token",
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """A request's parameters: the query's, the body's, and the token of the Authorization header."""

    values: dict[str, Any]
    secrets: tuple[str, ...]

    def text(self, name: str) -> str | None:
        """The parameter as text; None where it is absent, empty or no text."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value else None


def query_parameters(query: bytes, headers: list[Header]) -> Parameters:
    """The parameters of a request without a body."""
    return _combine(query, headers, {})


def read_parameters(query: bytes, headers: list[Header], body: bytes) -> Parameters | Refusal:
    """The parameters of a POST; a name given twice counts where it stands first: query, body, header."""
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if any(name == b"content-encoding" for name, _ in headers):
        return _unreadable("content-encoding is not supported")
    fields = _read_body(kind, body)
    return fields if isinstance(fields, Refusal) else _combine(query, headers, fields)


def _combine(query: bytes, headers: list[Header], fields: dict[str, Any]) -> Parameters:
    in_query = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    secrets = [
        value
        for source in (in_query, fields)
        for name in SECRET_PARAMETERS
        if (value := source.get(name)) and isinstance(value, str)
    ]
    values = fields | in_query
    for name, header in headers:
        if name == b"authorization":
            scheme, _, token = header.decode("latin-1").partition(" ")
            secrets.append(token)
            if scheme.lower() == "bearer" and not values.get("access_token"):
                values["access_token"] = token.strip()
    return Parameters(values, tuple(secret for secret in secrets if secret))


def _read_body(kind: bytes, body: bytes) -> dict[str, Any] | Refusal:
    media_type = kind.split(b";", 1)[0].strip().lower()
    if media_type == b"application/json":
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _unreadable("the body is not JSON")
        return fields if isinstance(fields, dict) else _unreadable("the body is not a JSON object")
    if media_type == b"multipart/form-data":
        return _read_multipart(kind, body)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True))
    except ValueError:
        return _unreadable("the body is not a form")


def _read_multipart(kind: bytes, body: bytes) -> dict[str, Any] | Refusal:
    fields: dict[str, Any] = {}

    def on_field(part: Field) -> None:
        fields[(part.field_name or b"").decode("utf-8", "replace")] = (part.value or b"").decode(
            "utf-8", "replace"
        )

    def on_file(part: File) -> None:
        part.file_object.seek(0)
        fields[(part.field_name or b"").decode("utf-8", "replace")] = part.file_object.read().decode(
            "utf-8", "replace"
        )

    try:
        python_multipart.parse_form({"Content-Type": kind}, io.BytesIO(body), on_field, on_file)
    except (FormParserError, ValueError):
        return _unreadable("the body is not a multipart form")
    return fields


def read_events(data: Any) -> list[Any] | Refusal:
    """The events of the parameter `data`, texts among them read as JSON."""
    if data is None:
        return Refusal(100, "(#100) The parameter data is required")
    if isinstance(data, str):
        try:
            data = orjson.loads(data)
        except orjson.JSONDecodeError:
            return Refusal(100, "(#100) param data must be an array.")
    if not isinstance(data, list):
        return Refusal(100, "(#100) param data must be an array.")
    if not data:
        return Refusal(100, "(#100) param data must be non-empty.")
    if isinstance(data[0], str):
        try:
            return [orjson.loads(item) if isinstance(item, str) else item for item in data]
        except orjson.JSONDecodeError:
            return Refusal(100, "(#100) param data must be an array of objects.")
    return data


def _unreadable(reason: str) -> Refusal:
    return Refusal(100, f"(#100) The request could not be read: {reason}.")


def mask_body(body: bytes, secrets: tuple[str, ...]) -> bytes:
    """`body` without the secrets, however the body's type wrote them."""
    for secret in secrets:
        plain = secret.encode("utf-8", "surrogatepass")
        for written in {plain, quote_plus(plain).encode(), quote(plain).encode(), orjson_text(secret)}:
            body = body.replace(written, MASK.encode())
    return body


def mask_text(text: str, secrets: tuple[str, ...]) -> str:
    """A query string or a header's value without the secrets."""
    return mask_body(text.encode("latin-1", "replace"), secrets).decode("latin-1")


def orjson_text(text: str) -> bytes:
    """`text` as JSON writes it, without the quotes."""
    try:
        return orjson.dumps(text)[1:-1]
    except orjson.JSONEncodeError:
        return text.encode("utf-8", "surrogatepass")
