"""What can go wrong at Graph, as types, told apart by Graph's numbers.

Texts are localised and change without notice ("Error Reference", read 2026-11-24), and an HTTP status
contradicts the body at times: where the body has Graph's envelope, only its numbers count. No error holds a
token, a payload or an address with secrets.
"""

from __future__ import annotations

import email.utils
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from partnerhub.lib.graph import limits
from partnerhub.lib.redact import MASK, redact_text


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


# Ours: longer than any text of Meta's that was seen, and short enough for a page.
TEXT_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of Meta's call limits is used: per cent of the fullest, and seconds until it is free again."""

    percent: float
    regain_seconds: float = 0.0
    # `ads_api_access_tier`, in Meta's old words: `standard_access` is Full, `development_access` Limited.
    tier: str = ""


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
        super().__init__(message[:TEXT_LENGTH])
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


def documented_code(code: int, subcode: int | None) -> int:
    """The code to go by. A negative one is internal, and its subcode is to be read ("Handling Errors")."""
    return limits.INVALID_PARAMETER_CODE if code < 0 and subcode in limits.EVENT_SUBCODES else code


def _type_of(code: int, subcode: int | None, kind: object) -> type[GraphError]:
    code = documented_code(code, subcode)
    if (code, subcode) == limits.BAD_REQUEST or code in limits.REFUSED_CODES:
        return BatchRefused
    if code == limits.INVALID_PARAMETER_CODE:
        return _type_of_invalid(subcode, kind)
    if code in limits.CREDENTIAL_CODES:
        return CredentialRefused
    if code in limits.PERMISSION_CODES:
        return PermissionRefused
    if code in limits.APP_LIMIT_CODES or code in limits.PIXEL_LIMIT_CODES:
        return RateLimited
    # Also a code that we do not know: it disconnects nobody and throws nothing away; back-off bounds it.
    return Transient


def _type_of_invalid(subcode: int | None, kind: object) -> type[GraphError]:
    if subcode == limits.TOO_OLD_SUBCODE:
        return TooOld
    if subcode in limits.NO_ACCESS_SUBCODES:
        return PermissionRefused
    if subcode is None and kind == limits.NOT_THE_CONTENT_TYPE:
        # A missing or wrong appsecret_proof has no number of its own. It is no event's fault: a batch that is
        # split on it would be thrown away whole. The type is an identifier of Meta's, not a text.
        return PermissionRefused
    return BatchRefused


def error_from(
    envelope: Mapping[str, Any],
    *,
    status: int,
    headers: Mapping[str, str],
    usage: Usage | None,
    hidden: Collection[str] = (),
) -> GraphError:
    """The error that Graph's `error` object describes; its numbers choose the type.

    `hidden` are the call's own secrets, which no text of the error repeats. An object without a code is no
    envelope of Graph's, and so InDoubt.
    """
    code = _number(envelope.get("code"))
    if code is None:
        return InDoubt(f"HTTP {status} came back with an error that has no code.", status=status, usage=usage)
    subcode = _number(envelope.get("error_subcode"))
    kind = _type_of(code, subcode, envelope.get("type"))
    return kind(
        _text(envelope.get("message"), hidden) or "Graph gave no message.",
        code=code,
        subcode=subcode,
        status=status,
        fbtrace_id=_text(envelope.get("fbtrace_id"), hidden)
        or _text(headers.get(limits.TRACE_HEADER), hidden),
        user_title=_text(envelope.get("error_user_title"), hidden),
        user_msg=_text(envelope.get("error_user_msg"), hidden),
        blame=_blame(envelope.get("error_data"), hidden),
        retry_after_seconds=retry_after(headers, usage),
        usage=usage,
    )


def usage_from(headers: Mapping[str, str]) -> Usage | None:
    """The fullest of the usage headers ("Rate Limits"): JSON in a string; waits in minutes or in seconds."""
    percents: list[float] = []
    waits: list[float] = [0.0]
    tier = ""
    app = _json_header(headers, "X-App-Usage")
    percents += [_float(app.get(key)) for key in ("call_count", "total_time", "total_cputime")]
    account = _json_header(headers, "X-Ad-Account-Usage")
    percents.append(_float(account.get("acc_id_util_pct")))
    for cases in _json_header(headers, "X-Business-Use-Case-Usage").values():
        for case in cases if isinstance(cases, list) else []:
            if isinstance(case, dict):
                percents += [_float(case.get(key)) for key in ("call_count", "total_time", "total_cputime")]
                tier = _text(case.get("ads_api_access_tier"), ()) or tier
                # Minutes.
                waits.append(60 * _float(case.get("estimated_time_to_regain_access")))
    if percents and max(percents) >= 100:
        # Seconds; it says when the window turns, which matters only once it is full.
        waits.append(_float(account.get("reset_time_duration")))
    if not any(percents) and not any(waits) and not tier:
        return None
    return Usage(percent=max(percents), regain_seconds=max(waits), tier=tier)


def retry_after(headers: Mapping[str, str], usage: Usage | None) -> float | None:
    """The longest wait in seconds that the answer asks for: `Retry-After`, or until the usage allows more."""
    asked = headers.get("Retry-After")
    wait = max(_float(asked) or _until(asked, headers.get("Date")), usage.regain_seconds if usage else 0.0)
    return wait or None


def _until(moment: str | None, now: str | None) -> float:
    """Seconds from one HTTP date to another, both by the other side's clock; 0 where one is missing."""
    try:
        later, earlier = (email.utils.parsedate_to_datetime(date or "") for date in (moment, now))
        return max(0.0, (later - earlier).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _blame(error_data: object, hidden: Collection[str]) -> tuple[str, ...]:
    """`error_data.blame_field_specs` as paths. Meta sends the object, or its JSON in a string."""
    if isinstance(error_data, str):
        try:
            error_data = json.loads(error_data)
        except (ValueError, RecursionError):
            return ()
    specs = error_data.get("blame_field_specs") if isinstance(error_data, dict) else None
    if not isinstance(specs, list):
        return ()
    paths = (".".join(str(part) for part in spec) for spec in specs[:10] if isinstance(spec, list))
    return tuple(path for path in (_text(path[:200], hidden) for path in paths) if path)


def _json_header(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = json.loads(headers.get(name) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19
        else None
    )


def _float(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever a header holds
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0 <= number < 1e9 else 0.0


def _text(value: object, hidden: Collection[str]) -> str | None:
    """A text of Meta's, cut short and without secrets; None where it is none."""
    if not isinstance(value, str) or not value:
        return None
    for secret in hidden:
        value = value.replace(secret, MASK)
    # Cut last: half a token would not be recognised. What is far too long is cut before, for time's sake.
    return redact_text(value[: 20 * TEXT_LENGTH])[:TEXT_LENGTH]
