"""What a log-in dialog was asked for, and what a person's answer to it does and sends back.

No HTML and no HTTP: `dialog` draws it. What the dialog's address gets wrong is a Problem, shown to the person
and never sent to the app, as at Facebook.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import orjson

from partnerhub.sandbox.integrations import FBE_SCOPE, Notice, install_fbe, integrate
from partnerhub.sandbox.nodes import KNOWN_SCOPES, App, Business, Configuration, Person, Pixel, Token
from partnerhub.sandbox.oauth import DATA_ACCESS_SECONDS, SHORT_LIFE_SECONDS, code_for
from partnerhub.sandbox.world import World, new_token_value

RESPONSE_TYPES: Final = frozenset({"code", "token", "granted_scopes"})
CHANNELS: Final = frozenset({"DEFAULT", "SIGNALS", "FEED", "COMMERCE", "COMMERCE_OFFSITE"})
SETUP_TEXTS: Final = ("external_business_id", "timezone", "currency", "business_vertical")
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
NEW: Final = "new"
NONE: Final = "none"
# A person's other answers to "which pixel": make one, or go without.
DENIED: Final = {
    "error": "access_denied",
    "error_code": "200",
    "error_description": "Permissions error",
    "error_reason": "user_denied",
}


class Problem(Exception):
    """Why there is no dialog, or why the answer does not do: a title and a sentence."""

    def __init__(self, title: str, sentence: str) -> None:
        super().__init__(f"{title}: {sentence}")
        self.title, self.sentence = title, sentence


@dataclass(frozen=True, slots=True)
class Request:
    """A dialog that can be shown. `asks` is what it lets a person choose beside the permissions."""

    app: App
    redirect_uri: str
    state: str | None
    response_types: frozenset[str]
    scopes: tuple[str, ...]
    asks_again: bool
    config_id: str | None = None
    configuration: Configuration | None = None
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> Literal["nothing", "one pixel", "pixels"]:
        """One pixel for the Business Extension, any of a business's for a system-user configuration."""
        if self.extras:
            return "one pixel"
        is_for_system_user = self.configuration is not None and self.configuration.holder == "system_user"
        return "pixels" if is_for_system_user else "nothing"

    @property
    def external_business_id(self) -> str:
        """The Business Extension's: our own id of the connection."""
        return str(self.extras["setup"]["external_business_id"])

    @property
    def prefilled_pixel_id(self) -> str | None:
        """The pixel that the Business Extension's `extras` propose."""
        wanted = self.extras.get("setup", {}).get("pixel_id")
        return wanted if isinstance(wanted, str) else None

    def open_scopes(self, person: Person) -> tuple[str, ...]:
        """What this person is asked: not again what was declined, unless the app asks with `rerequest`."""
        answered = person.grants.get(self.app.id, {})
        if self.asks_again or self.asks == "pixels":
            return self.scopes
        return tuple(scope for scope in self.scopes if answered.get(scope) != "declined")


@dataclass(frozen=True, slots=True)
class Reply:
    """A person's answer."""

    person: Person
    businesses: Sequence[str] = ()
    pixels: Sequence[str] = ()
    declined: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the browser goes, and what the webhooks tell."""

    location: str
    notices: Sequence[Notice] = ()


def read_request(world: World, query: dict[str, str]) -> Request:
    """The dialog that an address asks for; raises Problem."""
    app = world.apps.get(query.get("client_id", ""))
    if app is None:
        raise Problem("Invalid App ID", "The provided app ID does not look like a valid app ID.")
    redirect_uri = query.get("redirect_uri", "")
    if redirect_uri not in app.redirect_uris or not _is_safe(redirect_uri):
        raise Problem(
            "URL Blocked",
            "This redirect failed because the redirect URI is not whitelisted in the app’s Client OAuth "
            "Settings. Make sure Client and Web OAuth Login are on and add all your app domains as Valid "
            "OAuth Redirect URIs.",
        )
    response_types = frozenset((query.get("response_type") or "code").replace(",", " ").split())
    if not response_types <= RESPONSE_TYPES:
        raise Problem("Invalid parameter", "The response_type is not one that Facebook Login knows.")
    if not query.get("state"):
        raise Problem("Invalid parameter", "The required parameter state is missing.")
    extras = _read_extras(query, app) if "extras" in query else {}
    config_id = query.get("config_id")
    configuration = _read_configuration(app, config_id, query) if config_id is not None else None
    if configuration is not None:
        scopes = configuration.scopes
    else:
        scopes = tuple(dict.fromkeys((query.get("scope") or "public_profile").replace(",", " ").split()))
    unknown = [scope for scope in scopes if scope not in KNOWN_SCOPES or (scope == FBE_SCOPE and not app.fbe)]
    if unknown:
        raise Problem(
            f"Invalid Scopes: {', '.join(unknown)}",
            "This message is only shown to developers. Users of your app will ignore these permissions if "
            "present.",
        )
    return Request(
        app=app,
        redirect_uri=redirect_uri,
        state=query.get("state"),
        response_types=response_types,
        scopes=scopes,
        asks_again=query.get("auth_type") == "rerequest",
        config_id=config_id,
        configuration=configuration,
        extras=extras,
    )


def _is_safe(redirect_uri: str) -> bool:
    """HTTPS, as Meta wants it; also plain HTTP to this machine, or the demo could not be shown (choice)."""
    parts = urlsplit(redirect_uri)
    host = parts.hostname or ""
    return parts.scheme == "https" or (
        parts.scheme == "http" and (host in LOOPBACK or host.endswith(".localhost"))
    )


def _read_configuration(app: App, config_id: str, query: dict[str, str]) -> Configuration:
    configuration = app.configurations.get(config_id)
    if configuration is None:
        raise Problem("Invalid config_id", "The configuration does not exist or is not this app’s.")
    overrides = query.get("override_default_response_type") == "true"
    if configuration.holder == "user":
        if overrides:
            raise Problem(
                "Invalid parameter",
                "A user access token configuration takes no override_default_response_type.",
            )
        return configuration
    if query.get("response_type") != "code" or not overrides:
        raise Problem(
            "Invalid parameter",
            "A system user configuration needs response_type=code and override_default_response_type=true.",
        )
    if "scope" in query:
        raise Problem("Invalid parameter", "A configuration brings its own permissions: leave scope out.")
    return configuration


def _read_extras(query: dict[str, str], app: App) -> dict[str, Any]:
    try:
        extras = orjson.loads(query["extras"])
    except orjson.JSONDecodeError:
        raise Problem("Invalid extras", "The extras parameter is not valid JSON.") from None
    setup = extras.get("setup") if isinstance(extras, dict) else None
    if not isinstance(setup, dict):
        raise Problem("Invalid extras", "extras needs a setup object.")
    for name in SETUP_TEXTS:
        if not isinstance(setup.get(name), str) or not setup[name]:
            raise Problem("Invalid extras", f"setup.{name} is missing.")
    channel = setup.get("channel", "DEFAULT")
    if channel not in CHANNELS:
        raise Problem("Invalid extras", "setup.channel is not a known channel.")
    if channel.startswith("COMMERCE") and not setup.get("domain"):
        raise Problem("Invalid extras", "This channel needs setup.domain.")
    if setup.get("pixel_id") is not None and not isinstance(setup["pixel_id"], str):
        raise Problem("Invalid extras", "setup.pixel_id must be a text.")
    business = extras.get("business_config", {}) if isinstance(extras.get("business_config"), dict) else {}
    if not isinstance(business.get("business"), dict) or not business["business"].get("name"):
        raise Problem("Invalid extras", "business_config.business.name is missing.")
    if extras.get("repeat") is not False:
        raise Problem("Invalid extras", "repeat must be false.")
    if query.get("display") not in ("page", "popup", "window"):
        raise Problem("Invalid parameter", "The Business Extension needs the display parameter.")
    if not app.fbe:
        raise Problem(
            "Feature unavailable", "This app has not been allow-listed for the Facebook Business Extension."
        )
    return dict(extras)


def offered_businesses(world: World, person: Person) -> list[Business]:
    """The businesses that the person may choose: those with full control."""
    return [world.businesses[known] for known in person.businesses if known in world.businesses]


def cancel(request: Request) -> Outcome:
    """The person does not want to."""
    return Outcome(_callback(request, DENIED))


def accept(world: World, request: Request, reply: Reply, now: float) -> Outcome:
    """The person agrees; raises Problem where the choice does not do."""
    app, person = request.app, reply.person
    is_known = person.id in app.developers or app.business_id in person.businesses
    if app.mode == "development" and not is_known:
        if request.configuration is not None:
            # Reported 2026: in development mode the flow may finish and still be denied.
            return cancel(request)
        raise Problem("App not active", "This app is not accessible right now.")
    open_scopes = request.open_scopes(person)
    if unknown := reply.declined - set(request.scopes):
        raise Problem("Invalid choice", f"{', '.join(sorted(unknown))} was not asked for.")
    if request.asks == "pixels" and reply.declined:
        # "one refusal grants none" (Facebook Login for Business, 2026-06-30).
        return cancel(request)
    business = _chosen_business(world, request, reply)
    pixels = _chosen_pixels(world, request, reply, business)
    answered = person.grants.setdefault(app.id, {})
    answered["public_profile"] = "granted"
    for scope in open_scopes:
        answered[scope] = "declined" if scope in reply.declined else "granted"
    notices: list[Notice] = []
    if business is not None and request.asks == "pixels" and request.config_id is not None:
        token, notices = integrate(world, app, request.config_id, business, pixels, now)
    else:
        token = _user_token(app, person, now)
        if business is not None and answered.get(FBE_SCOPE) == "granted":
            pixel = pixels[0] if pixels else None
            notices = install_fbe(world, app, person, business.id, pixel, request.external_business_id, now)
    return Outcome(_callback(request, _granted(world, request, token, answered, now)), notices)


def _chosen_business(world: World, request: Request, reply: Reply) -> Business | None:
    if request.asks == "nothing":
        return None
    offered = offered_businesses(world, reply.person)
    wanted = [business for business in offered if business.id in reply.businesses]
    if not reply.businesses and len(offered) == 1:
        wanted = offered
    if not offered:
        raise Problem(
            "No business", "You do not have full control of a business. Ask one of its admins to do this."
        )
    if len(wanted) != 1 or len(reply.businesses) > 1:
        raise Problem("Choose a business", "Choose one business that you have full control of.")
    return wanted[0]


def _chosen_pixels(world: World, request: Request, reply: Reply, business: Business | None) -> list[Pixel]:
    if business is None:
        return []
    owned = {pixel.id: pixel for pixel in world.owned_pixels(business.id)}
    wanted = list(reply.pixels)
    if request.asks == "one pixel" and not wanted:
        wanted = [request.prefilled_pixel_id] if request.prefilled_pixel_id in owned else list(owned)
        if len(wanted) > 1:
            raise Problem("Choose a pixel", "This business has several pixels. Choose one of them.")
    if wanted == [NONE]:
        return []
    if request.asks == "one pixel" and wanted == [NEW]:
        made = Pixel(world.new_id(), business.id, f"{business.name}’s pixel")
        world.pixels[made.id] = made
        return [made]
    if strange := [pixel_id for pixel_id in wanted if pixel_id not in owned]:
        raise Problem("Choose a pixel", f"{business.name} does not own pixel {strange[0]}.")
    if request.asks == "one pixel" and len(wanted) > 1:
        raise Problem("Choose a pixel", "The Business Extension takes one pixel.")
    return [owned[pixel_id] for pixel_id in wanted]


def _user_token(app: App, person: Person, now: float) -> Token:
    """A short-lived user token with all that the person has granted the app."""
    granted = person.grants[app.id]
    return Token(
        value=new_token_value(),
        app_id=app.id,
        type="USER",
        scopes=tuple(scope for scope, status in granted.items() if status == "granted"),
        issued_at=int(now),
        expires_at=int(now) + SHORT_LIFE_SECONDS,
        data_access_expires_at=int(now) + DATA_ACCESS_SECONDS,
        user_id=person.id,
        is_long_lived=False,
    )


def _granted(
    world: World, request: Request, token: Token, answered: dict[str, Any], now: float
) -> dict[str, str]:
    found: dict[str, str] = {}
    if "token" in request.response_types:
        world.add_token(token)
        found["access_token"] = token.value
        if token.expires_at:
            found["expires_in"] = str(token.expires_at - int(now))
        if token.data_access_expires_at:
            found["data_access_expiration_time"] = str(token.data_access_expires_at)
    if "code" in request.response_types:
        found["code"] = code_for(world, request.redirect_uri, token, now)
    if "granted_scopes" in request.response_types:
        for name, status in (("granted_scopes", "granted"), ("denied_scopes", "declined")):
            found[name] = ",".join(scope for scope, known in answered.items() if known == status)
    return found


def _callback(request: Request, answer: dict[str, str]) -> str:
    """The redirect: in the fragment where a token is asked for, else in the query, with Facebook's `#_=_`."""
    if request.state is not None:
        answer = answer | {"state": request.state}
    if "token" in request.response_types:
        return f"{request.redirect_uri}#{urlencode(answer)}"
    separator = "&" if "?" in request.redirect_uri else "?"
    return f"{request.redirect_uri}{separator}{urlencode(answer)}#_=_"
