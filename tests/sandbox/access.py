"""A partner, two clients and their people at the stand-in, and the calls that an app makes of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from tests.sandbox.cast import CALL_SECONDS, proof_of
from tests.support.sandbox import SandboxClient

APP, SECRET = "900100", "0123456789abcdef0123456789abcdef"
APP_TOKEN = f"{APP}|{SECRET}"
CALLBACK = "https://hub.example/connect/callback?via=meta"
FLB, USER_FLB = "55501", "55502"
PARTNER, SHOP, OTHER_SHOP = "7001", "8001", "8002"
ANNA, BEN, DEVELOPER = "3001", "3002", "3009"
SHOP_PIXEL, SECOND_PIXEL, OTHER_PIXEL = "501", "502", "503"
ASSIGNER, SENDER = "12100", "12200"
ASSIGNER_TOKEN = "EAAassigner"
CONNECTION = "ph-adv-7f3c"
FBE_SCOPES = "manage_business_extension,ads_management,ads_read,business_management"

DOCUMENT: dict[str, Any] = {
    "apps": {
        APP: {
            "secret": SECRET,
            "name": "Demo Hub",
            "business_id": PARTNER,
            "redirect_uris": [CALLBACK],
            "fbe": True,
            "configurations": {
                FLB: {"scopes": ["ads_read", "business_management"]},
                USER_FLB: {"scopes": ["ads_read"], "holder": "user"},
            },
            "permissions": {"ads_management": "live", "ads_read": "unapproved"},
            "developers": [DEVELOPER],
        },
        "555": {"secret": "other-secret", "name": "Other app"},
    },
    "businesses": {
        PARTNER: {"name": "Datapartner"},
        SHOP: {"name": "Shop", "verification_status": "pending"},
        OTHER_SHOP: {"name": "Other shop"},
    },
    "people": {
        ANNA: {"name": "Anna", "businesses": [SHOP]},
        BEN: {"name": "Ben", "employee_of": [SHOP]},
        DEVELOPER: {"name": "Dora", "businesses": [PARTNER, SHOP]},
    },
    "system_users": {
        ASSIGNER: {"business_id": PARTNER, "name": "Assigner", "role": "ADMIN", "apps": [APP]},
        SENDER: {"business_id": PARTNER, "name": "Sender"},
    },
    "pixels": {
        SHOP_PIXEL: {"name": "Web shop", "owner_business": SHOP},
        SECOND_PIXEL: {"name": "Blog", "owner_business": SHOP},
        OTHER_PIXEL: {"name": "Other", "owner_business": OTHER_SHOP},
    },
    "tokens": {
        ASSIGNER_TOKEN: {
            "app_id": APP,
            "user_id": ASSIGNER,
            "scopes": ["ads_management", "business_management"],
        }
    },
}


def dialog_url(sandbox: SandboxClient, **changes: Any) -> str:
    """A plain dialog's address; a change to None takes the parameter away."""
    query = {
        "client_id": APP,
        "redirect_uri": CALLBACK,
        "state": "a b&c",
        "scope": "ads_read,business_management",
    }
    query |= changes
    wanted = {name: value for name, value in query.items() if value is not None}
    return f"{sandbox.base_url}/v26.0/dialog/oauth?{urlencode(wanted)}"


def flb_url(sandbox: SandboxClient, **changes: Any) -> str:
    """The dialog of a system-user configuration."""
    wanted = {"config_id": FLB, "response_type": "code", "override_default_response_type": "true"}
    return dialog_url(sandbox, **({"scope": None} | wanted | changes))


def extras(**setup: Any) -> dict[str, Any]:
    """The Business Extension's `extras`, as an object."""
    return {
        "setup": {
            "external_business_id": CONNECTION,
            "timezone": "Europe/Amsterdam",
            "currency": "EUR",
            "business_vertical": "ECOMMERCE",
            "channel": "DEFAULT",
        }
        | setup,
        "business_config": {"business": {"name": "Shop Example"}},
        "repeat": False,
    }


def fbe_url(sandbox: SandboxClient, **changes: Any) -> str:
    """The dialog of the Business Extension."""
    wanted = {"scope": FBE_SCOPES, "display": "page", "extras": json.dumps(extras())}
    return dialog_url(sandbox, **(wanted | changes))


def answer_of(location: str) -> dict[str, str]:
    """What a redirect brings back in its query, or in its fragment where that holds a token."""
    parts = urlsplit(location)
    brought = dict(parse_qsl(parts.query))
    return brought | (dict(parse_qsl(parts.fragment)) if parts.fragment != "_=_" else {})


def call(sandbox: SandboxClient, verb: str, path: str, token: str | None = None, **params: Any) -> Any:
    """A call to Graph: the parameters in the query of a GET, in the form of anything else."""
    if token is not None:
        params["access_token"] = token
    place = {"params": params} if verb == "GET" else {"data": params}
    url = f"{sandbox.base_url}/v26.0/{path}"
    return requests.request(verb, url, timeout=CALL_SECONDS, **place)  # type: ignore[arg-type]


def proved(token: str) -> dict[str, str]:
    """The token with its proof, as parameters."""
    return {"access_token": token, "appsecret_proof": proof_of(token, SECRET)}


def exchange(sandbox: SandboxClient, code: str, /, **changes: Any) -> requests.Response:
    """Exchange a code."""
    params = {"client_id": APP, "client_secret": SECRET, "redirect_uri": CALLBACK, "code": code} | changes
    response: requests.Response = call(sandbox, "GET", "oauth/access_token", **params)
    return response


def log_in(sandbox: SandboxClient, url: str | None = None, **choices: Any) -> str:
    """Go through a dialog and the exchange; the token."""
    location = sandbox.approve_dialog(url or dialog_url(sandbox), **({"person": ANNA} | choices))
    return str(exchange(sandbox, answer_of(location)["code"]).json()["access_token"])
