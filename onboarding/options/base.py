"""What the auth options have in common: the verbs of an adapter, what it is given, and what it answers.

An adapter speaks to Graph, and to nothing else: no rows, no retries, no transaction. What it finds out becomes a
`Step`, which onboarding.services.sessions writes down. Nothing outside of an adapter's module knows its option.

The facts of a session, all texts, lists of them, or lists of small objects; never a secret:

    meta_id, pixel_name          the pixel that is wanted, as far as it is known
    is_picked                    whether it came of a log-in, so that the next log-in may bring another
    time_zone                    of the person who began, for what Meta asks
    default_action_source        for the pixel to be made
    business_id, business_name   the business that owns the pixel
    pixels                       to pick from: [{"id", "name", "owner", "business_id", "last_fired", "usable"}]
    external_business_id         ours, of a Business Extension install: the same for a connection's whole life
    client_business_id           the business that logged in, where that may be another
    said_expiry                  of a pasted token: `never`, `60_days`, `unknown`, or an ISO date
    grant                        what the grant is: `code`, `user_token`, `long_user_token`
    system_user_id               at Meta, behind the candidate or assigned to the pixel
    assigned                     whether we gave the partner's system user the pixel: undone if it comes to nothing
    was_not_shared               whether the pixel was not shared yet when it was looked for
    is_confirmed, confirmed_by   whether a log-in, or which person of the partner's, says that the pixel is theirs
    is_shared_anew               whether it is to be given even so: an ended sharing ends what was assigned by it
    declined                     scopes that the person declined
    asked_anew                   whether the person was sent to log in once more
    expires_at, never_expires, data_access_expires_at, scopes, issuing_app_id   of the candidate, as Graph tells

Those from `client_business_id` on belong to the option that found them: they are forgotten when it is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from onboarding.journey import Move
from onboarding.models import Option
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import FailureClass, GraphError
from partnerhub.lib.vault import Secret


@dataclass(frozen=True, slots=True)
class PartnerSide:
    """The partner, as an adapter needs it. What its set-up did not name yet is empty or None."""

    partner_agent: str
    app_id: str
    business_id: str
    login_config_id: str
    assigning_system_user_id: str
    sending_system_user_id: str
    redirect_uri: str
    app_secret: Secret | None = None
    assigning_token: Secret | None = None
    sending_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as its adapter sees it. `grant`: the dialog's code, then the user's token."""

    session_id: int
    advertiser_name: str
    facts: Mapping[str, Any]
    partner: PartnerSide
    grant: Secret | None = None
    candidate: Secret | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What an adapter found out: the move, and what the session holds from then on.

    `facts` are merged into the session's. A `grant` or `candidate` takes the place of the one before; with
    `forget_grant` the grant is given up: ended at Meta, and erased. `uses_sending_token` says that the partner's
    sending token is to open the pixel; `sending_token` is one just made, where it had none. `problem` is a key of
    the error dictionary; `error` what Graph said. `wait_seconds` for Move.WAIT: 0 leaves it to the caller.
    """

    move: Move
    facts: Mapping[str, Any] = field(default_factory=dict)
    grant: Secret | None = None
    candidate: Secret | None = None
    forget_grant: bool = False
    uses_sending_token: bool = False
    sending_token: Secret | None = None
    sending_token_expires_in: int | None = None
    problem: str = ""
    error: GraphError | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What Graph tells of a token without a pixel: `debug_token`'s fields. None where Graph does not tell.

    `error` says why it is not valid; or, where it is, why it reaches the pixel no more: a sharing was withdrawn.
    """

    is_valid: bool | None = None
    app_id: str = ""
    type: str = ""
    user_id: str = ""
    expires_at: datetime | None = None
    never_expires: bool = False
    data_access_expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    error: GraphError | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What a credential in use holds for its adapter: to be looked at, refreshed, or revoked at Meta."""

    meta_id: str
    partner: PartnerSide
    token: Secret
    client_business_id: str = ""
    system_user_id: str = ""
    external_business_id: str = ""


@dataclass(frozen=True, slots=True)
class Leftover:
    """An access in use no more, to be undone at Meta. Empty: not ours to undo, or none. `token` is no partner's."""

    partner: PartnerSide
    token: Secret | None = None
    meta_id: str = ""
    client_business_id: str = ""
    system_user_id: str = ""
    external_business_id: str = ""


@dataclass(frozen=True, slots=True)
class Dialog:
    """Meta's log-in dialog: the parameters of its address beside our own, and facts to keep with the session."""

    params: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Adapter(Protocol):
    """One auth option. A call of it ends within onboarding.graph's DEADLINE_SECONDS, a list within LIST_SECONDS."""

    option: Option
    # What opens a session of it.
    opening: Move
    # Whether a person may log in at Meta for it.
    has_dialog: bool
    # Whether it needs the pixel's number before anything else.
    needs_meta_id: bool
    # What undoing it at Meta does, as a person is told beforehand; empty: nothing can be undone there.
    undoing: str
    # Refusals of the proof that mean something else here than by their numbers: (code, subcode) → problem.
    proof_problems: Mapping[tuple[int | None, int | None], str]

    def missing(self, partner: PartnerSide) -> list[str]:
        """What the partner's set-up lacks before this option can be offered, in words; empty: nothing."""
        ...

    def dialog(self, view: SessionView, *, rerequest: bool) -> Dialog:
        """Where the browser is sent to log in. Raises NotImplementedError where there is no dialog. No network."""
        ...

    def advance(self, view: SessionView, client: GraphClient) -> Step:
        """The next step of a session that is EXCHANGING, TAKING or SHARING: `facts["state"]` says which.

        Never raises GraphError: a failure is a Step, too (WAIT where it passes by itself, else REFUSE).
        """
        ...

    def look(self, opening: Opening, client: GraphClient) -> Standing:
        """What Graph tells of the token. Raises GraphError where Graph could not be asked."""
        ...

    def refresh(self, opening: Opening, client: GraphClient) -> tuple[Secret, int] | None:
        """A new token and its life in seconds; None where Graph refreshes none of this option. Raises GraphError."""
        ...

    def revoke(self, leftover: Leftover, client: GraphClient) -> bool:
        """Undo at Meta what can be undone; False where there is nothing. Raises GraphError. Again changes nothing."""
        ...


# What passes by itself, sooner or later.
_PASSING = frozenset(
    {
        FailureClass.TRANSIENT,
        FailureClass.RATE_LIMITED,
        FailureClass.UNSENT,
        FailureClass.IN_DOUBT,
    }
)


def is_passing(failure_class: str) -> bool:
    """Whether the same is worth trying again, with nobody doing anything."""
    return failure_class in _PASSING


def failed(error: GraphError, problem: str = "", *, facts: Mapping[str, Any] | None = None) -> Step:
    """The step that a failure makes: wait where it passes, else come to a stop with the problem or Meta's numbers."""
    if is_passing(error.failure_class):
        return Step(
            Move.WAIT,
            facts=facts or {},
            problem="graph_down",
            error=error,
            wait_seconds=error.retry_after_seconds or 0.0,
        )
    return Step(Move.REFUSE, facts=facts or {}, problem=problem, error=error)


def refused(problem: str, **facts: Any) -> Step:
    """The step that comes to a stop for a reason of ours."""
    return Step(Move.REFUSE, facts=facts, problem=problem)
