"""Test connection: a ladder of checks, each with its own result. It speaks to Meta; no rows are written.

Secret opens → token is alive → app and permissions → pixel is reachable → a test event is counted. Only the last
rung proves the connection, so what Meta will not tell on the way up stops nobody; what it refuses does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from onboarding.graph import connection_test_event, read_pixel, send_test_event
from onboarding.models import Option
from onboarding.options import ADAPTERS
from onboarding.options.base import Opening, Standing
from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.graph.errors import FailureClass, GraphError
from partnerhub.lib.vault import VaultError

# Meta answered 200 and did not count the one event: no class of refusal, and no proof either.
UNCOUNTED: Final = "uncounted"
# The sealed token cannot be opened with the keys at hand: nothing was sent.
SEALED: Final = "sealed"
# One of these must be among the scopes that Graph names (META's "Set up as a Platform", read 2026-09-12).
SENDING_SCOPES: Final = frozenset({"ads_management", "ads_read", "manage_business_extension"})


class Rung(StrEnum):
    """The checks, from the ground up."""

    OPENS = "opens"
    ALIVE = "alive"
    PERMITTED = "permitted"
    REACHABLE = "reachable"
    COUNTED = "counted"


class Result(StrEnum):
    """What came of one check."""

    PASSED = "passed"
    FAILED = "failed"
    UNTOLD = "untold"  # Meta does not tell of such a token, or did not answer: no proof and no refusal


@dataclass(frozen=True, slots=True)
class Step:
    """One check, done. `detail` is shown: names, scopes, numbers; never a secret."""

    rung: Rung
    result: Result
    ms: int
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """As ConnectionTest.rungs keeps it."""
        return {"rung": str(self.rung), "outcome": str(self.result), "ms": self.ms, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested. `open` gives the token and what belongs to it, and raises VaultError."""

    test_id: int
    option: Option
    meta_id: str
    partner_agent: str
    open: Callable[[], Opening]
    test_event_code: str = ""


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What came of a test; `failure_class` is empty when Meta answered 200 and counted the one event."""

    __test__ = False

    failure_class: str = ""
    pixel_read: str = ""
    pixel_name_at_meta: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    http_status: int | None = None
    events_received: int | None = None
    fbtrace_id: str = ""
    latency_ms: int | None = None
    code: int | None = None
    subcode: int | None = None


@dataclass(frozen=True, slots=True)
class Climb:
    """A ladder as far as it was climbed. `standing` is what Graph told of the token, None where it was not asked."""

    outcome: TestOutcome
    standing: Standing | None = None


def climb(subject: Subject, client: GraphClient, report: Callable[[Step], None]) -> Climb:
    """Climb until a rung gives way; `report` hears of each as it is done.

    Takes up to four calls' deadlines (onboarding.graph). Never raises GraphError.
    """
    watch = _Watch(report)
    try:
        opening = subject.open()
    except VaultError:
        watch.done(Rung.OPENS, Result.FAILED)
        return Climb(TestOutcome(failure_class=SEALED))
    watch.done(Rung.OPENS, Result.PASSED, f"…{opening.token.last_four}")

    standing, error = _standing(subject, opening, client)
    if error is not None:
        watch.done(Rung.ALIVE, Result.FAILED)
        return Climb(_refused(TestOutcome(), error), standing)
    if standing.is_valid is None:
        watch.done(Rung.ALIVE, Result.UNTOLD)
        watch.done(Rung.PERMITTED, Result.UNTOLD)
    else:
        watch.done(Rung.ALIVE, Result.PASSED, _life(standing))
        if standing.scopes and SENDING_SCOPES.isdisjoint(standing.scopes):
            watch.done(Rung.PERMITTED, Result.FAILED, ", ".join(standing.scopes))
            return Climb(TestOutcome(failure_class=str(FailureClass.PERMISSION), code=294), standing)
        watch.done(Rung.PERMITTED, Result.PASSED, ", ".join(standing.scopes))

    outcome = TestOutcome()
    try:
        seen = read_pixel(client, subject.meta_id, token=opening.token, app_secret=_proof(subject, opening))
    except GraphError as failure:
        if failure.failure_class == FailureClass.CREDENTIAL:
            watch.done(Rung.REACHABLE, Result.FAILED)
            return Climb(_refused(replace(outcome, pixel_read="refused"), failure), standing)
        # A passing fault of a read: the test event decides.
        outcome = replace(outcome, pixel_read="unknown")
    else:
        outcome = replace(outcome, pixel_read=seen.outcome, pixel_name_at_meta=seen.name)
    is_read = outcome.pixel_read == "readable"
    watch.done(Rung.REACHABLE, Result.PASSED if is_read else Result.UNTOLD, outcome.pixel_name_at_meta)

    outcome = _send(subject, opening, client, outcome)
    is_counted = outcome.failure_class == ""
    watch.done(Rung.COUNTED, Result.PASSED if is_counted else Result.FAILED)
    return Climb(outcome, standing)


class _Watch:
    """Reports each check with the time since the one before."""

    def __init__(self, report: Callable[[Step], None]) -> None:
        self._report = report
        self._since = time.monotonic()

    def done(self, rung: Rung, result: Result, detail: str = "") -> None:
        now = time.monotonic()
        self._report(Step(rung, result, round((now - self._since) * 1000), detail[:200]))
        self._since = time.monotonic()


def _proof(subject: Subject, opening: Opening) -> Any:
    # A token of another app with our proof is refused.
    return opening.partner.app_secret if subject.option.is_of_partners_app else None


def _standing(subject: Subject, opening: Opening, client: GraphClient) -> tuple[Standing, GraphError | None]:
    """What Graph tells of the token, and its refusal where the token is dead."""
    adapter = ADAPTERS.get(subject.option)
    if adapter is None:
        return Standing(), None
    try:
        standing = adapter.look(opening, client)
    except GraphError as error:
        # Whatever else it is, it says nothing of the token.
        return Standing(), error if error.failure_class == FailureClass.CREDENTIAL else None
    return standing, standing.error if standing.is_valid is False else None


def _life(standing: Standing) -> str:
    if standing.never_expires:
        return "does not expire"
    return f"until {_day(standing.expires_at)}" if standing.expires_at else ""


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _send(subject: Subject, opening: Opening, client: GraphClient, outcome: TestOutcome) -> TestOutcome:
    event = connection_test_event(test_id=subject.test_id, at=int(time.time()))
    outcome = replace(outcome, request=_request(subject, client, event, opening.token.last_four))
    started = time.monotonic()
    try:
        answer = send_test_event(
            client,
            subject.meta_id,
            token=opening.token,
            fragment=orjson.dumps(event),
            partner_agent=subject.partner_agent,
            test_event_code=subject.test_event_code,
            app_secret=_proof(subject, opening),
        )
    except GraphError as error:
        latency_ms = round((time.monotonic() - started) * 1000)
        return replace(_refused(outcome, error), latency_ms=latency_ms)
    return _answered(outcome, answer)


def _answered(outcome: TestOutcome, answer: GraphAnswer) -> TestOutcome:
    received = answer.events_received if isinstance(answer.events_received, int) else None
    return replace(
        outcome,
        failure_class="" if received == 1 else UNCOUNTED,
        answer=answer.body,
        http_status=answer.status,
        events_received=received,
        fbtrace_id=answer.fbtrace_id or "",
        latency_ms=answer.elapsed_ms,
    )


def _refused(outcome: TestOutcome, error: GraphError) -> TestOutcome:
    envelope = {
        "message": str(error),
        "code": error.code,
        "error_subcode": error.subcode,
        "error_user_title": error.user_title,
        "error_user_msg": error.user_msg,
        "fbtrace_id": error.fbtrace_id,
    }
    said = {key: value for key, value in envelope.items() if value is not None}
    return replace(
        outcome,
        failure_class=str(error.failure_class),
        answer={"error": said} if error.code is not None else None,
        http_status=error.status,
        fbtrace_id=error.fbtrace_id or "",
        code=error.code,
        subcode=error.subcode,
    )


def _request(subject: Subject, client: GraphClient, event: dict[str, Any], last_four: str) -> dict[str, Any]:
    """The request as it is sent, its secrets masked."""
    body: dict[str, Any] = {"partner_agent": subject.partner_agent, "data": [event]}
    if subject.test_event_code:
        body["test_event_code"] = subject.test_event_code
    if subject.option.is_of_partners_app:
        body["appsecret_proof"] = "…"
    return {
        "method": "POST",
        "path": f"/{client.version}/{subject.meta_id}/events",
        "headers": {"Authorization": f"Bearer …{last_four}"},
        "body": body,
    }


@dataclass(frozen=True, slots=True)
class DrawnRung:
    """A rung as a page shows it. `mark` is a step's state: done, current, failed, todo."""

    title: str
    mark: str
    note: str
    ms: int | None


_TITLES: Final = {
    Rung.OPENS: "The stored secret opens",
    Rung.ALIVE: "The token is alive",
    Rung.PERMITTED: "App and permissions",
    Rung.REACHABLE: "The pixel is reachable",
    Rung.COUNTED: "Meta counts a test event",
}
_UNTOLD: Final = {
    Rung.ALIVE: "Meta does not tell of a token of another app; the test event decides.",
    Rung.PERMITTED: "Meta does not tell; the test event decides.",
    Rung.REACHABLE: "The token may not read the pixel; that is usual, and the test event decides.",
}


def drawn(rungs: Sequence[Mapping[str, Any]], *, is_running: bool) -> list[DrawnRung]:
    """All five rungs: those done, the one being tried, and those that were not reached."""
    done = {rung["rung"]: rung for rung in rungs}
    lines: list[DrawnRung] = []
    for rung in Rung:
        found = done.get(str(rung))
        if found is None:
            is_next = is_running and len(lines) == len(done)
            lines.append(DrawnRung(_TITLES[rung], "current" if is_next else "todo", "", None))
            continue
        mark = "failed" if found["outcome"] == Result.FAILED else "done"
        note = _UNTOLD.get(rung, "") if found["outcome"] == Result.UNTOLD else found["detail"]
        lines.append(DrawnRung(_TITLES[rung], mark, note, found["ms"]))
    return lines
