"""The stand-in Graph API's admin routes (docs/sandbox.md), for the demo, the benchmarks and the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import requests

CALL_SECONDS = 30


class StoredEvent(NamedTuple):
    """One id that the stand-in holds; `copies` is how often it came by the server's road."""

    event_name: str
    event_id: str | None
    copies: int
    first_arrival: float
    digest: str
    partner_agent: str | None
    test_event_code: str | None
    row: int


@dataclass(frozen=True, slots=True)
class SandboxMail:
    """A message that the stand-in's SMTP server was given."""

    id: int
    to: list[str]
    sender: str
    subject: str
    text: str
    html: str


class SandboxError(RuntimeError):
    """An admin route refused; the text says why."""


class SandboxClient:
    """The admin routes of a running stand-in."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = requests.Session()
        self._session.trust_env = False

    def put_app(self, app_id: str, *, secret: str, require_proof: bool = False, name: str = "App") -> None:
        """Make or change an app."""
        self._call("PUT", f"apps/{app_id}", {"secret": secret, "require_proof": require_proof, "name": name})

    def put_pixel(
        self,
        pixel_id: str,
        *,
        name: str = "Shop Example",
        business_id: str = "8001",
        business_name: str = "Shop",
    ) -> None:
        """Make or change a pixel."""
        owner = {"id": business_id, "name": business_name}
        self._call("PUT", f"pixels/{pixel_id}", {"name": name, "owner_business": owner})

    def put_token(
        self,
        token: str,
        *,
        pixels: Iterable[str] = (),
        app_id: str = "700700",
        type: str = "SYSTEM_USER",
        scopes: Iterable[str] = (),
        expires_at: int = 0,
        state: str = "live",
    ) -> None:
        """Make a token or replace one. Without scopes it can send and read nothing, as many pasted tokens."""
        self._call(
            "PUT",
            "tokens",
            {
                "token": token,
                "app_id": app_id,
                "type": type,
                "scopes": list(scopes),
                "pixels": list(pixels),
                "expires_at": expires_at,
                "state": state,
            },
        )

    def set_token_state(self, token: str, state: str) -> None:
        """Kill a token or bring it back: live, expired, password_changed, app_removed, revoked, …"""
        self._call("PUT", "tokens", {"token": token, "state": state})

    def set_token_pixels(self, token: str, pixels: Iterable[str]) -> None:
        """Change which pixels the token may reach."""
        self._call("PUT", "tokens", {"token": token, "pixels": list(pixels)})

    def add_knob(self, kind: str, *, pixel_id: str = "*", **options: Any) -> int:
        """Set a fault (docs/sandbox.md lists kinds and options); its id."""
        answer = self._call("POST", "knobs", {"kind": kind, "pixel_id": pixel_id, **options})
        return int(answer["id"])

    def knobs(self) -> list[dict[str, Any]]:
        """The faults that are still set."""
        return list(self._call("GET", "knobs")["knobs"])

    def remove_knob(self, knob_id: int) -> None:
        """Take one fault away."""
        self._call("DELETE", f"knobs/{knob_id}")

    def clear_knobs(self) -> None:
        """Take all faults away."""
        self._call("DELETE", "knobs")

    def account(self, pixel_id: str) -> dict[str, Any]:
        """The pixel's counts, by the names of docs/sandbox.md."""
        return self._call("GET", f"pixels/{pixel_id}")

    def stored(
        self, pixel_id: str, *, since: float = 0.0, after: int = -1, limit: int | None = None
    ) -> list[StoredEvent]:
        """The ids that the pixel holds, in order of their first arrival."""
        query: dict[str, str] = {"since": repr(since), "after": str(after)}
        if limit is not None:
            query["limit"] = str(limit)
        response = self._send("GET", f"pixels/{pixel_id}/ids", params=query)
        return [StoredEvent(*orjson.loads(line)) for line in response.content.splitlines()]

    def repeats(self, pixel_id: str) -> list[dict[str, Any]]:
        """The ids that came more than once, with `arrivals` and `digests` of each time."""
        return list(self._call("GET", f"pixels/{pixel_id}/repeats")["repeats"])

    def received_requests(self, pixel_id: str | None = None, limit: int = 200) -> list[dict[str, Any]]:
        """The last requests, newest first, tokens masked."""
        query = {"limit": str(limit)} | ({"pixel": pixel_id} if pixel_id else {})
        return list(self._send("GET", "requests", params=query).json()["requests"])

    def mail(self, to: str | None = None) -> list[SandboxMail]:
        """The messages, newest first."""
        found = self._send("GET", "mail", params={"to": to} if to else {}).json()["mail"]
        return [
            SandboxMail(item["id"], item["to"], item["from"], item["subject"], item["text"], item["html"])
            for item in found
        ]

    def browser_event(self, pixel_id: str, event_name: str, event_id: str) -> None:
        """Record what the browser's pixel would have sent."""
        query = {"id": pixel_id, "ev": event_name, "eid": event_id}
        self._session.get(f"{self.base_url}/tr/", params=query, timeout=CALL_SECONDS).raise_for_status()

    def reset(self, *, keep_world: bool = False) -> None:
        """Forget events, faults and mail, and apps, pixels and tokens unless `keep_world`."""
        self._call("POST", "reset", {"keep_world": keep_world})

    def _call(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(verb, path, body=body).json()
        return answer

    def _send(
        self,
        verb: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> requests.Response:
        response = self._session.request(
            verb, f"{self.base_url}/sandbox/api/{path}", json=body, params=params, timeout=CALL_SECONDS
        )
        if not response.ok:
            raise SandboxError(f"{verb} {path}: {response.status_code} {response.text}")
        return response
