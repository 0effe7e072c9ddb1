"""What Meta's calls say: a webhook's changes without their tokens, and what each means for a connection. Pure.

"Webhooks: Getting Started", "Business Integration Webhooks" (2025-09-29), "Onboarding Integration" (2026-06-08), read
2026-11-24; the install webhook's fields as facebook-for-woocommerce reads them (2026-08-11).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

# Meta puts tokens into these; and whatever a later version calls so.
_LEFT_OUT: Final = "token"
# "up to 1,000 updates in one POST".
CHANGES_READ: Final = 1_000
# Failing ones are sent again for 36 hours, then dropped: what is older comes from somebody else's copy.
STALE_AFTER: Final = timedelta(hours=48)
_TEXT: Final = 200

INSTALL_FIELDS: Final = frozenset({"fbe_install", "fbe_uninstall"})
INTEGRATION_FIELDS: Final = frozenset(
    {"business_integration_install", "business_integration_update", "business_integration_uninstall"}
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a webhook, as it is kept. `digest` is of all that Meta sent, `body` has no token."""

    digest: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """What a change means: who is meant, and whether the integration was removed. `at`: when, as Meta says."""

    at: datetime | None
    business_id: str = ""
    external_business_id: str = ""
    is_removal: bool = False

    def is_stale(self, now: datetime) -> bool:
        """Whether it is older than Meta's longest retry."""
        return self.at is not None and now - self.at > STALE_AFTER


def changes(payload: object) -> Iterator[Change]:
    """The changes of a webhook's body; what has not their form is left out."""
    if not isinstance(payload, dict) or not isinstance(entries := payload.get("entry"), list):
        return
    count = 0
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(found := entry.get("changes"), list):
            continue
        for change in found:
            if not isinstance(change, dict) or not isinstance(change.get("field"), str):
                continue
            count += 1
            if count > CHANGES_READ:
                return
            whole = {
                "object": payload.get("object"),
                "id": entry.get("id"),
                "time": entry.get("time"),
                "field": change["field"],
                "value": change.get("value"),
            }
            digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
            yield Change(digest, _without_tokens(whole))


def _without_tokens(whole: dict[str, Any]) -> dict[str, Any]:
    value = whole["value"]
    kept: dict[str, Any] = {}
    had_token = False
    if isinstance(value, dict):
        for name, item in value.items():
            if _LEFT_OUT in str(name).lower():
                had_token = had_token or bool(item and str(name).endswith("access_token"))
            elif isinstance(item, str | int | float | bool):
                # Ids and names; whatever is nested is none of what we read.
                kept[str(name)[:_TEXT]] = item[:_TEXT] if isinstance(item, str) else item
    return {
        "object": _short(whole["object"]),
        "id": _short(whole["id"]),
        "time": whole["time"] if isinstance(whole["time"], int) else None,
        "field": whole["field"][:_TEXT],
        "value": kept,
        "had_token": had_token,
    }


def news_of(body: Mapping[str, Any]) -> News | None:
    """What a kept change says of a connection; None where it is about something else."""
    field, value = body.get("field"), body.get("value")
    if not isinstance(value, dict):
        value = {}
    at = moment_of(body.get("time"))
    if field in INTEGRATION_FIELDS:
        return News(
            at=at,
            business_id=_short(value.get("business_manager_id")),
            is_removal=field == "business_integration_uninstall",
        )
    if field in INSTALL_FIELDS:
        # An uninstall comes in the field of an install, without its token and its assets.
        is_empty = not body.get("had_token") and not value.get("pixel_id")
        return News(
            at=at,
            business_id=_short(value.get("business_manager_id")),
            external_business_id=_short(value.get("business_id")),
            is_removal=field == "fbe_uninstall" or is_empty,
        )
    return None


def moment_of(value: object) -> datetime | None:
    """A Unix time in whole seconds; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**34:
        return None
    return datetime.fromtimestamp(value, tz=UTC)


def _short(value: object) -> str:
    return str(value)[:_TEXT] if isinstance(value, str | int) and not isinstance(value, bool) else ""
