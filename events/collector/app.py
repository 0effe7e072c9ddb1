"""The door as an ASGI app: what official SDKs send to Graph's `/events`, answered as Graph answers.

The order of the checks is Graph's: version, token, pixel, then the shape of the request and each event. A
request is refused whole. 200 is said after the commit only. Bodies, tokens, queries and addresses are never
logged.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from events import refusals
from events.collector import watch
from events.collector.body import BODY_BYTES, LINGER_BYTES, Bodies, Body, ClientGone, Receive
from events.collector.plan import Batch
from events.collector.tokens import DatabaseAway, Grant, Tokens
from events.collector.trace import without_text
from events.collector.turned_away import TurnedAway
from events.collector.writer import Outcome, Writer
from events.parse import Opened, open_request, read_submission
from events.payload import prepare_events
from events.refusals import Refusal
from partnerhub.lib.graph import limits

log = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PATH: Final = re.compile(r"/v([0-9]{1,3})\.0/([0-9]{1,20})/events/?")

# A body of this size takes some 5 ms to read and check: more would make everybody else wait.
INLINE_BYTES: Final = 64 * 1024
# One more than the core that the loop leaves over finds nothing to run on.
THREADS: Final = 2

RETRY_SECONDS: Final = 2


class Answer(NamedTuple):
    """A response, complete."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Door:
    """The ASGI app. Its lifespan starts and closes the writer."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        writer: Writer,
        bodies: Bodies,
        answer_seconds: float,
        turned_away: TurnedAway | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._writer = writer
        self._bodies = bodies
        self._answer_seconds = answer_seconds
        self._turned_away = turned_away
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bodies")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live and end with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        fbtrace_id = new_trace_id()
        bind_contextvars(request_id=fbtrace_id)
        with self._bodies.open(receive) as body:
            try:
                answer = await self._answer(scope, body, fbtrace_id)
            except ClientGone:
                return
            except Refusal as refusal:
                watch.refused(refusal)
                answer = _refused(refusal, fbtrace_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client may repeat its request
                log.error("door failed", **without_text(error))
                answer = _refused(refusals.unavailable(), fbtrace_id)
            await _respond(answer, body, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            if message["type"] == "lifespan.startup":
                self._writer.start()
                if self._turned_away is not None:
                    self._turned_away.start()
                await send({"type": "lifespan.startup.complete"})
        await self._writer.close()
        if self._turned_away is not None:
            await self._turned_away.close()
        await self._tokens.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, body: Body, fbtrace_id: str) -> Answer:
        path: str = scope["path"]
        if (match := _PATH.fullmatch(path)) is not None:
            with watch.request(fbtrace_id):
                events = await self._take_in(match[1], match[2], scope, body)
            return Answer(
                200, b'{"events_received":%d,"messages":[],"fbtrace_id":"%b"}' % (events, fbtrace_id.encode())
            )
        await body.read_over(INLINE_BYTES)
        if path == "/healthz":
            return _plain(200, b"alive\n")
        if path == "/readyz":
            checks = {"queue": self._writer.state, **await self._tokens.check()}
            lines = "".join(f"{check}: {word}\n" for check, word in checks.items())
            return _plain(200 if set(checks.values()) == {"ok"} else 503, lines.encode())
        raise refusals.unknown_path()

    async def _take_in(self, version: str, meta_id: str, scope: Scope, body: Body) -> int:
        """How many events were taken in and committed. Raises a refusal, early where it can."""
        headers = _Headers(scope["headers"])
        try:
            if scope["method"] != "POST":
                raise refusals.wrong_method()
            if f"v{version}.0" not in limits.VERSIONS:
                raise refusals.unknown_version()
            if headers.length is not None and headers.length > BODY_BYTES:
                raise refusals.body_too_large()
            if not self._writer.is_taking:
                raise refusals.unavailable()
            body.hold(headers.length or 0)
        except Refusal:
            if headers.length is not None and headers.length <= INLINE_BYTES:
                # It is here already or nearly so, and read over it leaves the connection fit for the next
                # request.
                await body.read_over(INLINE_BYTES)
            raise
        content = await body.read(headers.encoding)
        return await self._store(meta_id, content, headers, scope["query_string"])

    async def _store(self, meta_id: str, body: bytes, headers: _Headers, query: bytes) -> int:
        """How many events of the body were taken in and committed. Raises a refusal."""
        is_large = len(body) > INLINE_BYTES
        opened = await self._work(
            is_large, open_request, body, headers.content_type, query, headers.authorization
        )
        try:
            grant = await self._tokens.find(opened.access_token or "")
        except DatabaseAway:
            raise refusals.unavailable() from None
        if grant is None:
            raise refusals.invalid_token()
        watch.of_pixel(grant.pixel_id)
        try:
            return await self._append(meta_id, opened, grant, is_large=is_large)
        except Refusal as refusal:
            if self._turned_away is not None:
                self._turned_away.note(grant, refusal, str(get_contextvars().get("request_id", "")))
            raise

    async def _append(self, meta_id: str, opened: Opened, grant: Grant, *, is_large: bool) -> int:
        """How many events of the opened request were committed to the token's pixel. Raises a refusal."""
        if grant.meta_id != meta_id:
            raise refusals.unknown_pixel(meta_id)
        batch = await self._work(is_large, self._prepare, opened, grant)
        outcome = await self._writer.append(batch, seconds=self._answer_seconds)
        match outcome:
            case Outcome.STORED:
                return len(batch.events)
            case Outcome.STRANGER:
                raise refusals.unknown_pixel(meta_id)
            case Outcome.UNSTORABLE:
                raise refusals.unstorable()
            case Outcome.UNAVAILABLE:
                raise refusals.unavailable()

    def _prepare(self, opened: Opened, grant: Grant) -> Batch:
        submission = read_submission(opened)
        events = prepare_events(submission.data, rules=grant.rules, now=self._clock(), make_id=new_event_id)
        return Batch(grant.pixel_id, grant.advertiser_id, events, submission.notices)

    async def _work(self, is_large: bool, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if not is_large:
            return function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))


class _Headers:
    """The few headers that the door reads."""

    __slots__ = ("authorization", "content_type", "encoding", "length")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.length: int | None = None
        self.content_type = ""
        self.encoding = ""
        self.authorization: str | None = None
        is_chunked = False
        for name, value in pairs:
            if name == b"content-length":
                self.length = int(value)
            elif name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"content-encoding":
                self.encoding = value.decode("latin-1").strip().lower()
            elif name == b"authorization":
                self.authorization = value.decode("latin-1")
            elif name == b"transfer-encoding":
                is_chunked = True
        if self.length is None and not is_chunked:
            self.length = 0


def new_trace_id() -> str:
    """An `fbtrace_id` of ours, in the shape of Meta's."""
    return "A" + secrets.token_urlsafe(16)


def new_event_id() -> str:
    """The `event_id` of an event that came without one."""
    return secrets.token_hex(16)


def _refused(refusal: Refusal, fbtrace_id: str) -> Answer:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = ((b"retry-after", b"%d" % RETRY_SECONDS),)
    elif refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = ((b"allow", b"POST"),)
    return Answer(refusal.status, refusal.envelope(fbtrace_id), headers)


def _plain(status: int, body: bytes) -> Answer:
    return Answer(status, body, ((b"content-type", b"text/plain; charset=utf-8"),))


_JSON: Final = (b"content-type", b"application/json; charset=UTF-8")


async def _respond(answer: Answer, body: Body, send: Send) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    if not any(name == b"content-type" for name, _ in answer.headers):
        headers.append(_JSON)
    # Without the rest of its body, nobody knows where the next request begins.
    closes = body.is_unread
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": closes})
    if closes:
        await body.read_over(LINGER_BYTES)
        await send({"type": "http.response.body", "body": b""})
