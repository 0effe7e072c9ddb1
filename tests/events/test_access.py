"""An event and an ingest token are reached by those of their tenant; foreign and missing ones are the same 404."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from events.access import get_event_for, get_ingest_token_for
from events.models import IngestToken
from tenants.models import Person
from tenants.roles import Act, AdvertiserRole
from tests.support.factories import ConnectedPixel, join_advertiser, make_advertiser, make_person
from tests.support.log import append_count


def make_member(connected: ConnectedPixel, role: AdvertiserRole) -> Person:
    """Somebody of the pixel's advertiser."""
    person = make_person()
    join_advertiser(person, connected.pixel.advertiser, role)
    return person


def make_stranger() -> Person:
    """An admin of another partner's advertiser."""
    person = make_person()
    join_advertiser(person, make_advertiser(), AdvertiserRole.ADMIN)
    return person


def test_a_foreign_event_and_a_missing_one_are_the_same(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 1)
    member, stranger = make_member(connected, AdvertiserRole.ANALYST), make_stranger()

    for person, log_offset in ((stranger, 0), (stranger, 1), (member, 1)):
        with pytest.raises(Http404) as refused:
            get_event_for(person, connected.pixel.pk, log_offset)
        assert str(refused.value) == ""

    pixel, event = get_event_for(member, connected.pixel.pk, 0)
    assert (pixel, event.row.log_offset) == (connected.pixel, 0)


def test_a_foreign_ingest_token_and_a_missing_one_are_the_same(connected: ConnectedPixel) -> None:
    token = IngestToken.objects.get()

    for token_id in (token.pk, token.pk + 10**6):
        with pytest.raises(Http404) as refused:
            get_ingest_token_for(make_stranger(), token_id, Act.CONNECT)
        assert str(refused.value) == ""


def test_only_who_may_connect_touches_an_ingest_token(connected: ConnectedPixel) -> None:
    token = IngestToken.objects.get()

    assert get_ingest_token_for(make_member(connected, AdvertiserRole.ADMIN), token.pk, Act.CONNECT) == token
    with pytest.raises(PermissionDenied):
        get_ingest_token_for(make_member(connected, AdvertiserRole.ANALYST), token.pk, Act.CONNECT)
