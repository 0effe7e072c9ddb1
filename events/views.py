"""The pages about events: the partner's and the advertiser's home, a pixel, its log, one event."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from events import selectors, services
from events.access import get_event_for, get_ingest_token_for
from events.flow import Flow, chart_of, flows_of, refused_at_doors
from events.forms import IngestTokenForm
from events.replay import Fate
from onboarding.access import get_pixel_for
from onboarding.forms import ConnectionTestForm, DisconnectForm
from onboarding.journey import State
from onboarding.models import Pixel
from onboarding.selectors import fresh_test_event_code, open_sessions, what_disconnecting_does
from onboarding.services.sessions import disconnect_pixel
from onboarding.setup_selectors import setup_progress
from onboarding.stories import credential_story
from onboarding.wizard import WAITS_FOR
from partnerhub.lib.web import language_of
from tenants.access import advertiser_roles, get_advertiser_for, get_partner_for, partner_roles
from tenants.roles import Act, may_any
from tenants.scoped import scoped, show, signed_in
from tenants.selectors import open_advertiser_invitations

# Of a partner's pixels, those with the most events.
FLOWS_SHOWN: Final = 100


@require_GET
@scoped
def partner_home(request: HttpRequest, partner_id: int) -> HttpResponse:
    """The partner's fleet: who hurts comes first."""
    person = signed_in(request)
    partner = get_partner_for(person, partner_id)
    roles = partner_roles(person, partner.pk)
    now = timezone.now()
    fleet = selectors.fleet(partner, now=now)
    pixels = {overview.pixel.pk: overview.pixel for row in fleet for overview in row.pixels}
    flows = flows_of(pixels)
    flow = sum(flows.values(), Flow())
    largest = sorted(flows, key=lambda pixel_id: -flows[pixel_id].taken)[:FLOWS_SHOWN]
    context = {
        "partner": partner,
        "flow": flow,
        "flow_chart": chart_of(flow),
        "pixel_flows": [(pixels[pixel_id], chart_of(flows[pixel_id])) for pixel_id in largest],
        "flow_pixels": len(flows),
        "refused": refused_at_doors(pixels, now=now),
        "fleet": fleet,
        "states": selectors.count_states(fleet),
        "taken": sum(row.taken_today for row in fleet),
        "waiting": sum(row.waiting for row in fleet),
        "invitations": open_advertiser_invitations(partner, now),
        "may_invite": may_any(roles, Act.MANAGE_ADVERTISERS),
        "set_up": setup_progress(partner) if may_any(roles, Act.SET_UP) else None,
    }
    return show(request, partner, "events/partner_home.html", context)


@require_GET
@scoped
def advertiser_home(request: HttpRequest, advertiser_id: int) -> HttpResponse:
    """The advertiser's pixels."""
    person = signed_in(request)
    advertiser = get_advertiser_for(person, advertiser_id)
    pixels = list(Pixel.objects.filter(advertiser=advertiser).order_by("pk"))
    context = {
        "advertiser": advertiser,
        "overviews": selectors.overviews(pixels, now=timezone.now()),
        "open_sessions": [(found, WAITS_FOR[State(found.state)]) for found in open_sessions(advertiser)],
        "may_connect": may_any(advertiser_roles(person, advertiser), Act.CONNECT),
    }
    return show(request, advertiser, "events/advertiser_home.html", context)


@require_GET
@scoped
def pixel(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """One pixel: its state, test, ingest tokens, and latest events."""
    found = get_pixel_for(signed_in(request), pixel_id)
    return show(request, found.advertiser, "events/pixel.html", _pixel_context(request, found))


@require_http_methods(["GET", "POST"])
@scoped
def disconnect(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """Say what disconnecting the pixel will do, in numbers; do it once its name was typed."""
    person = signed_in(request)
    found = get_pixel_for(person, pixel_id, Act.CONNECT)
    form = DisconnectForm(request.POST if request.method == "POST" else None, expected=found.name)
    if form.is_valid():
        disconnect_pixel(pixel=found, person=person)
        messages.success(request, f"{found.name} is disconnected. Events wait until it is connected anew.")
        return redirect("events:pixel", found.pk)
    [overview] = selectors.overviews([found], now=timezone.now())
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "form": form,
        "effects": what_disconnecting_does(found),
        "overview": overview,
        "tokens": [token for token in selectors.ingest_tokens(found) if token.revoked_at is None],
    }
    template, status = "events/disconnect.html", 422 if form.is_bound else 200
    return show(request, found.advertiser, template, context, status)


@require_GET
@scoped
def log(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """The pixel's log, newest first."""
    found = get_pixel_for(signed_in(request), pixel_id)
    before, fate = request.GET.get("before", ""), request.GET.get("fate", "")
    page = selectors.event_page(
        found,
        before=int(before) if before.isdecimal() and len(before) < 19 else None,
        fate=Fate(fate) if fate in set(Fate) else None,
    )
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "page": page,
        "is_newest": not before,
        "fates": selectors.FATE_WORDS,
        "fate": fate if fate in set(Fate) else "",
    }
    template = "events/_rows.html" if request.htmx else "events/log.html"  # type: ignore[attr-defined]  # django-htmx
    return show(request, found.advertiser, template, context)


@require_GET
@scoped
def detail(request: HttpRequest, pixel_id: int, log_offset: int) -> HttpResponse:
    """What happened to one event."""
    found, event = get_event_for(signed_in(request), pixel_id, log_offset)
    rejection = event.row.rejection
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "event": event,
        "explanation": selectors.explain_rejection(rejection, language=language_of(request))
        if rejection
        else None,
    }
    return show(request, found.advertiser, "events/detail.html", context)


@require_GET
@scoped
def operator_log(request: HttpRequest) -> HttpResponse:
    """The hot tables, for an operator; the admin cannot show them, for it refuses composite keys."""
    if not signed_in(request).is_superuser:
        raise Http404
    return render(request, "events/operator_log.html", {"tables": selectors.hot_tables()})


@require_POST
@scoped
def issue_ingest_token(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """Make an ingest token, and show it this once."""
    person = signed_in(request)
    found = get_pixel_for(person, pixel_id, Act.CONNECT)
    form = IngestTokenForm(request.POST)
    if not form.is_valid():
        context = _pixel_context(request, found, token_form=form)
        return show(request, found.advertiser, "events/pixel.html", context, status=422)
    token, text = services.issue_ingest_token(pixel=found, name=form.cleaned_data["name"], created_by=person)
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "token": token,
        "text": text,
        "door": settings.CONFIG.collector_url,
        "version": settings.CONFIG.graph_api_version,
    }
    response = show(request, found.advertiser, "events/ingest_token.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@scoped
def revoke_ingest_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Revoke an ingest token."""
    token = get_ingest_token_for(signed_in(request), token_id, Act.CONNECT)
    if services.revoke_ingest_token(token=token):
        messages.success(request, f"{token.name} is revoked. It stops working within five seconds.")
    return redirect("events:pixel", token.pixel_id)


def _pixel_context(
    request: HttpRequest, found: Pixel, token_form: IngestTokenForm | None = None
) -> dict[str, object]:
    now = timezone.now()
    [overview] = selectors.overviews([found], now=now)
    roles = advertiser_roles(signed_in(request), found.advertiser)
    flow = flows_of([found.pk]).get(found.pk, Flow())
    return {
        "flow": flow,
        "flow_chart": chart_of(flow),
        "refused": refused_at_doors([found.pk], now=now),
        "may_connect": may_any(roles, Act.CONNECT),
        "may_test": may_any(roles, Act.TEST),
        "pixel": found,
        "advertiser": found.advertiser,
        "overview": overview,
        "drain": None if found.hold else selectors.drain_progress(found.pk, now=now),
        "story": credential_story(found, overview.credential, language=language_of(request)),
        "page": selectors.event_page(found, size=10),
        "rejections": selectors.recent_failures(found, language=language_of(request)),
        "tokens": selectors.ingest_tokens(found),
        "token_form": token_form or IngestTokenForm(),
        "test_form": ConnectionTestForm(initial={"test_event_code": fresh_test_event_code(found, now=now)}),
        "code_expired": bool(found.test_event_code) and not fresh_test_event_code(found, now=now),
        "door": settings.CONFIG.collector_url,
        "version": settings.CONFIG.graph_api_version,
    }
