"""`POST /v{N}.0/{pixel_id}/events`, on bare ASGI: every benchmark runs against it.

Order: token, pixel, shape, then each event; the first fault refuses the whole request and nothing is stored.
Between reading the body and storing there is no await, so a request is stored whole or not at all.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from partnerhub.sandbox.bodies import MASK, Parameters, mask_body, mask_text, read_events, read_parameters
from partnerhub.sandbox.checks import MAX_EVENTS, check_event
from partnerhub.sandbox.faults import Receive, Scope, Send, perform, respond
from partnerhub.sandbox.frame import (
    Header,
    Refusal,
    answer_headers,
    new_trace_id,
    no_such_object,
    usage_headers,
    version_refusal,
)
from partnerhub.sandbox.knobs import Knob, Knobs
from partnerhub.sandbox.store import Origin, ReceivedRequest, Store
from partnerhub.sandbox.world import World

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
# Meta publishes no limit; this one only protects the stand-in.
SECRET_HEADERS: Final = frozenset({b"authorization", b"cookie"})
USAGE_MISSING_EVERY: Final = 10
# Graph leaves the usage headers out now and then; so does every tenth answer here.


@dataclass(frozen=True, slots=True)
class Batch:
    """A request that passed every check."""

    events: list[dict[str, Any]]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Call:
    """One request with the verdict on it, and the knobs that change its answer."""

    scope: Scope
    version: tuple[int, int]
    pixel_id: str
    body: bytes
    parameters: Parameters | Refusal
    verdict: Batch | Refusal
    passing: tuple[Knob, ...]
    fault: Knob | None
    arrival: float
    fbtrace_id: str

    @property
    def is_settled(self) -> bool:
        """Whether the verdict has its usual effect: a fault before storing takes it away."""
        return self.fault is None or self.fault.store

    @property
    def outcome(self) -> str:
        """How it went, for people."""
        if self.fault is None:
            return self.verdict.label if isinstance(self.verdict, Refusal) else "accepted"
        name = f"error {self.fault.refusal().label}" if self.fault.kind == "error" else self.fault.kind
        return f"{name}, {'stored' if self.fault.store else 'not stored'}"


class EventsEndpoint:
    """Takes events in, as Meta would."""

    def __init__(self, world: World, store: Store, knobs: Knobs) -> None:
        self._world, self._store, self._knobs = world, store, knobs
        self._answers = 0

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, version: tuple[int, int], pixel_id: str
    ) -> None:
        """Answer one POST."""
        body = await read_body(receive)
        if body is None:
            return
        passing: tuple[Knob, ...] = ()
        if self._knobs:
            passing = tuple(self._knobs.take_passing(pixel_id, "events"))
            await asyncio.sleep(sum(knob.latency_ms for knob in passing) / 1000)
        call = self._receive(scope, version, pixel_id, body, passing)
        if call.fault is not None and call.fault.latency_ms:
            await asyncio.sleep(call.fault.latency_ms / 1000)
        await self._answer(call, receive, send)

    def _receive(
        self, scope: Scope, version: tuple[int, int], pixel_id: str, body: bytes, passing: tuple[Knob, ...]
    ) -> Call:
        """Judge the request and store what it brought."""
        now = time.time()
        parameters: Parameters | Refusal
        if len(body) > MAX_BODY_BYTES:
            parameters = Refusal(100, "(#100) The request is too large.", status=413)
        else:
            parameters = read_parameters(scope["query_string"], scope["headers"], body)
        verdict = self._judge(scope["path"], version, pixel_id, parameters, now)
        fault = self._take_fault(pixel_id, parameters, verdict) if self._knobs else None
        call = Call(scope, version, pixel_id, body, parameters, verdict, passing, fault, now, new_trace_id())
        if call.is_settled:
            self._settle(call)
        if pixel_id in self._world.pixels and (passing or fault):
            used = passing if fault is None else (*passing, fault)
            self._store.account(pixel_id).injected.update(knob.kind for knob in used)
        self._store.ring.add(_kept(call, self._store.ring.next_number))
        return call

    def _judge(
        self,
        path: str,
        version: tuple[int, int],
        pixel_id: str,
        parameters: Parameters | Refusal,
        now: float,
    ) -> Batch | Refusal:
        refusal = version_refusal(*version, path)
        if refusal is not None:
            return refusal
        if isinstance(parameters, Refusal):
            return parameters
        token = self._world.authorise(parameters, now + self._world.settings.clock_shift_s)
        if isinstance(token, Refusal):
            return token
        if not self._world.may_send(token, pixel_id):
            return no_such_object("POST", pixel_id)
        events = read_events(parameters.values.get("data"))
        if isinstance(events, Refusal):
            return events
        if len(events) > MAX_EVENTS:
            return Refusal(100, f"(#100) param data must have at most {MAX_EVENTS} elements.")
        for index, event in enumerate(events):
            fault = check_event(event, index, now)
            if fault is not None:
                return fault
        return Batch(events, Origin(parameters.text("partner_agent"), parameters.text("test_event_code")))

    def _take_fault(
        self, pixel_id: str, parameters: Parameters | Refusal, verdict: Batch | Refusal
    ) -> Knob | None:
        ids: frozenset[str] = frozenset()
        if isinstance(verdict, Batch):
            given = (event.get("event_id") for event in verdict.events)
            ids = frozenset(event_id for event_id in given if event_id is not None)
        return self._knobs.take_fault(
            pixel_id,
            "events",
            accepted=isinstance(verdict, Batch),
            event_ids=ids,
            token=parameters.text("access_token") if isinstance(parameters, Parameters) else None,
        )

    def _settle(self, call: Call) -> None:
        if isinstance(call.verdict, Batch):
            account = self._store.account(call.pixel_id)
            headers = call.scope["headers"]
            user_agent: bytes = next((value for name, value in headers if name == b"user-agent"), b"")
            account.add(call.verdict.events, call.verdict.origin, user_agent.decode("latin-1"), call.arrival)
            account.last_trace_id = call.fbtrace_id
        elif call.pixel_id in self._world.pixels:
            self._store.account(call.pixel_id).refused[call.verdict.label] += 1
        else:
            self._store.unplaced[call.verdict.label] += 1

    async def _answer(self, call: Call, receive: Receive, send: Send) -> None:
        refusal = call.verdict if isinstance(call.verdict, Refusal) else None
        if call.fault is not None:
            refusal = call.fault.refusal() if call.fault.kind == "error" else None
        headers = self._headers(call, refusal)
        if refusal is not None:
            await respond(send, refusal.http_status, headers, refusal.envelope(call.fbtrace_id))
            return
        received = len(call.verdict.events) if isinstance(call.verdict, Batch) else 0
        answer = b'{"events_received":%d,"messages":[],"fbtrace_id":"%s"}' % (
            received,
            call.fbtrace_id.encode(),
        )
        if call.fault is None:
            await respond(send, 200, headers, answer)
        else:
            await perform(call.fault, call.scope, receive, send, answer, headers)

    def _headers(self, call: Call, refusal: Refusal | None) -> list[Header]:
        self._answers += 1
        headers = answer_headers(refusal)
        headers.append((b"facebook-api-version", b"v%d.%d" % call.version))
        pixel = self._world.pixels.get(call.pixel_id)
        business_id = pixel.owner_business_id if pixel is not None else "0"
        knobs = call.passing if call.fault is None else (*call.passing, call.fault)
        ordered = [header for knob in knobs for header in knob.extra_headers(business_id)]
        if pixel is not None and self._answers % USAGE_MISSING_EVERY:
            names = {name for name, _ in ordered}
            usual = usage_headers(business_id, call_count=1)
            headers += [header for header in usual if header[0] not in names]
        return headers + ordered


def _kept(call: Call, number: int) -> ReceivedRequest:
    """The request for the ring. What could not be read may hide a token, so none of its text is kept."""
    readable = isinstance(call.parameters, Parameters)
    secrets = call.parameters.secrets if isinstance(call.parameters, Parameters) else ()
    headers = tuple(
        (
            name.decode("latin-1"),
            MASK if name in SECRET_HEADERS else mask_text(value.decode("latin-1"), secrets),
        )
        for name, value in call.scope["headers"]
    )
    return ReceivedRequest(
        number=number,
        arrival=call.arrival,
        pixel_id=call.pixel_id,
        path=call.scope["path"],
        query=mask_text(call.scope["query_string"].decode("latin-1"), secrets) if readable else "",
        headers=headers,
        body=mask_body(call.body, secrets) if readable else b"",
        events=len(call.verdict.events) if isinstance(call.verdict, Batch) else 0,
        outcome=call.outcome,
        fbtrace_id=call.fbtrace_id,
    )


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None if the client went away before its end. Reading stops a little past the limit."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    chunks, size = [message.get("body", b"")], len(message.get("body", b""))
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
            size += len(chunk)
    return b"".join(chunks)
