"""What the options with a log-in share: the dialog's parameters, the code's exchange, what Graph tells of a token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from onboarding import graph
from onboarding.graph import FoundPixel
from onboarding.graph.access import moment
from onboarding.journey import Move
from onboarding.options.base import PartnerSide, SessionView, Standing, Step, failed
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import CredentialRefused, GraphError, error_from
from partnerhub.lib.vault import Secret

# At an exchange, by Graph's numbers. Graph has 1 and 101 for an app's wrong secret or id, also for a fault of its
# own: there it comes with a status of 500 and more.
_EXCHANGE_PROBLEMS: dict[tuple[int | None, int | None], str] = {
    (100, 36007): "code_expired",
    (100, 36008): "redirect_mismatch",
    (100, 36009): "code_used",
}
_APP_CODES = frozenset({1, 101})


class NoSecret(Exception):
    """The partner's set-up lacks the app's secret: nothing can be exchanged."""


def secret_of(partner: PartnerSide) -> Secret:
    """The app's secret. Raises NoSecret."""
    if partner.app_secret is None:
        raise NoSecret
    return partner.app_secret


def dialog_params(partner: PartnerSide, *, rerequest: bool, **more: str) -> dict[str, str]:
    """The parameters of every dialog, and these."""
    params = {
        "client_id": partner.app_id,
        "redirect_uri": partner.redirect_uri,
        "response_type": "code",
        **more,
    }
    return params | ({"auth_type": "rerequest"} if rerequest else {})


def exchanged(view: SessionView, client: GraphClient) -> Secret | Step:
    """The token for the dialog's code, or the step that its refusal makes."""
    if view.grant is None:
        return Step(Move.REFUSE, problem="callback_empty")
    try:
        return graph.exchange_code(
            client,
            app_id=view.partner.app_id,
            app_secret=secret_of(view.partner),
            redirect_uri=view.partner.redirect_uri,
            code=view.grant,
        ).token
    except GraphError as error:
        if error.code in _APP_CODES and error.status is not None and error.status < 500:
            return Step(Move.REFUSE, problem="wrong_app_secret", error=error)
        return failed(error, _EXCHANGE_PROBLEMS.get((error.code, error.subcode), ""))


def standing_of(partner: PartnerSide, token: Secret, client: GraphClient) -> Standing:
    """What debug_token tells of a token of the partner's app; nothing without the app's secret. Raises GraphError."""
    if partner.app_secret is None:
        return Standing()
    data = graph.inspect_token(client, app_id=partner.app_id, app_secret=partner.app_secret, token=token)
    is_valid = data.get("is_valid")
    scopes = data.get("scopes")
    return Standing(
        is_valid=is_valid if isinstance(is_valid, bool) else None,
        app_id=str(data.get("app_id", "")),
        type=str(data.get("type", "")),
        user_id=str(data.get("user_id", "")),
        expires_at=moment(data.get("expires_at")),
        never_expires=data.get("expires_at") == 0,
        data_access_expires_at=moment(data.get("data_access_expires_at")),
        scopes=tuple(map(str, scopes)) if isinstance(scopes, list) else (),
        error=_error_of(data) if is_valid is False else None,
    )


def _error_of(data: Mapping[str, Any]) -> GraphError:
    """Why it is not valid: debug_token names the numbers inside of an answer that is none of an error's."""
    said = data.get("error")
    if not isinstance(said, dict):
        return CredentialRefused("Meta says that the token is not valid.", code=190)
    envelope = {**said, "error_subcode": said.get("subcode")}
    return error_from(envelope, status=200, headers={}, usage=None)


def facts_of(standing: Standing) -> dict[str, Any]:
    """What a session keeps of it."""
    return {
        "expires_at": _iso(standing.expires_at),
        "never_expires": standing.never_expires,
        "data_access_expires_at": _iso(standing.data_access_expires_at),
        "scopes": list(standing.scopes),
        "issuing_app_id": standing.app_id,
    }


def _iso(at: datetime | None) -> str:
    return at.isoformat() if at else ""


def to_pick_from(
    found: Iterable[FoundPixel], *, business_id: str = "", usable: Mapping[str, bool] | None = None
) -> list[dict[str, Any]]:
    """Pixels as a picker shows them; those of unknown use count as usable."""
    return [
        {
            "id": pixel.id,
            "name": pixel.name,
            "owner": pixel.owner_name,
            "business_id": pixel.owner_id or business_id,
            "last_fired": pixel.last_fired,
            "usable": not pixel.is_unavailable and (usable or {}).get(pixel.id, True),
        }
        for pixel in found
    ]


def chosen(view: SessionView, pixels: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Step:
    """The step that a list of pixels makes: one is taken, of several a person picks one, none is a stop.

    Where a pixel is wanted already, only that one counts.
    """
    usable = [pixel for pixel in pixels if pixel["usable"]]
    facts = {**facts, "pixels": list(pixels)}
    if wanted := str(view.facts.get("meta_id") or ""):
        if not any(pixel["id"] == wanted for pixel in pixels):
            return Step(Move.REFUSE, facts=facts, problem="wrong_business" if pixels else "no_pixel")
        usable = [pixel for pixel in usable if pixel["id"] == wanted]
        if not usable:
            return Step(Move.REFUSE, facts=facts, problem="log_in_without_pixel")
    if not usable:
        return Step(Move.REFUSE, facts=facts, problem="no_pixel")
    if len(usable) > 1:
        return Step(Move.FIND_MANY, facts=facts)
    return Step(Move.FIND_ONE, facts={**facts, **picked(usable[0]), "is_picked": not wanted})


def picked(pixel: Mapping[str, Any]) -> dict[str, Any]:
    """What a session keeps of the pixel that was picked."""
    return {
        "meta_id": pixel["id"],
        "pixel_name": pixel["name"],
        "business_id": pixel["business_id"],
        "is_picked": True,
    }
