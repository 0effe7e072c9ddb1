"""Performing the faults that answer badly or not at all.

The only room that reaches under HTTP, for a cut connection is nothing that ASGI can say.
"""

import asyncio
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from partnerhub.sandbox.frame import Header
from partnerhub.sandbox.knobs import Knob

Scope = Any
Receive = Any
Send = Any

TRANSPORT: Final = "sandbox.transport"
BAD_GATEWAY: Final = (
    b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"
    b"<body><h1>Sorry, something went wrong.</h1><p>We're working on getting this fixed.</p></body></html>"
)


class TransportProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also hands the application the connection, so that it can be cut."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


async def respond(send: Send, status: int, headers: list[Header], body: bytes) -> None:
    """Send a whole answer."""
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def cut(scope: Scope) -> None:
    """End the connection at once, without another byte."""
    scope["extensions"][TRANSPORT]["transport"].abort()


async def hold(scope: Scope, receive: Receive, seconds: float) -> None:
    """Leave the client without an answer until it goes, or until `seconds` have passed."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        cut(scope)


async def perform(
    knob: Knob, scope: Scope, receive: Receive, send: Send, answer: bytes, headers: list[Header]
) -> None:
    """Answer with the knob's fault; `answer` and `headers` are what an ordinary success would have said."""
    match knob.kind:
        case "timeout":
            await hold(scope, receive, knob.hold_ms / 1000)
        case "cut":
            cut(scope)
        case "html":
            page: list[Header] = [(b"content-type", b"text/html; charset=utf-8")]
            await respond(send, knob.status or 502, page, BAD_GATEWAY)
        case "text":
            plain: list[Header] = [(b"content-type", b"text/plain; charset=utf-8")]
            await respond(send, knob.status or 200, plain, (knob.message or "Service Unavailable").encode())
        case "huge":
            padded = orjson.loads(answer) | {"messages": ["x" * knob.size_bytes]}
            await respond(send, knob.status or 200, headers, orjson.dumps(padded))
        case "drip":
            await _drip(send, headers, answer, knob.interval_ms / 1000)
        case "received":
            changed = orjson.loads(answer) | {"events_received": knob.events_received}
            if knob.events_received is None:
                del changed["events_received"]
            await respond(send, knob.status or 200, headers, orjson.dumps(changed))
        case _:
            raise AssertionError(f"{knob.kind} does not take an answer's place")


async def _drip(send: Send, headers: list[Header], answer: bytes, interval_seconds: float) -> None:
    headers.append((b"content-length", str(len(answer)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for index in range(len(answer)):
        await send({"type": "http.response.body", "body": answer[index : index + 1], "more_body": True})
        await asyncio.sleep(interval_seconds)
    await send({"type": "http.response.body", "body": b""})
