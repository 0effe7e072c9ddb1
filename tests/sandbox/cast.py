"""Who plays in the stand-in's tests, and the requests that they send."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import time
from typing import Any

import requests

from tests.support.sandbox import SandboxClient

APP_ID = "900100"
APP_SECRET = "0123456789abcdef0123456789abcdef"
PIXEL = "1000000000001"
FOREIGN_PIXEL = "1000000000002"
TOKEN = "EAAGcanary0token/with+odd=characters"
JOHN_HASH = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
CALL_SECONDS = 10

_numbers = itertools.count(1)


def make_event(**changes: Any) -> dict[str, Any]:
    """An ordinary event that passes every check; a change to None takes the key away."""
    event = {
        "event_name": "PageView",
        "event_time": int(time.time()) - 5,
        "event_id": f"event-{next(_numbers)}",
        "action_source": "website",
        "user_data": {"em": [JOHN_HASH]},
    } | changes
    return {key: value for key, value in event.items() if value is not None}


def make_purchase(**custom_data: Any) -> dict[str, Any]:
    """A Purchase; a change to None takes the key away."""
    wanted = {"value": 42.5, "currency": "EUR"} | custom_data
    return make_event(
        event_name="Purchase", custom_data={key: value for key, value in wanted.items() if value is not None}
    )


def proof_of(token: str, secret: str) -> str:
    """The `appsecret_proof` of a token."""
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def events_url(sandbox: SandboxClient, pixel_id: str = PIXEL, version: str = "v26.0") -> str:
    """Where a pixel's events go."""
    return f"{sandbox.base_url}/{version}/{pixel_id}/events"


def send(
    sandbox: SandboxClient, *events: dict[str, Any], pixel_id: str = PIXEL, **beside: Any
) -> requests.Response:
    """Send events as JSON, with the cast's token unless another (or None) is given."""
    body = {"data": list(events), "access_token": TOKEN} | beside
    body = {key: value for key, value in body.items() if value is not None}
    return requests.post(events_url(sandbox, pixel_id), json=body, timeout=CALL_SECONDS)


def error_of(response: requests.Response) -> tuple[int, int, int | None]:
    """Status, code and subcode of a refusal."""
    error = response.json()["error"]
    return response.status_code, error["code"], error.get("error_subcode")
