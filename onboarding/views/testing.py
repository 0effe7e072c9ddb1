"""Test connection: asked for, and shown as it happens."""

from __future__ import annotations

import json

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from onboarding import services
from onboarding.access import get_connection_test_for, get_pixel_for
from onboarding.forms import ConnectionTestForm
from onboarding.ladder import drawn
from onboarding.models import ConnectionTest, Pixel
from partnerhub.lib.graph.remedies import Explanation, explain
from partnerhub.lib.web import language_of
from tenants.roles import Act
from tenants.scoped import scoped, show, signed_in


@require_POST
@scoped
def test_connection(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """Start a test of the pixel's connection."""
    pixel = get_pixel_for(signed_in(request), pixel_id, Act.TEST)
    form = ConnectionTestForm(request.POST)
    if not form.is_valid():
        for error in form.errors["test_event_code"]:
            messages.error(request, str(error))
        return redirect("events:pixel", pixel.pk)
    return _start_test(request, pixel, form.cleaned_data["test_event_code"])


@require_GET
@scoped
def test(request: HttpRequest, test_id: int) -> HttpResponse:
    """A connection test: its progress, then its outcome. htmx asks again for the part that changes."""
    found = get_connection_test_for(signed_in(request), test_id)
    template = "onboarding/_test.html" if request.htmx else "onboarding/test.html"  # type: ignore[attr-defined]  # django-htmx
    return show(request, found.advertiser, template, _test_context(request, found))


test.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test of its own


def _start_test(request: HttpRequest, pixel: Pixel, test_event_code: str = "") -> HttpResponse:
    try:
        started = services.request_connection_test(
            pixel=pixel, requested_by=signed_in(request), test_event_code=test_event_code
        )
    except services.TestUnderWay:
        under_way = ConnectionTest.objects.filter(pixel=pixel).latest("pk")
        return redirect("onboarding:test", under_way.pk)
    except services.TestTooSoon:
        messages.error(request, "This pixel was tested several times within a minute. Wait a moment.")
        return redirect("events:pixel", pixel.pk)
    except services.NoCredential:
        messages.error(request, "The pixel is not connected, so there is nothing to test. Connect it first.")
        return redirect("events:pixel", pixel.pk)
    return redirect("onboarding:test", started.pk)


def _test_context(request: HttpRequest, found: ConnectionTest) -> dict[str, object]:
    failed = found.state == ConnectionTest.State.FAILED
    return {
        "test": found,
        "pixel": found.pixel,
        "advertiser": found.advertiser,
        "explanation": _explanation(request, found) if failed else None,
        "ladder": drawn(found.rungs, is_running=not found.is_finished),
        "request_text": _pretty(found.request),
        "answer_text": _pretty(found.answer) if found.answer else "No answer of Meta's came back.",
    }


def _explanation(request: HttpRequest, failed: ConnectionTest) -> Explanation:
    opened_by = failed.credential or failed.session
    return explain(
        failed.failure_class,
        failed.code,
        failed.subcode,
        language=language_of(request),
        option=opened_by.option if opened_by else "",
    )


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
