"""Graph's paths: which endpoint answers, the door before it, and the faults that take its place.

What the endpoints do stands in `oauth`, `people`, `businesses`, `pixels` and `fbe`; `events` is apart, for speed.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any, Final

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
    Header,
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


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads: what kind of node it names, its edge, and what answers there."""

    name: str
    kind: str
    object_id: str
    edge: str
    rest: str
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and the knobs that change its answer."""

    scope: Scope
    version: tuple[int, int]
    rest: str
    target: Target
    parameters: Parameters | Refusal
    token: str | None
    passing: tuple[Knob, ...]
    fault: Knob | None

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """All of them."""
        return self.passing if self.fault is None else (*self.passing, self.fault)

    @property
    def address(self) -> str:
        """Its address as the client wrote it, without the query."""
        host = next((value for name, value in self.scope["headers"] if name == b"host"), b"localhost")
        return f"{self.scope['scheme']}://{host.decode('latin-1')}{self.scope['path']}"


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
        asked = self._faulted(scope, version, rest, parameters)
        await asyncio.sleep(sum(knob.latency_ms for knob in asked.knobs) / 1000)
        answer = self._answer(asked)
        self._note(asked, answer)
        refusal = answer if isinstance(answer, Refusal) else None
        headers = self._headers(asked, refusal)
        body = orjson.dumps(answer) if refusal is None else refusal.envelope(new_trace_id())
        fault = asked.fault
        is_left_alone = refusal is not None and fault is not None and fault.store
        if fault is not None and fault.kind != "error" and not is_left_alone:
            await perform(fault, scope, receive, send, body, headers)
        else:
            await respond(send, refusal.http_status if refusal is not None else 200, headers, body)

    def _faulted(
        self, scope: Scope, version: tuple[int, int], rest: str, parameters: Parameters | Refusal
    ) -> Asked:
        """The request, with the knobs that its target and its token take."""
        target = self._target(scope["method"], rest)
        token = parameters.text("access_token") if isinstance(parameters, Parameters) else None
        passing = self._knobs.take_passing(target.object_id, target.name, token)
        fault = self._knobs.take_fault(target.object_id, target.name, accepted=True, token=token)
        return Asked(scope, version, rest, target, parameters, token, tuple(passing), fault)

    def _answer(self, asked: Asked) -> dict[str, Any] | Refusal:
        """What the endpoint says, or what a fault says in its place; a fault that stores lets it act before."""
        fault = asked.fault
        if fault is not None and not fault.store:
            return fault.refusal() if fault.kind == "error" else {}
        answer = self._endpoint_answer(asked)
        if isinstance(answer, Listing):
            is_empty = any(knob.kind == "empty_page" for knob in asked.passing)
            parameters = asked.parameters
            assert isinstance(parameters, Parameters)
            size = self._world.settings.page_size
            answer = page_of(answer, parameters, size, asked.address, is_empty=is_empty)
        return fault.refusal() if fault is not None and fault.kind == "error" else answer

    def _note(self, asked: Asked, answer: dict[str, Any] | Refusal) -> None:
        outcome = answer.label if isinstance(answer, Refusal) else "ok"
        if asked.fault is not None and asked.fault.kind != "error":
            outcome = asked.fault.kind
        names = tuple(sorted(asked.parameters.values)) if isinstance(asked.parameters, Parameters) else ()
        scope = asked.scope
        self._log.add(asked.target.name, scope["method"], scope["path"], names, outcome, time.time())

    def _headers(self, asked: Asked, refusal: Refusal | None) -> list[Header]:
        business_id = self._business_of(asked.target)
        extra = [header for knob in asked.knobs for header in knob.extra_headers(business_id)]
        named = {name for name, _ in extra}
        usual = usage_headers(business_id, call_count=1, tier=self._tier_of(asked.token))
        version = (b"facebook-api-version", b"v%d.%d" % asked.version)
        return [
            *answer_headers(refusal),
            version,
            *(header for header in usual if header[0] not in named),
            *extra,
        ]

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

    def _endpoint_answer(self, asked: Asked) -> Answer:
        target, parameters, verb = asked.target, asked.parameters, asked.scope["method"]
        now = time.time() + self._world.settings.clock_shift_s
        refusal = version_refusal(*asked.version, asked.scope["path"])
        if refusal is not None:
            return refusal
        if isinstance(parameters, Refusal):
            return parameters
        match asked.rest:
            case "debug_token":
                return self._oauth.debug(verb, parameters, now)
            case "oauth/access_token":
                return self._oauth.exchange(parameters, now)
            case "oauth/revoke":
                return self._oauth.revoke(parameters, now)
        if not target.object_id.isdecimal() and not target.kind:
            return unknown_path(f"/{asked.rest}")
        token = self._world.authorise(parameters, now)
        if isinstance(token, Refusal):
            return token
        object_id = {"me": token.user_id, "app": token.app_id}.get(target.object_id, target.object_id)
        is_somebody_else = target.kind == "user" and object_id != token.user_id
        is_nobody = target.object_id == "me" and token.type == "APP"
        if target.endpoint is None or is_somebody_else or is_nobody:
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
