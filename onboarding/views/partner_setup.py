"""The partner's set-up, step by step, and its App Review page. The owner sets up; a manager sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from onboarding import app_review, setup_selectors
from onboarding.models import SetupCheck
from onboarding.services import partner_setup
from onboarding.services.openings import redirect_uri
from onboarding.setup import steps
from onboarding.setup_forms import FORMS, StepForm
from partnerhub.lib.charts import count_bars
from partnerhub.lib.web import language_of
from tenants.access import get_partner_for, partner_roles
from tenants.branding import shades
from tenants.context import brand_of
from tenants.models import Partner, Person
from tenants.roles import Act, may_any
from tenants.scoped import scoped, show, signed_in


@require_GET
@scoped
def setup(request: HttpRequest, partner_id: int) -> HttpResponse:
    """Where the set-up goes on: its first step that has not passed."""
    partner = get_partner_for(signed_in(request), partner_id, Act.SEE_SET_UP)
    return redirect("onboarding:setup_step", partner.pk, setup_selectors.setup_progress(partner).next_key)


@require_http_methods(["GET", "POST"])
@scoped
def setup_step(request: HttpRequest, partner_id: int, step: str) -> HttpResponse:
    """One step: its form, and what came of its check. htmx asks for the part that changes."""
    person = signed_in(request)
    partner = get_partner_for(person, partner_id, Act.SET_UP if request.method == "POST" else Act.SEE_SET_UP)
    form = _form(request, partner, step)
    if form.is_valid():
        try:
            _SAVED[step](partner, person, form.cleaned_data)
        except partner_setup.NameTaken:
            form.add_error("name", "Another partner has this name.")
        else:
            return redirect("onboarding:setup_step", partner.pk, _next_page(partner, step))
    context = _step_context(request, partner, step, form)
    if request.htmx:  # type: ignore[attr-defined]  # django-htmx
        return _fragment(request, partner, "onboarding/partner/_check.html", context)
    return show(request, partner, "onboarding/partner/step.html", context, 422 if form.is_bound else 200)


@require_POST
@scoped
def check_setup(request: HttpRequest, partner_id: int, step: str) -> HttpResponse:
    """Ask Graph about a step again, with what was typed before."""
    person = signed_in(request)
    partner = get_partner_for(person, partner_id, Act.SET_UP)
    if step not in steps.BY_KEY or not steps.BY_KEY[step].asks_graph:
        raise Http404
    partner_setup.ask_check(partner=partner, step=step, person=person)
    return redirect("onboarding:setup_step", partner.pk, step)


@require_http_methods(["GET", "POST"])
@scoped
def review(request: HttpRequest, partner_id: int) -> HttpResponse:
    """What App Review asks for and what the app has; a POST reads it from Graph anew."""
    person = signed_in(request)
    partner = get_partner_for(person, partner_id, Act.SET_UP if request.method == "POST" else Act.SEE_SET_UP)
    if request.method == "POST":
        partner_setup.ask_check(partner=partner, step=SetupCheck.Step.REVIEW, person=person)
        return redirect("onboarding:app_review", partner.pk)
    context = _review_context(request, partner)
    if request.htmx:  # type: ignore[attr-defined]  # django-htmx
        return _fragment(request, partner, "onboarding/partner/_reading.html", context)
    return show(request, partner, "onboarding/partner/review.html", context)


def _fragment(
    request: HttpRequest, partner: Partner, template: str, context: dict[str, object]
) -> HttpResponse:
    """The part that changes; the whole page once the check is over."""
    check = context["check"]
    if isinstance(check, SetupCheck) and check.is_under_way:
        return show(request, partner, template, context)
    return HttpResponse(headers={"HX-Refresh": "true"})


def _form(request: HttpRequest, partner: Partner, step: str) -> StepForm:
    if step not in FORMS:
        raise Http404
    is_post = request.method == "POST"
    # What was typed and did not pass is typed on, and not again. (No secret is among it.)
    wanted = SetupCheck.objects.filter(partner=partner, step=step).values_list("wanted", flat=True).first()
    return FORMS[step](
        request.POST if is_post else None,
        request.FILES if is_post else None,
        partner=partner,
        last_fours=setup_selectors.stored_last_fours(partner),
        initial=wanted or {},
    )


def _next_page(partner: Partner, step: str) -> str:
    """This step's page while Graph is asked; else the next open one's."""
    if steps.BY_KEY[step].asks_graph:
        return step
    partner.refresh_from_db()
    return setup_selectors.setup_progress(partner).after(step) or step


# What each form does, once it is valid.


def _save_plain(step: str) -> Callable[[Partner, Person, dict[str, Any]], None]:
    def save(partner: Partner, person: Person, data: dict[str, Any]) -> None:
        partner_setup.save_step(partner=partner, step=step, person=person, **data)

    return save


def _save_app(partner: Partner, person: Person, data: dict[str, Any]) -> None:
    partner_setup.ask_check(
        partner=partner,
        step="app",
        person=person,
        wanted={"meta_app_id": data["meta_app_id"]},
        secret=data["app_secret"],
        app_mode=data["app_mode"],
    )


def _save_assigning(partner: Partner, person: Person, data: dict[str, Any]) -> None:
    partner_setup.ask_check(
        partner=partner,
        step="assigning",
        person=person,
        wanted={},
        secret=data["assigning_token"],
        business_id=data["business_id"],
    )


def _save_sending(partner: Partner, person: Person, data: dict[str, Any]) -> None:
    is_made = data["how"] == "make"
    partner_setup.ask_check(
        partner=partner,
        step="sending",
        person=person,
        wanted={"how": "make", "sending_system_user_id": data["sending_system_user_id"]} if is_made else {},
        secret=None if is_made else data["sending_token"],
    )


def _save_branding(partner: Partner, person: Person, data: dict[str, Any]) -> None:
    partner_setup.save_branding(
        partner=partner,
        person=person,
        name=data["name"],
        brand_colour=data["brand_colour"],
        logo=data["logo"],
        is_logo_removed=data.get("remove_logo", False),
    )


def _save_own_pixel(partner: Partner, person: Person, data: dict[str, Any]) -> None:
    partner_setup.ask_check(
        partner=partner,
        step="own_pixel",
        person=person,
        wanted={"test_event_code": data["test_event_code"]},
        own_pixel_id=data["own_pixel_id"],
    )


_SAVED: dict[str, Callable[[Partner, Person, dict[str, Any]], None]] = {
    "options": _save_plain("options"),
    "agent": _save_plain("agent"),
    "app": _save_app,
    "assigning": _save_assigning,
    "sending": _save_sending,
    "login": _save_plain("login"),
    "branding": _save_branding,
    "own_pixel": _save_own_pixel,
}


# What the pages show.


def _step_context(request: HttpRequest, partner: Partner, step: str, form: StepForm) -> dict[str, object]:
    checks = setup_selectors.setup_checks(partner)
    check = checks.get(step)
    progress = setup_selectors.setup_progress(partner, checks)
    return {
        "partner": partner,
        "step": steps.BY_KEY[step],
        "is_needed": step in [one.key for one, _ in progress.steps],
        "form": form,
        "check": check,
        "fault": setup_selectors.fault_of(check, language_of(request)) if check else None,
        "waiting_last_four": setup_selectors.waiting_last_four(partner, step),
        "progress": progress,
        "next_key": progress.after(step),
        "may_set_up": may_any(partner_roles(signed_in(request), partner.pk), Act.SET_UP),
        "brand": brand_of(partner) if step == "branding" else None,
        "shades": shades(partner.brand_colour) if step == "branding" and partner.brand_colour else (),
        "redirect_uri": redirect_uri(),
    }


def _review_context(request: HttpRequest, partner: Partner) -> dict[str, object]:
    checks = setup_selectors.setup_checks(partner)
    check = checks.get(SetupCheck.Step.REVIEW)
    facts = check.facts if check else {}
    verification = str(facts.get("verification_status") or "")
    counts = [app_review.Day(*row) for row in setup_selectors.call_counts(partner)]
    calls = app_review.tally(counts, today=timezone.now().date())
    return {
        "partner": partner,
        "check": check,
        "fault": setup_selectors.fault_of(check, language_of(request)) if check else None,
        "rows": app_review.rows(setup_selectors.ways_of(partner), facts),
        "verification": verification.replace("_", " "),
        "verification_badge": app_review.VERIFICATION.get(verification, "neutral"),
        "tier": app_review.TIERS.get(str(facts.get("tier", "")), ""),
        "calls": calls,
        "chart": count_bars(
            [(f"{day.day:%-d %b}", day.succeeded) for day in calls.days],
            tick_every=3,
            is_last_unfinished=True,
        ),
        "calls_needed": app_review.CALLS_NEEDED,
        "error_percent_allowed": app_review.ERROR_PERCENT,
        "may_set_up": may_any(partner_roles(signed_in(request), partner.pk), Act.SET_UP),
        "addresses": _addresses(partner),
    }


def _addresses(partner: Partner) -> list[tuple[str, str, str]]:
    """(id, what it is, the address): what Meta's dashboard wants to know of us."""
    named = {
        "deauthorise": "Deauthorize callback URL",
        "data_deletion": "Data deletion request URL",
        "webhook": "Webhooks callback URL",
    }
    paths = [
        (name, label, settings.CONFIG.public_url + reverse(f"onboarding:{name}", args=[partner.callback_key]))
        for name, label in named.items()
    ]
    return [("redirect", "Valid OAuth redirect URI", redirect_uri()), *paths]
