"""A pixel and its tests are reached by those of its tenant; a foreign one and a missing one are the same 404."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from onboarding import services
from onboarding.access import get_connection_test_for, get_pixel_for
from onboarding.models import ConnectionTest
from tenants.models import Person
from tenants.roles import Act, AdvertiserRole, PartnerRole
from tests.support.factories import (
    join_advertiser,
    join_partner,
    make_advertiser,
    make_credential,
    make_person,
    make_pixel,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]


@pytest.fixture
def asked_test() -> ConnectionTest:
    """A test of somebody's pixel."""
    pixel = make_pixel()
    make_credential(pixel)
    return services.request_connection_test(pixel=pixel, requested_by=None)


def make_stranger() -> Person:
    """An admin of another partner's advertiser."""
    person = make_person()
    join_advertiser(person, make_advertiser(), AdvertiserRole.ADMIN)
    return person


def test_a_foreign_pixel_and_a_missing_one_are_the_same(asked_test: ConnectionTest) -> None:
    stranger = make_stranger()

    assert asked_test.pixel is not None
    pixel = asked_test.pixel
    for pixel_id in (pixel.pk, pixel.pk + 10**6):
        with pytest.raises(Http404) as refused:
            get_pixel_for(stranger, pixel_id)
        assert str(refused.value) == ""


def test_a_foreign_test_and_a_missing_one_are_the_same(asked_test: ConnectionTest) -> None:
    stranger = make_stranger()

    for test_id in (asked_test.pk, asked_test.pk + 10**6):
        with pytest.raises(Http404) as refused:
            get_connection_test_for(stranger, test_id)
        assert str(refused.value) == ""


def test_a_role_at_the_advertiser_or_at_its_partner_reaches_pixel_and_test(
    asked_test: ConnectionTest,
) -> None:
    analyst, support = make_person(), make_person()
    join_advertiser(analyst, asked_test.advertiser, AdvertiserRole.ANALYST)
    join_partner(support, asked_test.advertiser.partner, PartnerRole.SUPPORT)

    for person in (analyst, support):
        assert asked_test.pixel_id is not None
        pixel_id = asked_test.pixel_id
        assert get_pixel_for(person, pixel_id).pk == pixel_id
        assert get_connection_test_for(person, asked_test.pk) == asked_test


def test_who_sees_a_pixel_and_may_not_do_the_act_is_told_so(asked_test: ConnectionTest) -> None:
    analyst = make_person()
    join_advertiser(analyst, asked_test.advertiser, AdvertiserRole.ANALYST)
    assert asked_test.pixel_id is not None

    for act in (Act.TEST, Act.CONNECT):
        with pytest.raises(PermissionDenied):
            get_pixel_for(analyst, asked_test.pixel_id, act)
