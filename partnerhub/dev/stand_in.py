"""The stand-in Graph API's admin routes (docs/sandbox.md), for the demo, the benchmarks and the tests."""

from __future__ import annotations

import hashlib
import html
import re
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


def token_key(token: str) -> str:
    """By which a fault picks a token: `add_knob(…, token_key=token_key(token))`."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


class SandboxError(RuntimeError):
    """An admin route refused; the text says why."""


class SandboxClient:
    """The admin routes of a running stand-in."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = requests.Session()
        self._session.trust_env = False

    def put_app(self, app_id: str, *, secret: str, require_proof: bool = False, name: str = "App") -> None:
        """Make an app, or change its secret, proof and name."""
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

    # The world: fields by the names of docs/sandbox.md; what is left out of a known node stays.

    def set_world(self, document: Mapping[str, Any]) -> None:
        """Take in a setup document, or nothing of it."""
        self._call("PUT", "world", document)

    def world(self) -> dict[str, Any]:
        """The whole world in the document's form, without secrets; tokens by their key."""
        return self._call("GET", "world")

    def set_settings(self, **fields: Any) -> None:
        """page_size, code_life_s, clock_shift_s, webhook_retry_s, assigned_users_refuses_business."""
        self.set_world({"settings": fields})

    def move_clock(self, seconds: int) -> None:
        """How far Meta's clock of access is ahead: tokens, codes and proofs, not the age of events."""
        self.set_settings(clock_shift_s=seconds)

    def set_app(self, app_id: str, **fields: Any) -> None:
        """Make or change an app."""
        self._call("PUT", f"apps/{app_id}", fields)

    def set_business(self, business_id: str, **fields: Any) -> None:
        """Make or change a business."""
        self._call("PUT", f"businesses/{business_id}", fields)

    def set_person(self, person_id: str, **fields: Any) -> None:
        """Make or change a person."""
        self._call("PUT", f"people/{person_id}", fields)

    def set_system_user(self, system_user_id: str, **fields: Any) -> None:
        """Make or change a system user."""
        self._call("PUT", f"system_users/{system_user_id}", fields)

    def set_pixel(self, pixel_id: str, **fields: Any) -> None:
        """Make or change a pixel."""
        self._call("PUT", f"pixels/{pixel_id}", fields)

    def set_install(self, external_business_id: str, **fields: Any) -> None:
        """Make or change a Business Extension install."""
        self._call("PUT", f"installs/{external_business_id}", fields)

    # Sharing.

    def share_pixel(
        self,
        pixel_id: str,
        business_id: str,
        tasks: Iterable[str] = ("ANALYZE", "UPLOAD"),
        *,
        pending: bool = False,
    ) -> None:
        """Share a pixel with a business, as its owner would; `pending` until it accepts."""
        body = {"business_id": business_id, "tasks": list(tasks), "pending": pending}
        self._call("POST", f"pixels/{pixel_id}/sharings", body)

    def accept_sharing(self, pixel_id: str, business_id: str) -> None:
        """Accept a pending sharing."""
        self._call("POST", f"pixels/{pixel_id}/sharings/{business_id}")

    def withdraw_sharing(self, pixel_id: str, business_id: str) -> None:
        """End a sharing."""
        self._call("DELETE", f"pixels/{pixel_id}/sharings/{business_id}")

    # Tokens.

    def generate_token(self, pixel_id: str, *, app_id: str | None = None, expires_in_s: int = 0) -> str:
        """Events Manager's "Generate access token": a token of another app, for this pixel, to paste."""
        body = {"expires_in_s": expires_in_s} | ({"app_id": app_id} if app_id else {})
        return str(self._call("POST", f"pixels/{pixel_id}/tokens", body)["access_token"])

    def tokens(self, **match: str) -> list[dict[str, Any]]:
        """The tokens, oldest first, masked; narrowed by key, app_id, type, user_id, business_id, state."""
        return list(self._send("GET", "tokens", params=match).json()["tokens"])

    def revoke_token(self, token: str) -> None:
        """Kill a token at once."""
        self.set_token_state(token, "revoked")

    def expire_token(self, token: str, in_seconds: int = 0) -> None:
        """Let a token end in so many seconds from now."""
        self._call("PUT", "tokens", {"token": token, "expires_in_s": in_seconds})

    def change_tokens(self, match: Mapping[str, str], **changes: Any) -> int:
        """Change the tokens that `match` describes, whose text only the product knows; how many there are.

        Changes: state, expires_at, expires_in_s, data_access_expires_at, scopes, pixels.
        """
        body = {"match": dict(match), "changes": changes}
        return int(self._call("PATCH", "tokens", body)["changed"])

    # What Meta sends.

    def uninstall(self, app_id: str, business_id: str) -> None:
        """The client takes the app out of its business: its tokens there die, and the webhooks tell."""
        self._call("DELETE", "integrations", {"app_id": app_id, "business_id": business_id})

    def send_webhook(self, app_id: str, field: str | None = None, **options: Any) -> list[dict[str, Any]]:
        """Send a webhook and tell of its first attempt, one answer a copy.

        Options: value, business_id, external_business_id, person_id, copies, signature (right, wrong, none),
        sent_at, wait; `batch`, a list of such notices, goes as one POST.
        """
        body = {"app_id": app_id} | ({"field": field} if field else {}) | options
        return list(self._call("POST", "webhooks", body)["webhooks"])

    def webhooks(self) -> list[dict[str, Any]]:
        """What was sent, newest first, with every attempt; tokens masked."""
        return list(self._call("GET", "webhooks")["webhooks"])

    def retry_webhooks(self) -> list[dict[str, Any]]:
        """Try what was not delivered once more; what was tried."""
        return list(self._call("POST", "webhooks/retry")["webhooks"])

    def verify_webhook(self, app_id: str, verify_token: str | None = None) -> dict[str, Any]:
        """The handshake: `status`, `body` and whether the challenge came back."""
        body = {"app_id": app_id} | ({"verify_token": verify_token} if verify_token else {})
        return self._call("POST", "webhooks/verify", body)

    def deauthorize(self, app_id: str, person_id: str, **options: Any) -> dict[str, Any]:
        """The signed request to the app's deauthorise callback: `status` and `body` of the answer.

        The person's tokens die with it unless `forget=False`. Options: signature, algorithm, issued_at, expires.
        """
        body = {"app_id": app_id, "person_id": person_id} | options
        return self._call("POST", "callbacks/deauthorize", body)

    def request_deletion(self, app_id: str, person_id: str, **options: Any) -> dict[str, Any]:
        """The signed request to the app's data deletion callback: `status` and `body` of the answer."""
        body = {"app_id": app_id, "person_id": person_id} | options
        return self._call("POST", "callbacks/deletion", body)

    # The log-in dialog, without a browser.

    def approve_dialog(
        self,
        url: str,
        *,
        person: str,
        businesses: Iterable[str] = (),
        pixels: Iterable[str] = (),
        decision: str = "accept",
        decline: Iterable[str] = (),
    ) -> str:
        """Answer the dialog at `url` as a person would; where the browser is sent, "" for never_return.

        Raises SandboxError with the page's words where there is a page instead.
        """
        form = [("person", person), ("decision", decision)]
        form += [("businesses", item) for item in businesses]
        form += [("pixels", item) for item in pixels]
        form += [("decline", item) for item in decline]
        response = self._session.post(url, data=form, allow_redirects=False, timeout=CALL_SECONDS)
        if response.status_code == 302:
            return response.headers["location"]
        if response.ok and decision == "never_return":
            return ""
        words = re.findall(r"<h1>(.*?)</h1>|<p [^>]*>(.*?)</p>", response.text)
        shown = ": ".join(html.unescape(title or text) for title, text in words)
        raise SandboxError(f"{response.status_code} {shown}")

    # Faults.

    def add_knob(self, kind: str, *, pixel_id: str = "*", token: str | None = None, **options: Any) -> int:
        """Set a fault (docs/sandbox.md lists kinds and options), for one token's requests alone; its id."""
        if token is not None:
            options["token_key"] = token_key(token)
        answer = self._call("POST", "knobs", {"kind": kind, "pixel_id": pixel_id, **options})
        return int(answer["id"])

    def start_outage(self, kind: str = "html") -> int:
        """Every endpoint fails: html, cut, timeout, …; `remove_knob` ends it."""
        return self.add_knob(kind, endpoint="*")

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

    def calls(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The calls of access, newest first: endpoint, verb, path, names of the parameters, outcome."""
        query = {"endpoint": endpoint} if endpoint else {}
        return list(self._send("GET", "calls", params=query).json()["calls"])

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
