"""The only door to a pixel and what belongs to it."""

from __future__ import annotations

from django.http import Http404

from onboarding.models import ConnectionTest, MetaCallback, OnboardingSession, Pixel, TokenLink
from tenants.access import advertiser_roles, require
from tenants.models import Advertiser, Person
from tenants.roles import Act


def get_pixel_for(person: Person, pixel_id: int, act: Act = Act.SEE) -> Pixel:
    """The pixel with its advertiser and partner, for somebody who reaches it and may do the act."""
    pixel = Pixel.objects.for_person(person).select_related("advertiser__partner").filter(pk=pixel_id).first()
    if pixel is None:
        raise Http404
    require(advertiser_roles(person, pixel.advertiser), act, tenant=pixel.advertiser)
    return pixel


def get_connection_test_for(person: Person, test_id: int) -> ConnectionTest:
    """A connection test, for somebody who sees its advertiser."""
    reached = Advertiser.objects.for_person(person)
    found = (
        ConnectionTest.objects.filter(advertiser__in=reached)
        .select_related("advertiser__partner", "pixel", "session")
        .filter(pk=test_id)
        .first()
    )
    if found is None:
        raise Http404
    require(advertiser_roles(person, found.advertiser), Act.SEE, tenant=found.advertiser)
    return found


def get_session_for(person: Person, session_id: int, act: Act = Act.SEE) -> OnboardingSession:
    """A session with its advertiser, partner and pixel, for somebody who sees the advertiser and may do the act."""
    found = (
        OnboardingSession.objects.filter(advertiser__in=Advertiser.objects.for_person(person))
        .select_related("advertiser__partner", "pixel", "credential__pixel")
        .filter(pk=session_id)
        .first()
    )
    if found is None:
        raise Http404
    require(advertiser_roles(person, found.advertiser), act, tenant=found.advertiser)
    return found


def find_token_link(token_hash: str) -> TokenLink | None:
    """The link that was followed, in the scope that names it: whoever holds it sees this one row."""
    return TokenLink.objects.filter(token_hash=token_hash).first()


def find_deletion(callback_key: str, code: str) -> MetaCallback | None:
    """A person's request to have data deleted, in the scope of the address: whoever has its code sees its state."""
    return (
        MetaCallback.objects.select_related("partner")
        .filter(
            partner__callback_key=callback_key,
            kind=MetaCallback.Kind.DATA_DELETION,
            confirmation_code=code,
        )
        .first()
    )
