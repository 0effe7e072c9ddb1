"""What Meta's App Review asks of the partner's app for each auth option, and how far the app is. Pure.

Pages of developers.facebook.com, read 2026-11-24 unless they bear a date of their own. Where they disagree the wider
list stands, for a missing permission stops a connection and one too many costs a paragraph in the request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

from onboarding.setup.steps import Way

# "Marketing API Authorization" (2026-05-05): the Full tier. To be kept afterwards, too. (Meta's page for business
# messaging still has 1,500 calls and 10 %.)
CALLS_NEEDED: Final = 500
CALL_DAYS: Final = 15
ERROR_CALLS: Final = 500
ERROR_PERCENT: Final = 15

_ALL_OF_APP: Final = (Way.BUSINESS_EXTENSION, Way.LOGIN_FOR_BUSINESS, Way.SHARED_PIXEL)
_REQUEST: Final = "App Dashboard → App Review → Permissions and features → Request advanced access"


@dataclass(frozen=True, slots=True)
class Need:
    """A permission that some options need at advanced access, why, and where it is asked for."""

    permission: str
    ways: tuple[Way, ...]
    why: str
    where: str
    source: str


NEEDS: Final = (
    Need(
        "ads_management",
        _ALL_OF_APP,
        "Assign pixels, and send events for the businesses of others.",
        _REQUEST,
        "Set up Conversions API as a Platform (2026-09-12)",
    ),
    Need(
        "ads_read",
        _ALL_OF_APP,
        "Send events, and read the pixel.",
        _REQUEST,
        "Set up Conversions API as a Platform (2026-09-12)",
    ),
    Need(
        "pages_read_engagement",
        (Way.BUSINESS_EXTENSION,),
        "Part of what a platform asks for in the Business Extension.",
        _REQUEST,
        "Set up Conversions API as a Platform (2026-09-12)",
    ),
    Need(
        "business_management",
        (Way.LOGIN_FOR_BUSINESS, Way.SHARED_PIXEL),
        "Read the client's business, and find and share pixels by API.",
        _REQUEST,
        "FLB Conversions API Template (2026-06-30); Sharing Meta Pixel Between Businesses",
    ),
    Need(
        "manage_business_extension",
        (Way.BUSINESS_EXTENSION,),
        "The Business Extension itself. It is private: Meta puts the app on a list.",
        "Ask your Meta representative",
        "MBE Pixel and Conversions API Onboarding",
    ),
    Need(
        "public_profile",
        (Way.BUSINESS_EXTENSION, Way.LOGIN_FOR_BUSINESS),
        "Every app with a log-in needs it at advanced access before it goes live.",
        _REQUEST,
        "Facebook Login for Business (2026-06-30)",
    ),
)

# Meta's words of the status of a permission ("Application Permission").
_STATUSES: Final = {
    "live": "has",
    "unapproved": "missing",
    "pending": "pending",
    "declined": "declined",
}


class Standing(StrEnum):
    """How far one need is."""

    HAS = "has"
    PENDING = "pending"
    MISSING = "missing"
    DECLINED = "declined"
    UNTOLD = "untold"  # Graph was not asked, or does not tell


WORDS: Final = {
    Standing.HAS: ("Granted", "working"),
    Standing.PENDING: ("In review", "waiting"),
    Standing.MISSING: ("Missing", "failing"),
    Standing.DECLINED: ("Declined", "failing"),
    Standing.UNTOLD: ("Not told", "neutral"),
}

WAYS: Final = {
    Way.BUSINESS_EXTENSION: "Business Extension",
    Way.LOGIN_FOR_BUSINESS: "Login for Business",
    Way.PASTED_TOKEN: "Pasted token",
    Way.SHARED_PIXEL: "Shared pixel",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A need beside what the app has."""

    need: Need
    standing: Standing
    # Which of the partner's own tokens hold it.
    tokens: tuple[str, ...]

    @property
    def word(self) -> str:
        """The standing in a word."""
        return WORDS[self.standing][0]

    @property
    def needed_by(self) -> str:
        """The options that need it, as a page names them."""
        return ", ".join(WAYS[way] for way in self.need.ways)

    @property
    def badge(self) -> str:
        """The state of its badge."""
        return WORDS[self.standing][1]


def rows(ways: Collection[str], facts: Mapping[str, Any]) -> list[Row]:
    """What the switched-on options need, and how far the app is; `facts` as the check `review` found them."""
    permissions = facts.get("permissions")
    found = []
    for need in NEEDS:
        if not set(need.ways) & set(ways):
            continue
        if isinstance(permissions, Mapping):
            # What was never asked for is not in Meta's list.
            standing = Standing(_STATUSES.get(str(permissions.get(need.permission, "unapproved")), "untold"))
        else:
            standing = Standing.UNTOLD
        tokens = tuple(
            name for name in ("assigning", "sending") if need.permission in facts.get(f"{name}_scopes", ())
        )
        found.append(Row(need, standing, tokens))
    return found


# `ads_api_access_tier` still has the tiers' old words ("Marketing API Rate Limiting", 2026-05-05).
TIERS: Final = {"standard_access": "Full", "development_access": "Limited"}

# "Business" reference, `verification_status`: what is not on it is on its way or never began.
VERIFICATION: Final = {
    "verified": "working",
    "pending": "waiting",
    "pending_submission": "waiting",
    "pending_need_more_info": "late",
    "not_verified": "failing",
    "failed": "failing",
    "rejected": "failing",
    "expired": "failing",
    "revoked": "failing",
}


@dataclass(frozen=True, slots=True)
class Day:
    """Calls of one day (UTC)."""

    day: date
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How near the calls come to what the Full tier asks for."""

    days: tuple[Day, ...]
    succeeded: int
    # Of the newest days that together hold ERROR_CALLS calls, or of all where there are fewer.
    recent: int
    recent_failed: int

    @property
    def error_percent(self) -> float | None:
        """The share of errors; None without a call."""
        return 100 * self.recent_failed / self.recent if self.recent else None

    @property
    def has_calls(self) -> bool:
        """Whether there are enough."""
        return self.succeeded >= CALLS_NEEDED

    @property
    def has_few_errors(self) -> bool:
        """Whether few enough went wrong."""
        return self.error_percent is not None and self.error_percent < ERROR_PERCENT


def tally(counts: Sequence[Day], *, today: date) -> Tally:
    """The last CALL_DAYS days, the oldest first, and the error share of the last ERROR_CALLS calls.

    Our books are by day: the share is of whole days, the newest first, until they hold as many calls.
    """
    by_day = {count.day: count for count in counts}
    days = tuple(
        by_day.get(day, Day(day, 0, 0))
        for day in (today - timedelta(days=back) for back in reversed(range(CALL_DAYS)))
    )
    recent = failed = 0
    for count in sorted(counts, key=lambda count: count.day, reverse=True):
        if recent >= ERROR_CALLS:
            break
        recent += count.succeeded + count.failed
        failed += count.failed
    return Tally(days, sum(day.succeeded for day in days), recent, failed)
