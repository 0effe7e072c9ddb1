"""Who exists at "Meta", and who reaches what.

Set up over the admin routes, held in memory, forgotten at a reset. No HTTP here; the clock is an argument.
"""

import hashlib
import hmac
import itertools
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from partnerhub.sandbox.bodies import Parameters
from partnerhub.sandbox.frame import Refusal
from partnerhub.sandbox.nodes import (
    TASKS,
    App,
    Business,
    Code,
    Install,
    Person,
    Pixel,
    Settings,
    SystemUser,
    Token,
    TokenState,
)

READ_SCOPES: Final = frozenset({"ads_management", "ads_read", "business_management"})
SEND_SCOPES: Final = frozenset({"ads_management", "ads_read"})
ALL_TASKS: Final = frozenset(TASKS)
NO_TASKS: Final[frozenset[str]] = frozenset()
READS: Final = frozenset({"ANALYZE"})

PROOF_LIFE_SECONDS: Final = 300
# A proof with `appsecret_time` is valid for five minutes (Login Security, 2024-10-16).

SESSION: Final = "Error validating access token: "
DEAD_TOKENS: Final[dict[str, tuple[int, str]]] = {
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


def death_of(token: Token, now: float) -> Refusal | None:
    """Why the token does not work at `now`, or None."""
    state: str = token.state
    if state == "live" and token.expires_at and now >= token.expires_at:
        state = "expired"
    if state == "live":
        return None
    subcode, message = DEAD_TOKENS[state]
    return Refusal(190, message.format(app_id=token.app_id), subcode=subcode)


def can_read(token: Token) -> bool:
    """Whether the scopes reach beyond sending; a pasted Conversions API token's often do not."""
    return not READ_SCOPES.isdisjoint(token.scopes)


def token_key(value: str) -> str:
    """A token's name for those who must not see it."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def new_token_value() -> str:
    """A fresh token's text, which looks as Meta's do."""
    return "EAA" + secrets.token_urlsafe(120).replace("-", "Z").replace("_", "A")


class World:
    """Everybody at the stand-in, by id (tokens and codes by their text, installs by our external id)."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.apps: dict[str, App] = {}
        self.businesses: dict[str, Business] = {}
        self.people: dict[str, Person] = {}
        self.system_users: dict[str, SystemUser] = {}
        self.pixels: dict[str, Pixel] = {}
        self.tokens: dict[str, Token] = {}
        self.codes: dict[str, Code] = {}
        self.installs: dict[str, Install] = {}
        self._numbers = itertools.count(122_100_000_000_001)

    def clear(self) -> None:
        """Forget everybody."""
        for part in (
            self.apps,
            self.businesses,
            self.people,
            self.system_users,
            self.pixels,
            self.tokens,
            self.codes,
            self.installs,
        ):
            part.clear()
        self.settings = Settings()

    def new_id(self) -> str:
        """An id that nothing here has."""
        return str(next(self._numbers))

    def add_token(self, token: Token) -> Token:
        """Keep a token, which from now on works."""
        self.tokens[token.value] = token
        return token

    def change_state(self, picks: Callable[[Token], bool], state: TokenState) -> int:
        """Put the live tokens that `picks` wants into a state; how many there were."""
        found = [token for token in self.tokens.values() if token.state == "live" and picks(token)]
        for token in found:
            token.state = state
        return len(found)

    def business_name(self, business_id: str) -> str:
        """The name of a business, which nobody need have described."""
        business = self.businesses.get(business_id)
        return business.name if business is not None else "Business"

    # Who reaches what.

    def tasks_on(self, token: Token, pixel: Pixel) -> frozenset[str]:
        """What the token's holder may do with the pixel.

        A system user: the tasks it is assigned, as far as its business has them. Those who administer a
        business: people may do all that the business may, admin system users may look.
        """
        if pixel.id in token.pixels:
            return ALL_TASKS
        if token.type == "APP" or (token.only_pixels and pixel.id not in token.only_pixels):
            return NO_TASKS
        system_user = self.system_users.get(token.user_id)
        if system_user is not None:
            assigned = _with_implied(pixel.users.get(system_user.id, ()))
            if system_user.role == "ADMIN":
                assigned |= READS
            return assigned & self.business_tasks(pixel, system_user.business_id)
        person = self.people.get(token.user_id)
        if person is None:
            return NO_TASKS
        return NO_TASKS.union(*(self.business_tasks(pixel, business) for business in person.businesses))

    def business_tasks(self, pixel: Pixel, business_id: str) -> frozenset[str]:
        """What a business may do with a pixel: all with its own, what was agreed with a client's."""
        if pixel.owner_business_id == business_id:
            return ALL_TASKS
        sharing = pixel.agencies.get(business_id)
        if sharing is None or sharing.status != "APPROVE":
            return NO_TASKS
        return _with_implied(sharing.permitted_tasks)

    def may_send(self, token: Token, pixel_id: str) -> bool:
        """Whether the token may send this pixel events."""
        pixel = self.pixels.get(pixel_id)
        if pixel is None:
            return False
        if pixel_id in token.pixels:
            return True
        return not SEND_SCOPES.isdisjoint(token.scopes) and "UPLOAD" in self.tasks_on(token, pixel)

    def belongs_to(self, token: Token, business_id: str) -> bool:
        """Whether the token's holder is of the business at all."""
        system_user = self.system_users.get(token.user_id)
        if system_user is not None:
            return system_user.business_id == business_id
        person = self.people.get(token.user_id)
        return person is not None and business_id in (*person.businesses, *person.employee_of)

    def administers(self, token: Token, business_id: str) -> bool:
        """Whether the token's holder has full control of the business."""
        system_user = self.system_users.get(token.user_id)
        if system_user is not None:
            return system_user.business_id == business_id and system_user.role == "ADMIN"
        person = self.people.get(token.user_id)
        return person is not None and business_id in person.businesses

    def owned_pixels(self, business_id: str) -> list[Pixel]:
        """A business's own pixels."""
        return [pixel for pixel in self.pixels.values() if pixel.owner_business_id == business_id]

    def shared_pixels(self, business_id: str, status: str) -> list[Pixel]:
        """The pixels shared with a business whose sharing stands so."""
        return [
            pixel
            for pixel in self.pixels.values()
            if business_id in pixel.agencies and pixel.agencies[business_id].status == status
        ]

    # Whose token it is.

    def identify(self, value: str | None, now: float) -> Token | Refusal:
        """The live token behind `value` (an app token `id|secret` too), or Graph's refusal."""
        if not value:
            return Refusal(104, "An access token is required to request this resource.")
        token = self.find(value)
        if token is None:
            return Refusal(190, "Invalid OAuth access token - Cannot parse access token")
        return death_of(token, now) or token

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


def _with_implied(tasks: Iterable[str]) -> frozenset[str]:
    """EDIT, which Meta gives its own Business Extension user, is full control."""
    wanted = frozenset(tasks)
    return ALL_TASKS if "EDIT" in wanted else wanted
