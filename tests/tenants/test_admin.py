"""The operator's admin: for operators, without secrets, and with little that it can change."""

from __future__ import annotations

import pytest
from django.db.models import Model
from django.urls import reverse

from tenants.admin import site as operator_site
from tenants.models import Person
from tenants.roles import PartnerRole
from tenants.services import invite_person
from tests.support.factories import make_advertiser, make_person
from tests.support.site import Site, text_of


@pytest.fixture
def operator(db: None) -> Person:
    """An operator, as the command makes one."""
    person = make_person("operator@hub.example")
    Person.objects.filter(pk=person.pk).update(is_staff=True, is_superuser=True)
    person.refresh_from_db()
    return person


def test_a_visitor_is_asked_to_sign_in_as_everybody_does(site: Site) -> None:
    assert site.get("/operator/").url.startswith("/operator/login/")
    assert site.get("/operator/login/").url == "/accounts/login/?next=/operator/"


def test_who_is_no_operator_does_not_come_in(site: Site) -> None:
    person = make_person()
    Person.objects.filter(pk=person.pk).update(is_staff=True)

    page = site.sign_in(person).get("/operator/")

    assert page.url.startswith("/operator/login/")
    assert site.get(page.url).status_code == 403
    assert site.post("/operator/login/", {"username": "x", "password": "y"}).status_code == 403


@pytest.mark.parametrize("model", operator_site._registry)
def test_every_list_and_row_is_shown_as_the_webs_role(
    site: Site, operator: Person, model: type[Model]
) -> None:
    advertiser = make_advertiser(name="Velo Rad")
    invitation, token = invite_person(
        email="anna@shop.example", role=PartnerRole.OWNER, partner=advertiser.partner, invited_by=operator
    )
    site.sign_in(operator)
    name = f"admin:tenants_{model._meta.model_name}"

    listing = site.get(reverse(f"{name}_changelist"))
    assert listing.status_code == 200
    for row in model._default_manager.all()[:1]:
        page = site.get(reverse(f"{name}_change", args=[row.pk]))
        assert page.status_code == 200
        assert invitation.token_hash not in page.content.decode()
        assert token not in page.content.decode()
        assert "argon2" not in page.content.decode()
    assert site.get(reverse(f"{name}_add")).status_code == 403


def test_an_operator_renames_an_advertiser(site: Site, operator: Person) -> None:
    advertiser = make_advertiser(name="Velo Rad")

    page = site.sign_in(operator).post(
        reverse("admin:tenants_advertiser_change", args=[advertiser.pk]),
        {"name": "Velo & Rad", "default_country": "CH", "partner": "0"},
    )

    assert page.status_code == 302
    before = advertiser.partner_id
    advertiser.refresh_from_db()
    assert (advertiser.name, advertiser.default_country, advertiser.partner_id) == (
        "Velo & Rad",
        "CH",
        before,
    )


def test_a_person_that_an_operator_stops_is_out_at_once(site: Site, operator: Person) -> None:
    person = make_person()
    elsewhere = Site(site._as_role).sign_in(person)

    site.sign_in(operator).post(reverse("admin:tenants_person_change", args=[person.pk]), {})

    person.refresh_from_db()
    assert not person.is_active
    assert "Sign in" in text_of(elsewhere.get("/"))


def test_an_operator_can_give_nobody_its_own_power(site: Site, operator: Person) -> None:
    person = make_person()

    site.sign_in(operator).post(
        reverse("admin:tenants_person_change", args=[person.pk]),
        {"is_active": "on", "is_superuser": "on", "is_staff": "on"},
    )

    person.refresh_from_db()
    assert not person.is_superuser
    assert not person.is_staff
