"""Connection tests beyond the one: a pixel's history, many pixels at once, tests by the clock."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from onboarding import selectors, services
from onboarding.access import get_pixel_for
from onboarding.forms import TestScheduleForm
from onboarding.models import ConnectionTest, Pixel
from partnerhub.lib.web import language_of
from tenants.access import advertiser_roles, get_advertiser_for, get_partner_for
from tenants.models import Advertiser
from tenants.roles import Act, may_any
from tenants.scoped import scoped, show, signed_in


@require_GET
@scoped
def history(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """The connection tests of a pixel, newest first, drawn and listed."""
    person = signed_in(request)
    pixel = get_pixel_for(person, pixel_id)
    before = request.GET.get("before", "")
    page = selectors.connection_tests(
        pixel,
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
        language=language_of(request),
    )
    context = {
        "pixel": pixel,
        "advertiser": pixel.advertiser,
        "page": page,
        "may_test": may_any(advertiser_roles(person, pixel.advertiser), Act.TEST),
        "schedule_form": TestScheduleForm(initial={"every_hours": pixel.test_every_hours}),
        "now": timezone.now(),
    }
    return show(request, pixel.advertiser, "onboarding/tests.html", context)


@require_POST
@scoped
def schedule(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """Set how often a pixel is tested by itself."""
    pixel = get_pixel_for(signed_in(request), pixel_id, Act.TEST)
    form = TestScheduleForm(request.POST)
    if form.is_valid():
        services.set_test_schedule(pixel=pixel, every_hours=int(form.cleaned_data["every_hours"]))
        messages.success(request, "Saved.")
    else:
        messages.error(request, "Choose how often the connection is tested.")
    return redirect("onboarding:tests", pixel.pk)


@require_POST
@scoped
def test_advertiser(request: HttpRequest, advertiser_id: int) -> HttpResponse:
    """Test all pixels of an advertiser."""
    advertiser = get_advertiser_for(signed_in(request), advertiser_id, Act.TEST)
    _test_all(request, advertiser.pixels.order_by("pk"))
    return redirect("events:advertiser_home", advertiser.pk)


@require_POST
@scoped
def test_partner(request: HttpRequest, partner_id: int) -> HttpResponse:
    """Test all pixels of a partner's advertisers."""
    partner = get_partner_for(signed_in(request), partner_id, Act.TEST)
    advertisers = Advertiser.objects.filter(partner=partner)
    _test_all(request, Pixel.objects.filter(advertiser__in=advertisers).order_by("pk"))
    return redirect("events:partner_home", partner.pk)


def _test_all(request: HttpRequest, pixels: selectors.Pixels) -> None:
    asked = services.request_connection_tests(
        pixels=pixels, requested_by=signed_in(request), trigger=ConnectionTest.Trigger.PERSON
    )
    count = len(asked.tests)
    if count:
        messages.success(
            request,
            f"{count} pixel{'s are' if count > 1 else ' is'} being tested; each page shows its own outcome.",
        )
    if asked.left_out:
        names = ", ".join(pixel.name for pixel, _ in asked.left_out[:5])
        more = len(asked.left_out) - 5
        messages.info(
            request,
            f"Not tested now: {names}{f' and {more} more' if more > 0 else ''} (not connected, or just tested).",
        )
