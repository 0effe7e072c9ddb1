"""The one client that speaks HTTP to Graph: pooled, under a deadline, its failures typed.

One client serves deliveries and onboarding alike. Redirects are not followed, nothing is sent twice, and the
access token travels in a header: a URL ends up in logs. What goes into the request's line and headers is
checked first, so that no id that was typed into a form can become another address.
"""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import ipaddress
import re
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from partnerhub.lib.graph import limits
from partnerhub.lib.graph.bodies import events_body
from partnerhub.lib.graph.errors import (
    CredentialRefused,
    GraphError,
    InDoubt,
    Unsent,
    Usage,
    error_from,
    retry_after,
    usage_from,
)
from partnerhub.lib.graph.transport import Answer, NoAnswer, NothingLeft, Silence, Transport
from partnerhub.lib.vault import Secret

# Ids and edges of Graph: `1000000000001/events`, `me/permissions`, `act_1/adspixels`.
_PATH = re.compile(r"[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*")
# What may stand in a header; a token that was pasted with a line break or a typographer's quote does not.
_TOKEN = re.compile(r"[!-~]+")
# A list longer than this is no business's; what comes after is not read.
PAGES_READ = 200
# Meta's dialog is at another host than its API; a stand-in plays both.
_API_HOST, _DIALOG_BASE = "graph.facebook.com", "https://www.facebook.com"


_HEADERS = {"Accept": "application/json", "User-Agent": "partnerhub"}


@dataclass(frozen=True, slots=True)
class GraphProbe:
    """What an answer of Graph's says of itself."""

    # The one that Graph spoke, which is another one than was asked for where that was withdrawn.
    version: str | None
    # Graph's clock, in whole seconds.
    date: datetime | None


@dataclass(frozen=True, slots=True)
class GraphAnswer:
    """A call that Graph answered and did not refuse."""

    status: int
    body: dict[str, Any]
    fbtrace_id: str | None
    # As it came: only an int equal to the number sent says that all were counted.
    events_received: object
    usage: Usage | None
    elapsed_ms: int


class GraphClient:
    """Calls to one Graph API at one version. Thread-safe; after a fork it opens connections of its own."""

    def __init__(self, *, base_url: str, version: str, tls: ssl.SSLContext | None = None) -> None:
        """Raises ValueError with a sentence for an address or a version that cannot be used.

        `tls` replaces the system's trusted certificates.
        """
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError:
            raise ValueError("GRAPH_API_BASE_URL is not an address.") from None
        host = parts.hostname
        if not host or parts.scheme not in ("http", "https"):
            raise ValueError("GRAPH_API_BASE_URL is not an address such as https://graph.facebook.com.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("GRAPH_API_BASE_URL has a name, a password or a query: leave them out.")
        if parts.scheme == "http" and not _is_loopback(host):
            raise ValueError("GRAPH_API_BASE_URL must begin with https://: access tokens go there.")
        if version not in limits.VERSIONS:
            raise ValueError(
                f"GRAPH_API_VERSION {version} is not known; use one of {', '.join(limits.VERSIONS)}."
            )
        self.base_url = base_url.rstrip("/")
        self.version = version
        self._prefix = f"{parts.path.rstrip('/')}/{version}/"
        if parts.scheme == "https":
            self._transport = Transport(
                host=host, port=port or 443, tls=tls if tls is not None else ssl.create_default_context()
            )
        else:
            self._transport = Transport(host=host, port=port or 80, tls=None)

    @property
    def dialog_url(self) -> str:
        """Where a browser logs in at Meta, without its query."""
        base = _DIALOG_BASE if urlsplit(self.base_url).hostname == _API_HOST else self.base_url
        return f"{base}/{self.version}/dialog/oauth"

    def close(self) -> None:
        """Close the idle connections. The client can be used on."""
        self._transport.close()

    def probe(self, *, deadline_seconds: float) -> GraphProbe:
        """What Graph's refusal of a call without a token tells. Raises Unsent or InDoubt where none comes."""
        answer = self._exchange("GET", "me", _HEADERS, b"", deadline_seconds)
        try:
            date = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            date = None
        return GraphProbe(answer.headers.get("facebook-api-version"), date)

    def get(
        self,
        path: str,
        *,
        token: Secret,
        params: Mapping[str, str] | None = None,
        app_secret: Secret | None = None,
        deadline_seconds: float,
    ) -> GraphAnswer:
        """Read `path` below the version. Raises GraphError."""
        return self._call("GET", _target(path, token, params, app_secret), b"", token, deadline_seconds)

    def delete(
        self,
        path: str,
        *,
        token: Secret,
        params: Mapping[str, str] | None = None,
        app_secret: Secret | None = None,
        deadline_seconds: float,
    ) -> GraphAnswer:
        """Delete `path` below the version. Raises GraphError."""
        return self._call("DELETE", _target(path, token, params, app_secret), b"", token, deadline_seconds)

    def get_with_secrets(
        self, path: str, *, params: Mapping[str, str | Secret], deadline_seconds: float
    ) -> GraphAnswer:
        """Read one of limits.SECRET_IN_URL_PATHS, which take secrets in the query, and no token in a header.

        Raises GraphError, whose texts hold none of the secrets.
        """
        if path not in limits.SECRET_IN_URL_PATHS:
            raise ValueError("Secrets do not belong into this path's URL.")
        shown = {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in params.items()
        }
        hidden = tuple(value.reveal() for value in params.values() if isinstance(value, Secret))
        return self._call("GET", f"{path}?{urlencode(shown)}", b"", None, deadline_seconds, hidden=hidden)

    def items(
        self,
        path: str,
        *,
        token: Secret,
        params: Mapping[str, str] | None = None,
        app_secret: Secret | None = None,
        deadline_seconds: float,
    ) -> Iterator[dict[str, Any]]:
        """What the list at `path` holds, page after page; all of it within the deadline. Raises GraphError.

        A page may be short, or empty with another one behind it. `next` is a foreign address with the token in
        it: only its being there counts.
        """
        ends = time.monotonic() + deadline_seconds
        query = dict(params or {})
        for _ in range(PAGES_READ):
            left = ends - time.monotonic()
            if left <= 0:
                raise InDoubt(f"Graph did not list all within {deadline_seconds:g} s.")
            body = self.get(
                path, token=token, params=query, app_secret=app_secret, deadline_seconds=left
            ).body
            data = body.get("data")
            yield from (item for item in data if isinstance(item, dict)) if isinstance(data, list) else ()
            paging = body.get("paging")
            after = _after(paging) if isinstance(paging, dict) and paging.get("next") else None
            if after is None:
                return
            query["after"] = after

    def post(
        self,
        path: str,
        *,
        token: Secret,
        body: Mapping[str, Any],
        app_secret: Secret | None = None,
        deadline_seconds: float,
    ) -> GraphAnswer:
        """Send a JSON body to `path` below the version. Raises GraphError."""
        _check_path(path)
        proof = {} if app_secret is None else {"appsecret_proof": appsecret_proof(token, app_secret)}
        return self._call("POST", path, orjson.dumps(dict(body) | proof), token, deadline_seconds)

    def send_events(
        self,
        meta_id: str,
        *,
        token: Secret,
        fragments: Sequence[bytes],
        partner_agent: str,
        test_event_code: str | None = None,
        app_secret: Secret | None = None,
        deadline_seconds: float,
    ) -> GraphAnswer:
        """Send events, each a JSON object as stored, in one request: they are joined, not decoded.

        `app_secret` is given for tokens of the partner's own app only: another app's token with our proof is
        refused. An answer whose `events_received` differs is an answer all the same. Raises GraphError.
        """
        target = f"{meta_id}/events"
        _check_path(target)
        body = events_body(
            fragments,
            partner_agent=partner_agent,
            test_event_code=test_event_code,
            appsecret_proof=None if app_secret is None else appsecret_proof(token, app_secret),
        )
        answer = self._call("POST", target, body, token, deadline_seconds)
        if not answer.body.keys() & limits.EVENTS_ANSWER_KEYS:
            raise InDoubt(
                f"HTTP {answer.status} came back without an answer of Graph's.", status=answer.status
            )
        return answer

    def _call(
        self,
        method: str,
        target: str,
        body: bytes,
        token: Secret | None,
        deadline_seconds: float,
        *,
        hidden: tuple[str, ...] = (),
    ) -> GraphAnswer:
        """Every call goes through here: it returns, or raises the GraphError that came of it."""
        headers = dict(_HEADERS)
        if token is not None:
            if not _TOKEN.fullmatch(token.reveal()):
                raise CredentialRefused("The token holds characters that no token has; nothing was sent.")
            headers["Authorization"] = f"Bearer {token.reveal()}"
            hidden = (*hidden, token.reveal())
        if method == "POST":
            headers["Content-Type"] = "application/json"
        started = time.monotonic()
        answer = self._exchange(method, target, headers, body, deadline_seconds)
        elapsed_ms = round((time.monotonic() - started) * 1000)
        return _read(answer.status, answer.headers, answer.content, elapsed_ms, hidden=hidden)

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline_seconds: float
    ) -> Answer:
        deadline = time.monotonic() + deadline_seconds
        try:
            return self._transport.exchange(
                method, self._prefix + target, headers=headers, body=body, deadline=deadline
            )
        except NothingLeft as failure:
            raise Unsent(f"No connection to Graph was made ({failure}).") from None
        except NoAnswer as failure:
            raise _in_doubt(failure, deadline_seconds) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_path(path: str) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError("A path of Graph's is ids and names with slashes between them.")


def _target(path: str, token: Secret, params: Mapping[str, str] | None, app_secret: Secret | None) -> str:
    _check_path(path)
    query = dict(params or {})
    if app_secret is not None:
        query["appsecret_proof"] = appsecret_proof(token, app_secret)
    return f"{path}?{urlencode(query)}" if query else path


def _after(paging: Mapping[str, Any]) -> str | None:
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    return after if isinstance(after, str) and after else None


def _in_doubt(failure: NoAnswer, deadline_seconds: float) -> GraphError:
    # Never the failure's own text: it may hold what was sent.
    match failure.silence:
        case Silence.TIMEOUT:
            return InDoubt(f"Graph did not answer within {deadline_seconds:g} s.")
        case Silence.TOO_LARGE:
            return InDoubt(
                f"The answer is longer than {limits.ANSWER_BYTES} bytes, and no answer of Graph's."
            )
        case Silence.GARBLED:
            return InDoubt(f"What came back is not HTTP ({failure}).")
        case Silence.BROKEN:
            return InDoubt(f"The connection broke before Graph answered ({failure}).")


def _read(
    status: int, headers: Mapping[str, str], content: bytes, elapsed_ms: int, *, hidden: Collection[str]
) -> GraphAnswer:
    """The answer, as Graph meant it. Raises what it says, or InDoubt where it is none of Graph's."""
    usage = usage_from(headers)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        raise error_from(body["error"], status=status, headers=headers, usage=usage, hidden=hidden)
    is_envelope = isinstance(body, dict) and "error" not in body and limits.UNAVAILABLE_TEXT not in content
    if not is_envelope or not 200 <= status < 300:
        raise InDoubt(
            f"HTTP {status} came back without an answer of Graph's.",
            status=status,
            retry_after_seconds=retry_after(headers, usage),
            usage=usage,
        )
    trace = body.get("fbtrace_id") or headers.get(limits.TRACE_HEADER)
    return GraphAnswer(
        status=status,
        body=body,
        fbtrace_id=trace[:64] if isinstance(trace, str) else None,
        events_received=body.get("events_received"),
        usage=usage,
        elapsed_ms=elapsed_ms,
    )


def appsecret_proof(token: Secret, app_secret: Secret) -> str:
    """Hex HMAC-SHA256 of the token under its own app's secret ("Login Security", 2024-10-16)."""
    return hmac.new(app_secret.reveal().encode(), token.reveal().encode(), hashlib.sha256).hexdigest()
