"""The stand-in's own routes under `/sandbox/api/`: set the world up, make it fail, read what it received.

JSON in and out, no sign-in: the stand-in listens on loopback. Nothing here answers with a token or a secret.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from partnerhub.sandbox.knobs import BadKnob, Knobs
from partnerhub.sandbox.mail import Mailbox
from partnerhub.sandbox.store import Account, ReceivedRequest, Store
from partnerhub.sandbox.world import TOKEN_STATES, TOKEN_TYPES, App, Pixel, Token, World

LINES_A_CHUNK = 1000


class BadRequest(ValueError):
    """What an admin route cannot do; the text says why."""


def answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content) + b"\n", status_code=status, media_type="application/json")


class Admin:
    """The routes, over the parts that they show and change."""

    def __init__(self, world: World, store: Store, knobs: Knobs, mailbox: Mailbox) -> None:
        self._world, self._store, self._knobs, self._mailbox = world, store, knobs, mailbox

    def routes(self) -> list[Route]:
        """All routes, for Starlette."""
        api = "/sandbox/api"
        return [
            Route("/healthz", self._endpoint(self.health)),
            Route(f"{api}/reset", self._endpoint(self.reset), methods=["POST"]),
            Route(f"{api}/apps/{{app_id}}", self._endpoint(self.put_app), methods=["PUT"]),
            Route(f"{api}/tokens", self._endpoint(self.put_token), methods=["PUT"]),
            Route(f"{api}/pixels", self._endpoint(self.list_pixels)),
            Route(f"{api}/pixels/{{pixel_id}}", self._endpoint(self.put_pixel), methods=["PUT"]),
            Route(f"{api}/pixels/{{pixel_id}}", self._endpoint(self.get_pixel), methods=["GET"]),
            Route(f"{api}/pixels/{{pixel_id}}/ids", self._endpoint(self.get_ids)),
            Route(f"{api}/pixels/{{pixel_id}}/repeats", self._endpoint(self.get_repeats)),
            Route(f"{api}/knobs", self._endpoint(self.list_knobs), methods=["GET"]),
            Route(f"{api}/knobs", self._endpoint(self.add_knob), methods=["POST"]),
            Route(f"{api}/knobs", self._endpoint(self.clear_knobs), methods=["DELETE"]),
            Route(f"{api}/knobs/{{knob_id:int}}", self._endpoint(self.remove_knob), methods=["DELETE"]),
            Route(f"{api}/requests", self._endpoint(self.list_requests)),
            Route(f"{api}/requests/{{number:int}}/body", self._endpoint(self.get_body)),
            Route(f"{api}/mail", self._endpoint(self.list_mail), methods=["GET"]),
            Route(f"{api}/mail", self._endpoint(self.clear_mail), methods=["DELETE"]),
        ]

    @staticmethod
    def _endpoint(act: Callable[[Request, Any], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                body = await request.body()
                return act(request, orjson.loads(body) if body else {})
            except orjson.JSONDecodeError:
                return answer({"error": "The body is not JSON."}, 400)
            except (BadRequest, BadKnob) as error:
                return answer({"error": str(error)}, 400)
            except LookupError as error:
                return answer({"error": str(error.args[0] if error.args else error)}, 404)

        return endpoint

    def health(self, _request: Request, _body: Any) -> Response:
        """Alive."""
        return answer({"status": "ok"})

    def reset(self, _request: Request, body: Any) -> Response:
        """Forget the world, the events, the knobs and the mail; `{"keep_world": true}` keeps the first."""
        if not _flag(body, "keep_world", False):
            self._world.clear()
        self._store.clear()
        self._knobs.clear()
        self._mailbox.clear()
        return answer({"success": True})

    def put_app(self, request: Request, body: Any) -> Response:
        """Make or change an app."""
        app = App(
            id=request.path_params["app_id"],
            secret=_text(body, "secret"),
            require_proof=_flag(body, "require_proof", False),
            name=_text(body, "name", "App"),
        )
        self._world.apps[app.id] = app
        return answer({"id": app.id, "name": app.name, "require_proof": app.require_proof})

    def put_pixel(self, request: Request, body: Any) -> Response:
        """Make or change a pixel."""
        pixel_id: str = request.path_params["pixel_id"]
        if not pixel_id.isdecimal():
            raise BadRequest("A pixel's id is a number.")
        owner = (
            body.get("owner_business", {"id": "8001", "name": "Shop Example"})
            if isinstance(body, dict)
            else {}
        )
        if isinstance(owner, str):
            owner = {"id": owner}
        self._world.pixels[pixel_id] = Pixel(
            id=pixel_id,
            name=_text(body, "name", f"Pixel {pixel_id}"),
            owner_business_id=_text(owner, "id"),
            owner_business_name=_text(owner, "name", "Business"),
            is_unavailable=_flag(body, "is_unavailable", False),
            data_use_setting=_text(body, "data_use_setting", "ADVERTISING_AND_ANALYTICS"),
        )
        return answer(self._summary(pixel_id))

    def put_token(self, _request: Request, body: Any) -> Response:
        """Make a token, or change the named parts of one that exists (to kill it, say)."""
        value = _text(body, "token")
        known = self._world.tokens.get(value)
        state = _text(body, "state", known.state if known else "live")
        kind = _text(body, "type", known.type if known else "SYSTEM_USER")
        if state not in TOKEN_STATES:
            raise BadRequest(f"state must be one of {', '.join(TOKEN_STATES)}.")
        if kind not in TOKEN_TYPES:
            raise BadRequest(f"type must be one of {', '.join(TOKEN_TYPES)}.")
        token = Token(
            value=value,
            app_id=_text(body, "app_id", known.app_id if known else None),
            type=kind,  # type: ignore[arg-type]  # one of TOKEN_TYPES, as just checked
            scopes=tuple(_texts(body, "scopes", known.scopes if known else ())),
            pixels=frozenset(_texts(body, "pixels", known.pixels if known else ())),
            issued_at=_number(body, "issued_at", known.issued_at if known else int(time.time())),
            expires_at=_number(body, "expires_at", known.expires_at if known else 0),
            state=state,  # type: ignore[arg-type]  # one of TOKEN_STATES, as just checked
        )
        self._world.tokens[value] = token
        return answer(
            {"app_id": token.app_id, "type": token.type, "state": token.state, "pixels": sorted(token.pixels)}
        )

    def list_pixels(self, _request: Request, _body: Any) -> Response:
        """Every pixel's account, and the refusals that belong to none."""
        pixels = [self._summary(pixel_id) for pixel_id in self._world.pixels]
        return answer({"pixels": pixels, "unplaced_refusals": dict(self._store.unplaced)})

    def get_pixel(self, request: Request, _body: Any) -> Response:
        """One pixel's account."""
        return answer(self._summary(self._known_pixel(request)))

    def get_ids(self, request: Request, _body: Any) -> Response:
        """Every id, a JSON array a line, by first arrival; `since`, `after` (a row) and `limit` narrow it.

        The columns are those of StoredEvent: event_name, event_id, copies, first_arrival, digest,
        partner_agent, test_event_code, row.
        """
        account = self._account(request)
        limit = request.query_params.get("limit")
        try:
            events = account.stored(
                since=float(request.query_params.get("since", "0")),
                after_row=int(request.query_params.get("after", "-1")),
                limit=None if limit is None else int(limit),
            )
        except ValueError:
            raise BadRequest("since, after and limit are numbers.") from None

        def lines() -> Iterator[bytes]:
            for start in range(0, len(events), LINES_A_CHUNK):
                chunk = events[start : start + LINES_A_CHUNK]
                yield b"".join(
                    orjson.dumps(tuple(event), option=orjson.OPT_APPEND_NEWLINE) for event in chunk
                )

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def get_repeats(self, request: Request, _body: Any) -> Response:
        """The ids that came more than once by the server's road: every arrival with its digest."""
        found = [
            {
                "event_name": event.event_name,
                "event_id": event.event_id,
                "copies": event.copies,
                "arrivals": [event.first_arrival, *(repeat.arrival for repeat in repeats)],
                "digests": [event.digest, *(repeat.digest.hex() for repeat in repeats)],
            }
            for event, repeats in self._account(request).repeated()
        ]
        return answer({"repeats": found})

    def list_knobs(self, _request: Request, _body: Any) -> Response:
        """The knobs that are set."""
        return answer({"knobs": [asdict(knob) for knob in self._knobs.all()]})

    def add_knob(self, _request: Request, body: Any) -> Response:
        """Set a knob."""
        return answer(asdict(self._knobs.add(body)), 201)

    def clear_knobs(self, _request: Request, _body: Any) -> Response:
        """Take all knobs away."""
        self._knobs.clear()
        return answer({"success": True})

    def remove_knob(self, request: Request, _body: Any) -> Response:
        """Take one knob away; 404 if it has been used up."""
        if not self._knobs.remove(request.path_params["knob_id"]):
            raise LookupError("There is no such knob.")
        return answer({"success": True})

    def list_requests(self, request: Request, _body: Any) -> Response:
        """The last requests, newest first, bodies and all, secrets masked."""
        limit = request.query_params.get("limit", "200")
        if not limit.isdecimal():
            raise BadRequest("limit is a number.")
        found = self._store.ring.newest(request.query_params.get("pixel"), int(limit))
        return answer({"requests": [_request_json(item) for item in found]})

    def get_body(self, request: Request, _body: Any) -> Response:
        """One request's body as text, byte for byte but for its masked secrets."""
        found = self._store.ring.get(request.path_params["number"])
        if found is None:
            raise LookupError("That request is no longer kept.")
        return Response(
            found.body, media_type="text/plain; charset=utf-8", headers={"x-content-type-options": "nosniff"}
        )

    def list_mail(self, request: Request, _body: Any) -> Response:
        """The messages, newest first; `to` narrows them to one recipient."""
        mails = [
            {
                "id": mail.id,
                "to": list(mail.recipients),
                "from": mail.sender,
                "subject": mail.subject,
                "text": mail.text,
                "html": mail.html,
                "date": mail.date,
                "arrival": mail.arrival,
            }
            for mail in self._mailbox.to(request.query_params.get("to"))
        ]
        return answer({"mail": mails})

    def clear_mail(self, _request: Request, _body: Any) -> Response:
        """Throw the mail away."""
        self._mailbox.clear()
        return answer({"success": True})

    def _known_pixel(self, request: Request) -> str:
        pixel_id: str = request.path_params["pixel_id"]
        if pixel_id not in self._world.pixels:
            raise LookupError("There is no such pixel.")
        return pixel_id

    def _account(self, request: Request) -> Account:
        return self._store.account(self._known_pixel(request))

    def _summary(self, pixel_id: str) -> dict[str, Any]:
        pixel, account = self._world.pixels[pixel_id], self._store.account(pixel_id)
        return {
            "id": pixel.id,
            "name": pixel.name,
            "requests": account.requests,
            "events": account.events,
            "distinct": account.distinct,
            "without_id": account.without_id,
            "server_repeats": account.server_repeats,
            "browser_events": account.browser_events,
            "browser_deduplicated": account.browser_deduplicated,
            "batch_sizes": {str(size): count for size, count in sorted(account.batch_sizes.items())},
            "event_names": dict(account.event_names),
            "agents": dict(account.agents),
            "user_agents": dict(account.user_agents),
            "test_event_codes": dict(account.test_codes),
            "refused": dict(account.refused),
            "injected": dict(account.injected),
            "last_arrival": account.last_arrival or None,
            "last_fbtrace_id": account.last_trace_id,
        }


def _request_json(item: ReceivedRequest) -> dict[str, Any]:
    return {
        "number": item.number,
        "arrival": item.arrival,
        "pixel_id": item.pixel_id,
        "path": item.path,
        "query": item.query,
        "headers": [list(pair) for pair in item.headers],
        "body": item.body.decode("utf-8", "replace"),
        "events": item.events,
        "outcome": item.outcome,
        "fbtrace_id": item.fbtrace_id,
    }


def _text(body: Any, name: str, default: str | None = None) -> str:
    value = body.get(name, default) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} must be a text.")
    return value


def _texts(body: Any, name: str, default: Any) -> list[str]:
    value = body.get(name, list(default))
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"{name} must be a list of texts.")
    return value


def _flag(body: Any, name: str, default: bool) -> bool:
    value = body.get(name, default) if isinstance(body, dict) else default
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false.")
    return value


def _number(body: Any, name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{name} must be a whole number.")
    return value
