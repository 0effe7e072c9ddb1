"""What Graph is asked in each step of a partner's set-up. It speaks to Graph; no rows are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson
import structlog

from onboarding import graph
from onboarding.graph import partner as partner_graph
from onboarding.options.base import PartnerSide, Standing
from onboarding.options.log_in import standing_of
from onboarding.options.shared_pixel import SENDING_SCOPES
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import (
    BatchRefused,
    CredentialRefused,
    GraphError,
    PermissionRefused,
    Unsent,
)
from partnerhub.lib.vault import Secret

logger = structlog.get_logger(__name__)

# To list and assign what is shared with the business ("Sharing Meta Pixel Between Businesses", read 2026-11-24).
ASSIGNING_SCOPE: Final = "business_management"
# One of these sends ("Set up Conversions API as a Platform", read 2026-09-12).
_SENDS: Final = frozenset({"ads_management", "ads_read"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """A step that is checked: the partner as it is, what was typed, and a secret that is not in force yet."""

    check_id: int
    step: str
    side: PartnerSide
    own_pixel_id: str = ""
    wanted: Mapping[str, Any] = field(default_factory=dict)
    candidate: Secret | None = None


@dataclass(slots=True)
class Calls:
    """How many calls Graph answered well, and how many it refused."""

    succeeded: int = 0
    failed: int = 0

    def of(self, call: Callable[[], T]) -> T:
        """What the call returns, counted. Raises what it raises."""
        try:
            found = call()
        except Unsent:
            raise
        except GraphError:
            self.failed += 1
            raise
        self.succeeded += 1
        return found


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check. `problem` is a key of words.PROBLEMS; `error` what Graph said; neither: it has passed.

    `secret` is what was proven, and is in force from now on; `ids` are fields of the partner that were proven.
    """

    problem: str = ""
    error: GraphError | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    secret: Secret | None = None
    standing: Standing | None = None
    calls: Calls = field(default_factory=Calls)

    @property
    def has_passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem and self.error is None


class _Stop(Exception):
    """Ends a check early; never leaves this module."""

    def __init__(self, problem: str, error: GraphError | None = None, **facts: Any) -> None:
        super().__init__(problem)
        self.problem, self.error, self.facts = problem, error, facts


def ask(subject: Subject, client: GraphClient) -> Finding:
    """Check the step. Never raises GraphError. Up to five calls, each within its deadline."""
    calls = Calls()
    try:
        return _ASKED[subject.step](subject, client, calls)
    except _Stop as stop:
        return Finding(stop.problem, stop.error, stop.facts, calls=calls)
    except GraphError as error:
        return Finding(error=error, calls=calls)


def _app(subject: Subject, client: GraphClient, calls: Calls) -> Finding:
    app_id = str(subject.wanted.get("meta_app_id") or subject.side.app_id)
    secret = subject.candidate or subject.side.app_secret
    if secret is None:
        raise _Stop("app_mismatch")
    try:
        name = calls.of(lambda: partner_graph.app_name(client, app_id, app_secret=secret))
    except (CredentialRefused, PermissionRefused, BatchRefused) as error:
        raise _Stop("app_mismatch", error) from None
    except GraphError as error:
        # A wrong app id or secret is code 1 or 101, as some faults of Graph's are; those come with a 500.
        if error.code in (1, 101) and error.status is not None and error.status < 500:
            raise _Stop("app_mismatch", error) from None
        raise
    return Finding(facts={"name": name}, ids={"meta_app_id": app_id}, secret=secret, calls=calls)


def _standing(
    subject: Subject, client: GraphClient, calls: Calls, token: Secret, *, one_of: frozenset[str]
) -> Standing:
    """What debug_token tells of a system user's token of our app. Stops where it is no such one."""
    side = subject.side
    if side.app_secret is None or not side.app_id:
        raise _Stop("app_first")
    try:
        standing = calls.of(lambda: standing_of(side, token, client))
    except BatchRefused as error:
        # "The App_id in the input_token did not match the Viewing App": 100 without a number of its own.
        raise _Stop("foreign_token", error) from None
    if standing.is_valid is False:
        raise _Stop("token_dead", standing.error)
    if standing.app_id and standing.app_id != side.app_id:
        raise _Stop("foreign_token")
    if standing.type != "SYSTEM_USER":
        raise _Stop("not_system_user", type=standing.type.lower().replace("_", " ") or "unknown")
    if one_of.isdisjoint(standing.scopes):
        raise _Stop("missing_scope", missing=min(one_of))
    return standing


def _assigning(subject: Subject, client: GraphClient, calls: Calls) -> Finding:
    token = subject.candidate or subject.side.assigning_token
    if token is None:
        raise _Stop("token_dead")
    business_id, secret = subject.side.business_id, subject.side.app_secret
    standing = _standing(subject, client, calls, token, one_of=frozenset({ASSIGNING_SCOPE}))
    user_id = standing.user_id
    try:
        business = calls.of(
            lambda: partner_graph.own_business(client, business_id, token=token, app_secret=secret)
        )
    except (PermissionRefused, BatchRefused) as error:
        raise _Stop("wrong_business", error) from None
    try:
        roles = calls.of(
            lambda: partner_graph.system_user_roles(client, business_id, token=token, app_secret=secret)
        )
    except PermissionRefused as error:
        # The list is for admins.
        raise _Stop("not_admin", error, role="not told") from None
    if user_id not in roles:
        raise _Stop("not_of_business", user_id=user_id)
    if roles[user_id] != "ADMIN":
        raise _Stop("not_admin", role=roles[user_id] or "not told")
    return Finding(
        facts={
            "name": business.name,
            "verification_status": business.verification_status,
            "scopes": list(standing.scopes),
        },
        ids={"assigning_system_user_id": user_id},
        secret=token,
        standing=standing,
        calls=calls,
    )


def _sending(subject: Subject, client: GraphClient, calls: Calls) -> Finding:
    made = None
    if subject.candidate is None and subject.wanted.get("how") == "make":
        user_id = str(subject.wanted.get("sending_system_user_id", ""))
        made = _made_token(subject, client, calls, user_id)
    token = made or subject.candidate or subject.side.sending_token
    if token is None:
        raise _Stop("token_dead")
    try:
        standing = _standing(subject, client, calls, token, one_of=_SENDS)
    except (GraphError, _Stop):
        if made is not None:
            # Nobody would know it any more.
            revoke(subject.side, made, client)
        raise
    return Finding(
        facts={"scopes": list(standing.scopes), "made": made is not None},
        ids={"sending_system_user_id": standing.user_id},
        secret=token,
        standing=standing,
        calls=calls,
    )


def revoke(side: PartnerSide, token: Secret, client: GraphClient) -> None:
    """End a token that we made at Meta, if Graph is there to do it."""
    if side.app_secret is None:
        return
    try:
        graph.revoke_token(client, app_id=side.app_id, app_secret=side.app_secret, token=token)
    except GraphError as error:
        logger.warning("token not revoked", failure=str(error.failure_class), code=error.code)


def _made_token(subject: Subject, client: GraphClient, calls: Calls, user_id: str) -> Secret:
    side = subject.side
    if side.app_secret is None:
        raise _Stop("app_first")
    if side.assigning_token is None:
        raise _Stop("assigning_first")
    caller: dict[str, Any] = {
        "app_id": side.app_id,
        "token": side.assigning_token,
        "app_secret": side.app_secret,
    }
    calls.of(lambda: graph.install_app(client, user_id, **caller))
    return calls.of(lambda: graph.system_user_token(client, user_id, scopes=SENDING_SCOPES, **caller)).token


def _own_pixel(subject: Subject, client: GraphClient, calls: Calls) -> Finding:
    token = subject.side.sending_token
    if token is None:
        raise _Stop("sending_first")
    at = int(time.time())
    event = graph.connection_test_event(test_id=subject.check_id, at=at)
    # Of its own at each check: a repeat would be taken for the one before.
    event["event_id"] = f"partnerhub-setup-{subject.check_id}-{at}"
    try:
        answer = calls.of(
            lambda: graph.send_test_event(
                client,
                subject.own_pixel_id,
                token=token,
                fragment=orjson.dumps(event),
                partner_agent=subject.side.partner_agent,
                test_event_code=str(subject.wanted.get("test_event_code", "")),
                app_secret=subject.side.app_secret,
            )
        )
    except PermissionRefused as error:
        raise _Stop("own_pixel", error) from None
    facts = {"fbtrace_id": answer.fbtrace_id or ""}
    if answer.events_received != 1:
        raise _Stop("uncounted", fbtrace_id=facts["fbtrace_id"])
    return Finding(facts=facts, calls=calls)


def _review(subject: Subject, client: GraphClient, calls: Calls) -> Finding:
    """What Graph tells of the app's standing: as much as it tells, each by itself."""
    side, facts = subject.side, dict[str, Any]()
    last: GraphError | None = None
    secret = side.app_secret
    if secret is None or not side.app_id:
        raise _Stop("app_first")
    try:
        facts["permissions"] = calls.of(
            lambda: partner_graph.app_permissions(client, side.app_id, app_secret=secret)
        )
    except GraphError as error:
        last = error
    for name, token in (("assigning", side.assigning_token), ("sending", side.sending_token)):
        if token is None:
            continue
        try:
            facts[f"{name}_scopes"] = list(standing_of(side, token, client).scopes)
        except GraphError as error:
            last = error
    if side.assigning_token is not None and side.business_id:
        asking = side.assigning_token
        try:
            business = calls.of(
                lambda: partner_graph.own_business(client, side.business_id, token=asking, app_secret=secret)
            )
        except GraphError as error:
            last = error
        else:
            facts |= {"verification_status": business.verification_status, "tier": business.tier}
    if not facts and last is not None:
        raise last
    return Finding(facts=facts, calls=calls)


_ASKED: Final[dict[str, Callable[[Subject, GraphClient, Calls], Finding]]] = {
    "app": _app,
    "assigning": _assigning,
    "sending": _sending,
    "own_pixel": _own_pixel,
    "review": _review,
}
