"""`/oauth/access_token`, `/oauth/revoke` and `/debug_token`: tokens made, ended and looked at.

These authorise by an app's secret or by an app token, not by the door that the nodes stand behind.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from partnerhub.sandbox.bodies import Parameters
from partnerhub.sandbox.calls import required
from partnerhub.sandbox.frame import Refusal, no_such_object
from partnerhub.sandbox.nodes import App, Code, Token
from partnerhub.sandbox.world import World, death_of, new_token_value

DAY_SECONDS: Final = 86_400
SHORT_LIFE_SECONDS: Final = 5_400
# "about 1 to 2 hours" ("Access Tokens", read 2026-11-24).
LONG_LIFE_SECONDS: Final = 60 * DAY_SECONDS
DATA_ACCESS_SECONDS: Final = 90 * DAY_SECONDS

NOT_A_DEVELOPER: Final = (
    "(#100) You must provide an app access token, "
    "or a user access token that is an owner or developer of the app"
)
FOREIGN_APP: Final = "(#100) The App_id in the input_token did not match the Viewing App"
CANNOT_PARSE: Final = "Invalid OAuth access token - Cannot parse access token"
PIXEL_SCOPES: Final = ("ads_management", "ads_read")


def invalid_code(subcode: int, message: str) -> Refusal:
    """A code that is not exchanged, with the header that Graph adds."""
    challenge = f'OAuth "Facebook Platform" "invalid_code" "{message}"'
    return Refusal(100, message, subcode=subcode, headers=((b"www-authenticate", challenge.encode()),))


class OAuth:
    """The three endpoints, over the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def exchange(self, parameters: Parameters, now: float) -> dict[str, Any] | Refusal:
        """A token for a code, for a token, or for the app's secret alone."""
        app = self._app(parameters)
        if isinstance(app, Refusal):
            return app
        match parameters.text("grant_type"):
            case None | "authorization_code":
                return self._for_code(app, parameters, now)
            case "fb_exchange_token":
                return self._for_token(app, parameters, now)
            case "client_credentials":
                value = f"{app.id}|{secrets.token_urlsafe(20)}"
                self._world.add_token(Token(value=value, app_id=app.id, type="APP", issued_at=int(now)))
                return {"access_token": value, "token_type": "bearer"}
            case other:
                return Refusal(100, f"(#100) Invalid grant_type: {other}")

    def revoke(self, parameters: Parameters, now: float) -> dict[str, Any] | Refusal:
        """End a token of the app at once."""
        app = self._app(parameters)
        if isinstance(app, Refusal):
            return app
        caller = self._world.identify(parameters.text("access_token"), now)
        if isinstance(caller, Refusal):
            return caller
        value = parameters.text("revoke_token")
        if value is None:
            return required("revoke_token")
        token = self._world.tokens.get(value)
        if token is None:
            return Refusal(190, CANNOT_PARSE)
        if app.id != token.app_id or app.id != caller.app_id:
            return Refusal(100, FOREIGN_APP)
        if token.state == "live":
            token.state = "revoked"
        return {"success": True}

    def debug(self, verb: str, parameters: Parameters, now: float) -> dict[str, Any] | Refusal:
        """What a token is, for its own app: GET only."""
        if verb != "GET":
            return no_such_object(verb, "debug_token")
        viewer = self._world.authorise(parameters, now)
        if isinstance(viewer, Refusal):
            return viewer
        inspected = parameters.text("input_token")
        if inspected is None:
            return required("input_token")
        app = self._world.apps.get(viewer.app_id)
        is_developer = viewer.type == "USER" and app is not None and viewer.user_id in app.developers
        if viewer.type != "APP" and not is_developer:
            return Refusal(100, NOT_A_DEVELOPER)
        token = self._world.find(inspected)
        if token is None:
            return Refusal(190, CANNOT_PARSE)
        if token.app_id != viewer.app_id:
            return Refusal(100, FOREIGN_APP)
        return {"data": self._token_data(token, now)}

    def _app(self, parameters: Parameters) -> App | Refusal:
        """The app whose id and secret a request brings."""
        client_id, secret = parameters.text("client_id"), parameters.text("client_secret")
        if client_id is None:
            return Refusal(101, "Missing client_id parameter.")
        app = self._world.apps.get(client_id)
        if app is None:
            return Refusal(
                101, "Error validating application. Cannot get application info due to a system error."
            )
        if secret is None or not hmac.compare_digest(app.secret.encode(), secret.encode()):
            return Refusal(1, "Error validating client secret.")
        return app

    def _for_code(self, app: App, parameters: Parameters, now: float) -> dict[str, Any] | Refusal:
        value = parameters.text("code")
        if value is None:
            return required("code")
        code = self._world.codes.get(value)
        if code is None or code.app_id != app.id:
            return invalid_code(36007, "Invalid verification code format.")
        if code.is_used:
            return invalid_code(36009, "This authorization code has been used.")
        if now >= code.issued_at + self._world.settings.code_life_s:
            return invalid_code(36007, "This authorization code has expired.")
        if parameters.text("redirect_uri") != code.redirect_uri:
            return invalid_code(
                36008,
                "Error validating verification code. Please make sure your redirect_uri is identical to the "
                "one you used in the OAuth dialog request",
            )
        code.is_used = True
        return token_answer(self._world.add_token(code.token), now)

    def _for_token(self, app: App, parameters: Parameters, now: float) -> dict[str, Any] | Refusal:
        value = parameters.text("fb_exchange_token")
        if value is None:
            return required("fb_exchange_token")
        token = self._world.tokens.get(value)
        if token is None:
            return Refusal(190, CANNOT_PARSE)
        if (death := death_of(token, now)) is not None:
            return death
        if token.app_id != app.id:
            return Refusal(100, FOREIGN_APP)
        fresh = replace(token, value=new_token_value(), issued_at=int(now))
        if token.type == "SYSTEM_USER":
            if parameters.text("set_token_expires_in_60_days") not in ("true", "1"):
                return required("set_token_expires_in_60_days")
            fresh.expires_at = int(now) + LONG_LIFE_SECONDS
        elif not token.is_long_lived:
            fresh.is_long_lived, fresh.expires_at = True, int(now) + LONG_LIFE_SECONDS
        return token_answer(self._world.add_token(fresh), now)

    def _token_data(self, token: Token, now: float) -> dict[str, Any]:
        app = self._world.apps.get(token.app_id)
        data: dict[str, Any] = {
            "app_id": token.app_id,
            "type": token.type,
            "application": app.name if app is not None else "App",
        }
        death = death_of(token, now)
        if death is not None:
            data["error"] = {"code": death.code, "message": death.message, "subcode": death.subcode}
        data |= {"is_valid": death is None, "expires_at": token.expires_at, "scopes": list(token.scopes)}
        if token.type != "APP":
            data |= {
                "data_access_expires_at": token.data_access_expires_at,
                "granular_scopes": [self._granular(token, scope) for scope in token.scopes],
                "user_id": token.user_id,
            }
            if token.is_long_lived:
                data["issued_at"] = token.issued_at
            if token.type == "PAGE":
                data["profile_id"] = token.user_id
        return data

    def _granular(self, token: Token, scope: str) -> dict[str, Any]:
        """A scope with the assets that it is confined to; none named means all of them.

        Choice: a client's token names the pixels that were ticked and the client's business. Meta documents
        targets for Pages and WhatsApp only.
        """
        targets: Iterable[str] = ()
        if token.business_id is not None and scope in PIXEL_SCOPES:
            targets = (
                pixel.id for pixel in self._world.pixels.values() if self._world.tasks_on(token, pixel)
            )
        elif token.business_id is not None and scope == "business_management":
            targets = (token.business_id,)
        ids = list(targets)
        return {"scope": scope, "target_ids": ids} if ids else {"scope": scope}


def token_answer(token: Token, now: float) -> dict[str, Any]:
    """What an exchange answers: no `expires_in` where the token has no end."""
    answer: dict[str, Any] = {"access_token": token.value, "token_type": "bearer"}
    if token.expires_at:
        answer["expires_in"] = token.expires_at - int(now)
    return answer


def code_for(world: World, redirect_uri: str, token: Token, now: float) -> str:
    """A fresh code that is exchanged for `token` from where `redirect_uri` is named again."""
    value = "AQ" + secrets.token_urlsafe(120)
    world.codes[value] = Code(token.app_id, redirect_uri, token, issued_at=now)
    return value
