"""Match keys in the form that Meta hashes them in, one function a key. Pure.

The rules are Meta's "Customer Information Parameters" (2026-01-09, read 2026-11-24). Where Meta's own
normalisers (Python SDK 26.0.3, PHP SDK 25.0.1, parameter builder) disagree with each other, the documented
rule holds.

Each function takes a text and gives the normalised text, or None where nothing usable is left: a value that
cannot match anybody must not be hashed into one that looks as if it could. None raises, and all but `ph` are
idempotent: digits alone do not say whether a country code is among them.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Final

# SHA-256 of nothing: sent by clients that hash an empty field.
EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()

# 64 hex digits; Meta's parameter builder puts its eight-character appendix behind them.
HASHED: Final = re.compile(r"([0-9a-fA-F]{64})(\.[A-Za-z0-9_-]{8})?")
MD5: Final = re.compile(r"[0-9a-fA-F]{32}")

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{6,14}")
_PHONE_SIGNS = str.maketrans("", "", " -.()/\u00a0")
_ASCII_PUNCTUATION = str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_DATE = re.compile(r"([0-9]{4})[-/.]?([0-9]{2})[-/.]?([0-9]{2})")
_US_ZIP_PLUS_4 = re.compile(r"([0-9]{5})-[0-9]{4}")
_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}

Normaliser = Callable[[str], str | None]


def sha256_hex(text: str) -> str:
    """Lower-case hex SHA-256 of the UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def em(text: str) -> str | None:
    """E-mail: trimmed, lower case; dots and `+tag` stay. None for what is no address."""
    text = text.strip().lower()
    return text if _EMAIL.fullmatch(text) else None


def ph(text: str, *, default_country: str | None) -> str | None:
    """Phone: digits with the country code in front, no leading zeros.

    A number that does not say its country (no `+`, no `00`, not valid with the code in front) takes
    `default_country` (ISO alpha-2); None where there is none.
    """
    signs = text.strip().translate(_PHONE_SIGNS)
    if signs.startswith("00"):
        signs = "+" + signs[2:]
    # "+49 (0)171": the inner zero is not dialled from abroad.
    if _INTERNATIONAL.fullmatch(signs) and "(0)" not in text.replace(" ", ""):
        return signs[1:]
    return _parsed_phone(text, signs, default_country)


def _parsed_phone(text: str, signs: str, default_country: str | None) -> str | None:
    import phonenumbers  # slow to import, and most processes meet international numbers only

    candidates: list[tuple[str, str | None]] = [(text, default_country)]
    if signs.isascii() and signs.isdigit():
        # Meta's own example, 16505551212: the country code in front, and no plus. Digits that begin with the
        # default country's own code are read so first, others as a number of that country first.
        own_code = str(phonenumbers.country_code_for_region(default_country or ""))
        candidates.insert(0 if signs.startswith(own_code) else 1, (f"+{signs}", None))
    for number, region in candidates:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed):
            return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:]
    return None


def name(text: str) -> str | None:
    """`fn`, `ln`: lower case, no punctuation; letters of all scripts stay, and so do spaces between words."""
    return " ".join(_without_punctuation(text.lower()).split()) or None


def place(text: str) -> str | None:
    """`ct`, `st`: lower case, no punctuation, no spaces; letters of all scripts stay."""
    return "".join(_without_punctuation(text.lower()).split()) or None


def zp(text: str) -> str | None:
    """Postal code: lower case, no space, no dash; of a US code with four more digits the first five."""
    text = text.strip().lower()
    if plus_4 := _US_ZIP_PLUS_4.fullmatch(text):
        return plus_4[1]
    return "".join(_without_punctuation(text).split()) or None


def country(text: str) -> str | None:
    """ISO 3166-1 alpha-2, lower case."""
    text = text.strip().lower()
    return text if len(text) == 2 and text.isascii() and text.isalpha() else None


def ge(text: str) -> str | None:
    """`f` or `m`."""
    return _GENDERS.get(text.strip().lower())


def db(text: str) -> str | None:
    """Date of birth as YYYYMMDD, from 1900 on; dashes, slashes and dots between the parts are taken off."""
    match = _DATE.fullmatch(text.strip())
    if match is None or not text.isascii() or match[1] < "1900":
        return None
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return "".join(match.groups())


def partial(text: str) -> str | None:
    """The SDKs' partial keys (`f5first`, `fi`, `dobd`, …): trimmed, lower case."""
    return text.strip().lower() or None


def _without_punctuation(text: str) -> str:
    text = text.translate(_ASCII_PUNCTUATION)
    if text.isascii():
        return text
    return "".join(sign for sign in text if sign.isspace() or unicodedata.category(sign)[0] not in "PSC")


# Key of user_data → its rule; `ph` besides needs the default country.
HASHED_KEYS: Final[dict[str, Normaliser]] = {
    "em": em,
    "fn": name,
    "ln": name,
    "ge": ge,
    "db": db,
    "ct": place,
    "st": place,
    "zp": zp,
    "country": country,
    "f5first": partial,
    "f5last": partial,
    "fi": partial,
    "dobd": partial,
    "dobm": partial,
    "doby": partial,
}
