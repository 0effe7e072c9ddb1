"""One event as a client sent it → the exact JSON object that Meta is sent. Pure.

What Meta would refuse is refused here, with the field's name and the event's place; what Meta takes and
advises against is taken with a notice; what is certain is mended with a notice. Personal data leaves this
room hashed. Preparing a fragment again gives the same fragment, and an event sent again gives the same one,
too: keys and a person's values are sorted, for clients write them in an order that changes from one process to
the next (Meta's Python SDK 26.0.3 goes through a `set`).

Fields and rules: Meta's "Server Event Parameters" (2026-02-12), "Customer Information Parameters"
(2026-01-09), "Standard Parameters" and "Best Practices" (2026-06-28), read 2026-11-24.
"""

from __future__ import annotations

import hashlib
import math
import re
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from events import normalise
from events.refusals import Refusal
from partnerhub.lib.graph.limits import (
    AGE_LIMIT_SECONDS,
    CURRENCY_SUBCODE,
    EXTINFO_SUBCODE,
    FUTURE_SUBCODE,
    FUTURE_TOLERANCE_SECONDS,
    KEY_SUBCODE,
    LEAD_ID_SUBCODE,
    MESSAGING_CHANNEL_SUBCODE,
    NOT_HASHED_SUBCODE,
    PHYSICAL_STORE_AGE_SECONDS,
    PURCHASE_CURRENCY_SUBCODE,
    PURCHASE_VALUE_SUBCODE,
    TOO_BROAD_SUBCODE,
    TOO_OLD_SUBCODE,
)

ACTION_SOURCES: Final = frozenset(
    (
        "email",
        "website",
        "app",
        "phone_call",
        "chat",
        "physical_store",
        "system_generated",
        "business_messaging",
        "other",
    )
)
EVENT_KEYS: Final = frozenset(
    (
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
    )
)
# Those of nearly every event, of which a glance is enough.
USUAL_KEYS: Final = frozenset(
    (
        "event_name",
        "event_time",
        "event_id",
        "event_source_url",
        "action_source",
        "user_data",
        "custom_data",
    )
)
# Keys of an event by the type of what they hold, where no function of their own looks at it.
TEXT_KEYS: Final = (
    "referrer_url",
    "messaging_channel",
    "customer_segmentation",
    "advanced_measurement_table",
)
OBJECT_KEYS: Final = ("original_event_data", "attribution_data", "app_data")
# Those under which anything may stand, also numbers and lists in lists.
USUAL_FREE_KEYS: Final = ("custom_data",)
FREE_KEYS: Final = (*USUAL_FREE_KEYS, *OBJECT_KEYS)
WHOLE_NUMBER_KEYS: Final = ("data_processing_options_country", "data_processing_options_state")
# Keys of user_data that are never hashed, and hold one text each.
PLAIN_KEYS: Final = frozenset(
    (
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
    )
)
# "Best Practices": user_data that lies wholly in one of these is refused (100/2804050).
TOO_BROAD: Final = (
    frozenset(("ct", "country", "st", "zp", "ge", "client_user_agent")),
    frozenset(("db", "client_user_agent")),
    frozenset(("fn", "ge")),
    frozenset(("ln", "ge")),
)

# Any of these alone is in none of them.
NARROW: Final = frozenset(("em", "ph", "external_id"))

# Meta publishes no length for these; ours bound what one event can cost, far above what clients send.
NAME_CHARACTERS: Final = 100
ID_CHARACTERS: Final = 256
LIST_ITEMS: Final = 100
DEPTH: Final = 32
# A text below this is no hash, not even an MD5.
SHORT: Final = 32
# A time past this is in milliseconds: as seconds it lies in the year 5138.
MILLISECONDS_FROM: Final = 100_000_000_000
EXTINFO_ITEMS: Final = 16
# The one of them that may not be empty (100/2804043).
EXTINFO_OS_VERSION: Final = 4

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_META_NUMBER = re.compile(r"[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,10})?")
_LOWER_HASH = re.compile(r"[0-9a-f]{64}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
# "ClickID and the fbp and fbc Parameters": fb.{index}.{ms}.{id}, and the parameter builder's appendix.
_COOKIE = re.compile(r"fb\.[0-9]+\.[0-9]{13}\.[^.]+(\.[A-Za-z0-9_-]{2}|\.[A-Za-z0-9_-]{8})?")
_COOKIE_WITHOUT_ID = re.compile(r"fb\.[0-9]*\.[0-9]*\.?")
# The parameter builder's appendix stands behind an address as it does behind a hash.
_ADDRESS_APPENDIX = re.compile(r"\.[A-Za-z0-9_-]{8}")


@dataclass(frozen=True, slots=True)
class PixelRules:
    """What the pixel and its advertiser supply where an event does not."""

    default_action_source: str
    default_country: str | None


class PreparedEvent(NamedTuple):
    """An event, ready to be stored and sent."""

    event_name: str
    event_id: str
    event_time: int
    # Unix seconds after which Meta refuses it.
    expires_at: int
    # The JSON object that is sent.
    fragment: bytes
    # 16 bytes each: of (event_name, event_id), and of the fragment.
    repeat_key: bytes
    content_key: bytes
    # "field:code" (events.notices).
    notices: tuple[str, ...]


# What a request's texts under a key of user_data became, where there was nothing to say of it: the same people come
# again in one request, and a hash costs ten times as much as a look. It holds personal data in plain text, so it lives
# no longer than the request does.
_Seen = defaultdict[str, dict[str, Any]]


def prepare_events(
    data: list[object], *, rules: PixelRules, now: float, make_id: Callable[[], str]
) -> list[PreparedEvent]:
    """All events of a request, in order.

    Raises Refusal for the first bad one: Graph refuses a request whole.
    """
    seen: _Seen = defaultdict(dict)
    return [
        prepare_event(raw, index=index, rules=rules, now=now, make_id=make_id, seen=seen)
        for index, raw in enumerate(data)
    ]


def prepare_event(
    raw: object,
    *,
    index: int,
    rules: PixelRules,
    now: float,
    make_id: Callable[[], str],
    seen: _Seen | None = None,
) -> PreparedEvent:
    """The event at `index` of a request at Unix time `now`. `seen` is the request's own. Raises Refusal."""
    try:
        return _prepare(raw, rules, now, make_id, defaultdict(dict) if seen is None else seen)
    except _Fault as fault:
        raise Refusal(
            fault.message, field=fault.field or None, index=index, subcode=fault.subcode, title=fault.title
        ) from None


class _Fault(Exception):
    """What is wrong with an event; `field` is its path within the event."""

    def __init__(
        self, field: str, message: str, subcode: int | None = None, title: str = "Invalid parameter"
    ) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.subcode = subcode
        self.title = title


def _prepare(
    raw: object, rules: PixelRules, now: float, make_id: Callable[[], str], seen: _Seen
) -> PreparedEvent:
    if not isinstance(raw, dict):
        raise _Fault("", "An event must be a JSON object.")
    notices: list[str] = []
    event = _without_nulls(raw)
    is_usual = USUAL_KEYS.issuperset(event)
    if not is_usual and not EVENT_KEYS.issuperset(event):
        unknown = next(key for key in event if key not in EVENT_KEYS)
        raise _Fault(
            _shown(unknown),
            "Meta knows no such field on an event. Fields of your own belong in custom_data.",
            KEY_SUBCODE,
            "Unexpected key",
        )
    event_name = _event_name(event)
    source = _action_source(event, rules, notices)
    event_time = _event_time(event, notices)
    expires_at = event_time + (
        PHYSICAL_STORE_AGE_SECONDS if source == "physical_store" else AGE_LIMIT_SECONDS
    )
    if event_time > now + FUTURE_TOLERANCE_SECONDS:
        raise _Fault(
            "event_time", "The event lies in the future.", FUTURE_SUBCODE, "Event time in the future"
        )
    if expires_at <= now:
        days = 62 if source == "physical_store" else 7
        raise _Fault(
            "event_time",
            f"The event is older than {days} days, which is the most that Meta takes.",
            TOO_OLD_SUBCODE,
            "Event Timestamp Too Old",
        )
    event_id = _event_id(event, notices, make_id)
    event["user_data"] = user_data = _user_data(event, rules, notices, seen)
    if "custom_data" in event:
        _custom_data(event, notices)
    if event_name == "Purchase":
        _purchase(event)
    if not is_usual:
        _unusual(event, notices)
    _rest(event, source, user_data, notices)
    fragment = _encode(event, is_usual)
    return PreparedEvent(
        event_name,
        event_id,
        event_time,
        expires_at,
        fragment,
        hashlib.blake2b(f"{event_name}\0{event_id}".encode(), digest_size=16).digest(),
        hashlib.blake2b(fragment, digest_size=16).digest(),
        tuple(notices),
    )


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """A copy; most have none."""
    if None in given.values():
        return {key: value for key, value in given.items() if value is not None}
    return given.copy()


def _event_name(event: dict[str, Any]) -> str:
    name = event.get("event_name")
    if not isinstance(name, str) or not name.strip():
        raise _Fault("event_name", "The event's name is missing.", KEY_SUBCODE, "Missing event name")
    if len(name) > NAME_CHARACTERS:
        raise _Fault("event_name", f"It is longer than {NAME_CHARACTERS} characters.")
    return name


def _action_source(event: dict[str, Any], rules: PixelRules, notices: list[str]) -> str:
    source = event.get("action_source")
    if source is None or source == "":
        event["action_source"] = source = rules.default_action_source
        notices.append("action_source:defaulted")
    if not isinstance(source, str) or source not in ACTION_SOURCES:
        raise _Fault("action_source", f"It must be one of {', '.join(sorted(ACTION_SOURCES))}.")
    return source


def _event_time(event: dict[str, Any], notices: list[str]) -> int:
    time = event.get("event_time")
    if isinstance(time, str) and _WHOLE_NUMBER.fullmatch(time.strip()):
        time = int(time)
        notices.append("event_time:made_number")
    if isinstance(time, float) and time.is_integer():
        time = int(time)
    if time is None:
        raise _Fault(
            "event_time", "The event's time is missing: Unix time in seconds.", KEY_SUBCODE, "Missing time"
        )
    if not isinstance(time, int) or isinstance(time, bool) or time < 0:
        raise _Fault("event_time", "It must be Unix time: a whole number of seconds.")
    if time >= MILLISECONDS_FROM:
        raise _Fault(
            "event_time",
            "This looks like milliseconds; Meta wants seconds.",
            FUTURE_SUBCODE,
            "Event time in the future",
        )
    event["event_time"] = time
    return time


def _event_id(event: dict[str, Any], notices: list[str], make_id: Callable[[], str]) -> str:
    event_id = event.get("event_id")
    if isinstance(event_id, int) and not isinstance(event_id, bool):
        event_id = str(event_id)
        notices.append("event_id:made_text")
    elif event_id is None or event_id == "":
        event_id = make_id()
        notices.append("event_id:made")
    if not isinstance(event_id, str):
        raise _Fault("event_id", "It must be text.")
    if len(event_id) > ID_CHARACTERS:
        raise _Fault("event_id", f"It is longer than {ID_CHARACTERS} characters.")
    event["event_id"] = event_id
    return event_id


def _user_data(event: dict[str, Any], rules: PixelRules, notices: list[str], seen: _Seen) -> dict[str, Any]:
    given = event.get("user_data")
    if not isinstance(given, dict):
        raise _Fault(
            "user_data",
            "It must be an object that says whose event it is.",
            TOO_BROAD_SUBCODE,
            "Missing user data",
        )
    found: dict[str, Any] = {}
    for key, value in given.items():
        alone = value[0] if type(value) is list and len(value) == 1 else value
        is_text = type(alone) is str
        # Of a key that is none of Meta's nothing is ever kept.
        if is_text and alone in (known := seen[key]):
            found[key] = known[alone]
            continue
        if value is None:
            continue
        said = len(notices)
        if key == "ph" or key in normalise.HASHED_KEYS:
            kept = _hashed(key, value, rules, notices)
        elif key == "external_id":
            kept = _texts(key, value, notices)
        elif key in PLAIN_KEYS:
            kept = _plain(key, value, notices)
        else:
            raise _Fault(
                f"user_data.{_shown(key)}",
                "Meta knows no such key of a person.",
                KEY_SUBCODE,
                "Unexpected key",
            )
        if kept:
            found[key] = kept
            if is_text and len(notices) == said:
                seen[key][alone] = kept
    if not found or (NARROW.isdisjoint(found) and any(broad.issuperset(found) for broad in TOO_BROAD)):
        raise _Fault(
            "user_data",
            "It says too little to match a person: add em, ph, external_id, or client_ip_address with"
            " client_user_agent.",
            TOO_BROAD_SUBCODE,
            "Customer information missing or too broad",
        )
    return found


def _strings(key: str, value: object, notices: list[str]) -> list[str]:
    """One text or a list of them; numbers become text."""
    items = value if isinstance(value, list) else [value]
    if len(items) > LIST_ITEMS:
        raise _Fault(f"user_data.{key}", f"It holds more than {LIST_ITEMS} values.")
    texts: list[str] = []
    for item in items:
        if isinstance(item, str):
            # Here and not in the finished event: a hash shows nothing of what went into it.
            if "\0" in item or not item.isascii():
                _check_text(item, f"user_data.{key}")
            texts.append(item)
        elif isinstance(item, int) and not isinstance(item, bool):
            texts.append(str(item))
            notices.append(f"user_data.{key}:made_text")
        elif item is not None:
            raise _Fault(f"user_data.{key}", "It must be text, or a list of texts.")
    return texts


def _hashed(key: str, value: object, rules: PixelRules, notices: list[str]) -> list[str]:
    alone = value[0] if type(value) is list and len(value) == 1 else value
    if type(alone) is str and _LOWER_HASH.fullmatch(alone) and alone != normalise.EMPTY_HASH:
        # What the SDKs send: a fifth of the time of such an event is saved here.
        return [alone]
    if type(alone) is str and len(alone) < SHORT and alone.isascii() and "\0" not in alone:
        # What people type: too short for a hash of any kind.
        kept = _hash(key, alone, rules, notices)
        return [kept] if kept else []
    found: list[str] = []
    for text in _strings(key, value, notices):
        if len(text) >= 64 and (match := normalise.HASHED.fullmatch(text.strip())):
            kept = match[1].lower() + (match[2] or "")
            if match[1].lower() == normalise.EMPTY_HASH:
                notices.append(f"user_data.{key}:empty")
                continue
        else:
            kept = _hash(key, text, rules, notices)
            if not kept:
                continue
        if kept not in found:
            found.append(kept)
    return sorted(found)


def _hash(key: str, text: str, rules: PixelRules, notices: list[str]) -> str:
    """The hash of a plain value, or nothing, with a notice."""
    if not text.strip():
        notices.append(f"user_data.{key}:empty")
        return ""
    if len(text.strip()) == 32 and normalise.MD5.fullmatch(text.strip()):
        raise _Fault(
            f"user_data.{key}",
            "It looks like an MD5 hash; Meta takes SHA-256.",
            NOT_HASHED_SUBCODE,
            "Wrong hash",
        )
    if key == "ph":
        normal = normalise.ph(text, default_country=rules.default_country)
        if normal is None:
            has_digits = any(sign.isdigit() for sign in text)
            no_country = has_digits and not rules.default_country and not text.strip().startswith(("+", "00"))
            notices.append(f"user_data.ph:{'no_country' if no_country else 'unusable'}")
            return ""
    else:
        normal = normalise.HASHED_KEYS[key](text)
        if normal is None:
            notices.append(f"user_data.{key}:unusable")
            return ""
    return normalise.sha256_hex(normal)


def _texts(key: str, value: object, notices: list[str]) -> list[str]:
    found = sorted({text for text in _strings(key, value, notices) if text.strip()})
    if not found:
        notices.append(f"user_data.{key}:empty")
    return found


def _plain(key: str, value: object, notices: list[str]) -> Any:
    if key in ("fb_login_id", "lead_id"):
        # Meta's own numbers; texts of digits are taken, too.
        if isinstance(value, bool) or not _META_NUMBER.fullmatch(str(value)):
            subcode = LEAD_ID_SUBCODE if key == "lead_id" else None
            raise _Fault(f"user_data.{key}", "It must be a number of Meta's.", subcode)
        return value
    if not isinstance(value, str):
        raise _Fault(f"user_data.{key}", "It must be text.")
    text = value.strip()
    if not text:
        notices.append(f"user_data.{key}:empty")
        return ""
    if key == "fbc" and _COOKIE_WITHOUT_ID.fullmatch(text):
        notices.append("user_data.fbc:no_click_id")
        return ""
    if key in ("fbc", "fbp") and not _COOKIE.fullmatch(text):
        notices.append(f"user_data.{key}:odd_form")
    if key == "client_ip_address" and not _is_address(text):
        notices.append("user_data.client_ip_address:odd_form")
    return text


def _is_address(text: str) -> bool:
    """Whether it is one IPv4 or IPv6 address, with or without the appendix."""
    if _ADDRESS_APPENDIX.fullmatch(text[-9:]):
        text = text[:-9]
    try:
        # The C library's parser: `ipaddress` takes ten times as long.
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _custom_data(event: dict[str, Any], notices: list[str]) -> None:
    custom = event["custom_data"]
    if not isinstance(custom, dict):
        raise _Fault("custom_data", "It must be an object.")
    event["custom_data"] = custom = _without_nulls(custom)
    for key in ("value", "net_revenue", "predicted_ltv"):
        if key in custom:
            custom[key] = _amount(f"custom_data.{key}", custom[key], notices)
    currency = custom.get("currency")
    if currency is not None:
        if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency.strip()):
            raise _Fault("custom_data.currency", "It must be three letters of ISO 4217, such as EUR.")
        custom["currency"] = currency.strip().upper()
        if custom["currency"] != currency:
            notices.append("custom_data.currency:upper_case")
    elif "value" in custom and event["event_name"] != "Purchase":
        raise _Fault(
            "custom_data.currency", "A value needs its currency.", CURRENCY_SUBCODE, "Missing currency"
        )


def _amount(field: str, value: object, notices: list[str]) -> int | float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        notices.append(f"{field}:made_number")
        text = value.strip()
        return float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Fault(field, "It must be a number, without a currency sign or separators, such as 42.50.")
    return value


def _purchase(event: dict[str, Any]) -> None:
    custom = event.get("custom_data") or {}
    if "value" not in custom:
        raise _Fault(
            "custom_data.value",
            "A Purchase needs a value.",
            PURCHASE_VALUE_SUBCODE,
            "Missing Value for Purchase Event",
        )
    if "currency" not in custom:
        raise _Fault(
            "custom_data.currency",
            "A Purchase needs a currency.",
            PURCHASE_CURRENCY_SUBCODE,
            "Missing Currency for Purchase Event",
        )


def _unusual(event: dict[str, Any], notices: list[str]) -> None:
    """The fields with a type that few events have."""
    for key in TEXT_KEYS:
        if key in event and not isinstance(event[key], str):
            raise _Fault(key, "It must be text.")
    for key in OBJECT_KEYS:
        if key in event and not isinstance(event[key], dict):
            raise _Fault(key, "It must be an object.")
    for key in WHOLE_NUMBER_KEYS:
        if key in event and type(event[key]) is not int:
            raise _Fault(key, "It must be a whole number.")
    if "opt_out" in event:
        event["opt_out"] = _boolean("opt_out", event["opt_out"], notices)
    options = event.get("data_processing_options")
    if options is not None and (
        not isinstance(options, list) or not all(isinstance(option, str) for option in options)
    ):
        raise _Fault("data_processing_options", "It must be a list: [] or [“LDU”].")


def _rest(event: dict[str, Any], source: str, user_data: dict[str, Any], notices: list[str]) -> None:
    """What an action source asks for, and the address."""
    if not isinstance(event.get("event_source_url", ""), str):
        raise _Fault("event_source_url", "It must be text.")
    if source == "website":
        if not event.get("event_source_url"):
            notices.append("event_source_url:missing")
        if "client_user_agent" not in user_data:
            notices.append("user_data.client_user_agent:missing")
    elif source == "app":
        extinfo = event.get("app_data", {}).get("extinfo")
        if not isinstance(extinfo, list) or len(extinfo) != EXTINFO_ITEMS:
            raise _Fault(
                "app_data.extinfo",
                f"An event of an app needs it: a list of {EXTINFO_ITEMS} texts.",
                EXTINFO_SUBCODE,
            )
        if not extinfo[EXTINFO_OS_VERSION]:
            raise _Fault(
                f"app_data.extinfo[{EXTINFO_OS_VERSION}]", "The system's version is missing.", EXTINFO_SUBCODE
            )
    elif source == "business_messaging" and not event.get("messaging_channel"):
        raise _Fault("messaging_channel", "A business message needs its channel.", MESSAGING_CHANNEL_SUBCODE)


def _boolean(field: str, value: object, notices: list[str]) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        notices.append(f"{field}:made_boolean")
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _Fault(field, "It must be true or false.")
    return value


def _encode(event: dict[str, Any], is_usual: bool) -> bytes:
    try:
        fragment = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        _inspect(event, "", 1)
        raise _Fault("", "The event cannot be written as JSON.") from None
    # Where something may be bad, all is gone through again, for its place.
    keys = USUAL_FREE_KEYS if is_usual else FREE_KEYS
    is_suspect = b"\\u0000" in fragment
    for key in keys:
        is_suspect = is_suspect or (key in event and not _is_moderate(event[key], 2))
    if is_suspect:
        _inspect(event, "", 1)
    return fragment


def _is_moderate(value: dict[str, Any] | list[Any], depth: int) -> bool:
    """Whether no number is beyond 64 bits, and nothing nested beyond DEPTH."""
    if depth > DEPTH:
        return False
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value
    for item in items:
        kind = type(item)
        if kind is str:
            continue
        if kind is dict or kind is list:
            if not _is_moderate(item, depth + 1):
                return False
        elif (kind is int or kind is float) and not abs(item) < 2**63:
            return False
    return True


def _inspect(value: object, path: str, depth: int) -> None:
    """Raise _Fault for a NUL, a lone surrogate, a number beyond 64 bits, or nesting beyond DEPTH."""
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int | float):
        # Said so that NaN, which is smaller than nothing, fails too.
        if not abs(value) < 2**63:
            raise _Fault(path, "It is a number beyond 64 bits, or none at all. Send it as text.")
    elif isinstance(value, dict | list):
        if depth > DEPTH:
            raise _Fault(path, f"It is nested more than {DEPTH} deep.")
        if isinstance(value, dict):
            for key, item in value.items():
                _inspect(key, f"{path}.{_shown(key)}".lstrip("."), depth)
                _inspect(item, f"{path}.{_shown(key)}".lstrip("."), depth + 1)
        else:
            for number, item in enumerate(value):
                _inspect(item, f"{path}[{number}]", depth + 1)


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        raise _Fault(path, "It holds a NUL byte.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Fault(path, "It holds a lone surrogate, which is no character.") from None


def _shown(key: object) -> str:
    """A client's own key, safe to print: short, and nothing but plain signs."""
    text = str(key)[:60].encode("ascii", "replace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in text)
