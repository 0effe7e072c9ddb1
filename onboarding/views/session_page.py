"""A session's page: what its templates are given, by its state."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from onboarding import selectors, wizard
from onboarding.forms import PixelForm, PixelTokenForm, TokenForm
from onboarding.journey import ENDS, WORKING, State
from onboarding.ladder import drawn
from onboarding.models import ConnectionTest, OnboardingSession, Option, TokenLink
from onboarding.options import ADAPTERS
from partnerhub.lib.config import config
from partnerhub.lib.graph import graph_client
from partnerhub.lib.graph.remedies import Explanation, explain, explain_problem
from partnerhub.lib.web import language_of
from tenants.access import advertiser_roles, partner_roles
from tenants.roles import Act, may_any
from tenants.scoped import show, signed_in

# Where another way may be looked at before it is taken.
_CHOOSABLE = frozenset({State.CHOOSING, State.STUCK, State.ENTERING, State.WITH_COLLEAGUE})


def session_page(
    request: HttpRequest,
    found: OnboardingSession,
    *,
    status: int = 200,
    way: str = "",
    form: Any = None,
    refused: str | None = None,
) -> HttpResponse:
    """The page. `way` and `form`: what was sent and came back; `refused`: why nothing was done."""
    state, language = State(found.state), language_of(request)
    partner = found.advertiser.partner
    offered = selectors.offered_options(partner)
    way = way or _way(request, found, offered)
    test = selectors.test_of_session(found) if state in (State.PROVING, State.STUCK) else None
    stages = wizard.outline(found.option, state, is_tested=test is not None and not found.problem)
    context = {
        "session": found,
        "advertiser": found.advertiser,
        "partner": partner,
        "may_connect": _may_connect(request, found),
        "template": f"onboarding/states/{'way' if way else state}.html",
        "way": way,
        "form": form or _form(found, way),
        "stages": stages,
        "place": wizard.place_in(stages),
        "ways": wizard.ways(offered, partner.name),
        "answers": wizard.answers(offered, partner.name),
        "explanation": _explanation(found, language),
        "refused": explain_problem(refused, language=language) if refused else None,
        "is_elsewhere": refused == "",
        "is_over": state in ENDS,
        "may_confirm": found.problem == "sharing_unconfirmed"
        and may_any(partner_roles(signed_in(request), partner.pk), Act.CONNECT),
        "can_forward": Option.PASTED_TOKEN in offered,
        "is_declined": found.problem == "declined_permission",
        "can_share_by_log_in": bool(ADAPTERS[Option.SHARED_PIXEL].has_dialog and partner.meta_app_id),
        "is_watched": state in WORKING or state in (State.AT_META, State.WITH_COLLEAGUE),
        "choices": selectors.choices_of(found),
        "link": selectors.link_of_session(found) if state == State.WITH_COLLEAGUE else None,
        "test": test,
        **_moving(found, test),
    }
    response = show(request, found.advertiser, "onboarding/session.html", context, status)
    # To browsers a form leads where its answer redirects to: Meta's dialog. (csp_update() does no more than this.)
    dialog = urlsplit(graph_client().dialog_url)
    may_lead_to = {"form-action": [f"{dialog.scheme}://{dialog.netloc}"]}
    response._csp_update = may_lead_to  # type: ignore[attr-defined]  # noqa: SLF001 - django-csp's way
    return response


def moving_line(request: HttpRequest, found: OnboardingSession) -> HttpResponse:
    """What changes while somebody looks on; the whole page anew where the session is elsewhere by now."""
    if request.GET.get("seen") != found.state:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = {
        "session": found,
        "partner": found.advertiser.partner,
        "may_connect": _may_connect(request, found),
        "explanation": _explanation(found, language_of(request)),
        **_moving(found, selectors.test_of_session(found)),
    }
    return show(request, found.advertiser, "onboarding/_moving.html", context)


def _may_connect(request: HttpRequest, found: OnboardingSession) -> bool:
    return may_any(advertiser_roles(signed_in(request), found.advertiser), Act.CONNECT)


def link_page(request: HttpRequest, found: OnboardingSession, link: TokenLink, token: str) -> HttpResponse:
    """The one page that shows a colleague's link."""
    address = config().public_url + reverse("onboarding:colleague", args=[token])
    context = {"session": found, "advertiser": found.advertiser, "link": link, "address": address}
    return show(request, found.advertiser, "onboarding/link.html", context)


def pixel_form(found: OnboardingSession, data: Any = None) -> PixelForm | None:
    """Which pixel; nothing where that is settled."""
    return None if _is_pixel_settled(found) else PixelForm(data, initial=found.facts)


def token_form(found: OnboardingSession, data: Any = None) -> TokenForm:
    """A token, and which pixel it is for where that is not settled."""
    return TokenForm(data) if _is_pixel_settled(found) else PixelTokenForm(data, initial=found.facts)


def _is_pixel_settled(found: OnboardingSession) -> bool:
    return found.pixel_id is not None or found.state in (State.ENTERING, State.WITH_COLLEAGUE)


def _way(request: HttpRequest, found: OnboardingSession, offered: list[Option]) -> str:
    """The way that is looked at: by the address, or because there is no other; empty for the state's own page."""
    if found.state not in _CHOOSABLE:
        return ""
    asked = request.GET.get("way", "")
    if asked in offered or (asked == wizard.COLLEAGUE and Option.PASTED_TOKEN in offered):
        return asked
    if found.state == State.ENTERING:
        return Option.PASTED_TOKEN
    return offered[0] if found.state == State.CHOOSING and len(offered) == 1 else ""


def _form(found: OnboardingSession, way: str) -> Any:
    if way == Option.PASTED_TOKEN:
        return token_form(found)
    return pixel_form(found) if way in (wizard.COLLEAGUE, Option.SHARED_PIXEL) else None


def _moving(found: OnboardingSession, test: ConnectionTest | None) -> dict[str, object]:
    now = timezone.now()
    is_running = found.state == State.PROVING
    # A finished test is the one before: this one's first rung is not climbed yet.
    rungs = [] if test is None or (is_running and test.is_finished) else test.rungs
    return {
        "ladder": drawn(rungs, is_running=is_running),
        "next_look": wizard.brief(found.due_at - now) if found.due_at and found.due_at > now else "",
    }


def _explanation(found: OnboardingSession, language: str) -> Explanation | None:
    """Where it is stuck, or why it waits."""
    if found.problem:
        return explain_problem(found.problem, language=language)
    if found.failure_class:
        return explain(found.failure_class, found.code, found.subcode, language=language, option=found.option)
    return None
