"""What Graph tells a partner of its own: its app, what App Review gave it, its business and its system users.

"Application", "Business" and "System Users" reference pages (read 2026-11-24). They raise GraphError.
"""

from __future__ import annotations

from dataclasses import dataclass

from onboarding.graph.sending import DEADLINE_SECONDS
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret


@dataclass(frozen=True, slots=True)
class OwnBusiness:
    """The partner's business; `tier` is the app's access tier, where Meta's usage headers name it."""

    name: str
    verification_status: str
    tier: str


def app_token(app_id: str, app_secret: Secret) -> Secret:
    """The token of the app itself."""
    return Secret(f"{app_id}|{app_secret.reveal()}")


def app_name(client: GraphClient, app_id: str, *, app_secret: Secret) -> str:
    """The app's name: only with its own secret does Graph tell it so."""
    token = app_token(app_id, app_secret)
    answer = client.get(app_id, token=token, params={"fields": "id,name"}, deadline_seconds=DEADLINE_SECONDS)
    return str(answer.body.get("name", ""))[:200]


def app_permissions(client: GraphClient, app_id: str, *, app_secret: Secret) -> dict[str, str]:
    """Permission → `live`, `unapproved`, `pending` or `declined`: what App Review gave."""
    listed = client.items(
        f"{app_id}/permissions", token=app_token(app_id, app_secret), deadline_seconds=DEADLINE_SECONDS
    )
    return {str(item.get("permission", ""))[:60]: str(item.get("status", ""))[:20] for item in listed}


def own_business(
    client: GraphClient, business_id: str, *, token: Secret, app_secret: Secret | None
) -> OwnBusiness:
    """The business, as one of its own system users sees it."""
    answer = client.get(
        business_id,
        token=token,
        params={"fields": "id,name,verification_status"},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )
    return OwnBusiness(
        name=str(answer.body.get("name", ""))[:200],
        verification_status=str(answer.body.get("verification_status") or "")[:40],
        tier=answer.usage.tier[:40] if answer.usage else "",
    )


def system_user_roles(
    client: GraphClient, business_id: str, *, token: Secret, app_secret: Secret | None
) -> dict[str, str]:
    """System user → `ADMIN` or `EMPLOYEE`, for the admins of the business."""
    listed = client.items(
        f"{business_id}/system_users",
        token=token,
        params={"fields": "id,name,role", "limit": "100"},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )
    return {str(item.get("id", "")): str(item.get("role", ""))[:20] for item in listed}
