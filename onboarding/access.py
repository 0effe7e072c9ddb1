"""The only door to a pixel and what belongs to it."""

from __future__ import annotations

from django.http import Http404

from onboarding.models import ConnectionTest, Pixel
from tenants.access import advertiser_roles, require
from tenants.models import Person
from tenants.roles import Act


def get_pixel_for(person: Person, pixel_id: int, act: Act = Act.SEE) -> Pixel:
    """The pixel with its advertiser and partner, for somebody who reaches it and may do the act."""
    pixel = Pixel.objects.for_person(person).select_related("advertiser__partner").filter(pk=pixel_id).first()
    if pixel is None:
        raise Http404
    require(advertiser_roles(person, pixel.advertiser), act, tenant=pixel.advertiser)
    return pixel


def get_connection_test_for(person: Person, test_id: int) -> ConnectionTest:
    """A connection test with its pixel, for somebody who sees the pixel."""
    found = ConnectionTest.objects.select_related("pixel__advertiser__partner").filter(pk=test_id).first()
    if found is None:
        raise Http404
    get_pixel_for(person, found.pixel_id)
    return found
