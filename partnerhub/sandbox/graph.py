"""Graph's paths: which endpoint answers, the door before it, and the faults that take its place.

What the endpoints do stands in `oauth`, `people`, `businesses`, `pixels` and `fbe`; `events` is apart, for speed.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Final

import orjson

from partnerhub.sandbox.bodies import Parameters, query_parameters, read_parameters
from partnerhub.sandbox.businesses import Businesses
from partnerhub.sandbox.call_log import CallLog
from partnerhub.sandbox.calls import Answer, Call, Endpoint, Listing, page_of
from partnerhub.sandbox.dialog import Dialog
from partnerhub.sandbox.events import EventsEndpoint, read_body
from partnerhub.sandbox.faults import Receive, Scope, Send, perform, respond
from partnerhub.sandbox.fbe import BusinessExtension
from partnerhub.sandbox.frame import (
    KNOWN_VERSIONS,
    Refusal,
    answer_headers,
    new_trace_id,
    no_such_object,
    unknown_path,
    usage_headers,
    version_refusal,
)
from partnerhub.sandbox.knobs import ENDPOINTS, Knob, Knobs
from partnerhub.sandbox.oauth import OAuth
from partnerhub.sandbox.people import People
from partnerhub.sandbox.pixels import Pixels
from partnerhub.sandbox.store import Store
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World

_graph_path = re.compile(r"/v(\d{1,3})\.(\d{1,2})/(.*)").fullmatch

NEWEST: Final = (KNOWN_VERSIONS.stop - 1, 0)
UNVERSIONED: Final = frozenset({"/debug_token", "/oauth/access_token", "/oauth/revoke", "/dialog/oauth"})
# Graph answers these without a version, with the newest.
OPEN: Final = {
    "oauth/access_token": "oauth_access_token",
    "oauth/revoke": "oauth_revoke",
    "debug_token": "debug_token",
}
# These authorise themselves; the name is what knobs and the call log say.
DIALOG: Final = "dialog/oauth"
VERBS: Final = frozenset({"GET", "POST", "DELETE"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads: what kind of node it names, its edge, and what answers there."""

    name: str
    kind: str
    object_id: str
    edge: str
    rest: str
    endpoint: Endpoint | None


class Graph:
    """The paths `/v{N}.0/…`, and those of `UNVERSIONED`."""

    def __init__(self, world: World, store: Store, knobs: Knobs, courier: Courier, log: CallLog) -> None:
        self._world, self._store, self._knobs, self._log = world, store, knobs, log
        self._events = EventsEndpoint(world, store, knobs)
        self._dialog = Dialog(world, knobs, courier, log)
        self._oauth = OAuth(world)
        pixels = Pixels(world, store)
        self._edges = (
            People(world, courier).edges()
            | Businesses(world, pixels).edges()
            | pixels.edges()
            | BusinessExtension(world, courier).edges()
        )

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a Graph request; False, and nothing sent, for any other path."""
        path: str = scope["path"]
        match = _graph_path(path)
        if match is None and path not in UNVERSIONED:
            return False
        version, rest = NEWEST, path.removeprefix("/")
        if match is not None:
            version, rest = (int(match[1]), int(match[2])), match[3].rstrip("/")
        if scope["method"] == "POST" and rest.endswith("/events") and rest.count("/") == 1:
            await self._events(scope, receive, send, version, rest.removesuffix("/events"))
        elif rest == DIALOG:
            await self._dialog(scope, receive, send)
        else:
            await self._call(scope, receive, send, version, rest)
        return True

    async def _call(
        self, scope: Scope, receive: Receive, send: Send, version: tuple[int, int], rest: str
    ) -> None:
        verb: str = scope["method"]
        body = await read_body(receive) if verb != "GET" else b""
        if body is None:
            return
        if body:
            parameters = read_parameters(scope["query_string"], scope["headers"], body)
        else:
            parameters = query_parameters(scope["query_string"], scope["headers"])
        target = self._target(verb, rest)
        token = parameters.text("access_token") if isinstance(parameters, Parameters) else None
        passing = self._knobs.take_passing(target.object_id, target.name, token) if self._knobs else []
        await asyncio.sleep(sum(knob.latency_ms for knob in passing) / 1000)
        fault = self._knobs.take_fault(target.object_id, target.name, accepted=True, token=token)
        now = time.time() + self._world.settings.clock_shift_s
        answer: Answer
        if fault is not None and not fault.store:
            answer = fault.refusal() if fault.kind == "error" else {}
        elif isinstance(parameters, Refusal):
            answer = parameters
        else:
            answer = version_refusal(*version, scope["path"]) or self._answer(
                verb, rest, target, parameters, now
            )
            if isinstance(answer, Listing):
                url = f"{_origin(scope)}{scope['path']}"
                is_empty = any(knob.kind == "empty_page" for knob in passing)
                size = self._world.settings.page_size
                answer = page_of(answer, parameters, size, url, is_empty=is_empty)
        if fault is not None and fault.store and fault.kind == "error":
            answer = fault.refusal()
        if fault is not None and fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        outcome = answer.label if isinstance(answer, Refusal) else "ok"
        if fault is not None and fault.kind != "error":
            outcome = fault.kind
        names = tuple(sorted(parameters.values)) if isinstance(parameters, Parameters) else ()
        self._log.add(target.name, verb, scope["path"], names, outcome, time.time())
        await self._send(scope, receive, send, version, target, token, answer, [*passing], fault)

    async def _send(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        version: tuple[int, int],
        target: Target,
        token: str | None,
        answer: Answer,
        passing: list[Knob],
        fault: Knob | None,
    ) -> None:
        trace_id = new_trace_id()
        refusal = answer if isinstance(answer, Refusal) else None
        headers = [*answer_headers(refusal), (b"facebook-api-version", b"v%d.%d" % version)]
        business_id = self._business_of(target)
        knobs = passing if fault is None else [*passing, fault]
        extra = [header for knob in knobs for header in knob.extra_headers(business_id)]
        named = {name for name, _ in extra}
        usual = usage_headers(business_id, call_count=1, tier=self._tier_of(token))
        headers += [header for header in usual if header[0] not in named] + extra
        body = answer.envelope(trace_id) if isinstance(answer, Refusal) else orjson.dumps(answer)
        if fault is not None and fault.kind != "error":
            await perform(fault, scope, receive, send, body, headers)
        else:
            await respond(send, refusal.http_status if refusal is not None else 200, headers, body)

    def _target(self, verb: str, rest: str) -> Target:
        if rest in OPEN:
            return Target(OPEN[rest], "open", "", "", "", None)
        object_id, _, edge = rest.partition("/")
        edge, _, more = edge.partition("/")
        kind = self._kind_of(object_id)
        endpoint = self._edges.get((kind, verb, edge))
        if endpoint is not None:
            name = endpoint.name
        elif edge:
            name = edge if edge in ENDPOINTS else "other"
        else:
            name = "pixel"
        return Target(name, kind, object_id, edge, more, endpoint)

    def _kind_of(self, object_id: str) -> str:
        """What kind of node an id names; an id that nothing has is of no kind."""
        world = self._world
        match object_id:
            case "me":
                return "user"
            case "app" | "fbe_business":
                return object_id
        for kind, nodes in (
            ("pixel", world.pixels),
            ("business", world.businesses),
            ("system_user", world.system_users),
            ("user", world.people),
            ("app", world.apps),
        ):
            if object_id in nodes:
                return kind
        return ""

    def _answer(self, verb: str, rest: str, target: Target, parameters: Parameters, now: float) -> Answer:
        match target.name if target.kind == "open" else "":
            case "debug_token":
                return self._oauth.debug(verb, parameters, now)
            case "oauth_access_token":
                return self._oauth.exchange(parameters, now)
            case "oauth_revoke":
                return self._oauth.revoke(parameters, now)
        if not target.object_id.isdecimal() and not target.kind:
            return unknown_path(f"/{rest}")
        token = self._world.authorise(parameters, now)
        if isinstance(token, Refusal):
            return token
        object_id = {"me": token.user_id, "app": token.app_id}.get(target.object_id, target.object_id)
        is_somebody_else = target.kind == "user" and object_id != token.user_id
        is_nobody = target.object_id == "me" and token.type == "APP"
        if target.endpoint is None or verb not in VERBS or is_somebody_else or is_nobody:
            return no_such_object(verb, target.object_id)
        call = Call(verb, object_id, target.edge, target.rest, parameters, token, now)
        return target.endpoint.handler(call)

    def _business_of(self, target: Target) -> str:
        """The business whose usage an answer tells of."""
        if target.kind == "pixel":
            return self._world.pixels[target.object_id].owner_business_id
        if target.kind == "system_user" and target.object_id in self._world.system_users:
            return self._world.system_users[target.object_id].business_id
        return target.object_id if target.kind == "business" else "0"

    def _tier_of(self, token: str | None) -> str:
        found = self._world.find(token) if token else None
        app = self._world.apps.get(found.app_id) if found is not None else None
        return app.tier if app is not None else "full"


def _origin(scope: Scope) -> str:
    """Scheme and host as the client wrote them."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
    return f"{scope['scheme']}://{host}"
