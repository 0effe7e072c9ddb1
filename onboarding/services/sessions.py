"""Connecting a pixel: what a person does to a session. One function an act, each in one transaction.

The moves are onboarding.journey's; a worker's share is in onboarding.services.session_work. The acts run in the
scope of the person, which the caller has opened, and the session comes from onboarding.access.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from onboarding.journey import ENDS, WORKING, Move, State
from onboarding.models import Credential, OnboardingSession, Option, Pixel, TokenLink
from onboarding.options import ADAPTERS
from onboarding.options.base import Adapter, SessionView
from onboarding.options.log_in import picked
from onboarding.services.credentials import retire_credential
from onboarding.services.openings import partner_side
from onboarding.services.session_rows import (
    RUN_SESSION,
    SessionRefused,
    let_go,
    let_go_of_all,
    locked,
    move,
    withdraw_links,
    write,
)
from onboarding.services.tokens import seal_token
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import graph_client
from partnerhub.lib.vault import Secret
from tenants.access import advertiser_roles
from tenants.models import Advertiser, Person
from tenants.roles import Act, may_any
from tenants.tokens import hash_token, new_token

__all__ = [
    "RUN_SESSION",
    "SessionRefused",
    "abandon_session",
    "begin_session",
    "choose_option",
    "disconnect_pixel",
    "forward_link",
    "leave_option",
    "look_now",
    "open_dialog",
    "pick",
    "recall_link",
    "submit_token",
    "take_callback",
    "use_link",
]

# A log-in takes minutes; what comes back later was left open, or was kept by somebody.
DIALOG_LIFE: Final = timedelta(hours=1)
LINK_LIFE: Final = timedelta(days=7)
# Meta's codes are a few hundred characters.
LONGEST_CODE: Final = 4_096
SAID_EXPIRIES: Final = frozenset({"never", "60_days", "unknown"})


def _open(session: OnboardingSession) -> OnboardingSession:
    """The session, locked, while it has not ended. Raises SessionRefused."""
    found = locked(session.pk)
    if State(found.state) in ENDS:
        raise SessionRefused
    return found


def _adapter(session: OnboardingSession) -> Adapter:
    if not session.option:
        raise SessionRefused
    return ADAPTERS[Option(session.option)]


@transaction.atomic
def begin_session(
    *, advertiser: Advertiser, pixel: Pixel | None = None, created_by: Person | None
) -> OnboardingSession:
    """A session to connect a new pixel, or to give a connected one another credential.

    One at a time for a pixel: its open session is taken up again.
    """
    facts: dict[str, object] = (
        {"time_zone": created_by.time_zone} if created_by and created_by.time_zone else {}
    )
    if pixel is not None:
        Pixel.objects.select_for_update(no_key=True).filter(pk=pixel.pk).get()
        under_way = (
            OnboardingSession.objects.filter(pixel=pixel)
            .exclude(state__in=[str(state) for state in ENDS])
            .order_by("-pk")
            .first()
        )
        if under_way is not None:
            return under_way
        facts |= {"meta_id": pixel.meta_id, "pixel_name": pixel.name}
    return OnboardingSession.objects.create(
        advertiser=advertiser, pixel=pixel, created_by=created_by, facts=facts
    )


@transaction.atomic
def choose_option(
    *,
    session: OnboardingSession,
    option: Option,
    meta_id: str = "",
    pixel_name: str = "",
    default_action_source: str = "",
) -> OnboardingSession:
    """The option by which it is to go; also the same once more, from where it is stuck.

    A log-in begins with open_dialog and moves nothing yet; the others lead on to ENTERING or SHARING, and need the
    pixel's number. Raises SessionRefused.
    """
    found = _open(session)
    if not getattr(found.advertiser.partner, f"offers_{option}"):
        raise SessionRefused
    doomed: list[int] = []
    if found.option and found.option != option:
        if found.state != State.CHOOSING:
            move(found, Move.LEAVE)
        doomed = let_go_of_all(found)
    found.option = option
    given = {
        "meta_id": "" if found.pixel_id else meta_id,
        "pixel_name": "" if found.pixel_id else pixel_name,
        "default_action_source": default_action_source,
    }
    found.facts |= {name: value for name, value in given.items() if value}
    if given["meta_id"]:
        found.facts["is_picked"] = False
        for of_the_one_before in ("was_not_shared", "is_confirmed"):
            found.facts.pop(of_the_one_before, None)
    adapter = ADAPTERS[option]
    if adapter.needs_meta_id and not found.facts.get("meta_id"):
        raise SessionRefused("no_pixel")
    if adapter.opening != Move.LOG_IN:
        move(found, adapter.opening)
    return write(found, erase=doomed)


@transaction.atomic
def open_dialog(*, session: OnboardingSession, browser: str, person: Person, rerequest: bool = False) -> str:
    """Where to send the browser to log in at Meta. Raises SessionRefused.

    `browser` is a random value of this browser's own: only with it the answer is taken, and only by the person.
    Meta asks again for what was declined with `rerequest`. A dialog that was opened before is void.
    """
    found = _open(session)
    adapter, partner = _adapter(found), partner_side(found.advertiser.partner, ())
    if not adapter.has_dialog or not browser:
        raise SessionRefused
    if not partner.app_id:
        raise SessionRefused("wrong_app_secret")
    if found.option == Option.LOGIN_FOR_BUSINESS and not partner.login_config_id:
        raise SessionRefused("flb_not_configured")
    move(found, Move.LOG_IN)
    if found.facts.get("is_picked") and not found.pixel_id:
        # Of the log-in before: this one may be another's.
        found.facts = {
            name: value
            for name, value in found.facts.items()
            if name not in ("meta_id", "pixel_name", "is_picked")
        }
    if external := _external_id(found):
        found.facts["external_business_id"] = external
    state = new_token()
    view = SessionView(found.pk, found.advertiser.name, found.facts, partner)
    dialog = adapter.dialog(view, rerequest=rerequest)
    found.facts |= dialog.facts
    found.nonce_hash, found.browser_hash = hash_token(state), _browser_hash(browser, person)
    found.dialog_opened_at = timezone.now()
    write(found)
    return f"{graph_client().dialog_url}?{urlencode({**dialog.params, 'state': state})}"


def _external_id(session: OnboardingSession) -> str:
    """The id of the connection that is mended: it stays the same for its whole life."""
    if session.option != Option.BUSINESS_EXTENSION or session.pixel_id is None:
        return ""
    in_use = Credential.objects.filter(pixel_id=session.pixel_id, option=Option.BUSINESS_EXTENSION)
    return (
        in_use.exclude(state=Credential.State.RETIRED).values_list("external_business_id", flat=True).first()
        or ""
    )


def _browser_hash(browser: str, person: Person) -> str:
    return hash_token(f"{person.pk}:{browser}")


@transaction.atomic
def take_callback(
    *, person: Person, state: str, browser: str, code: str = "", error: str = "", error_reason: str = ""
) -> OnboardingSession:
    """The session to which Meta sent the browser back. A second callback gets it as it is by now.

    Raises SessionRefused, `state_forged` or `state_expired`: nothing of it is this person's and this browser's.
    """
    found = (
        OnboardingSession.objects.select_for_update(of=("self",))
        .select_related("advertiser__partner")
        .filter(nonce_hash=hash_token(state), advertiser__in=Advertiser.objects.for_person(person))
        .first()
    )
    if (
        not state
        or found is None
        or not may_any(advertiser_roles(person, found.advertiser), Act.CONNECT)
        or not constant_time_compare(found.browser_hash, _browser_hash(browser, person))
    ):
        raise SessionRefused("state_forged")
    if found.state != State.AT_META:
        return found
    if found.dialog_opened_at is None or found.dialog_opened_at < timezone.now() - DIALOG_LIFE:
        raise SessionRefused("state_expired")
    doomed = let_go(found, "grant", "candidate")
    if error or not code or len(code) > LONGEST_CODE:
        move(found, Move.REFUSE, problem="login_cancelled" if error == "access_denied" else "callback_empty")
        return write(found, erase=doomed)
    found.grant = seal_token(advertiser_id=found.advertiser_id, token=Secret(code))
    found.facts["grant"] = "code"
    move(found, Move.RETURN)
    return write(found, erase=doomed)


@transaction.atomic
def pick(*, session: OnboardingSession, meta_id: str = "", business_id: str = "") -> OnboardingSession:
    """The pixel that was picked from what was found. Nothing else is accepted: SessionRefused."""
    found = _open(session)
    pixels = found.facts.get("pixels")
    choice = next(
        (
            pixel
            for pixel in (pixels if isinstance(pixels, list) else [])
            if pixel["id"] == meta_id and pixel["usable"] and business_id in ("", pixel["business_id"])
        ),
        None,
    )
    if choice is None:
        raise SessionRefused("wrong_business")
    if found.pixel_id is not None and found.facts.get("meta_id") != meta_id:
        raise SessionRefused("wrong_business")
    move(found, Move.PICK)
    found.facts |= picked(choice)
    return write(found)


@transaction.atomic
def submit_token(*, session: OnboardingSession, token: Secret, said_expiry: str) -> OnboardingSession:
    """A pasted token. `said_expiry`: `never`, `60_days`, `unknown`, or an ISO date. Raises SessionRefused."""
    found = _open(session)
    doomed: list[int] = []
    if found.state == State.WITH_COLLEAGUE:
        move(found, Move.RECALL)
        doomed = withdraw_links(found)
    elif found.state == State.STUCK and found.option == Option.PASTED_TOKEN:
        move(found, Move.PASTE)
    if found.state != State.ENTERING:
        raise SessionRefused
    doomed += let_go(found, "candidate")
    found.candidate = seal_token(advertiser_id=found.advertiser_id, token=token)
    found.facts["said_expiry"] = known_expiry(said_expiry)
    move(found, Move.SUBMIT)
    return write(found, erase=doomed)


def known_expiry(said: str) -> str:
    """What was said of a token's end, in one of the forms that are kept. Raises ValueError."""
    return said if said in SAID_EXPIRIES else date.fromisoformat(said).isoformat()


@transaction.atomic
def forward_link(*, session: OnboardingSession, person: Person) -> tuple[TokenLink, str]:
    """A link for a colleague, and its token, which is told this once. Good for one token, for seven days.

    A link that was made before is withdrawn. Raises SessionRefused.
    """
    found = _open(session)
    if found.state == State.WITH_COLLEAGUE:
        move(found, Move.RECALL)
    elif found.state == State.STUCK and found.option == Option.PASTED_TOKEN:
        move(found, Move.PASTE)
    move(found, Move.FORWARD)
    doomed = [*withdraw_links(found), *let_go(found, "candidate")]
    token = new_token()
    link = TokenLink.objects.create(
        advertiser_id=found.advertiser_id,
        session=found,
        token_hash=hash_token(token),
        advertiser_name=found.advertiser.name,
        partner_name=found.advertiser.partner.name,
        asked_by=(person.name or person.email)[:254],
        pixel_meta_id=found.facts["meta_id"],
        pixel_name=str(found.facts.get("pixel_name", ""))[:120],
        created_by=person,
        expires_at=timezone.now() + LINK_LIFE,
    )
    write(found, erase=doomed)
    return link, token


def use_link(*, link_token: str, token: Secret, said_expiry: str) -> TokenLink:
    """The colleague's token, sealed beside the link; a worker takes it from there.

    In the link's own scope, which shows this one row. Raises SessionRefused: `link_used`, `link_expired`.
    """
    with tenant_scope(link_hash=hash_token(link_token)):
        link = TokenLink.objects.select_for_update().filter(token_hash=hash_token(link_token)).first()
        if link is None or link.state == TokenLink.State.WITHDRAWN or link.expires_at <= timezone.now():
            raise SessionRefused("link_expired")
        if link.state != TokenLink.State.OPEN:
            raise SessionRefused("link_used")
        said_expiry = known_expiry(said_expiry)
        # Before the link is used: it is what lets the secret in.
        link.secret = seal_token(advertiser_id=link.advertiser_id, token=token)
        link.state, link.said_expiry, link.used_at = TokenLink.State.PASTED, said_expiry, timezone.now()
        link.save(update_fields=["secret", "state", "said_expiry", "used_at"])
        hint_after_commit(RUN_SESSION, link.session_id)
    return link


@transaction.atomic
def recall_link(*, session: OnboardingSession) -> OnboardingSession:
    """Withdraw the link: it opens nothing from now on. Raises SessionRefused."""
    found = _open(session)
    move(found, Move.RECALL)
    return write(found, erase=withdraw_links(found))


@transaction.atomic
def look_now(*, session: OnboardingSession) -> OnboardingSession:
    """Have a session that waits looked at at once. Raises SessionRefused."""
    found = _open(session)
    if State(found.state) not in WORKING:
        raise SessionRefused
    if found.lease_until is None or found.lease_until < timezone.now():
        found.due_at, found.lease_until = timezone.now(), None
        OnboardingSession.objects.filter(pk=found.pk).update(due_at=found.due_at, lease_until=None)
        hint_after_commit(RUN_SESSION, found.pk)
    return found


@transaction.atomic
def confirm_sharing(*, session: OnboardingSession, person: Person) -> OnboardingSession:
    """The partner says that a pixel that was shared before is this advertiser's. Raises SessionRefused."""
    found = _open(session)
    if found.state != State.SHARING:
        raise SessionRefused
    found.facts |= {"is_confirmed": True, "confirmed_by": person.pk}
    write(found)
    return look_now(session=found)


@transaction.atomic
def leave_option(*, session: OnboardingSession) -> OnboardingSession:
    """Back to the choice. What was found stays; what was obtained for this option is revoked. SessionRefused."""
    found = _open(session)
    move(found, Move.LEAVE)
    doomed = let_go_of_all(found) if found.option else []
    found.option = ""
    return write(found, erase=doomed)


@transaction.atomic
def abandon_session(*, session: OnboardingSession) -> OnboardingSession:
    """End it: it keeps no secret, and a worker revokes at Meta what was obtained. Raises SessionRefused."""
    found = _open(session)
    move(found, Move.ABANDON)
    doomed = let_go_of_all(found) if found.option else []
    return write(found, erase=doomed)


@transaction.atomic
def disconnect_pixel(*, pixel: Pixel, person: Person | None) -> None:
    """End the pixel's credential: nothing is sent, events wait, and a worker undoes at Meta what can be undone.

    Its open sessions are abandoned. selectors.what_disconnecting_does() says all that beforehand.
    """
    Pixel.objects.select_for_update(no_key=True).filter(pk=pixel.pk).get()
    open_ones = OnboardingSession.objects.filter(pixel=pixel).exclude(
        state__in=[str(state) for state in ENDS]
    )
    for session in open_ones.order_by("pk"):
        abandon_session(session=session)
    retire_credential(pixel=pixel, person=person)
