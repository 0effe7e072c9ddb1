"""What Meta refuses in one event, and with which number. Pure; the clock is an argument.

Written from Meta's pages and peers' reports, not from the product's rules, so that the two can disagree in a
test. Where Meta is known to be lenient (a website event without a user agent, an odd but whole `fbc`), so is
this.
"""

import re
from typing import Any, Final

from partnerhub.sandbox.frame import Refusal

MAX_EVENTS: Final = 1000
# "up to 1,000 events in data" (Using the API, 2026-02-06).
DAY_SECONDS: Final = 86_400
MAX_AGE_SECONDS: Final = 7 * DAY_SECONDS
STORE_MAX_AGE_SECONDS: Final = 62 * DAY_SECONDS
# 7 days, and 62 for physical_store (Using the API, 2026-02-06).
FUTURE_SECONDS: Final = 60
# Meta publishes no tolerance; a peer allows one minute (rudder-transformer).

EVENT_KEYS: Final = frozenset(
    {
        "event_name",
        "event_time",
        "event_id",
        "event_source_url",
        "action_source",
        "user_data",
        "custom_data",
        "app_data",
        "opt_out",
        "referrer_url",
        "data_processing_options",
        "data_processing_options_country",
        "data_processing_options_state",
        "customer_segmentation",
        "original_event_data",
        "attribution_data",
        "messaging_channel",
        "advanced_measurement_table",
    }
)
REQUIRED_KEYS: Final = ("event_name", "event_time", "action_source")
ACTION_SOURCES: Final = frozenset(
    {
        "email",
        "website",
        "app",
        "phone_call",
        "chat",
        "physical_store",
        "system_generated",
        "business_messaging",
        "other",
    }
)
HASHED_KEYS: Final = frozenset(
    [
        "em",
        "ph",
        "fn",
        "ln",
        "ge",
        "db",
        "ct",
        "st",
        "zp",
        "country",
        "f5first",
        "f5last",
        "fi",
        "dobd",
        "dobm",
        "doby",
    ]
)
PLAIN_KEYS: Final = frozenset(
    [
        "external_id",
        "client_ip_address",
        "client_user_agent",
        "fbc",
        "fbp",
        "subscription_id",
        "anon_id",
        "madid",
        "fb_login_id",
        "lead_id",
        "page_id",
        "page_scoped_user_id",
        "ctwa_clid",
        "ig_account_id",
        "ig_sid",
        "whatsapp_business_account_id",
    ]
)
USER_KEYS: Final = HASHED_KEYS | PLAIN_KEYS
TOO_BROAD: Final = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
# An event whose user_data lies wholly inside one of these is invalid (Best Practices, 2026-06-28).
WEAK_KEYS: Final = frozenset().union(*TOO_BROAD)

EXTINFO_LENGTH: Final = 16
EXTINFO_OS_VERSION: Final = 4

_is_hash = re.compile(r"[0-9a-f]{64}(?:\.[A-Za-z0-9_-]{8})?").fullmatch
# 64 lower-case hex digits, with or without the parameter builder's suffix.
_is_fbc = re.compile(r"fb\.[0-9]+\.[0-9]+\..+").fullmatch
_is_currency = re.compile(r"[A-Za-z]{3}").fullmatch


def check_event(event: Any, index: int, now: float) -> Refusal | None:
    """The first fault of the event at `index` of the batch, or None. `now` in seconds."""
    if type(event) is not dict:
        return _shape(f"Param \"$['data'][{index}]\" must be an object.")
    if not event.keys() <= EVENT_KEYS:
        return _unexpected(next(key for key in event if key not in EVENT_KEYS), f"$['data'][{index}]")
    for key in REQUIRED_KEYS:
        if event.get(key) is None:
            return _shape(f'Missing key "{key}" on param "$[\'data\'][{index}]".')
    name = event["event_name"]
    if type(name) is not str or not name.strip():
        return _shape(f"Param \"$['data'][{index}]['event_name']\" must be a non-empty string.")
    event_id = event.get("event_id")
    if event_id is not None and type(event_id) is not str:
        return _shape(f"Param \"$['data'][{index}]['event_id']\" must be a string.")
    action_source = event["action_source"]
    if type(action_source) is not str or action_source not in ACTION_SOURCES:
        return _shape(f"Param \"$['data'][{index}]['action_source']\" must be one of the action sources.")
    return (
        _check_time(event["event_time"], action_source, index, now)
        or check_user_data(event.get("user_data"), index)
        or _check_custom_data(event.get("custom_data"), name, index)
        or (
            _check_channel(event, action_source, index)
            if action_source in ("app", "business_messaging")
            else None
        )
    )


def _check_time(event_time: Any, action_source: str, index: int, now: float) -> Refusal | None:
    if type(event_time) is not int:
        return _shape(f"Param \"$['data'][{index}]['event_time']\" must be a Unix time in seconds.")
    if event_time > now + FUTURE_SECONDS:
        return _invalid(
            2804004,
            "Event Timestamp in the Future",
            "The timestamp for this event is in the future. Send the time when it occurred, in seconds.",
        )
    max_age = STORE_MAX_AGE_SECONDS if action_source == "physical_store" else MAX_AGE_SECONDS
    if event_time < now - max_age:
        return _invalid(
            2804003,
            "Event Timestamp Too Old",
            "The timestamp for this event is too far in the past. Events need to be sent within "
            f"{max_age // DAY_SECONDS} days of when they occurred.",
        )
    return None


def check_user_data(user_data: Any, index: int) -> Refusal | None:
    """The first fault of `user_data`: shape, an unhashed value, a broken `fbc`, too little to match by."""
    if user_data is None:
        return _too_broad()
    if type(user_data) is not dict:
        return _shape(f"Param \"$['data'][{index}]['user_data']\" must be an object.")
    given = []
    for key, value in user_data.items():
        if key in HASHED_KEYS:
            for item in value if type(value) is list else (value,):
                if type(item) is not str or not _is_hash(item):
                    return _invalid(
                        2804016,
                        "User Parameter Not Hashed",
                        f"The customer information parameter {key} must be hashed with SHA-256.",
                        blame=["user_data", key],
                    )
        elif key not in PLAIN_KEYS:
            return _unexpected(key, f"$['data'][{index}]['user_data']")
        if value is not None and value != "" and value != []:
            given.append(key)
    if WEAK_KEYS.issuperset(given) and any(broad.issuperset(given) for broad in TOO_BROAD):
        return _too_broad()
    fbc = user_data.get("fbc")
    if fbc is not None and (type(fbc) is not str or not _is_fbc(fbc)):
        return _invalid(
            2804001,
            "Click ID Incorrectly Formatted",
            "The fbc parameter must have the form fb.subdomain_index.creation_time.fbclid.",
            blame=["user_data", "fbc"],
        )
    lead_id = user_data.get("lead_id")
    if lead_id is not None and not (type(lead_id) is int or (type(lead_id) is str and lead_id.isdecimal())):
        return _invalid(
            2804036,
            "Invalid Lead ID",
            "The lead_id is invalid or was deleted.",
            blame=["user_data", "lead_id"],
        )
    return None


def _check_custom_data(custom_data: Any, event_name: str, index: int) -> Refusal | None:
    if custom_data is None:
        custom_data = {}
    elif type(custom_data) is not dict:
        return _shape(f"Param \"$['data'][{index}]['custom_data']\" must be an object.")
    value, currency = custom_data.get("value"), custom_data.get("currency")
    if value is not None and type(value) is not float and type(value) is not int:
        return _shape(f"Param \"$['data'][{index}]['custom_data']['value']\" must be a number.")
    if event_name == "Purchase":
        if value is None:
            return _invalid(
                2804009,
                "Missing Value for Purchase Event",
                "Purchase events need a value parameter.",
                blame=["custom_data", "value"],
            )
        if not currency:
            return _invalid(
                2804010,
                "Missing Currency for Purchase Event",
                "Purchase events need a currency parameter.",
                blame=["custom_data", "currency"],
            )
    elif value is not None and not currency:
        return _invalid(
            2804023,
            "Missing Currency",
            "A value was sent without a currency.",
            blame=["custom_data", "currency"],
        )
    if currency is not None and (type(currency) is not str or not _is_currency(currency)):
        return _shape(
            f"Param \"$['data'][{index}]['custom_data']['currency']\" must be a three-letter currency code."
        )
    return None


def _check_channel(event: dict[str, Any], action_source: str, index: int) -> Refusal | None:
    if action_source == "business_messaging":
        if not event.get("messaging_channel"):
            return _invalid(
                2804063, "Missing Messaging Channel", "Business messaging events need a messaging_channel."
            )
        return None
    app_data = event.get("app_data")
    if type(app_data) is not dict:
        return _shape(f'Missing key "app_data" on param "$[\'data\'][{index}]".')
    extinfo = app_data.get("extinfo")
    if type(extinfo) is not list or len(extinfo) != EXTINFO_LENGTH or not extinfo[EXTINFO_OS_VERSION]:
        return _invalid(
            2804043,
            "Invalid Extended Device Info",
            "The extinfo parameter needs all 16 positions, and the OS version may not be blank.",
            blame=["app_data", "extinfo"],
        )
    return None


def _invalid(subcode: int, title: str, text: str, blame: list[str] | None = None) -> Refusal:
    return Refusal(
        100,
        "Invalid parameter",
        subcode=subcode,
        title=title,
        user_message=text,
        is_transient=False,
        error_data={"blame_field_specs": [blame]} if blame else None,
    )


def _shape(text: str) -> Refusal:
    return _invalid(2804019, "Server Side Api Parameter Error", text)


def _unexpected(key: str, place: str) -> Refusal:
    return _shape(f'Unexpected key "{key}" on param "{place}".')


def _too_broad() -> Refusal:
    return _invalid(
        2804050,
        "You Haven't Added Sufficient Customer Information Parameter Data For This Event",
        "This event has no customer information parameters, or a combination too broad to match.",
    )
