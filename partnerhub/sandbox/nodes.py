"""The nodes of "Meta's" graph: apps, businesses, people, system users, pixels, and what ties them to each other.

Dataclasses without behaviour; `world` holds them and decides who reaches what. Secrets stay out of a `repr`.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

TokenState = Literal[
    "live", "expired", "password_changed", "app_removed", "checkpoint", "unconfirmed", "revoked", "role_lost"
]
TokenType = Literal["SYSTEM_USER", "USER", "PAGE", "APP"]
GrantStatus = Literal["granted", "declined", "expired"]
SharingStatus = Literal["PENDING", "IN_PROGRESS", "APPROVE", "DECLINE", "EXPIRED", "CANCELED"]
TOKEN_STATES: Final[tuple[str, ...]] = get_args(TokenState)

TASKS: Final = ("EDIT", "ANALYZE", "UPLOAD", "ADVERTISE", "AA_ANALYZE")
# A pixel's tasks ("Sharing Meta Pixel Between Businesses", read 2026-11-24).
KNOWN_SCOPES: Final = frozenset(
    {
        "ads_management",
        "ads_read",
        "business_management",
        "pages_read_engagement",
        "pages_show_list",
        "public_profile",
        "email",
        "manage_business_extension",
        "catalog_management",
        "instagram_basic",
        "business_creative_management",
        "leads_retrieval",
    }
)


@dataclass(slots=True)
class Configuration:
    """A Facebook Login for Business configuration of an app. `tasks` is what it asks on each ticked pixel."""

    scopes: tuple[str, ...]
    holder: Literal["system_user", "user"] = "system_user"
    expires_in_60_days: bool = False
    tasks: tuple[str, ...] = ("ANALYZE", "UPLOAD")


@dataclass(slots=True)
class App:
    """A Meta app; with `require_proof` its tokens work only beside an `appsecret_proof`.

    `business_id` owns it. `fbe`: allow-listed for the Business Extension. `permissions` is what App Review
    gave it, for the app's own page to read. `developers` are people with a role on it.
    """

    id: str
    secret: str = field(repr=False)
    name: str = "App"
    business_id: str | None = None
    mode: Literal["live", "development"] = "live"
    tier: Literal["full", "limited"] = "full"
    require_proof: bool = False
    redirect_uris: tuple[str, ...] = ()
    fbe: bool = False
    configurations: dict[str, Configuration] = field(default_factory=dict)
    permissions: dict[str, Literal["live", "unapproved", "pending", "declined"]] = field(default_factory=dict)
    developers: frozenset[str] = frozenset()
    webhook_url: str = ""
    verify_token: str = field(default="", repr=False)
    deauthorize_url: str = ""
    deletion_url: str = ""


@dataclass(slots=True)
class Business:
    """A business portfolio.

    `only_60_day_tokens`: its system users' tokens must expire. `holds_sharing`: what is shared with it waits
    until it accepts. `fbe_system_user_missing`: the fault that stale Business Extension installs bring.
    """

    id: str
    name: str = "Business"
    verification_status: str = "verified"
    only_60_day_tokens: bool = False
    holds_sharing: bool = False
    fbe_system_user_missing: bool = False


@dataclass(slots=True)
class Person:
    """Somebody with a Facebook account. `grants`: app → scope → what that person answered."""

    id: str
    name: str = "Person"
    businesses: tuple[str, ...] = ()
    employee_of: tuple[str, ...] = ()
    grants: dict[str, dict[str, GrantStatus]] = field(default_factory=dict)


@dataclass(slots=True)
class SystemUser:
    """A system user of a business, and the apps installed on it."""

    id: str
    business_id: str
    name: str = "System user"
    role: Literal["ADMIN", "EMPLOYEE"] = "EMPLOYEE"
    apps: frozenset[str] = frozenset()


@dataclass(slots=True)
class Sharing:
    """A pixel shared with another business; only `APPROVE` gives access."""

    permitted_tasks: tuple[str, ...] = ("ANALYZE", "UPLOAD")
    status: SharingStatus = "APPROVE"
    request_id: str = ""


@dataclass(slots=True)
class Pixel:
    """A pixel ("dataset") of a business: with whom it is shared (business → sharing), and the tasks of each
    system user assigned to it. `last_fired_time` 0: when its last event came.
    """

    id: str
    owner_business_id: str
    name: str = "Pixel"
    is_unavailable: bool = False
    data_use_setting: str = "ADVERTISING_AND_ANALYTICS"
    last_fired_time: int = 0
    agencies: dict[str, Sharing] = field(default_factory=dict)
    users: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Token:
    """An access token; `expires_at` 0 means never, as at Meta.

    `pixels` are those it reaches whoever holds it: a pasted token, whose system user nobody described.
    `business_id` is the client's business of a token that an integration got. `only_pixels`, where not empty,
    narrows what its holder reaches. Meta tells `issued_at` of long-lived tokens only.
    """

    value: str = field(repr=False)
    app_id: str
    type: TokenType = "SYSTEM_USER"
    scopes: tuple[str, ...] = ()
    pixels: frozenset[str] = frozenset()
    issued_at: int = 0
    expires_at: int = 0
    data_access_expires_at: int = 0
    state: TokenState = "live"
    user_id: str = "122000000000000"
    business_id: str | None = None
    only_pixels: frozenset[str] = frozenset()
    is_long_lived: bool = True


@dataclass(slots=True)
class Code:
    """An authorisation code: what it is exchanged for, and where that must be asked from."""

    app_id: str
    redirect_uri: str
    token: Token = field(repr=False)
    issued_at: float
    is_used: bool = False


@dataclass(slots=True)
class Install:
    """An advertiser's Business Extension install, by our own `external_business_id`; any asset may be missing.

    `needs_reauthentication`: it is older than the system-user exchange, which it does not get before its
    person has gone through the dialog again.
    """

    external_business_id: str
    app_id: str
    business_id: str | None = None
    person_id: str | None = None
    system_user_id: str | None = None
    pixel_id: str | None = None
    ad_account_id: str | None = None
    catalog_id: str | None = None
    pages: tuple[str, ...] = ()
    instagram_profiles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("manage_business_extension", "ads_management", "ads_read")
    install_time: int = 0
    needs_reauthentication: bool = False


@dataclass(slots=True)
class Settings:
    """What holds for the whole of "Meta". `clock_shift_s` moves the clock of access, not the age of events."""

    page_size: int = 25
    code_life_s: int = 600
    # Ten minutes is what peers report; Meta publishes no figure.
    clock_shift_s: int = 0
    webhook_retry_s: tuple[float, ...] = (0.0, 1.0, 5.0, 30.0)
    # At once, then less often ("Webhooks, Getting Started"); Meta goes on for 36 hours.
    assigned_users_refuses_business: bool = False
