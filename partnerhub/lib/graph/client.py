"""The one client that speaks HTTP to Graph: pooled, under a deadline, its failures typed.

It stands on urllib3 rather than on requests, which is a layer over urllib3 that costs more than twice its time a
call (docs/adr); one client serves deliveries and onboarding alike. Redirects are not followed, nothing is sent
twice, and the access token travels in a header: a URL ends up in logs.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.graph import limits
from partnerhub.lib.graph.deadline import WATCHDOG, Guard
from partnerhub.lib.graph.errors import GraphError, InDoubt, Unsent, Usage, error_from, usage_from
from partnerhub.lib.vault import Secret

# As many idle connections are kept as a process has threads that send.
POOLED_CONNECTIONS = 32
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


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


_calls = threading.local()


class _Watched:
    """What both kinds of connection add: the socket is under the running call's deadline."""

    sock: Any
    connect: Callable[[], None]

    def request(self, *args: Any, **kwargs: Any) -> None:
        guard: Guard = _calls.guard
        if self.sock is None:
            self.connect()
        guard.watch(self.sock)
        guard.sent = True
        super().request(*args, **kwargs)  # type: ignore[misc]  # a mix-in for urllib3's connections
        # All is on its way, and nothing has come back.
        crash_point("mid_send")


class _HTTPConnection(_Watched, HTTPConnection):
    pass


class _HTTPSConnection(_Watched, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class GraphClient:
    """Calls to one Graph API at one version. Thread-safe; after a fork it opens connections of its own."""

    def __init__(self, *, base_url: str, version: str) -> None:
        """Raises ValueError with a sentence for an address or a version that cannot be used."""
        parts = urlsplit(base_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("GRAPH_API_BASE_URL must begin with https://: access tokens go there.")
        if version not in limits.VERSIONS:
            raise ValueError(
                f"GRAPH_API_VERSION {version} is not known; use one of {', '.join(limits.VERSIONS)}."
            )
        self.base_url = base_url.rstrip("/")
        self.version = version
        self._parts = parts
        self._pid = 0
        self._lock = threading.Lock()
        self._pool_now: urllib3.HTTPConnectionPool | None = None

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
        query = dict(params or {})
        if app_secret is not None:
            query["appsecret_proof"] = appsecret_proof(token, app_secret)
        target = f"{path}?{urlencode(query)}" if query else path
        return self._call("GET", target, None, token, deadline_seconds)

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
        head: dict[str, str] = {"partner_agent": partner_agent}
        if test_event_code:
            head["test_event_code"] = test_event_code
        if app_secret is not None:
            head["appsecret_proof"] = appsecret_proof(token, app_secret)
        body = b"".join((orjson.dumps(head)[:-1], b',"data":[', b",".join(fragments), b"]}"))
        return self._call("POST", f"{meta_id}/events", body, token, deadline_seconds)

    def _pool(self) -> urllib3.HTTPConnectionPool:
        with self._lock:
            if self._pool_now is None or self._pid != os.getpid():
                self._pid = os.getpid()
                kind = _HTTPSPool if self._parts.scheme == "https" else _HTTPPool
                assert self._parts.hostname is not None
                self._pool_now = kind(
                    self._parts.hostname, self._parts.port, maxsize=POOLED_CONNECTIONS, block=False
                )
            return self._pool_now

    def _call(
        self, method: str, target: str, body: bytes | None, token: Secret, deadline_seconds: float
    ) -> GraphAnswer:
        headers = {
            "Authorization": f"Bearer {token.reveal()}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "partnerhub",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        started = time.monotonic()
        guard = WATCHDOG.arm(deadline_seconds)
        _calls.guard = guard
        response: urllib3.BaseHTTPResponse | None = None
        is_whole = False
        try:
            response = self._pool().urlopen(
                method,
                f"{self._parts.path}/{self.version}/{target}",
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(
                    connect=min(limits.CONNECT_SECONDS, deadline_seconds), read=deadline_seconds
                ),
                preload_content=False,
                decode_content=False,
            )
            content = response.read(limits.ANSWER_BYTES + 1)
            is_whole = len(content) <= limits.ANSWER_BYTES
        except (HTTPError, OSError) as error:
            raise _no_answer(error, guard, deadline_seconds) from None
        finally:
            guard.finish()
            if response is not None:
                # A connection with an answer half read must not serve the next call.
                response.release_conn() if is_whole else response.close()
        elapsed_ms = round((time.monotonic() - started) * 1000)
        return _read(response.status, response.headers, content, is_whole, elapsed_ms)


def _no_answer(error: Exception, guard: Guard, deadline_seconds: float) -> GraphError:
    # The error's own text may hold the address: only its kind is said.
    kind = type(error).__name__
    if not guard.sent:
        return Unsent(f"No connection to Graph was made ({kind}).")
    if guard.expired:
        return InDoubt(f"Graph did not answer within {deadline_seconds:g} s.")
    return InDoubt(f"The connection broke before Graph answered ({kind}).")


def _read(
    status: int, headers: Mapping[str, str], content: bytes, is_whole: bool, elapsed_ms: int
) -> GraphAnswer:
    usage = usage_from(headers)
    try:
        body = orjson.loads(content) if is_whole else None
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        raise error_from(body["error"], status=status, headers=headers, usage=usage)
    if not isinstance(body, dict) or not 200 <= status < 300:
        raise InDoubt(f"HTTP {status} came back without an answer of Graph's.", status=status, usage=usage)
    trace = body.get("fbtrace_id")
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
