"""Getting access at Meta, in words: codes and tokens, businesses, their pixels, sharing and assignment.

Meta's pages: "Manually Build a Login Flow", "Get Asset IDs and Access Token", "Facebook Login for Business", "Sharing
Meta Pixel Between Businesses", "Install Apps, Generate, Refresh, and Revoke Tokens" (read 2026-11-24). Each function
is one call, or one list. They raise GraphError.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from onboarding.graph.sending import DEADLINE_SECONDS
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import BatchRefused, CredentialRefused, InDoubt
from partnerhub.lib.vault import Secret

# What a refreshed token of a system user lives ("Install Apps, Generate, Refresh, and Revoke Tokens").
LONG_LIFE_SECONDS: Final = 60 * 86_400
# A partner's list of ten thousand shared pixels is 20 pages, at Meta's usual 600 ms each.
LIST_SECONDS: Final = 60.0
_PIXELS_A_PAGE: Final = "500"
_PIXEL_FIELDS: Final = "id,name,owner_business{id,name},is_unavailable,last_fired_time,permitted_tasks"


@dataclass(frozen=True, slots=True)
class Granted:
    """A token that Meta made; `expires_in` None where Meta names no end."""

    token: Secret
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class FoundPixel:
    """A pixel in one of a business's lists. What the token may not read is empty."""

    id: str
    name: str = ""
    owner_id: str = ""
    owner_name: str = ""
    last_fired: str = ""
    is_unavailable: bool = False
    permitted_tasks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Install:
    """What a Business Extension install has; every id may be missing."""

    business_id: str = ""
    pixel_id: str = ""


# Tokens.


def exchange_code(
    client: GraphClient, *, app_id: str, app_secret: Secret, redirect_uri: str, code: Secret
) -> Granted:
    """The token for the code of a dialog. `redirect_uri` is the dialog's, byte by byte."""
    return _granted(
        client,
        {"client_id": app_id, "redirect_uri": redirect_uri, "client_secret": app_secret, "code": code},
    )


def lengthen_token(client: GraphClient, *, app_id: str, app_secret: Secret, token: Secret) -> Granted:
    """A person's token that lives for some 60 days in place of an hour."""
    return _granted(client, _fb_exchange(app_id, app_secret, token))


def refresh_token(client: GraphClient, *, app_id: str, app_secret: Secret, token: Secret) -> Granted:
    """A new 60-day token in place of one. The old one lives on to its own end.

    Never for one that has no end: it would get one.
    """
    asked = _fb_exchange(app_id, app_secret, token)
    asked["set_token_expires_in_60_days"] = "true"  # noqa: S105  # a parameter's name
    return _granted(client, asked)


def _fb_exchange(app_id: str, app_secret: Secret, token: Secret) -> dict[str, str | Secret]:
    return {
        "grant_type": "fb_exchange_token",
        "client_id": app_id,
        "client_secret": app_secret,
        "fb_exchange_token": token,
    }


def _granted(client: GraphClient, asked: Mapping[str, str | Secret]) -> Granted:
    body = client.get_with_secrets("oauth/access_token", params=asked, deadline_seconds=DEADLINE_SECONDS).body
    expires_in = body.get("expires_in")
    return Granted(_token_of(body), expires_in if isinstance(expires_in, int) else None)


def _token_of(body: Mapping[str, Any]) -> Secret:
    token = body.get("access_token")
    if not isinstance(token, str) or not token:
        raise InDoubt("Graph answered without a token.")
    return Secret(token)


def revoke_token(client: GraphClient, *, app_id: str, app_secret: Secret, token: Secret) -> None:
    """End the token at Meta, at once. One that is dead already is as good."""
    asked: dict[str, str | Secret] = {
        "client_id": app_id,
        "client_secret": app_secret,
        "revoke_token": token,
        "access_token": token,
    }
    try:
        client.get_with_secrets("oauth/revoke", params=asked, deadline_seconds=DEADLINE_SECONDS)
    except CredentialRefused:
        return


def inspect_token(client: GraphClient, *, app_id: str, app_secret: Secret, token: Secret) -> dict[str, Any]:
    """`debug_token`'s fields of a token of the app. A dead one is told of, not raised."""
    asked: dict[str, str | Secret] = {
        "input_token": token,
        "access_token": Secret(f"{app_id}|{app_secret.reveal()}"),
    }
    body = client.get_with_secrets("debug_token", params=asked, deadline_seconds=DEADLINE_SECONDS).body
    data = body.get("data")
    return data if isinstance(data, dict) else {}


# Who logged in.


def answered_scopes(client: GraphClient, *, token: Secret, app_secret: Secret) -> dict[str, str]:
    """Scope → `granted`, `declined` or `expired`, as the person answered."""
    listed = client.items(
        "me/permissions", token=token, app_secret=app_secret, deadline_seconds=DEADLINE_SECONDS
    )
    return {str(item.get("permission", "")): str(item.get("status", "")) for item in listed}


def my_businesses(client: GraphClient, *, token: Secret, app_secret: Secret) -> list[dict[str, str]]:
    """The businesses that the person is in: id, name, verification."""
    listed = client.items(
        "me/businesses",
        token=token,
        params={"fields": "id,name,verification_status"},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )
    return [
        {
            "id": str(item.get("id", "")),
            "name": _short(item.get("name")),
            "verification": _short(item.get("verification_status")),
        }
        for item in listed
    ]


def client_business(client: GraphClient, *, token: Secret, app_secret: Secret | None) -> tuple[str, str]:
    """The client business of an integration's token, and its system user. Raises for a person's token (190)."""
    body = client.get(
        "me",
        token=token,
        params={"fields": "id,client_business_id"},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    ).body
    return str(body.get("client_business_id", "")), str(body.get("id", ""))


def business_name(client: GraphClient, business_id: str, *, token: Secret, app_secret: Secret) -> str:
    """The business's name."""
    body = client.get(
        business_id,
        token=token,
        params={"fields": "id,name"},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    ).body
    return _short(body.get("name"))


# A business's pixels.


def owned_pixels(
    client: GraphClient, business_id: str, *, token: Secret, app_secret: Secret
) -> list[FoundPixel]:
    """The pixels that the business owns, whether or not the token reaches them."""
    return _pixels(client, f"{business_id}/owned_pixels", token, app_secret)


def client_pixels(
    client: GraphClient, business_id: str, *, token: Secret, app_secret: Secret | None
) -> list[FoundPixel]:
    """The pixels that others share with the business."""
    return _pixels(client, f"{business_id}/client_pixels", token, app_secret)


def pending_pixels(
    client: GraphClient, business_id: str, *, token: Secret, app_secret: Secret | None
) -> list[FoundPixel]:
    """The pixels whose sharing the business has not accepted yet."""
    return _pixels(client, f"{business_id}/pending_shared_pixels", token, app_secret)


def _pixels(client: GraphClient, path: str, token: Secret, app_secret: Secret | None) -> list[FoundPixel]:
    """A list of pixels, with what the token may read of them: one unreadable field fails a whole list."""
    for fields in (_PIXEL_FIELDS, "id,name"):
        try:
            return [
                _found(item)
                for item in client.items(
                    path,
                    token=token,
                    params={"fields": fields, "limit": _PIXELS_A_PAGE},
                    app_secret=app_secret,
                    deadline_seconds=LIST_SECONDS,
                )
            ]
        except BatchRefused:
            if fields != _PIXEL_FIELDS:
                raise
    raise AssertionError  # the second round returns or raises


def _found(item: Mapping[str, Any]) -> FoundPixel:
    owner = item.get("owner_business")
    owner = owner if isinstance(owner, dict) else {}
    tasks = item.get("permitted_tasks")
    return FoundPixel(
        id=str(item.get("id", "")),
        name=_short(item.get("name")),
        owner_id=str(owner.get("id", "")),
        owner_name=_short(owner.get("name")),
        last_fired=_short(item.get("last_fired_time")),
        is_unavailable=item.get("is_unavailable") is True,
        permitted_tasks=frozenset(map(str, tasks)) if isinstance(tasks, list) else frozenset(),
    )


def assigned_tasks(
    client: GraphClient, meta_id: str, *, business_id: str, user_id: str, token: Secret, app_secret: Secret
) -> frozenset[str]:
    """The tasks that the system user has on the pixel; none where it is not assigned."""
    listed = client.items(
        f"{meta_id}/assigned_users",
        token=token,
        params={"business": business_id, "fields": "id,tasks", "limit": "100"},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )
    for item in listed:
        tasks = item.get("tasks")
        if str(item.get("id")) == user_id and isinstance(tasks, list):
            return frozenset(map(str, tasks))
    return frozenset()


# The Business Extension.


def find_install(
    client: GraphClient, external_business_id: str, *, token: Secret, app_secret: Secret
) -> Install | None:
    """What was installed under our id; None where nothing is."""
    listed = client.items(
        "fbe_business/fbe_installs",
        token=token,
        params={"fbe_external_business_id": external_business_id},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )
    for item in listed:
        return Install(str(item.get("business_manager_id") or ""), str(item.get("pixel_id") or ""))
    return None


def delete_install(
    client: GraphClient, external_business_id: str, *, token: Secret, app_secret: Secret
) -> None:
    """End the install: its system user and its token go with it."""
    client.delete(
        "fbe_business/fbe_installs",
        token=token,
        params={"fbe_external_business_id": external_business_id},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )


def install_token(
    client: GraphClient,
    business_id: str,
    *,
    app_id: str,
    scopes: Collection[str],
    external_business_id: str,
    token: Secret,
    app_secret: Secret,
) -> Secret:
    """The token of the install's system user. The proof of `token` is required here."""
    body = client.post(
        f"{business_id}/access_token",
        token=token,
        body={
            "app_id": app_id,
            "scope": ",".join(scopes),
            "fbe_external_business_id": external_business_id,
        },
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    ).body
    return _token_of(body)


# Sharing and assignment.


def share_pixel(
    client: GraphClient,
    meta_id: str,
    *,
    business_id: str,
    tasks: Collection[str],
    token: Secret,
    app_secret: Secret,
) -> bool:
    """Share the pixel with the business. Whether that one has to accept it first."""
    body = client.post(
        f"{meta_id}/agencies",
        token=token,
        body={"business": business_id, "permitted_tasks": list(tasks)},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    ).body
    return bool(body.get("pending_request_id"))


def assign_user(
    client: GraphClient,
    meta_id: str,
    *,
    business_id: str,
    user_id: str,
    tasks: Collection[str],
    token: Secret,
    app_secret: Secret | None,
) -> None:
    """Give the system user the tasks on the pixel.

    Meta's pages and its SDK disagree on `business`: it is tried with it first, and on 100 without.
    """
    asked = {"user": user_id, "tasks": list(tasks)}
    for body in ({**asked, "business": business_id}, asked):
        try:
            client.post(
                f"{meta_id}/assigned_users",
                token=token,
                body=body,
                app_secret=app_secret,
                deadline_seconds=DEADLINE_SECONDS,
            )
        except BatchRefused as error:
            if "business" not in body or error.subcode is not None:
                raise
        else:
            return


def unassign_user(
    client: GraphClient,
    meta_id: str,
    *,
    business_id: str,
    user_id: str,
    token: Secret,
    app_secret: Secret | None,
) -> None:
    """Take the pixel from the system user again."""
    client.delete(
        f"{meta_id}/assigned_users",
        token=token,
        params={"user": user_id, "business": business_id},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )


def install_app(
    client: GraphClient, system_user_id: str, *, app_id: str, token: Secret, app_secret: Secret
) -> None:
    """Install the app on the system user of the same business. Doing it again changes nothing."""
    client.post(
        f"{system_user_id}/applications",
        token=token,
        body={"business_app": app_id},
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )


def system_user_token(
    client: GraphClient,
    system_user_id: str,
    *,
    app_id: str,
    scopes: Collection[str],
    token: Secret,
    app_secret: Secret,
) -> Granted:
    """A token of the partner's system user; one without an end where its business may still have such.

    Leaving the flag out is an error for businesses that must use expiring tokens (read 2026-11-24).
    """
    asked = {"business_app": app_id, "scope": ",".join(scopes)}
    for body in (asked, {**asked, "set_token_expires_in_60_days": True}):
        try:
            answer = client.post(
                f"{system_user_id}/access_tokens",
                token=token,
                body=body,
                app_secret=app_secret,
                deadline_seconds=DEADLINE_SECONDS,
            ).body
        except BatchRefused:
            if body is not asked:
                raise
        else:
            return Granted(_token_of(answer), None if body is asked else LONG_LIFE_SECONDS)
    raise AssertionError  # the second round returns or raises


def moment(value: object) -> datetime | None:
    """A Unix time of Graph's; None for 0, which means that there is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**34:
        return None
    return datetime.fromtimestamp(value, tz=UTC)


def _short(value: object) -> str:
    return str(value)[:200] if value is not None else ""
