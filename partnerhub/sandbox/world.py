"""Who exists at "Meta": apps, pixels and tokens, and what a token may do.

Set up over the admin routes, held in memory, forgotten at a reset. No HTTP here; the clock is an argument.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal, get_args

from partnerhub.sandbox.bodies import Parameters
from partnerhub.sandbox.frame import Refusal

TokenState = Literal[
    "live", "expired", "password_changed", "app_removed", "checkpoint", "unconfirmed", "revoked", "role_lost"
]
TokenType = Literal["SYSTEM_USER", "USER", "PAGE", "APP"]
TOKEN_STATES: tuple[str, ...] = get_args(TokenState)
TOKEN_TYPES: tuple[str, ...] = get_args(TokenType)

READ_SCOPES = frozenset({"ads_management", "ads_read", "business_management"})

PROOF_LIFE_SECONDS = 300
# A proof with `appsecret_time` is valid for five minutes (Login Security, 2024-10-16).

SESSION = "Error validating access token: "
DEAD_TOKENS: dict[str, tuple[int, str]] = {
    "app_removed": (458, SESSION + "The user has not authorized application {app_id}."),
    "checkpoint": (
        459,
        SESSION + "You cannot access the app till you log in to www.facebook.com and follow the steps.",
    ),
    "password_changed": (
        460,
        SESSION + "The session has been invalidated because the user changed their password or "
        "Facebook has changed the session for security reasons.",
    ),
    "expired": (463, SESSION + "Session has expired."),
    "unconfirmed": (
        464,
        SESSION + "Sessions for the user are not allowed because the user is not a confirmed user.",
    ),
    "revoked": (467, SESSION + "The session is invalid because the user logged out."),
    "role_lost": (492, SESSION + "The user must be an administrator, editor, or moderator of the asset."),
}
# Subcodes: "Access Tokens: Debugging and Error Handling", read 2026-11-24; the texts vary.


@dataclass(slots=True)
class App:
    """A Meta app; with `require_proof` its tokens work only beside an `appsecret_proof`."""

    id: str
    secret: str = field(repr=False)
    require_proof: bool = False
    name: str = "App"


@dataclass(slots=True)
class Pixel:
    """A pixel ("dataset"), with the business that owns it."""

    id: str
    name: str
    owner_business_id: str
    owner_business_name: str
    is_unavailable: bool = False
    data_use_setting: str = "ADVERTISING_AND_ANALYTICS"


@dataclass(slots=True)
class Token:
    """An access token. `pixels` are those it may send to; `expires_at` 0 means never, as at Meta."""

    value: str = field(repr=False)
    app_id: str
    type: TokenType = "SYSTEM_USER"
    scopes: tuple[str, ...] = ()
    pixels: frozenset[str] = frozenset()
    issued_at: int = 0
    expires_at: int = 0
    state: TokenState = "live"
    user_id: str = "12200"

    def death(self, now: float) -> Refusal | None:
        """Why the token does not work at `now`, or None."""
        state: str = self.state
        if state == "live" and self.expires_at and now >= self.expires_at:
            state = "expired"
        if state == "live":
            return None
        subcode, message = DEAD_TOKENS[state]
        return Refusal(190, message.format(app_id=self.app_id), subcode=subcode)

    @property
    def can_read(self) -> bool:
        """Whether the scopes reach beyond sending; a pasted Conversions API token's often do not."""
        return not READ_SCOPES.isdisjoint(self.scopes)


class World:
    """The apps, pixels and tokens of the stand-in."""

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}
        self.pixels: dict[str, Pixel] = {}
        self.tokens: dict[str, Token] = {}

    def clear(self) -> None:
        """Forget everybody."""
        self.apps.clear()
        self.pixels.clear()
        self.tokens.clear()

    def identify(self, value: str | None, now: float) -> Token | Refusal:
        """The live token behind `value` (an app token `id|secret` too), or Graph's refusal."""
        if not value:
            return Refusal(104, "An access token is required to request this resource.")
        token = self.find(value)
        if token is None:
            return Refusal(190, "Invalid OAuth access token - Cannot parse access token")
        return token.death(now) or token

    def authorise(self, parameters: Parameters, now: float) -> Token | Refusal:
        """The live token of a request, its proof checked, or Graph's refusal."""
        token = self.identify(parameters.text("access_token"), now)
        if isinstance(token, Refusal):
            return token
        proof, proof_time = parameters.text("appsecret_proof"), parameters.text("appsecret_time")
        return self.proof_refusal(token, proof, proof_time, now) or token

    def find(self, value: str) -> Token | None:
        """The token behind `value`, dead or alive."""
        token = self.tokens.get(value)
        if token is not None:
            return token
        app_id, bar, secret = value.partition("|")
        app = self.apps.get(app_id) if bar else None
        if app is None or not hmac.compare_digest(app.secret.encode(), secret.encode()):
            return None
        return Token(value=value, app_id=app_id, type="APP")

    def proof_refusal(
        self, token: Token, proof: str | None, proof_time: str | None, now: float
    ) -> Refusal | None:
        """Why `appsecret_proof` does not do for this token, or None.

        A proof that is given must be made with the secret of the app that issued the token, wanted or not;
        one for an app that the stand-in has never heard of can only be wrong.
        """
        app = self.apps.get(token.app_id)
        if proof is None:
            if app is not None and app.require_proof and token.type != "APP":
                return Refusal(
                    100,
                    "API calls from the server require an appsecret_proof argument",
                    type="GraphMethodException",
                )
            return None
        if app is not None and _proof_holds(app.secret, token.value, proof, proof_time, now):
            return None
        return Refusal(
            100, "Invalid appsecret_proof provided in the API argument", type="GraphMethodException"
        )


def _proof_holds(secret: str, token: str, proof: str, proof_time: str | None, now: float) -> bool:
    message = token
    if proof_time is not None:
        if (
            not (proof_time.isascii() and proof_time.isdigit())
            or abs(now - int(proof_time)) > PROOF_LIFE_SECONDS
        ):
            return False
        message = f"{token}|{proof_time}"
    expected = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), proof.encode())
