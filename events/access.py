"""The only door to an ingest token or an event."""

from __future__ import annotations

from django.http import Http404

from events.lives import EventDetail, event_detail
from events.models import Erasure, IngestToken, Replay
from onboarding.access import get_pixel_for
from onboarding.models import Pixel
from tenants.access import get_advertiser_for
from tenants.models import Person
from tenants.roles import Act


def get_ingest_token_for(person: Person, token_id: int, act: Act) -> IngestToken:
    """An ingest token with its pixel, for somebody who reaches the pixel and may do the act."""
    token = IngestToken.objects.select_related("pixel").filter(pk=token_id).first()
    if token is None:
        raise Http404
    get_pixel_for(person, token.pixel_id, act)
    return token


def get_event_for(person: Person, pixel_id: int, log_offset: int) -> tuple[Pixel, EventDetail]:
    """An event with its pixel, for somebody who sees the pixel."""
    pixel = get_pixel_for(person, pixel_id)
    detail = event_detail(pixel, log_offset)
    if detail is None:
        raise Http404
    return pixel, detail


def get_replay_for(person: Person, replay_id: int, act: Act = Act.SEE) -> Replay:
    """A replay with its pixel, for somebody who reaches the pixel and may do the act."""
    found = Replay.objects.select_related("requested_by", "confirmed_by").filter(pk=replay_id).first()
    if found is None:
        raise Http404
    found.pixel = get_pixel_for(person, found.pixel_id, act)
    return found


def get_erasure_for(person: Person, erasure_id: int) -> Erasure:
    """An erasure's receipt, for somebody who sees its advertiser."""
    found = Erasure.objects.select_related("pixel", "requested_by").filter(pk=erasure_id).first()
    if found is None:
        raise Http404
    found.advertiser = get_advertiser_for(person, found.advertiser_id)
    return found
