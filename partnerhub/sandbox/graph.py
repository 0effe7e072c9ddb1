"""Graph's reads: a pixel's node, `debug_token`, and the refusals of all that the stand-in does not know."""

import asyncio
import re
import time
from typing import Any, Final

import orjson

from partnerhub.sandbox.bodies import Parameters, query_parameters
from partnerhub.sandbox.events import EventsEndpoint
from partnerhub.sandbox.faults import Receive, Scope, Send, perform, respond
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
from partnerhub.sandbox.knobs import Knobs
from partnerhub.sandbox.store import Store
from partnerhub.sandbox.world import Token, World

_graph_path = re.compile(r"/v(\d{1,3})\.(\d{1,2})/(.*)").fullmatch
_top_level = re.compile(r",(?![^{]*\})")

PIXEL_FIELDS: Final = (
    "id",
    "name",
    "owner_business",
    "is_unavailable",
    "last_fired_time",
    "data_use_setting",
)
NOT_A_DEVELOPER: Final = (
    "(#100) You must provide an app access token, "
    "or a user access token that is an owner or developer of the app"
)


class Graph:
    """The paths `/v{N}.0/…`, and `/debug_token` without a version, which Graph answers with the newest."""

    def __init__(self, world: World, store: Store, knobs: Knobs) -> None:
        self._world, self._store, self._knobs = world, store, knobs
        self._events = EventsEndpoint(world, store, knobs)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a Graph request; False, and nothing sent, for any other path."""
        path: str = scope["path"]
        match = _graph_path(path)
        if match is None:
            if path != "/debug_token":
                return False
            await self._read(scope, receive, send, (KNOWN_VERSIONS.stop - 1, 0), "debug_token")
            return True
        version, rest = (int(match[1]), int(match[2])), match[3].rstrip("/")
        if scope["method"] == "POST" and rest.endswith("/events") and rest.count("/") == 1:
            await self._events(scope, receive, send, version, rest.removesuffix("/events"))
        else:
            await self._read(scope, receive, send, version, rest)
        return True

    async def _read(
        self, scope: Scope, receive: Receive, send: Send, version: tuple[int, int], rest: str
    ) -> None:
        endpoint = "debug_token" if rest == "debug_token" else "pixel"
        pixel_id = rest if endpoint == "pixel" else ""
        now = time.time()
        for knob in self._knobs.take_passing(pixel_id, endpoint):
            await asyncio.sleep(knob.latency_ms / 1000)
        answer = version_refusal(*version, scope["path"]) or self._answer(scope, rest, now)
        fault = self._knobs.take_fault(pixel_id, endpoint, accepted=not isinstance(answer, Refusal))
        if fault is not None and fault.kind == "error":
            answer = fault.refusal()
        trace_id = new_trace_id()
        refusal = answer if isinstance(answer, Refusal) else None
        headers = [*answer_headers(refusal), (b"facebook-api-version", b"v%d.%d" % version)]
        pixel = self._world.pixels.get(pixel_id)
        business_id = pixel.owner_business_id if pixel is not None else "0"
        if fault is not None:
            headers += fault.extra_headers(business_id)
        else:
            headers += usage_headers(business_id, call_count=1)
        body = answer.envelope(trace_id) if isinstance(answer, Refusal) else orjson.dumps(answer)
        if fault is not None and fault.kind != "error":
            await perform(fault, scope, receive, send, body, headers)
        else:
            await respond(send, refusal.http_status if refusal is not None else 200, headers, body)

    def _answer(self, scope: Scope, rest: str, now: float) -> dict[str, Any] | Refusal:
        verb: str = scope["method"]
        parameters = query_parameters(scope["query_string"], scope["headers"])
        if rest == "debug_token":
            return self._debug_token(parameters, now) if verb == "GET" else no_such_object(verb, rest)
        object_id, _, edge = rest.partition("/")
        if not object_id.isdecimal():
            return unknown_path(f"/{rest}")
        token = self._world.authorise(parameters, now)
        if isinstance(token, Refusal):
            return token
        pixel = self._world.pixels.get(object_id)
        if verb != "GET" or edge or pixel is None or object_id not in token.pixels:
            return no_such_object(verb, object_id)
        return self._pixel_node(object_id, token, parameters.text("fields"))

    def _pixel_node(self, pixel_id: str, token: Token, wanted: str | None) -> dict[str, Any] | Refusal:
        if not token.can_read:
            return Refusal(100, "(#100) Missing permissions")
        pixel = self._world.pixels[pixel_id]
        account = self._store.accounts.get(pixel_id)
        fired = account.last_arrival if account is not None else 0.0
        values: dict[str, Any] = {
            "id": pixel.id,
            "name": pixel.name,
            "owner_business": {"id": pixel.owner_business_id, "name": pixel.owner_business_name},
            "is_unavailable": pixel.is_unavailable,
            "data_use_setting": pixel.data_use_setting,
        }
        if fired:
            values["last_fired_time"] = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(fired))
        names = (
            [field.split("{")[0].strip() for field in _top_level.split(wanted)] if wanted else ["id", "name"]
        )
        for name in names:
            if name not in PIXEL_FIELDS:
                return Refusal(
                    100, f"(#100) Tried accessing nonexisting field ({name}) on node type (AdsPixel)"
                )
        return {name: values[name] for name in dict.fromkeys([*names, "id"]) if name in values}

    def _debug_token(self, parameters: Parameters, now: float) -> dict[str, Any] | Refusal:
        viewer = self._world.authorise(parameters, now)
        if isinstance(viewer, Refusal):
            return viewer
        inspected = parameters.text("input_token")
        if inspected is None:
            return Refusal(100, "(#100) The parameter input_token is required")
        if viewer.type not in ("APP", "USER"):
            return Refusal(100, NOT_A_DEVELOPER)
        token = self._world.find(inspected)
        if token is None:
            return Refusal(190, "Invalid OAuth access token - Cannot parse access token")
        if token.app_id != viewer.app_id:
            return Refusal(100, "(#100) The App_id in the input_token did not match the Viewing App")
        return {"data": self._token_data(token, now)}

    def _token_data(self, token: Token, now: float) -> dict[str, Any]:
        app = self._world.apps.get(token.app_id)
        data: dict[str, Any] = {
            "app_id": token.app_id,
            "type": token.type,
            "application": app.name if app is not None else "App",
        }
        death = token.death(now)
        if death is not None:
            data["error"] = {"code": death.code, "message": death.message, "subcode": death.subcode}
        data |= {"is_valid": death is None, "expires_at": token.expires_at, "scopes": list(token.scopes)}
        if token.type != "APP":
            data |= {
                "issued_at": token.issued_at,
                "data_access_expires_at": 0,
                "granular_scopes": [{"scope": scope} for scope in token.scopes],
                "user_id": token.user_id,
            }
        return data
