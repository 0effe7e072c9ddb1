"""The wizard "Connect your pixel": one page a session, drawn by its state, and what can be done there."""

from __future__ import annotations

import functools
from collections.abc import Callable

from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from onboarding.access import get_pixel_for, get_session_for
from onboarding.forms import LogInForm, PickForm, PixelForm
from onboarding.journey import State
from onboarding.models import OnboardingSession, Option
from onboarding.selectors import offered_options
from onboarding.services import sessions
from onboarding.services.sessions import SessionRefused
from onboarding.views.session_page import link_page, moving_line, pixel_form, session_page, token_form
from onboarding.wizard import COLLEAGUE
from partnerhub.lib.graph.remedies import explain_problem
from partnerhub.lib.web import language_of
from tenants.access import get_advertiser_for, partner_roles, require
from tenants.roles import Act
from tenants.scoped import View, scoped, show, signed_in
from tenants.tokens import new_token

# Of the browser's own Django session: Meta's answer is taken from the browser that went there.
BROWSER_KEY = "connect_browser"


@require_POST
@scoped
def connect(request: HttpRequest, advertiser_id: int) -> HttpResponse:
    """Begin to connect a pixel."""
    person = signed_in(request)
    advertiser = get_advertiser_for(person, advertiser_id, Act.CONNECT)
    session = sessions.begin_session(advertiser=advertiser, created_by=person)
    return redirect("onboarding:session", session.pk)


@require_POST
@scoped
def reconnect(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """Begin to give a pixel another credential; the one in use stays until the new one is proven."""
    person = signed_in(request)
    pixel = get_pixel_for(person, pixel_id, Act.CONNECT)
    session = sessions.begin_session(advertiser=pixel.advertiser, pixel=pixel, created_by=person)
    return redirect("onboarding:session", session.pk)


@require_GET
@never_cache
@scoped
def session(request: HttpRequest, session_id: int) -> HttpResponse:
    """Where the session is, and what to do next; htmx asks for the line that moves."""
    found = get_session_for(signed_in(request), session_id)
    if request.htmx:  # type: ignore[attr-defined]  # django-htmx
        return moving_line(request, found)
    return session_page(request, found)


@require_GET
@never_cache
@scoped
def callback(request: HttpRequest) -> HttpResponse:
    """Where Meta sends browsers back to, for all tenants: on to the session that was left for Meta."""
    person, query = signed_in(request), request.GET
    try:
        found = sessions.take_callback(
            person=person,
            browser=request.session.get(BROWSER_KEY, ""),
            **{name: query.get(name, "") for name in ("state", "code", "error", "error_reason")},
        )
    except SessionRefused as refused:
        context = {"explanation": explain_problem(refused.problem, language=language_of(request))}
        return show(request, None, "onboarding/callback_refused.html", context, 400)
    # A fragment of our own: else the one that Facebook appends (`#_=_`) would stay.
    return redirect(reverse("onboarding:session", args=[found.pk]) + "#main")


def acting(act: Callable[[HttpRequest, OnboardingSession], HttpResponse | None]) -> View:
    """The view of an act on a session: all of it or nothing; a refusal is shown where the session is by now."""

    @require_POST
    @never_cache
    @scoped
    @functools.wraps(act)
    def view(request: HttpRequest, session_id: int) -> HttpResponse:
        found = get_session_for(signed_in(request), session_id, Act.CONNECT)
        try:
            with transaction.atomic():
                answer = act(request, found)
        except SessionRefused as refused:
            found = get_session_for(signed_in(request), session_id)
            return session_page(request, found, status=409, refused=refused.problem)
        return answer or redirect("onboarding:session", found.pk)

    return view


@acting
def log_in(request: HttpRequest, found: OnboardingSession) -> HttpResponse | None:
    """To Meta's log-in dialog."""
    form = LogInForm(request.POST, offered=offered_options(found.advertiser.partner))
    if not form.is_valid():
        return session_page(request, found, status=422)
    option = Option(form.cleaned_data["option"])
    if found.option != option:
        found = sessions.choose_option(session=found, option=option)
    return redirect(
        sessions.open_dialog(
            session=found,
            browser=request.session.setdefault(BROWSER_KEY, new_token()),
            person=signed_in(request),
            rerequest=form.cleaned_data["rerequest"],
        )
    )


@acting
def enter_token(request: HttpRequest, found: OnboardingSession) -> HttpResponse | None:
    """A pasted token, and the pixel that it is for."""
    form = token_form(found, request.POST)
    if not form.is_valid():
        return session_page(request, found, status=422, way=Option.PASTED_TOKEN, form=form)
    data = form.cleaned_data
    sessions.submit_token(
        session=_choose(found, Option.PASTED_TOKEN, form),
        token=data["access_token"],
        said_expiry=data["said_expiry"],
    )
    return None


@acting
def forward(request: HttpRequest, found: OnboardingSession) -> HttpResponse | None:
    """A link for the colleague who has the rights; this answer alone shows it."""
    form = pixel_form(found, request.POST)
    if form and not form.is_valid():
        return session_page(request, found, status=422, way=COLLEAGUE, form=form)
    chosen = _choose(found, Option.PASTED_TOKEN, form)
    link, token = sessions.forward_link(session=chosen, person=signed_in(request))
    return link_page(request, chosen, link, token)


@acting
def share(request: HttpRequest, found: OnboardingSession) -> HttpResponse | None:
    """The pixel that is going to be shared: from now on it is looked for."""
    form = pixel_form(found, request.POST)
    if form and not form.is_valid():
        return session_page(request, found, status=422, way=Option.SHARED_PIXEL, form=form)
    _choose(found, Option.SHARED_PIXEL, form)
    return None


def _choose(found: OnboardingSession, option: Option, form: Form | None) -> OnboardingSession:
    """The option, for the pixel that was typed; where a token is waited for, both are chosen."""
    if option == Option.PASTED_TOKEN and found.state in (State.ENTERING, State.WITH_COLLEAGUE):
        return found
    typed = form.cleaned_data if form else {}
    pixel = {name: typed[name] for name in PixelForm.base_fields if name in typed}
    return sessions.choose_option(session=found, option=option, **pixel)


@acting
def pick(request: HttpRequest, found: OnboardingSession) -> HttpResponse | None:
    """The pixel, or the business, out of those that were found."""
    form = PickForm(request.POST)
    if not form.is_valid():
        return session_page(request, found, status=422)
    sessions.pick(session=found, **form.cleaned_data)
    return None


@acting
def look(request: HttpRequest, found: OnboardingSession) -> None:
    """I have shared it: look at once."""
    sessions.look_now(session=found)


@acting
def confirm(request: HttpRequest, found: OnboardingSession) -> None:
    """The partner's word that the shared pixel is this advertiser's."""
    person, partner = signed_in(request), found.advertiser.partner
    require(partner_roles(person, partner.pk), Act.CONNECT, tenant=partner)
    sessions.confirm_sharing(session=found, person=person)


@acting
def recall(request: HttpRequest, found: OnboardingSession) -> None:
    """Withdraw the colleague's link."""
    sessions.recall_link(session=found)


@acting
def leave(request: HttpRequest, found: OnboardingSession) -> None:
    """Back to the choice of a way, with what was found so far."""
    sessions.leave_option(session=found)


@acting
def abandon(request: HttpRequest, found: OnboardingSession) -> None:
    """End the session; nothing stays behind."""
    sessions.abandon_session(session=found)
