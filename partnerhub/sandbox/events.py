"""`POST /v{N}.0/{pixel_id}/events`, on bare ASGI: every benchmark runs against it.

Order: token, pixel, shape, then each event; the first fault refuses the whole request and nothing is stored.
Between reading the body and storing there is no await, so a request is stored whole or not at all.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from partnerhub.sandbox.bodies import Parameters, mask_body, mask_text, read_events, read_parameters
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
        headers: list[Header] = scope["headers"]
        query: bytes = scope["query_string"]
        passing: list[Knob] = []
        if self._knobs:
            passing = self._knobs.take_passing(pixel_id, "events")
            if delay := sum(knob.latency_ms for knob in passing):
                await asyncio.sleep(delay / 1000)

        now = time.time()
        parameters = (
            Refusal(100, "(#100) The request is too large.", status=413)
            if len(body) > MAX_BODY_BYTES
            else read_parameters(query, headers, body)
        )
        verdict = self._judge(scope["path"], version, pixel_id, parameters, now)
        knob = self._take_fault(pixel_id, verdict) if self._knobs else None
        trace_id = new_trace_id()
        if knob is None or knob.store:
            self._settle(pixel_id, verdict, headers, trace_id, now)
        outcome = _outcome(verdict, knob)
        if pixel_id in self._world.pixels:
            if knob is not None:
                self._store.account(pixel_id).injected[knob.kind] += 1
            for used in passing:
                self._store.account(pixel_id).injected[used.kind] += 1
        self._remember(scope, parameters, body, pixel_id, verdict, outcome, trace_id, now)

        if knob is not None and knob.latency_ms:
            await asyncio.sleep(knob.latency_ms / 1000)
        answer_to = knob.refusal() if knob is not None and knob.kind == "error" else verdict
        extra = [
            item for used in (*passing, *((knob,) if knob else ())) for item in self._extra(used, pixel_id)
        ]
        out = self._headers(version, pixel_id, answer_to if isinstance(answer_to, Refusal) else None, extra)
        if isinstance(answer_to, Refusal) and (knob is None or knob.kind == "error"):
            await respond(send, answer_to.http_status, out, answer_to.envelope(trace_id))
            return
        received = len(verdict.events) if isinstance(verdict, Batch) else 0
        answer = b'{"events_received":%d,"messages":[],"fbtrace_id":"%s"}' % (received, trace_id.encode())
        if knob is None:
            await respond(send, 200, out, answer)
        else:
            await perform(knob, scope, receive, send, answer, out)

    def _judge(
        self, path: str, version: tuple[int, int], pixel_id: str, parameters: Parameters | Refusal, now: float
    ) -> Batch | Refusal:
        refusal = version_refusal(*version, path)
        if refusal is not None:
            return refusal
        if isinstance(parameters, Refusal):
            return parameters
        token = self._world.identify(parameters.text("access_token"), now)
        if isinstance(token, Refusal):
            return token
        proof, proof_time = parameters.text("appsecret_proof"), parameters.text("appsecret_time")
        refusal = self._world.proof_refusal(token, proof, proof_time, now)
        if refusal is not None:
            return refusal
        if pixel_id not in token.pixels or pixel_id not in self._world.pixels:
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

    def _take_fault(self, pixel_id: str, verdict: Batch | Refusal) -> Knob | None:
        ids: frozenset[str] = frozenset()
        if isinstance(verdict, Batch):
            ids = frozenset(
                event_id for event in verdict.events if (event_id := event.get("event_id")) is not None
            )
        return self._knobs.take_fault(pixel_id, "events", accepted=isinstance(verdict, Batch), event_ids=ids)

    def _settle(
        self, pixel_id: str, verdict: Batch | Refusal, headers: list[Header], trace_id: str, now: float
    ) -> None:
        if isinstance(verdict, Batch):
            account = self._store.account(pixel_id)
            user_agent = next((value for name, value in headers if name == b"user-agent"), b"")
            account.add(verdict.events, verdict.origin, user_agent.decode("latin-1"), now)
            account.last_trace_id = trace_id
        elif pixel_id in self._world.pixels:
            self._store.account(pixel_id).refused[verdict.label] += 1
        else:
            self._store.unplaced[verdict.label] += 1

    def _remember(
        self,
        scope: Scope,
        parameters: Parameters | Refusal,
        body: bytes,
        pixel_id: str,
        verdict: Batch | Refusal,
        outcome: str,
        trace_id: str,
        now: float,
    ) -> None:
        # What could not be read may hold a token that we cannot see, so none of it is kept.
        readable = isinstance(parameters, Parameters)
        secrets = parameters.secrets if isinstance(parameters, Parameters) else ()
        headers = tuple(
            (
                name.decode("latin-1"),
                "***" if name in SECRET_HEADERS else mask_text(value.decode("latin-1"), secrets),
            )
            for name, value in scope["headers"]
        )
        ring = self._store.ring
        ring.add(
            ReceivedRequest(
                number=ring.next_number,
                arrival=now,
                pixel_id=pixel_id,
                path=scope["path"],
                query=mask_text(scope["query_string"].decode("latin-1"), secrets) if readable else "",
                headers=headers,
                body=mask_body(body, secrets) if readable else b"",
                events=len(verdict.events) if isinstance(verdict, Batch) else 0,
                outcome=outcome,
                fbtrace_id=trace_id,
            )
        )

    def _extra(self, knob: Knob, pixel_id: str) -> list[Header]:
        pixel = self._world.pixels.get(pixel_id)
        return knob.extra_headers(pixel.owner_business_id if pixel is not None else "0")

    def _headers(
        self, version: tuple[int, int], pixel_id: str, refusal: Refusal | None, extra: list[Header]
    ) -> list[Header]:
        self._answers += 1
        headers = answer_headers(refusal)
        headers.append((b"facebook-api-version", b"v%d.%d" % version))
        pixel = self._world.pixels.get(pixel_id)
        given = {name for name, _ in extra}
        if pixel is not None and self._answers % USAGE_MISSING_EVERY:
            usual = usage_headers(pixel.owner_business_id, call_count=1)
            headers += [item for item in usual if item[0] not in given]
        return headers + extra


def _outcome(verdict: Batch | Refusal, knob: Knob | None) -> str:
    plain = verdict.label if isinstance(verdict, Refusal) else "accepted"
    if knob is None:
        return plain
    fault = f"error {knob.refusal().label}" if knob.kind == "error" else knob.kind
    return f"{fault}, {'stored' if knob.store else 'not stored'}"


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
