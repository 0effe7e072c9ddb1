"""The management API of pixels and connection tests. docs/api.md describes it."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from onboarding import services
from onboarding.access import get_connection_test_for, get_pixel_for
from onboarding.forms import ConnectionTestForm
from onboarding.models import ConnectionTest, Credential, Pixel
from onboarding.selectors import credentials_in_use
from partnerhub.lib.graph.remedies import explain
from partnerhub.lib.web import language_of
from tenants.access import advertiser_roles
from tenants.api import ApiError, api, body_of
from tenants.models import Person
from tenants.roles import Act, may_any

PAGE_SIZE: Final = 100
# A request asks for so many tests at most; a fleet is asked for in pages.
TESTS_A_REQUEST: Final = 500


@api("GET")
def pixels(request: HttpRequest, person: Person) -> HttpResponse:
    """The pixels that the key reaches, a page at a time: `after` is the last page's last id."""
    after = request.GET.get("after", "0")
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise ApiError(400, "invalid", "after is the id of a pixel.", "after")
    found = list(Pixel.objects.for_person(person).filter(pk__gt=int(after)).order_by("pk")[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    credentials = credentials_in_use(pixel.pk for pixel in page)
    return JsonResponse(
        {
            "data": [_pixel(pixel, credentials.get(pixel.pk)) for pixel in page],
            "next_after": page[-1].pk if len(found) > PAGE_SIZE else None,
        }
    )


@api("GET")
def pixel(request: HttpRequest, person: Person, pixel_id: int) -> HttpResponse:
    """One pixel."""
    found = get_pixel_for(person, pixel_id)
    return JsonResponse(_pixel(found, credentials_in_use([found.pk]).get(found.pk)))


@api("GET", "POST")
def pixel_tests(request: HttpRequest, person: Person, pixel_id: int) -> HttpResponse:
    """GET: the latest connection tests of a pixel. POST: start one."""
    if request.method == "GET":
        found = get_pixel_for(person, pixel_id)
        tests = ConnectionTest.objects.filter(pixel=found).select_related("credential").order_by("-id")
        return JsonResponse({"data": [_test(request, test) for test in tests[:PAGE_SIZE]]})
    found = get_pixel_for(person, pixel_id, Act.TEST)
    form = ConnectionTestForm(body_of(request))
    if not form.is_valid():
        raise ApiError(400, "invalid", str(form.errors["test_event_code"][0]), "test_event_code")
    try:
        test = services.request_connection_test(
            pixel=found,
            requested_by=person,
            test_event_code=form.cleaned_data["test_event_code"],
            trigger=ConnectionTest.Trigger.API,
        )
    except services.NoCredential:
        raise ApiError(409, "not_connected", "The pixel is not connected yet.") from None
    except services.TestUnderWay:
        raise ApiError(409, "test_under_way", "A test of this pixel is running.") from None
    except services.TestTooSoon:
        raise ApiError(429, "too_soon", "This pixel was tested several times within a minute.") from None
    return JsonResponse(_test(request, test), status=202)


@api("POST")
def tests(request: HttpRequest, person: Person) -> HttpResponse:
    """Start a test of each of many pixels: `{"pixels": [ids]}`."""
    ids = body_of(request).get("pixels")
    is_ids = isinstance(ids, list) and all(type(one) is int for one in ids)
    if not is_ids or not ids or len(ids) > TESTS_A_REQUEST:
        raise ApiError(400, "invalid", f"pixels is a list of 1 to {TESTS_A_REQUEST} ids.", "pixels")
    found = Pixel.objects.for_person(person).filter(pk__in=ids).select_related("advertiser__partner")
    may: dict[int, bool] = {}
    allowed: list[Pixel] = []
    for one in found.order_by("pk"):
        advertiser_id = one.advertiser_id
        if advertiser_id not in may:
            may[advertiser_id] = may_any(advertiser_roles(person, one.advertiser), Act.TEST)
        if may[advertiser_id]:
            allowed.append(one)
    asked = services.request_connection_tests(
        pixels=allowed, requested_by=person, trigger=ConnectionTest.Trigger.API
    )
    reached = {one.pk for one in allowed}
    left_out = [{"pixel": one.pk, "reason": reason} for one, reason in asked.left_out]
    left_out += [
        {"pixel": one, "reason": "There is no such pixel, or the key may not test it."}
        for one in dict.fromkeys(ids)
        if one not in reached
    ]
    return JsonResponse(
        {"data": [_test(request, test) for test in asked.tests], "left_out": left_out}, status=202
    )


@api("GET")
def test(request: HttpRequest, person: Person, test_id: int) -> HttpResponse:
    """One connection test."""
    return JsonResponse(_test(request, get_connection_test_for(person, test_id)))


test.__test__ = False  # type: ignore[attr-defined]  # pytest would take them for tests of its own
tests.__test__ = False  # type: ignore[attr-defined]


def _pixel(found: Pixel, credential: Credential | None) -> dict[str, Any]:
    return {
        "id": found.pk,
        "advertiser_id": found.advertiser_id,
        "meta_id": found.meta_id,
        "name": found.name,
        "hold": found.hold or None,
        "held_at": found.held_at,
        "credential": credential
        and {
            "option": credential.option,
            "state": credential.state,
            "last_good_at": credential.last_good_at,
            "refused_at": credential.refused_at,
            "expiry": credential.expiry,
            "expires_at": credential.expires_at,
        },
    }


def _test(request: HttpRequest, found: ConnectionTest) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": found.pk,
        "pixel_id": found.pixel_id,
        "meta_id": found.meta_id,
        "state": found.state,
        "trigger": found.trigger,
        "url": request.build_absolute_uri(reverse("onboarding:api_test", args=[found.pk])),
        "created_at": found.created_at,
        "finished_at": found.finished_at,
        "rungs": found.rungs,
        "http_status": found.http_status,
        "events_received": found.events_received,
        "fbtrace_id": found.fbtrace_id,
        "latency_ms": found.latency_ms,
        "failure": None,
    }
    if found.state == ConnectionTest.State.FAILED:
        opened_by = found.credential
        said = explain(
            found.failure_class,
            found.code,
            found.subcode,
            language=language_of(request),
            option=opened_by.option if opened_by else "",
        )
        answer["failure"] = {
            "class": found.failure_class,
            "code": found.code,
            "error_subcode": found.subcode,
            "title": said.title,
            "what_happened": said.what_happened,
            "what_to_do": list(said.what_to_do),
        }
    return answer
