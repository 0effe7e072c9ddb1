"""The management API of replays, dry runs and erasures. docs/api.md describes it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from events import replays
from events.access import get_erasure_for, get_replay_for
from events.erasures import erasures_of
from events.forms import DryRunForm, ReplayActForm, ReplayForm
from events.models import Erasure, Replay
from events.replays import ReplayError
from events.views_erasures import ask_to_erase, erasure_form
from events.views_replays import act_on_replay, ask_for_replay, run_dry
from onboarding.access import get_pixel_for
from tenants.access import get_advertiser_for
from tenants.api import ApiError, api, body_of
from tenants.models import Person
from tenants.roles import Act


@api("GET", "POST")
def pixel_replays(request: HttpRequest, person: Person, pixel_id: int) -> HttpResponse:
    """GET: the latest replays of a pixel. POST: count what another would send."""
    if request.method == "GET":
        found = get_pixel_for(person, pixel_id)
        return JsonResponse({"data": [_replay(request, one) for one in replays.replays_of(found)]})
    found = get_pixel_for(person, pixel_id, Act.REPLAY)
    body = body_of(request)
    names = body.get("event_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ApiError(400, "invalid", "event_names is a list of texts.", "event_names")
    form = ReplayForm(body | {"event_names": ",".join(names)})
    if form.is_valid() and (replay := ask_for_replay(form, found, person)) is not None:
        return JsonResponse(_replay(request, replay), status=202)
    raise _refusal(form)


@api("GET", "POST")
def replay(request: HttpRequest, person: Person, replay_id: int) -> HttpResponse:
    """GET: one replay. POST: `{"act": "confirm"}`, or pause, resume, cancel."""
    if request.method == "GET":
        return JsonResponse(_replay(request, get_replay_for(person, replay_id)))
    found = get_replay_for(person, replay_id, Act.REPLAY)
    form = ReplayActForm(body_of(request))
    if not form.is_valid():
        raise _refusal(form)
    try:
        act_on_replay(found, form.cleaned_data["act"], person)
    except ReplayError as error:
        raise ApiError(409, error.kind, str(error), error.field) from None
    found.refresh_from_db()
    return JsonResponse(_replay(request, found))


@api("GET")
def pixel_dry_run(request: HttpRequest, person: Person, pixel_id: int) -> HttpResponse:
    """The first request for a range, or for `replay`: byte for byte, with the token masked."""
    found = get_pixel_for(person, pixel_id)
    form = DryRunForm(request.GET)
    if not form.is_valid():
        raise _refusal(form)
    try:
        run = run_dry(found, person, request.GET.get("replay", ""), **form.cleaned_data)
    except ReplayError as error:
        raise ApiError(400, error.kind, str(error), error.field) from None
    return JsonResponse(
        {
            "method": run.method,
            "url": run.url,
            "headers": run.headers,
            "body": run.body.decode(),
            "body_bytes": len(run.body),
            "events": len(run.offsets),
            "offsets": run.offsets,
            "left_out": run.left_out.counts,
            "next_offset": run.next_offset,
        }
    )


@api("GET", "POST")
def erasures(request: HttpRequest, person: Person, advertiser_id: int) -> HttpResponse:
    """GET: the advertiser's erasures. POST: another."""
    if request.method == "GET":
        found = get_advertiser_for(person, advertiser_id)
        return JsonResponse({"data": [_erasure(request, one) for one in erasures_of(found)]})
    found = get_advertiser_for(person, advertiser_id, Act.ERASE)
    form = erasure_form(found, body_of(request))
    if not form.is_valid():
        raise _refusal(form)
    return JsonResponse(_erasure(request, ask_to_erase(form, found, person)), status=202)


@api("GET")
def erasure(request: HttpRequest, person: Person, erasure_id: int) -> HttpResponse:
    """An erasure's progress, and then its receipt."""
    return JsonResponse(_erasure(request, get_erasure_for(person, erasure_id)))


def _refusal(form: forms.Form) -> ApiError:
    """The first thing that is wrong with what was sent; it quotes nothing of it."""
    field, errors = next(iter(form.errors.items()))
    return ApiError(400, "invalid", str(errors[0]), "" if field == "__all__" else field)


def _replay(request: HttpRequest, found: Replay) -> dict[str, Any]:
    tally, progress = replays.tally_of(found), replays.progress_of(found)
    return {
        "id": found.pk,
        "pixel_id": found.pixel_id,
        "url": request.build_absolute_uri(reverse("events:api_replay", args=[found.pk])),
        "state": found.state,
        "first_offset": found.first_offset,
        "last_offset": found.last_offset,
        "event_names": found.event_names,
        "fates": found.fates,
        "code": found.code,
        "created_at": found.created_at,
        "confirmed_at": found.confirmed_at,
        "finished_at": found.finished_at,
        "looked_at": progress.looked_at,
        "found": tally.counts,
        "sendable": tally.sendable,
        "may_count_twice": tally.may_count_twice,
        "queued": progress.queued,
        "accepted": progress.accepted,
        "refused": progress.refused,
        "in_doubt": progress.in_doubt,
        "under_way": progress.under_way,
        "cancelled": progress.cancelled,
    }


def _erasure(request: HttpRequest, found: Erasure) -> dict[str, Any]:
    return {
        "id": found.pk,
        "advertiser_id": found.advertiser_id,
        "pixel_id": found.pixel_id,
        "url": request.build_absolute_uri(reverse("events:api_erasure", args=[found.pk])),
        "kind": found.kind,
        "state": found.state,
        "looked_at": found.looked_at,
        "total": found.total,
        "events_erased": found.events_erased,
        "events_stopped": found.events_stopped,
        "created_at": found.created_at,
        "finished_at": found.finished_at,
    }
