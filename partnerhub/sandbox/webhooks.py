"""What "Meta" sends: signed webhooks with their retries, the handshake, and signed requests to an app's callbacks.

The one room that speaks HTTP outwards, and to this machine alone. It keeps what it sent, without secrets.
"""

import asyncio
import base64
import hashlib
import hmac
import http.client
import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import orjson

from partnerhub.sandbox.integrations import Notice
from partnerhub.sandbox.nodes import App
from partnerhub.sandbox.world import World

Signature = Literal["right", "wrong", "none"]
CALL_SECONDS: Final = 10
KEPT_DELIVERIES: Final = 500
KEPT_ANSWER_CHARACTERS: Final = 2_000
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
SECRET_VALUES: Final = ("access_token", "merchant_access_token")


class Unreachable(ValueError):
    """An address that the stand-in does not call; the text says why."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back; status 0: nothing did."""

    status: int
    body: str


@dataclass(slots=True)
class Delivery:
    """One POST to an app's webhook address, with every attempt at it."""

    id: int
    app_id: str
    url: str
    fields: tuple[str, ...]
    body: bytes = field(repr=False)
    signature: str = field(repr=False)
    shown: Any = None
    state: Literal["pending", "delivered", "dropped"] = "pending"
    attempts: list[dict[str, Any]] = field(default_factory=list)
    tried: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def describe(self) -> dict[str, Any]:
        """It, for the admin routes: the content without its tokens."""
        return {
            "id": self.id,
            "app_id": self.app_id,
            "url": self.url,
            "fields": list(self.fields),
            "state": self.state,
            "attempts": self.attempts,
            "content": self.shown,
        }


class Courier:
    """Sends for every app of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._deliveries: deque[Delivery] = deque(maxlen=KEPT_DELIVERIES)
        self._numbers = itertools.count(1)
        self._running: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """Forget what was sent, and stop what still waits for its retry."""
        for task in self._running:
            task.cancel()
        self._deliveries.clear()

    def deliveries(self) -> list[Delivery]:
        """What was sent, newest first."""
        return list(reversed(self._deliveries))

    def tell(self, notices: Iterable[Notice], now: float) -> list[Delivery]:
        """Send each notice to its app, in the background, where the app has an address."""
        return [delivery for notice in notices for delivery in self.send([notice], sent_at=now)]

    def send(
        self,
        notices: Sequence[Notice],
        *,
        sent_at: float,
        copies: int = 1,
        signature: Signature = "right",
    ) -> list[Delivery]:
        """One POST with all the notices, `copies` times; nothing where the app has no address."""
        app = self._world.apps.get(notices[0].app_id)
        if app is None or not app.webhook_url:
            return []
        body = orjson.dumps(_envelope(notices, int(sent_at)))
        made = [
            Delivery(
                id=next(self._numbers),
                app_id=app.id,
                url=app.webhook_url,
                fields=tuple(notice.field for notice in notices),
                body=body,
                signature=sign(app.secret, body, signature),
                shown=_without_secrets(orjson.loads(body)),
            )
            for _ in range(copies)
        ]
        for delivery in made:
            self._deliveries.append(delivery)
            task = asyncio.create_task(self._deliver(delivery))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return made

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Wait until each has been tried once."""
        for delivery in deliveries:
            await delivery.tried.wait()

    async def retry(self) -> list[Delivery]:
        """Try what was not delivered once more, now."""
        waiting = [delivery for delivery in self._deliveries if delivery.state != "delivered"]
        for delivery in waiting:
            await self._attempt(delivery)
        return waiting

    async def _deliver(self, delivery: Delivery) -> None:
        """At once, then after each pause of the settings, until somebody says 200; then it is dropped."""
        for pause in (0.0, *self._world.settings.webhook_retry_s):
            await asyncio.sleep(pause)
            if delivery.state == "delivered":
                return
            await self._attempt(delivery)
        if delivery.state == "pending":
            delivery.state = "dropped"

    async def _attempt(self, delivery: Delivery) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "facebookexternalua"}
        if delivery.signature:
            headers["X-Hub-Signature-256"] = delivery.signature
        answered = await call(delivery.url, "POST", delivery.body, headers)
        delivery.attempts.append({"at": time.time(), "status": answered.status})
        if answered.status == 200:
            delivery.state = "delivered"
        delivery.tried.set()

    async def verify(self, app: App, verify_token: str) -> dict[str, Any]:
        """The handshake: GET with a challenge, which the app must send back bare."""
        challenge = secrets.token_hex(8)
        query = {"hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": challenge}
        separator = "&" if "?" in app.webhook_url else "?"
        answered = await call(f"{app.webhook_url}{separator}{urlencode(query)}", "GET", b"", {})
        is_verified = answered.status == 200 and answered.body == challenge
        return {"status": answered.status, "body": answered.body, "verified": is_verified}

    async def call_back(self, url: str, signed_request: str) -> dict[str, Any]:
        """POST a signed request to a callback of the app."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"signed_request": signed_request}).encode()
        return asdict(await call(url, "POST", body, headers))


def _envelope(notices: Sequence[Notice], sent_at: int) -> dict[str, Any]:
    """The body of a webhook: an entry an object that changed, its changes in order."""
    entries: dict[str, dict[str, Any]] = {}
    for notice in notices:
        entry = entries.setdefault(notice.object_id, {"id": notice.object_id, "time": sent_at, "changes": []})
        if notice.object == "user":
            entry["uid"] = notice.object_id
        entry["changes"].append({"field": notice.field, "value": notice.value})
    return {"object": notices[0].object, "entry": list(entries.values())}


def _without_secrets(body: Any) -> Any:
    for entry in body["entry"]:
        for change in entry["changes"]:
            if isinstance(change["value"], dict):
                change["value"] |= {name: "***" for name in SECRET_VALUES if name in change["value"]}
    return body


def sign(secret: str, body: bytes, signature: Signature) -> str:
    """`X-Hub-Signature-256` over the raw bytes; empty for none."""
    if signature == "none":
        return ""
    key = secret if signature == "right" else f"{secret}-wrong"
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def signed_request(secret: str, payload: dict[str, Any], signature: Signature) -> str:
    """`b64url(signature).b64url(payload)`, the signature over the encoded payload, without padding."""
    encoded = base64.urlsafe_b64encode(orjson.dumps(payload)).rstrip(b"=")
    key = secret if signature == "right" else f"{secret}-wrong"
    digest = hmac.new(key.encode(), encoded, hashlib.sha256).digest() if signature != "none" else b""
    return f"{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}.{encoded.decode()}"


def check_address(url: str) -> None:
    """Raises Unreachable for an address that is not on this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or not (host in LOOPBACK or host.endswith(".localhost")):
        raise Unreachable(f"The stand-in calls http addresses of this machine only, not {url}.")


async def call(url: str, verb: str, body: bytes, headers: dict[str, str]) -> Answered:
    """One HTTP request to this machine, whatever the host's name."""
    parts = urlsplit(url)
    path = parts._replace(scheme="", netloc="").geturl()
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answered] = loop.create_future()

    def settle(result: Answered) -> None:
        if not answered.done():
            answered.set_result(result)

    def work() -> None:
        result = _call(parts.netloc, parts.port or 80, path, verb, body, headers)
        # The loop is closed where the process is ending.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result)

    # No thread of a pool: the process must be able to end while an app still thinks.
    threading.Thread(target=work, daemon=True).start()
    return await answered


def _call(netloc: str, port: int, path: str, verb: str, body: bytes, headers: dict[str, str]) -> Answered:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
    try:
        connection.request(verb, path or "/", body or None, {"Host": netloc, **headers})
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        return Answered(response.status, text[:KEPT_ANSWER_CHARACTERS])
    except (OSError, http.client.HTTPException):
        return Answered(0, "")
    finally:
        connection.close()
