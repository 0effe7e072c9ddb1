"""Admin routes for access: describe the world, share and withdraw, end tokens, send what Meta would send.

JSON in and out under `/sandbox/api/`. No answer holds a token or a secret, but for a token that is made here.
"""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partnerhub.sandbox.admin_bodies import answer, endpoint, flag_of, number_of, text_of, texts_of
from partnerhub.sandbox.integrations import (
    Notice,
    fbe_notice,
    forget_person,
    integration_notice,
    remove_integration,
)
from partnerhub.sandbox.nodes import App, Pixel, Sharing, SystemUser, Token
from partnerhub.sandbox.pixels import share
from partnerhub.sandbox.setup import KINDS, BadRequest, document_of, put_document, put_node
from partnerhub.sandbox.webhooks import Courier, Signature, signed_request
from partnerhub.sandbox.world import World, new_token_value, token_key

MATCHES: Final = ("key", "app_id", "type", "user_id", "business_id", "state")
CHANGES: Final = ("state", "expires_at", "expires_in_s", "data_access_expires_at", "scopes", "pixels")
CAPI_USER: Final = "Conversions API System User"
OWN_APP: Final = "966242223397117"
# Events Manager's tokens belong to an app of Meta's own.
SIGNATURES: Final = ("right", "wrong", "none")
FIELDS: Final = (
    "fbe_install",
    "fbe_uninstall",
    "business_integration_install",
    "business_integration_update",
    "business_integration_uninstall",
)


class AccessAdmin:
    """The routes, over the world and what it sends."""

    def __init__(self, world: World, courier: Courier) -> None:
        self._world, self._courier = world, courier

    def routes(self) -> list[Route]:
        """All routes, for Starlette."""
        api = "/sandbox/api"
        nodes = [
            Route(f"{api}/{kind}/{{key}}", endpoint(self.put_node), methods=["PUT"], name=kind)
            for kind in KINDS
            if kind != "tokens"
        ]
        return [
            *nodes,
            Route(f"{api}/world", endpoint(self.put_world), methods=["PUT"]),
            Route(f"{api}/world", endpoint(self.get_world), methods=["GET"]),
            Route(f"{api}/tokens", endpoint(self.put_token), methods=["PUT"]),
            Route(f"{api}/tokens", endpoint(self.list_tokens), methods=["GET"]),
            Route(f"{api}/tokens", endpoint(self.change_tokens), methods=["PATCH"]),
            Route(f"{api}/pixels/{{pixel_id}}/sharings", endpoint(self.share), methods=["POST"]),
            Route(
                f"{api}/pixels/{{pixel_id}}/sharings/{{business_id}}", endpoint(self.accept), methods=["POST"]
            ),
            Route(
                f"{api}/pixels/{{pixel_id}}/sharings/{{business_id}}",
                endpoint(self.withdraw),
                methods=["DELETE"],
            ),
            Route(f"{api}/pixels/{{pixel_id}}/tokens", endpoint(self.generate_token), methods=["POST"]),
            Route(f"{api}/integrations", endpoint(self.uninstall), methods=["DELETE"]),
            Route(f"{api}/webhooks", endpoint(self.list_webhooks), methods=["GET"]),
            Route(f"{api}/webhooks", endpoint(self.send_webhook), methods=["POST"]),
            Route(f"{api}/webhooks/retry", endpoint(self.retry_webhooks), methods=["POST"]),
            Route(f"{api}/webhooks/verify", endpoint(self.verify_webhook), methods=["POST"]),
            Route(f"{api}/callbacks/{{kind}}", endpoint(self.call_back), methods=["POST"]),
        ]

    # The world.

    def put_world(self, _request: Request, body: Any) -> Response:
        """Take in a setup document."""
        put_document(self._world, body, self._now())
        return answer({"success": True})

    def get_world(self, _request: Request, _body: Any) -> Response:
        """The world in the document's own form, without secrets."""
        return answer(document_of(self._world))

    def put_node(self, request: Request, body: Any) -> Response:
        """Make or change one node; its kind is in the path."""
        kind = request.url.path.split("/")[3]
        put_node(self._world, kind, request.path_params["key"], body, self._now())
        return answer({"id": request.path_params["key"]})

    # Sharing.

    def share(self, request: Request, body: Any) -> Response:
        """Share a pixel, as its owner would in Business settings."""
        pixel, business_id = self._pixel(request), text_of(body, "business_id")
        sharing = share(
            self._world, pixel, business_id, tuple(texts_of(body, "tasks", Sharing().permitted_tasks))
        )
        if flag_of(body, "pending", False):
            sharing.status, sharing.request_id = "PENDING", self._world.new_id()
        return answer({"status": sharing.status})

    def accept(self, request: Request, _body: Any) -> Response:
        """Accept an offer."""
        sharing = self._pixel(request).agencies.get(request.path_params["business_id"])
        if sharing is None:
            raise LookupError("The pixel is not shared with that business.")
        sharing.status = "APPROVE"
        return answer({"status": sharing.status})

    def withdraw(self, request: Request, _body: Any) -> Response:
        """End a sharing."""
        if self._pixel(request).agencies.pop(request.path_params["business_id"], None) is None:
            raise LookupError("The pixel is not shared with that business.")
        return answer({"success": True})

    def _pixel(self, request: Request) -> Pixel:
        pixel = self._world.pixels.get(request.path_params["pixel_id"])
        if pixel is None:
            raise LookupError("There is no such pixel.")
        return pixel

    # Tokens.

    def put_token(self, _request: Request, body: Any) -> Response:
        """Make a token, or change the named parts of one that exists (to kill it, say)."""
        value = text_of(body, "token")
        wanted = {name: part for name, part in body.items() if name != "token"}
        put_node(self._world, "tokens", value, wanted, self._now())
        return answer(_token_json(self._world.tokens[value]))

    def list_tokens(self, request: Request, _body: Any) -> Response:
        """The tokens, oldest first, masked; the query's names narrow them."""
        return answer({"tokens": [_token_json(token) for token in self._matching(request.query_params)]})

    def change_tokens(self, _request: Request, body: Any) -> Response:
        """Change every token that `match` describes: those whose text only the product knows."""
        match, changes = body.get("match"), body.get("changes")
        if not isinstance(match, dict) or not isinstance(changes, dict):
            raise BadRequest("match and changes are JSON objects.")
        if unknown := sorted(set(changes) - set(CHANGES)):
            raise BadRequest(f"changes has no {', '.join(unknown)}; it knows {', '.join(CHANGES)}.")
        found = self._matching(match)
        for token in found:
            put_node(self._world, "tokens", token.value, changes, self._now())
        return answer({"changed": len(found)})

    def _matching(self, wanted: Any) -> list[Token]:
        if unknown := sorted(set(wanted) - set(MATCHES)):
            raise BadRequest(f"A token is matched by {', '.join(MATCHES)}, not by {', '.join(unknown)}.")
        return [
            token
            for token in self._world.tokens.values()
            if all(_token_json(token)[name] == value for name, value in wanted.items())
        ]

    def generate_token(self, request: Request, body: Any) -> Response:
        """Events Manager's "Generate access token": the answer is the only place that shows it."""
        pixel = self._pixel(request)
        life = number_of(body, "expires_in_s", 0)
        token = generate_token(
            self._world, pixel, text_of(body, "app_id", OWN_APP), self._now(), expires_in_s=life
        )
        return answer({"access_token": token.value}, 201)

    # What Meta sends.

    def uninstall(self, _request: Request, body: Any) -> Response:
        """The client takes the app out of its business, under Connected apps."""
        notices = remove_integration(self._world, text_of(body, "app_id"), text_of(body, "business_id"))
        return answer({"sent": len(self._courier.tell(notices, self._now()))})

    def list_webhooks(self, _request: Request, _body: Any) -> Response:
        """What was sent, newest first."""
        return answer({"webhooks": [delivery.describe() for delivery in self._courier.deliveries()]})

    async def send_webhook(self, _request: Request, body: Any) -> Response:
        """Send one POST with one notice or a batch, as often as `copies` says, signed as asked."""
        app = self._app(body)
        parts = body.get("batch") or [body]
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise BadRequest("batch is a list of JSON objects.")
        notices = [self._notice(app, part) for part in parts]
        if len({notice.object for notice in notices}) > 1:
            raise BadRequest("A batch tells of one kind of object: user or application.")
        if not app.webhook_url:
            raise BadRequest("The app has no webhook_url.")
        deliveries = self._courier.send(
            notices,
            sent_at=number_of(body, "sent_at", int(self._now())),
            copies=number_of(body, "copies", 1),
            signature=_signature(body),
        )
        if flag_of(body, "wait", True):
            await self._courier.settle(deliveries)
        return answer({"webhooks": [delivery.describe() for delivery in deliveries]}, 201)

    def _notice(self, app: App, body: Any) -> Notice:
        """What a webhook tells: of an install or business that exists, unless `value` says it all."""
        field, value = text_of(body, "field"), body.get("value")
        if field not in FIELDS:
            raise BadRequest(f"field must be one of {', '.join(FIELDS)}.")
        if field.startswith("fbe_"):
            if value is None:
                notice = self._fbe_notice(app, field, text_of(body, "external_business_id"))
            else:
                notice = Notice(app.id, "user", text_of(body, "person_id", "0"), "fbe_install", value)
            return notice
        if value is None:
            what = field.removeprefix("business_integration_")
            config_id = next(iter(app.configurations), None)
            return integration_notice(app.id, what, text_of(body, "business_id"), config_id)
        return Notice(app.id, "application", app.id, field, value)

    def _fbe_notice(self, app: App, field: str, external_id: str) -> Notice:
        install = self._world.installs.get(external_id)
        if install is None or install.app_id != app.id:
            raise LookupError("There is no such install.")
        if field == "fbe_uninstall":
            return fbe_notice(install, None)
        alive = [
            token.value
            for token in self._world.tokens.values()
            if (token.user_id, token.state) == (install.system_user_id, "live")
        ]
        return fbe_notice(install, alive[-1] if alive else None)

    async def retry_webhooks(self, _request: Request, _body: Any) -> Response:
        """Try what was not delivered once more."""
        return answer({"webhooks": [delivery.describe() for delivery in await self._courier.retry()]})

    async def verify_webhook(self, _request: Request, body: Any) -> Response:
        """The handshake, with the app's own verify token or another."""
        app = self._app(body)
        if not app.webhook_url:
            raise BadRequest("The app has no webhook_url.")
        return answer(await self._courier.verify(app, text_of(body, "verify_token", app.verify_token or "-")))

    async def call_back(self, request: Request, body: Any) -> Response:
        """`deauthorize` or `deletion`: a signed request to the app's callback, with what it means here."""
        kind, app, person_id = request.path_params["kind"], self._app(body), text_of(body, "person_id")
        url = {"deauthorize": app.deauthorize_url, "deletion": app.deletion_url}.get(kind)
        if not url:
            raise BadRequest(f"The app has no {kind} address.")
        payload: dict[str, Any] = {
            "algorithm": text_of(body, "algorithm", "HMAC-SHA256"),
            "issued_at": number_of(body, "issued_at", int(self._now())),
            "user_id": person_id,
        }
        if (expires := number_of(body, "expires", 0)) != 0:
            payload["expires"] = expires
        person = self._world.people.get(person_id)
        if person is not None and kind == "deauthorize" and flag_of(body, "forget", True):
            self._courier.tell(forget_person(self._world, app.id, person), self._now())
        return answer(
            await self._courier.call_back(url, signed_request(app.secret, payload, _signature(body)))
        )

    def _app(self, body: Any) -> App:
        app = self._world.apps.get(text_of(body, "app_id"))
        if app is None:
            raise LookupError("There is no such app.")
        return app

    def _now(self) -> float:
        return time.time() + self._world.settings.clock_shift_s


def generate_token(world: World, pixel: Pixel, app_id: str, now: float, *, expires_in_s: int = 0) -> Token:
    """A Conversions API token of the client's own "Conversions API System User"; no read scope, no app of ours."""
    name, business_id = CAPI_USER, pixel.owner_business_id
    known = [
        user for user in world.system_users.values() if (user.business_id, user.name) == (business_id, name)
    ]
    user = known[0] if known else SystemUser(world.new_id(), business_id, name)
    world.system_users[user.id] = user
    pixel.users[user.id] = Sharing().permitted_tasks
    return world.add_token(
        Token(
            value=new_token_value(),
            app_id=app_id,
            pixels=frozenset({pixel.id}),
            issued_at=int(now),
            expires_at=int(now) + expires_in_s if expires_in_s else 0,
            user_id=user.id,
        )
    )


def _token_json(token: Token) -> dict[str, Any]:
    """A token without its text."""
    return {
        "key": token_key(token.value),
        "last_four": token.value[-4:],
        "app_id": token.app_id,
        "type": token.type,
        "user_id": token.user_id,
        "business_id": token.business_id,
        "scopes": list(token.scopes),
        "pixels": sorted(token.pixels),
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "data_access_expires_at": token.data_access_expires_at,
        "state": token.state,
    }


def _signature(body: Any) -> Signature:
    wanted = text_of(body, "signature", "right")
    if wanted not in SIGNATURES:
        raise BadRequest(f"signature must be one of {', '.join(SIGNATURES)}.")
    return wanted  # type: ignore[return-value]  # one of SIGNATURES, as just checked
