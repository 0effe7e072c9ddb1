"""A worker's share of a session: leased, asked at Graph outside of any transaction, written down in one.

Where the person moved on meanwhile, what was obtained is revoked. What no worker finished is found by the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from onboarding.journey import ENDS, WORKING, Move, State
from onboarding.ladder import SEALED, TestOutcome
from onboarding.models import (
    ConnectionTest,
    Credential,
    CredentialEvent,
    OnboardingSession,
    Option,
    Pixel,
    TokenLink,
)
from onboarding.options import ADAPTERS
from onboarding.options.base import SessionView, Step, is_passing
from onboarding.services.credentials import install_credential
from onboarding.services.openings import session_view
from onboarding.services.pixels import PixelExists, add_pixel, release_pixel
from onboarding.services.proofs import prove_session
from onboarding.services.revocations import revoke_later, sweep_revocations
from onboarding.services.session_rows import (
    RUN_SESSION,
    let_go,
    locked,
    move,
    poll_wait,
    say,
    withdraw_links,
    write,
)
from onboarding.services.sessions import abandon_session
from onboarding.services.tokens import seal_token
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import VaultError
from tenants.models import PartnerCredential, Person, TokenFacts
from tenants.secrets import vault

logger = structlog.get_logger(__name__)

# Longer than an adapter's step or the ladder takes at its worst, so that only a dead worker's session is taken over.
LEASE: Final = timedelta(seconds=180)
# Meta is away: soon at first, for somebody watches.
FIRST_RETRY: Final = timedelta(seconds=5)
LONGEST_RETRY: Final = timedelta(minutes=10)
# Nobody has touched it for so long.
ABANDON_AFTER: Final = timedelta(days=7)
# Hints and ends of one sweep; the next one follows in seconds.
SWEPT_AT_ONCE: Final = 500
# What "60 days" means, counted from when it was said (META's "Install Apps, Generate, Refresh, and Revoke Tokens").
SIXTY_DAYS: Final = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A session in a worker's hands, until its lease."""

    session_id: int
    advertiser_id: int
    state: State
    option: Option
    lease: datetime
    view: SessionView | VaultError


def run_session(*, session_id: int, client: GraphClient) -> None:
    """The worker's next step of the session. Doubled, late and foreign hints change nothing."""
    advertiser_id = (
        OnboardingSession.objects.filter(pk=session_id).values_list("advertiser_id", flat=True).first()
    )
    if advertiser_id is None:
        return
    with tenant_scope(advertiser_id=advertiser_id):
        taken = _take(session_id)
    if taken is None:
        return
    crash_point("session_leased")
    if isinstance(taken.view, VaultError):
        logger.warning("a session's secret does not open", session=session_id, reason=str(taken.view))
        step = Step(Move.REFUSE)
        with tenant_scope(advertiser_id=advertiser_id):
            _settle(taken, step, failure_class=SEALED)
        return
    if taken.state == State.PROVING:
        outcome = prove_session(session_id=session_id, client=client)
        crash_point("session_proven")
        with tenant_scope(advertiser_id=advertiser_id):
            _settle_proof(taken, outcome)
        return
    step = ADAPTERS[taken.option].advance(taken.view, client)
    crash_point("session_advanced")
    with tenant_scope(advertiser_id=advertiser_id):
        _settle(taken, step)


def _take(session_id: int) -> _Taken | None:
    """The session, leased, with its secrets opened; None where a worker has nothing to do for it now."""
    now = timezone.now()
    session = (
        OnboardingSession.objects.select_for_update(of=("self",))
        .select_related("advertiser__partner", "grant", "candidate")
        .filter(pk=session_id)
        .first()
    )
    if session is None or State(session.state) in ENDS:
        return None
    if session.state == State.WITH_COLLEAGUE:
        _look_at_link(session, now)
        return None
    is_held = session.lease_until is not None and session.lease_until > now
    if State(session.state) not in WORKING or is_held or session.due_at is None or session.due_at > now:
        return None
    session.lease_until = now + LEASE
    OnboardingSession.objects.filter(pk=session.pk).update(lease_until=session.lease_until)
    view: SessionView | VaultError
    try:
        view = session_view(session, session.advertiser.partner)
    except VaultError as error:
        view = error
    return _Taken(
        session.pk,
        session.advertiser_id,
        State(session.state),
        Option(session.option),
        session.lease_until,
        view,
    )


def _look_at_link(session: OnboardingSession, now: datetime) -> None:
    """Take over the token that the colleague pasted; or see that the link's time is up."""
    link = (
        TokenLink.objects.select_for_update()
        .filter(session=session, state__in=[TokenLink.State.OPEN, TokenLink.State.PASTED])
        .first()
    )
    if link is not None and link.state == TokenLink.State.PASTED:
        doomed = let_go(session, "candidate")
        session.candidate_id = link.secret_id
        session.facts["said_expiry"] = link.said_expiry
        TokenLink.objects.filter(pk=link.pk).update(secret=None)
        move(session, Move.SUBMIT)
        write(session, erase=doomed)
    elif link is None or link.expires_at <= now:
        doomed = withdraw_links(session)
        move(session, Move.REFUSE, problem="link_expired")
        write(session, erase=doomed)
    else:
        OnboardingSession.objects.filter(pk=session.pk).update(due_at=now + poll_wait(session, now))


def _held(taken: _Taken) -> OnboardingSession | None:
    """The session, locked, while it is still in these hands; None where somebody has moved it."""
    session = locked(taken.session_id)
    return session if session.lease_until == taken.lease and session.state == taken.state else None


def _settle(taken: _Taken, step: Step, *, failure_class: str = "") -> None:
    session = _held(taken)
    if session is None:
        _revoke_in_vain(taken, step)
        return
    doomed: list[int] = []
    if step.grant is not None:
        # A code that was exchanged, or a token that ends within two hours. To end that at Meta might end the longer
        # one with it: no page of Meta's says.
        doomed += [session.grant_id] if session.grant_id else []
        session.grant = seal_token(advertiser_id=session.advertiser_id, token=step.grant)
    if step.forget_grant:
        doomed += let_go(session, "grant")
    if step.candidate is not None:
        doomed += let_go(session, "candidate")
        session.candidate = seal_token(advertiser_id=session.advertiser_id, token=step.candidate)
    # Only now: by the facts before, it is known what was let go of.
    session.facts |= dict(step.facts)
    if step.uses_sending_token:
        session.partner_credential = _sending_token(session, step)
    how, problem = step.move, step.problem
    if how in (Move.FIND_ONE, Move.TAKE) and _is_another_advertisers(session):
        how, problem = Move.REFUSE, "pixel_elsewhere"
    elif how == Move.FIND_ONE and taken.state == State.SHARING and not _is_theirs(session):
        how, problem = Move.WAIT, "sharing_unconfirmed"
    elif problem == "not_shared_yet":
        session.facts["was_not_shared"] = True
    attempts = session.attempts + 1
    move(session, how, problem=problem, error=step.error)
    if failure_class:
        session.failure_class = failure_class
    if State(session.state) in WORKING and (how == Move.WAIT or problem):
        session.attempts = attempts
        session.due_at = timezone.now() + _wait(session, step)
    elif how == Move.GO_ON:
        session.attempts = 0
    _tell_colleague(session)
    write(session, erase=doomed)


def _wait(session: OnboardingSession, step: Step) -> timedelta:
    """Until it is looked at again: Meta's own wait; what comes of somebody's act, by age; the rest, backing off."""
    now = timezone.now()
    if step.error is None or not is_passing(step.error.failure_class):
        return poll_wait(session, now)
    return max(_backing_off(session.attempts), min(timedelta(seconds=step.wait_seconds), LONGEST_RETRY))


def _backing_off(attempts: int) -> timedelta:
    return min(FIRST_RETRY * (1 << min(attempts - 1, 10)), LONGEST_RETRY)


def _revoke_in_vain(taken: _Taken, step: Step) -> None:
    """What Meta gave for a session that has moved on is revoked: no token is left behind."""
    facts: dict[str, Any] = dict(step.facts)
    if not isinstance(taken.view, VaultError):
        facts = {**taken.view.facts, **facts}
    for token in (step.grant, step.candidate, step.sending_token):
        if token is not None:
            revoke_later(
                advertiser_id=taken.advertiser_id,
                option=taken.option,
                secret_id=seal_token(advertiser_id=taken.advertiser_id, token=token).pk,
                meta_id=str(facts.get("meta_id") or ""),
                external_business_id=str(facts.get("external_business_id") or ""),
            )
    if step.facts.get("assigned"):
        revoke_later(
            advertiser_id=taken.advertiser_id,
            option=taken.option,
            secret_id=None,
            meta_id=str(facts.get("meta_id") or ""),
            system_user_id=str(facts.get("system_user_id") or ""),
        )


def _sending_token(session: OnboardingSession, step: Step) -> PartnerCredential:
    """The partner's sending token; the one just made, where it had none. Of two made at once one is revoked."""
    partner, kind = session.advertiser.partner, PartnerCredential.Kind.SENDING_TOKEN
    made = step.sending_token
    if made is not None:
        row = PartnerCredential(partner=partner, kind=kind, last_four=made.last_four)
        row.sealed = vault().seal(made, identity=row.vault_identity)
        row.state, row.last_good_at = TokenFacts.State.UNTESTED, None
        row.expiry, row.expires_at = TokenFacts.Expiry.NEVER, None
        if step.sending_token_expires_in is not None:
            row.expiry = TokenFacts.Expiry.DATED
            row.expires_at = timezone.now() + timedelta(seconds=step.sending_token_expires_in)
        PartnerCredential.objects.bulk_create([row], ignore_conflicts=True)
        if not _is_kept(row):
            revoke_later(
                advertiser_id=session.advertiser_id,
                option=Option.SHARED_PIXEL,
                secret_id=seal_token(advertiser_id=session.advertiser_id, token=made).pk,
            )
    return PartnerCredential.objects.get(partner=partner, kind=kind)


def _is_kept(row: PartnerCredential) -> bool:
    kept = PartnerCredential.objects.get(partner=row.partner, kind=row.kind)
    return bytes(kept.sealed) == bytes(row.sealed)


def _is_another_advertisers(session: OnboardingSession) -> bool:
    """Whether the shared pixel is already sent to for another advertiser: the partner's token opens both.

    The number of a pixel is no secret, so that it must not be enough.
    """
    if session.option != Option.SHARED_PIXEL:
        return False
    return (
        Credential.objects.filter(
            option=Option.SHARED_PIXEL,
            pixel__meta_id=str(session.facts.get("meta_id", "")),
            partner_credential__partner=session.advertiser.partner,
        )
        .exclude(advertiser_id=session.advertiser_id)
        .exclude(state=Credential.State.RETIRED)
        .exists()
    )


def _is_theirs(session: OnboardingSession) -> bool:
    """Whether the sharing was made for this session, as far as can be told.

    The owner trusts the partner, and says nothing of which advertiser. So: the pixel was theirs before, somebody
    vouched for it (the partner, or a log-in), or it was not shared yet when we looked first, and nobody else of
    the advertisers waits for the same one.
    """
    meta_id = str(session.facts.get("meta_id", ""))
    own = Pixel.objects.filter(advertiser_id=session.advertiser_id, meta_id=meta_id)
    if session.facts.get("is_confirmed") or own.exists():
        return True
    rivals = OnboardingSession.objects.filter(facts__meta_id=meta_id).exclude(
        state__in=[str(state) for state in ENDS]
    )
    return (
        bool(session.facts.get("was_not_shared"))
        and not rivals.exclude(advertiser_id=session.advertiser_id).exists()
    )


def _tell_colleague(session: OnboardingSession) -> None:
    """What came of a colleague's token, on the page of the link: that page reads no other row."""
    pasted = TokenLink.objects.filter(session=session, state=TokenLink.State.PASTED)
    if session.state == State.CONNECTED:
        pasted.update(state=TokenLink.State.ACCEPTED)
    elif session.state == State.STUCK:
        pasted.update(
            state=TokenLink.State.REFUSED,
            problem=session.problem,
            failure_class=session.failure_class,
            code=session.code,
            subcode=session.subcode,
        )


# The proof.


def _settle_proof(taken: _Taken, outcome: TestOutcome) -> None:
    session = _held(taken)
    if session is None:
        return
    if outcome.failure_class == "":
        _connect(session)
        return
    is_passing_by = is_passing(outcome.failure_class)
    problem = "graph_down" if is_passing_by else _problem_of(taken.option, outcome)
    attempts = session.attempts + 1
    move(session, Move.WAIT if is_passing_by else Move.REFUSE)
    say(session, problem, None)
    session.failure_class, session.code, session.subcode = (
        outcome.failure_class,
        outcome.code,
        outcome.subcode,
    )
    session.fbtrace_id = outcome.fbtrace_id
    if is_passing_by:
        session.attempts = attempts
        session.due_at = timezone.now() + _backing_off(attempts)
    _tell_colleague(session)
    write(session)


def _problem_of(option: Option, outcome: TestOutcome) -> str:
    return ADAPTERS[option].proof_problems.get((outcome.code, outcome.subcode), "")


def _connect(session: OnboardingSession) -> None:
    """The pixel, with the credential that was just proven in the place of the one before: all of it at once."""
    now = timezone.now()
    pixel = _pixel_of(session)
    facts = session.facts
    credential = install_credential(
        pixel=pixel,
        option=Option(session.option),
        secret=session.candidate,
        partner_credential=session.partner_credential,
        created_by=_person(session.created_by_id),
        state=Credential.State.WORKING,
        last_good_at=now,
        scopes=facts.get("scopes") or [],
        issuing_app_id=str(facts.get("issuing_app_id") or ""),
        client_business_id=str(facts.get("client_business_id") or facts.get("business_id") or ""),
        system_user_id=str(facts.get("system_user_id") or ""),
        external_business_id=str(facts.get("external_business_id") or ""),
        data_access_expires_at=_at(facts.get("data_access_expires_at")),
        **_expiry(session, now),
    )
    CredentialEvent.objects.create(
        advertiser_id=session.advertiser_id,
        pixel=pixel,
        credential=credential,
        kind=CredentialEvent.Kind.PROVEN,
    )
    session.pixel, session.credential = pixel, credential
    # It is the credential's now; a grant that is still there has done its work.
    session.candidate = None
    doomed = let_go(session, "grant")
    move(session, Move.PROVE)
    release_pixel(pixel_id=pixel.pk)
    ConnectionTest.objects.filter(session=session, pixel=None).update(pixel=pixel)
    proven = ConnectionTest.objects.filter(session=session, state=ConnectionTest.State.PASSED)
    proven.filter(credential=None).update(credential=credential)
    _tell_colleague(session)
    crash_point("session_connecting")
    write(session, erase=doomed)


def _pixel_of(session: OnboardingSession) -> Pixel:
    """The pixel under repair; else the advertiser's with this number, made where there is none."""
    if session.pixel is not None:
        return session.pixel
    meta_id = str(session.facts["meta_id"])
    name = str(session.facts.get("pixel_name") or f"Pixel {meta_id}")[:120]
    source = str(session.facts.get("default_action_source") or "website")
    try:
        return add_pixel(
            advertiser=session.advertiser, meta_id=meta_id, name=name, default_action_source=source
        )
    except PixelExists:
        return Pixel.objects.get(advertiser_id=session.advertiser_id, meta_id=meta_id)


def _person(person_id: int | None) -> Person | None:
    """Who began it; None for somebody who is at this tenant no more."""
    return Person.objects.only("pk").filter(pk=person_id).first() if person_id else None


def _expiry(session: OnboardingSession, now: datetime) -> dict[str, Any]:
    """What is known of the token's end: as Graph tells, or as a person said. Unknown stays unknown."""
    never, dated = {"expiry": TokenFacts.Expiry.NEVER}, TokenFacts.Expiry.DATED
    partners = session.partner_credential
    if partners is not None:
        return {"expiry": partners.expiry, "expires_at": partners.expires_at}
    facts = session.facts
    match facts.get("said_expiry"):
        case None:
            if facts.get("never_expires"):
                return never
            at = _at(facts.get("expires_at"))
            return {"expiry": dated, "expires_at": at} if at else {}
        case "never":
            return never
        case "60_days":
            return {"expiry": dated, "expires_at": now + SIXTY_DAYS}
        case "unknown":
            return {}
        case day:
            # At the day's beginning: a reminder that comes early does no harm.
            at = datetime.combine(
                datetime.fromisoformat(str(day)), time.min, tzinfo=timezone.get_default_timezone()
            )
            return {"expiry": dated, "expires_at": at}


def _at(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


# The sweep.


def sweep_sessions() -> None:
    """Hint anew at sessions and revocations that are due, and end sessions that nobody has touched for a week."""
    now = timezone.now()
    due = OnboardingSession.objects.filter(due_at__lte=now).exclude(lease_until__gt=now)
    with transaction.atomic():
        for pk in due.order_by("due_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE]:
            hint_after_commit(RUN_SESSION, pk)
    left = OnboardingSession.objects.filter(changed_at__lt=now - ABANDON_AFTER).exclude(
        state__in=[str(state) for state in ENDS]
    )
    for pk, advertiser_id in left.order_by("pk").values_list("pk", "advertiser_id")[:SWEPT_AT_ONCE]:
        with tenant_scope(advertiser_id=advertiser_id):
            session = locked(pk)
            if State(session.state) not in ENDS and session.changed_at < now - ABANDON_AFTER:
                abandon_session(session=session)
    sweep_revocations(limit=SWEPT_AT_ONCE)
