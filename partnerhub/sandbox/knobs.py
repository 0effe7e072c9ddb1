"""Failures on demand: which request gets which fault, decided by pixel, endpoint, count and probability.

Only the choice and the description of a fault live here; `faults` performs it.
"""

import random
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from partnerhub.sandbox.frame import Header, Refusal, usage_headers
from partnerhub.sandbox.world import token_key

Kind = Literal[
    "latency", "usage", "error", "timeout", "cut", "html", "text", "huge", "drip", "received", "empty_page"
]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
ANY: Final = "*"
ENDPOINTS: Final = (
    "events",
    "pixel",
    "debug_token",
    "dialog",
    "oauth_access_token",
    "oauth_revoke",
    "me",
    "permissions",
    "me_businesses",
    "app",
    "fbe_installs",
    "business",
    "business_access_token",
    "system_user_access_tokens",
    "owned_pixels",
    "client_pixels",
    "pending_shared_pixels",
    "adspixels",
    "received_sharing_agreements",
    "system_users",
    "system_user",
    "assigned_ads_pixels",
    "applications",
    "access_tokens",
    "agencies",
    "assigned_users",
    ANY,
)
PASSING: Final = frozenset({"latency", "usage", "empty_page"})
# These add to an ordinary answer; the others take its place.

MESSAGES: Final[dict[int, tuple[str, str]]] = {
    1: ("OAuthException", "An unknown error occurred"),
    2: ("OAuthException", "An unexpected error has occurred. Please retry your request later."),
    3: ("OAuthException", "(#3) Application does not have the capability to make this API call."),
    4: ("OAuthException", "(#4) Application request limit reached"),
    10: ("OAuthException", "(#10) Application does not have permission for this action"),
    17: ("OAuthException", "(#17) User request limit reached"),
    32: ("OAuthException", "(#32) Page request limit reached"),
    100: ("OAuthException", "Invalid parameter"),
    102: ("OAuthException", "Session key invalid or no longer valid"),
    104: ("OAuthException", "Incorrect signature"),
    12: ("OAuthException", "(#12) This method is deprecated for this version of the API."),
    190: ("OAuthException", "Error validating access token: The session is invalid."),
    200: ("OAuthException", "(#200) Permissions error"),
    270: (
        "OAuthException",
        "(#270) This Ads API request is not allowed for apps with development access level.",
    ),
    294: ("OAuthException", "(#294) Managing advertisements requires an access token with ads_management."),
    341: ("OAuthException", "(#341) Feed action request limit reached"),
    368: ("OAuthException", "The action attempted has been deemed abusive or is otherwise disallowed"),
    452: ("OAuthException", "(#452) Session key invalid. This could be because the session key expired."),
    613: ("OAuthException", "(#613) Calls to this api have exceeded the rate limit."),
    2635: ("OAuthException", "(#2635) You are calling a deprecated version of the Ads API."),
    3962: ("OAuthException", "(#3962) The scope is invalid"),
    80004: ("OAuthException", "(#80004) There have been too many calls to this ad-account."),
}
TRANSIENT_CODES: Final = frozenset({1, 2})
STORING: Final = frozenset({"huge", "drip", "received"})
# Odd answers of a Meta that took the events: they store unless told otherwise.


@dataclass(slots=True)
class Knob:
    """One fault to inject.

    `count` None means until it is taken away. With `store` the events are stored before the fault; a knob
    that stores leaves alone what the checks refuse. `event_ids` picks the requests that carry one of them.
    `pixel_id` is the id in the path, be it a pixel's, a business's or a system user's; `token_key` picks the
    requests that bring the token of that key.
    """

    id: int
    kind: Kind
    pixel_id: str = ANY
    endpoint: str = "events"
    token_key: str | None = None
    count: int | None = None
    probability: float = 1.0
    store: bool = False
    event_ids: tuple[str, ...] = ()
    latency_ms: float = 0.0
    hold_ms: float = 600_000.0
    status: int | None = None
    code: int = 2
    subcode: int | None = None
    message: str | None = None
    type: str | None = None
    title: str | None = None
    user_message: str | None = None
    is_transient: bool | None = None
    error_data: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    retry_after_s: int | None = None
    regain_minutes: int | None = None
    call_count: int = 100
    size_bytes: int = 2 * 1024 * 1024
    interval_ms: float = 200.0
    events_received: Any = None
    taken: int = 0

    def refusal(self) -> Refusal:
        """The envelope that an `error` knob answers with."""
        kind, message = MESSAGES.get(self.code, ("OAuthException", f"(#{self.code}) An error occurred"))
        transient = self.is_transient
        if transient is None and self.code in TRANSIENT_CODES:
            transient = True
        return Refusal(
            self.code,
            self.message or message,
            type=self.type or kind,
            subcode=self.subcode,
            title=self.title,
            user_message=self.user_message,
            is_transient=transient,
            error_data=self.error_data,
            status=self.status,
        )

    def extra_headers(self, business_id: str) -> list[Header]:
        """The headers that the knob adds: usage figures, `Retry-After`, and those given by name."""
        extra: list[Header] = []
        if self.regain_minutes is not None or self.kind == "usage":
            extra += usage_headers(
                business_id, call_count=self.call_count, regain_minutes=self.regain_minutes or 0
            )
        if self.retry_after_s is not None:
            extra.append((b"retry-after", str(self.retry_after_s).encode()))
        extra += [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()
        ]
        return extra


class BadKnob(ValueError):
    """A knob that cannot be; the text says why."""


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "pixel_id": (str,),
    "probability": (int, float),
    "count": (int,),
    "store": (bool,),
    "latency_ms": (int, float),
    "hold_ms": (int, float),
    "status": (int,),
    "code": (int,),
    "subcode": (int,),
    "message": (str,),
    "type": (str,),
    "token_key": (str,),
    "title": (str,),
    "user_message": (str,),
    "is_transient": (bool,),
    "retry_after_s": (int,),
    "regain_minutes": (int,),
    "call_count": (int,),
    "size_bytes": (int,),
    "interval_ms": (int, float),
}


def parse_knob(wanted: Any, knob_id: int) -> Knob:
    """The knob that an admin's JSON describes; raises BadKnob with a sentence."""
    if not isinstance(wanted, dict):
        raise BadKnob("A knob is a JSON object.")
    known = {item.name for item in fields(Knob)} - {"id", "taken"}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise BadKnob(f"A knob has no {', '.join(unknown)}; it knows {', '.join(sorted(known))}.")
    if wanted.get("kind") not in KINDS:
        raise BadKnob(f"kind must be one of {', '.join(KINDS)}.")
    if wanted.get("endpoint", "events") not in ENDPOINTS:
        raise BadKnob(f"endpoint must be one of {', '.join(ENDPOINTS)}.")
    values = {name: value for name, value in wanted.items() if value is not None}
    for name, types in _TYPES.items():
        value = values.get(name)
        if value is not None and (
            not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        ):
            raise BadKnob(f"{name} must be {' or '.join(kind.__name__ for kind in types)}.")
    if values.get("count", 1) < 1:
        raise BadKnob("count must be at least 1; without it the knob stays until it is taken away.")
    headers = values.get("headers", {})
    if not isinstance(headers, dict) or not all(
        isinstance(item, str) for pair in headers.items() for item in pair
    ):
        raise BadKnob("headers must be an object of texts.")
    event_ids = values.get("event_ids", [])
    if not isinstance(event_ids, list) or not all(isinstance(item, str) for item in event_ids):
        raise BadKnob("event_ids must be a list of texts.")
    values.setdefault("store", values["kind"] in STORING)
    return Knob(id=knob_id, **(values | {"event_ids": tuple(event_ids)}))


class Knobs:
    """The knobs that are set, oldest first."""

    def __init__(self) -> None:
        self._knobs: list[Knob] = []
        self._last_id = 0
        self._random = random.Random()  # noqa: S311 (chance, not secrecy)

    def add(self, wanted: Any) -> Knob:
        """Set a knob; raises BadKnob."""
        knob = parse_knob(wanted, self._last_id + 1)
        self._last_id = knob.id
        self._knobs.append(knob)
        return knob

    def clear(self) -> None:
        """Take all knobs away."""
        self._knobs.clear()

    def remove(self, knob_id: int) -> bool:
        """Take one knob away; False if there was none."""
        before = len(self._knobs)
        self._knobs = [knob for knob in self._knobs if knob.id != knob_id]
        return len(self._knobs) < before

    def all(self) -> list[Knob]:
        """The knobs that are set."""
        return list(self._knobs)

    def __bool__(self) -> bool:
        return bool(self._knobs)

    def take_passing(self, pixel_id: str, endpoint: str, token: str | None = None) -> list[Knob]:
        """Every knob that only adds to this answer (latency, usage figures), each counted as used."""
        return [
            knob
            for knob in self.all()
            if knob.kind in PASSING and self._take(knob, pixel_id, endpoint, token)
        ]

    def take_fault(
        self,
        pixel_id: str,
        endpoint: str,
        *,
        accepted: bool,
        event_ids: frozenset[str] = frozenset(),
        token: str | None = None,
    ) -> Knob | None:
        """The oldest knob that takes this answer's place, counted as used."""
        for knob in self.all():
            if knob.kind in PASSING or (knob.store and not accepted):
                continue
            if knob.event_ids and event_ids.isdisjoint(knob.event_ids):
                continue
            if self._take(knob, pixel_id, endpoint, token):
                return knob
        return None

    def _take(self, knob: Knob, pixel_id: str, endpoint: str, token: str | None) -> bool:
        if knob.pixel_id not in (ANY, pixel_id) or knob.endpoint not in (ANY, endpoint):
            return False
        if knob.token_key is not None and (token is None or token_key(token) != knob.token_key):
            return False
        if knob.probability < 1.0 and self._random.random() >= knob.probability:
            return False
        knob.taken += 1
        if knob.count is not None and knob.taken >= knob.count:
            self._knobs.remove(knob)
        return True
