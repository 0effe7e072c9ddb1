"""A session's row: locked, moved, written; and what it obtained, let go of. For the services of sessions alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from onboarding.journey import ENDS, WORKING, Move, NoSuchMove, State, after
from onboarding.models import OnboardingSession, Option, TokenLink
from onboarding.services.revocations import revoke_later
from onboarding.services.tokens import erase_token
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.graph.errors import GraphError

RUN_SESSION: Final = "onboarding.run_session"

# What belongs to the option that found it, and is forgotten when it is left (onboarding/options/base.py).
OF_THE_OPTION: Final = (
    "external_business_id",
    "client_business_id",
    "said_expiry",
    "grant",
    "system_user_id",
    "assigned",
    "is_shared_anew",
    "was_not_shared",
    "is_confirmed",
    "confirmed_by",
    "declined",
    "asked_anew",
    "expires_at",
    "never_expires",
    "data_access_expires_at",
    "scopes",
    "issuing_app_id",
)
# While a person watches, what waits for somebody's act is looked at often; then ever more seldom.
SHORTEST_POLL: Final = timedelta(seconds=5)
LONGEST_POLL: Final = timedelta(minutes=15)


class SessionRefused(Exception):
    """The act is refused, and nothing has changed.

    `problem` is a key of the error dictionary; empty where the session is elsewhere by now.
    """

    def __init__(self, problem: str = "") -> None:
        super().__init__(problem or "The session is elsewhere by now.")
        self.problem = problem


def locked(session_id: int) -> OnboardingSession:
    """The session as it is now, with its advertiser and partner, locked."""
    return (
        OnboardingSession.objects.select_for_update(of=("self",))
        .select_related("advertiser__partner")
        .get(pk=session_id)
    )


def move(
    session: OnboardingSession, how: Move, *, problem: str = "", error: GraphError | None = None
) -> None:
    """Move it, in memory. A move that is not in the table raises SessionRefused.

    A worker that holds it finds out that it lost it.
    """
    before = State(session.state)
    try:
        session.state = after(before, how)
    except NoSuchMove:
        raise SessionRefused from None
    say(session, problem, error)
    session.lease_until = None
    now = timezone.now()
    if session.state != before:
        session.changed_at, session.attempts = now, 0
    session.due_at = now if State(session.state) in WORKING else None
    if session.state == State.WITH_COLLEAGUE:
        session.due_at = now + poll_wait(session, now)
    if State(session.state) in ENDS:
        session.finished_at = now


def say(session: OnboardingSession, problem: str, error: GraphError | None) -> None:
    """Why it waits or is stuck; or nothing of that any more."""
    session.problem = problem
    session.failure_class = str(error.failure_class) if error else ""
    session.code = error.code if error else None
    session.subcode = error.subcode if error else None
    session.fbtrace_id = (error.fbtrace_id or "") if error else ""


def poll_wait(session: OnboardingSession, now: datetime) -> timedelta:
    """How long until it is looked at again: a tenth of how long it waits already."""
    return min(max((now - session.changed_at) / 10, SHORTEST_POLL), LONGEST_POLL)


def let_go(session: OnboardingSession, *fields: str) -> list[int]:
    """Take secrets from the row, in memory; what they opened at Meta is revoked by a worker.

    What is to be erased once the row is written. A code is worth nothing that could be revoked.
    """
    doomed: list[int | None] = []
    for field in fields:
        secret_id = getattr(session, f"{field}_id")
        if secret_id is None:
            continue
        setattr(session, f"{field}_id", None)
        is_code = field == "grant" and session.facts.get("grant") == "code"
        doomed.append(secret_id if is_code else _revoke_later(session, secret_id))
    return [secret_id for secret_id in doomed if secret_id is not None]


def let_go_of_all(session: OnboardingSession) -> list[int]:
    """The same for all that the session holds of its option: an assignment, links, facts, too."""
    doomed = let_go(session, "grant", "candidate")
    if session.facts.get("assigned"):
        _revoke_later(session, None)
    doomed += withdraw_links(session)
    session.partner_credential = None
    session.facts = {name: value for name, value in session.facts.items() if name not in OF_THE_OPTION}
    return doomed


def _revoke_later(session: OnboardingSession, secret_id: int | None) -> int | None:
    facts = session.facts
    return revoke_later(
        advertiser_id=session.advertiser_id,
        option=Option(session.option),
        secret_id=secret_id,
        meta_id=str(facts.get("meta_id") or ""),
        client_business_id=str(facts.get("client_business_id") or facts.get("business_id") or ""),
        system_user_id=str(facts.get("system_user_id") or "") if facts.get("assigned") else "",
        external_business_id=str(facts.get("external_business_id") or ""),
    )


def withdraw_links(session: OnboardingSession) -> list[int]:
    """Withdraw the session's open link. The secrets to erase: one that was pasted and not taken up."""
    links = TokenLink.objects.select_for_update().filter(
        session=session, state__in=[TokenLink.State.OPEN, TokenLink.State.PASTED]
    )
    doomed = []
    for link in links:
        if link.secret_id is not None:
            doomed.append(link.secret_id)
        TokenLink.objects.filter(pk=link.pk).update(state=TokenLink.State.WITHDRAWN, secret=None)
    return doomed


def write(session: OnboardingSession, *, erase: list[int] | None = None) -> OnboardingSession:
    """Write the row, erase what it let go of, and hint where a worker has the next move now."""
    session.save(
        update_fields=[
            "pixel",
            "option",
            "state",
            "problem",
            "failure_class",
            "code",
            "subcode",
            "fbtrace_id",
            "facts",
            "grant",
            "candidate",
            "partner_credential",
            "nonce_hash",
            "browser_hash",
            "dialog_opened_at",
            "due_at",
            "lease_until",
            "attempts",
            "changed_at",
            "finished_at",
            "credential",
        ]
    )
    for secret_id in erase or []:
        erase_token(secret_id)
    if session.due_at is not None and session.due_at <= timezone.now() and session.lease_until is None:
        hint_after_commit(RUN_SESSION, session.pk)
    return session
