"""What can go wrong at Graph, as types, told apart by Graph's numbers.

Texts are localised and change without notice ("Error Reference", read 2026-11-24), and an HTTP status contradicts
the body at times: where the body has Graph's envelope, only its numbers count. No error holds a token, a payload
or an address with secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from partnerhub.lib.graph import limits


class FailureClass(StrEnum):
    """What to do about a failure."""

    TRANSIENT = "transient"  # try again, backing off
    RATE_LIMITED = "rate_limited"  # try again after the wait that Meta names
    CREDENTIAL = "credential"  # nothing works until a person gives another token
    PERMISSION = "permission"  # nothing works until a person gives access again
    REFUSED = "refused"  # the same bytes are refused again
    TOO_OLD = "too_old"  # an event is past Meta's age limit
    UNSENT = "unsent"  # no connection was made: nothing left
    IN_DOUBT = "in_doubt"  # sent, and no answer of Graph's came back


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of Meta's call limits is used: per cent of the fullest, and seconds until it is free again."""

    percent: float
    regain_seconds: float = 0.0


class GraphError(Exception):
    """A call to Graph that did not succeed. Its text is Graph's message, cut short, or ours."""

    failure_class: ClassVar[FailureClass]

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        subcode: int | None = None,
        status: int | None = None,
        fbtrace_id: str | None = None,
        user_title: str | None = None,
        user_msg: str | None = None,
        blame: tuple[str, ...] = (),
        retry_after_seconds: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message[:500])
        self.code = code
        self.subcode = subcode
        self.status = status
        self.fbtrace_id = fbtrace_id
        self.user_title = user_title
        self.user_msg = user_msg
        # Fields that Meta names, outermost first: `custom_data.currency`.
        self.blame = blame
        # The longest wait that Meta asked for, by whichever header.
        self.retry_after_seconds = retry_after_seconds
        self.usage = usage


class Transient(GraphError):
    """Meta had a fault that passes, and stored nothing."""

    failure_class = FailureClass.TRANSIENT


class RateLimited(GraphError):
    """Meta asks to slow down."""

    failure_class = FailureClass.RATE_LIMITED

    @property
    def scope(self) -> str:
        """`app`: every pixel behind the app waits; `pixel`: this one alone."""
        return "app" if self.code in limits.APP_LIMIT_CODES else "pixel"


class CredentialRefused(GraphError):
    """The token is dead, or its signature is wrong."""

    failure_class = FailureClass.CREDENTIAL


class PermissionRefused(GraphError):
    """The token lives, and may not do this: a permission or the pixel's sharing is gone."""

    failure_class = FailureClass.PERMISSION


class BatchRefused(GraphError):
    """The content is refused; nothing of the request was stored."""

    failure_class = FailureClass.REFUSED


class TooOld(GraphError):
    """An event of the request is past Meta's age limit; nothing of the request was stored."""

    failure_class = FailureClass.TOO_OLD


class Unsent(GraphError):
    """No connection was made, so nothing was sent."""

    failure_class = FailureClass.UNSENT


class InDoubt(GraphError):
    """The request may have been taken or not: no answer of Graph's came back."""

    failure_class = FailureClass.IN_DOUBT


def _type_of(code: int, subcode: int | None) -> type[GraphError]:
    if (code, subcode) == limits.BAD_REQUEST:
        return BatchRefused
    if code == 100:
        if subcode == limits.TOO_OLD_SUBCODE:
            return TooOld
        return PermissionRefused if subcode in limits.NO_ACCESS_SUBCODES else BatchRefused
    if code in limits.CREDENTIAL_CODES:
        return CredentialRefused
    if code in limits.PERMISSION_CODES:
        return PermissionRefused
    if code in limits.APP_LIMIT_CODES or code in limits.PIXEL_LIMIT_CODES:
        return RateLimited
    # Also a code that we do not know: it disconnects nobody and throws nothing away; back-off bounds it.
    return Transient


def error_from(
    envelope: Mapping[str, Any], *, status: int, headers: Mapping[str, str], usage: Usage | None
) -> GraphError:
    """The error that Graph's `error` object describes; its numbers choose the type."""
    code = _number(envelope.get("code"))
    subcode = _number(envelope.get("error_subcode"))
    kind = Transient if code is None else _type_of(code, subcode)
    return kind(
        _text(envelope.get("message")) or "Graph gave no message.",
        code=code,
        subcode=subcode,
        status=status,
        fbtrace_id=_text(envelope.get("fbtrace_id")),
        user_title=_text(envelope.get("error_user_title")),
        user_msg=_text(envelope.get("error_user_msg")),
        blame=_blame(envelope.get("error_data")),
        retry_after_seconds=_wait(headers, usage),
        usage=usage,
    )


def usage_from(headers: Mapping[str, str]) -> Usage | None:
    """The fullest of the usage headers ("Rate Limits"): JSON in a string; waits in minutes here, seconds there."""
    percents: list[float] = []
    waits: list[float] = [0.0]
    app = _json_header(headers, "X-App-Usage")
    percents += [_float(app.get(key)) for key in ("call_count", "total_time", "total_cputime")]
    account = _json_header(headers, "X-Ad-Account-Usage")
    percents.append(_float(account.get("acc_id_util_pct")))
    for cases in _json_header(headers, "X-Business-Use-Case-Usage").values():
        for case in cases if isinstance(cases, list) else []:
            if isinstance(case, dict):
                percents += [_float(case.get(key)) for key in ("call_count", "total_time", "total_cputime")]
                # Minutes.
                waits.append(60 * _float(case.get("estimated_time_to_regain_access")))
    if percents and max(percents) >= 100:
        # Seconds; it says when the window turns, which matters only once it is full.
        waits.append(_float(account.get("reset_time_duration")))
    if not any(percents) and not any(waits):
        return None
    return Usage(percent=max(percents), regain_seconds=max(waits))


def _wait(headers: Mapping[str, str], usage: Usage | None) -> float | None:
    asked = _float(headers.get("Retry-After"))
    wait = max(asked, usage.regain_seconds if usage else 0.0)
    return wait or None


def _blame(error_data: object) -> tuple[str, ...]:
    """`error_data.blame_field_specs` as paths. Meta sends the object, or its JSON in a string."""
    if isinstance(error_data, str):
        try:
            error_data = json.loads(error_data)
        except ValueError:
            return ()
    specs = error_data.get("blame_field_specs") if isinstance(error_data, dict) else None
    if not isinstance(specs, list):
        return ()
    return tuple(".".join(str(part) for part in spec)[:200] for spec in specs[:10] if isinstance(spec, list))


def _json_header(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = json.loads(headers.get(name) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else None


def _float(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever a header holds
    except (TypeError, ValueError):
        return 0.0
    return number if 0 <= number < 1e9 else 0.0


def _text(value: object) -> str | None:
    return value[:500] if isinstance(value, str) and value else None
