"""The pages about erasing all of one person: the wish, and its receipt."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from events.access import get_erasure_for
from events.erasures import erasures_of, request_erasure
from events.forms import ErasureForm
from events.models import Erasure
from onboarding.models import Pixel
from tenants.access import advertiser_roles, get_advertiser_for
from tenants.models import Advertiser, Person
from tenants.roles import Act, may_any
from tenants.scoped import scoped, show, signed_in


@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
@scoped
def erasures(request: HttpRequest, advertiser_id: int) -> HttpResponse:
    """The advertiser's erasures, and a form for another."""
    person = signed_in(request)
    found = get_advertiser_for(person, advertiser_id, Act.ERASE if request.method == "POST" else Act.SEE)
    form = erasure_form(found, request.POST if request.method == "POST" else None)
    if form.is_valid():
        return redirect("events:erasure", ask_to_erase(form, found, person).pk)
    context = {
        "advertiser": found,
        "form": form,
        "erasures": erasures_of(found),
        "may_erase": may_any(advertiser_roles(person, found), Act.ERASE),
    }
    return show(request, found, "events/erasures.html", context, 422 if form.is_bound else 200)


def erasure_form(advertiser: Advertiser, data: object) -> ErasureForm:
    """The form, with the advertiser's pixels to choose from."""
    pixels = list(Pixel.objects.filter(advertiser=advertiser).order_by("pk"))
    return ErasureForm(data, pixels=pixels, default_country=advertiser.default_country)


def ask_to_erase(form: ErasureForm, advertiser: Advertiser, person: Person) -> Erasure:
    """The erasure that a valid form asks for."""
    asked = form.cleaned_data
    pixel = Pixel.objects.filter(advertiser=advertiser, pk=asked["pixel"]).first() if asked["pixel"] else None
    return request_erasure(
        advertiser=advertiser, pixel=pixel, kind=asked["kind"], needle=asked["needle"], requested_by=person
    )


@require_GET
@scoped
def erasure(request: HttpRequest, erasure_id: int) -> HttpResponse:
    """An erasure's progress, and then its receipt."""
    found = get_erasure_for(signed_in(request), erasure_id)
    context = {"advertiser": found.advertiser, "erasure": found}
    return show(request, found.advertiser, "events/erasure.html", context)
