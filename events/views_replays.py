"""The pages about sending once more: replays, what is in doubt, and dry runs."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods

from events import doubts, replays
from events.access import get_replay_for
from events.dry_run import DryRun, dry_run
from events.forms import DoubtDecisionForm, DoubtPolicyForm, DryRunForm, ReplayActForm, ReplayForm
from events.models import Delivery, DoubtDecision, DoubtPolicy, PixelLog, Replay
from events.replays import ReplayError
from onboarding.access import get_pixel_for
from onboarding.models import Pixel
from tenants.access import advertiser_roles
from tenants.models import Person
from tenants.roles import Act, may_any
from tenants.scoped import scoped, show, signed_in

_ACTS = {
    "pause": replays.pause_replay,
    "resume": replays.resume_replay,
    "cancel": replays.cancel_replay,
}
_SAID = {
    "confirm": "The replay has begun.",
    "pause": "The replay is paused.",
    "resume": "The replay goes on.",
    "cancel": "The replay is cancelled: what is on its way arrives, and nothing more is sent.",
}


@require_http_methods(["GET", "POST"])
@scoped
def pixel_replays(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """The pixel's replays, and a form for another."""
    person = signed_in(request)
    found = get_pixel_for(person, pixel_id, Act.REPLAY if request.method == "POST" else Act.SEE)
    form = ReplayForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and (replay := ask_for_replay(form, found, person)) is not None:
        return redirect("events:replay", replay.pk)
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "form": form,
        "replays": replays.replays_of(found),
        "may_replay": _may_replay(person, found),
    }
    return show(request, found.advertiser, "events/replays.html", context, 422 if form.is_bound else 200)


def ask_for_replay(form: ReplayForm, pixel: Pixel, person: Person | None) -> Replay | None:
    """The replay that a valid form asks for; None where the range is not there, which the form then says."""
    asked = form.cleaned_data
    try:
        found = replays.find_range(
            pixel,
            first=asked["first_offset"],
            last=asked["last_offset"],
            since=asked["since"],
            until=asked["until"],
        )
    except ReplayError as error:
        form.add_error(error.field or None, str(error))
        return None
    return replays.request_replay(
        pixel=pixel,
        found=found,
        event_names=asked["event_names"],
        fates=asked["fates"],
        code=asked["code"],
        requested_by=person,
    )


@require_http_methods(["GET", "POST"])
@scoped
def replay(request: HttpRequest, replay_id: int) -> HttpResponse:
    """One replay: what it would do, then how far it is."""
    person = signed_in(request)
    found = get_replay_for(person, replay_id, Act.REPLAY if request.method == "POST" else Act.SEE)
    if request.method == "POST":
        form = ReplayActForm(request.POST)
        if form.is_valid():
            try:
                act_on_replay(found, form.cleaned_data["act"], person)
                messages.success(request, _SAID[form.cleaned_data["act"]])
            except ReplayError as error:
                messages.error(request, str(error))
        return redirect("events:replay", found.pk)
    context = {
        "pixel": found.pixel,
        "advertiser": found.pixel.advertiser,
        "replay": found,
        "tally": replays.tally_of(found),
        "progress": replays.progress_of(found),
        "other": replays.open_replay(found.pixel),
        "may_replay": _may_replay(person, found.pixel),
    }
    return show(request, found.pixel.advertiser, "events/replay.html", context)


def act_on_replay(found: Replay, act: str, person: Person | None) -> None:
    """Confirm, pause, resume or cancel it. Raises ReplayError."""
    if act == "confirm":
        replays.confirm_replay(replay=found, confirmed_by=person)
    else:
        _ACTS[act](replay=found)


@require_GET
@scoped
def pixel_dry_run(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """The request that would be sent for a range, or for a replay."""
    person = signed_in(request)
    found = get_pixel_for(person, pixel_id)
    form = DryRunForm(request.GET)
    run = None
    if form.is_valid():
        try:
            run = run_dry(found, person, request.GET.get("replay", ""), **form.cleaned_data)
        except ReplayError as error:
            form.add_error(None, str(error))
    context = {"pixel": found, "advertiser": found.advertiser, "form": form, "run": run}
    return show(request, found.advertiser, "events/dry_run.html", context)


def run_dry(pixel: Pixel, person: Person, replay_id: str, *, first: int | None, last: int | None) -> DryRun:
    """The dry run of a replay, of a range, or of the newest event. Raises ReplayError, Http404."""
    if replay_id:
        if not replay_id.isdecimal() or len(replay_id) > 18:
            raise Http404
        found = get_replay_for(person, int(replay_id))
        if found.pixel_id != pixel.pk:
            raise Http404
        start = max(found.first_offset, first or 0)
        return dry_run(pixel, first=start, last=found.last_offset, wanted=replays.filter_of(found))
    if first is None and last is None:
        log = PixelLog.objects.filter(pixel=pixel).first()
        first = log.head - 1 if log and log.head else None
    found_range = replays.find_range(pixel, first=first, last=last)
    return dry_run(pixel, first=found_range.first, last=found_range.last)


@require_http_methods(["GET", "POST"])
@scoped
def pixel_doubts(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """What is in doubt, what people decided, and the policy by event name; POST sets the policy of a name."""
    person = signed_in(request)
    found = get_pixel_for(person, pixel_id, Act.REPLAY if request.method == "POST" else Act.SEE)
    form = DoubtPolicyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        name, action = form.cleaned_data["event_name"].strip(), form.cleaned_data["action"]
        if action == "drop":
            doubts.drop_doubt_policy(pixel=found, event_name=name)
        else:
            doubts.set_doubt_policy(
                pixel=found, event_name=name, action=DoubtPolicy.Action(action), changed_by=person
            )
        messages.success(request, f"Saved: it holds for {name or 'every other name'} from the next doubt on.")
        return redirect("events:doubts", found.pk)
    after = request.GET.get("after", "")
    listed = doubts.doubts_of(found, after=int(after) if after.isdecimal() and len(after) < 19 else 0)
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "doubts": listed,
        "next": listed[-1].delivery.pk if len(listed) == doubts.LISTED else None,
        "events": sum(doubt.events for doubt in listed),
        "policies": doubts.policies_of(found),
        "decisions": doubts.decisions_of(found),
        "form": form,
        "may_replay": _may_replay(person, found),
    }
    return show(request, found.advertiser, "events/doubts.html", context, 422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
@scoped
def decide_doubts(request: HttpRequest, pixel_id: int) -> HttpResponse:
    """Ask whether it is meant, and do it: for one delivery in doubt, or for all."""
    person = signed_in(request)
    found = get_pixel_for(person, pixel_id, Act.REPLAY)
    form = DoubtDecisionForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        return redirect("events:doubts", found.pk)
    decision = DoubtDecision.Decision(form.cleaned_data["decision"])
    delivery = None
    if (delivery_id := form.cleaned_data["delivery"]) is not None:
        delivery = Delivery.objects.filter(pixel=found, pk=delivery_id).first()
        if delivery is None:
            raise Http404
    if request.method == "POST":
        if delivery is None:
            done = doubts.decide_doubts(pixel=found, decision=decision, decided_by=person)
        else:
            done = doubts.decide_doubt(delivery=delivery, decision=decision, decided_by=person)
        _say(request, done)
        return redirect("events:doubts", found.pk)
    context = {
        "pixel": found,
        "advertiser": found.advertiser,
        "decision": decision,
        "delivery": delivery,
        "in_doubt": Delivery.objects.filter(pixel=found, state=Delivery.State.DOUBT).count(),
    }
    return show(request, found.advertiser, "events/decide_doubts.html", context)


def _say(request: HttpRequest, done: doubts.Decided) -> None:
    if done.deliveries:
        messages.success(request, f"Done for {done.events} events.")
    elif done.missed:
        messages.warning(request, "It is not in doubt any more: it was sent again, or somebody has decided.")
    else:
        messages.info(request, "Nothing is in doubt.")


def _may_replay(person: Person, pixel: Pixel) -> bool:
    return may_any(advertiser_roles(person, pixel.advertiser), Act.REPLAY)
