"""The cast and the props of the tests, made through services, as the owner of the tables."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password

from events.services import issue_ingest_token
from onboarding.models import Credential, Pixel
from onboarding.services import add_pixel, hold_pixel, open_token, save_pasted_token
from partnerhub.lib.vault import Secret
from tenants.models import Advertiser, AdvertiserMembership, Partner, PartnerMembership, Person
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.services import create_advertiser, create_partner

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def make_person(email: str | None = None, *, name: str = "Ada Example") -> Person:
    """A person with a verified address who signs in with PASSWORD."""
    email = email or f"person{next(_numbers)}@shop.example"
    person = Person.objects.create(email=email, name=name, password=_hashed())
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    return person


@functools.cache
def _hashed() -> str:
    # Slow on purpose: once is enough.
    return make_password(PASSWORD)


def make_partner(name: str | None = None, *, partner_agent: str = "datapartner") -> Partner:
    """A partner with a Meta app."""
    return create_partner(
        name=name or f"Partner {next(_numbers)}",
        partner_agent=partner_agent,
        meta_app_id="900100",
        app_secret=Secret("app-secret-of-the-tests"),
    )


def make_advertiser(partner: Partner | None = None, *, name: str | None = None) -> Advertiser:
    """An advertiser, by default of a partner of its own."""
    return create_advertiser(
        partner=partner or make_partner(), name=name or f"Shop {next(_numbers)}", default_country="IT"
    )


def join_partner(person: Person, partner: Partner, role: PartnerRole) -> PartnerMembership:
    """The person's role at the partner."""
    return PartnerMembership.objects.create(person=person, partner=partner, role=role)


def join_advertiser(person: Person, advertiser: Advertiser, role: AdvertiserRole) -> AdvertiserMembership:
    """The person's role at the advertiser."""
    return AdvertiserMembership.objects.create(person=person, advertiser=advertiser, role=role)


def make_pixel(advertiser: Advertiser | None = None, *, meta_id: str | None = None) -> Pixel:
    """A pixel without a credential, by default of an advertiser of its own."""
    return add_pixel(
        advertiser=advertiser or make_advertiser(),
        meta_id=meta_id or str(1_000_000_000_000 + next(_numbers)),
        name="Web shop",
    )


def make_credential(pixel: Pixel, *, token: str = "EAAtoken-of-the-tests") -> Credential:
    """A pasted token of the pixel, not tested."""
    return save_pasted_token(pixel=pixel, token=Secret(token), created_by=None)


def credential_in_use(pixel: Pixel) -> Credential:
    """The pixel's credential, with its secret."""
    return Credential.objects.select_related("secret").exclude(state="retired").get(pixel=pixel)


def opened(credential: Credential) -> Secret:
    """The credential's token, as a worker opens it."""
    assert credential.secret is not None
    return open_token(credential.secret)


def hold(pixel: Pixel, why: Pixel.Hold = Pixel.Hold.CREDENTIAL) -> bool:
    """Hold the pixel, as a refusal of its credential does. Whether it was not held before."""
    return hold_pixel(credential_id=credential_in_use(pixel).pk, hold=why)


@dataclass(frozen=True, slots=True)
class ConnectedPixel:
    """A pixel with its credential and an ingest token's text."""

    pixel: Pixel
    access_token: str
    ingest_token: str


def make_connected_pixel(
    advertiser: Advertiser | None = None, *, access_token: str | None = None
) -> ConnectedPixel:
    """A pixel ready to take events in and to deliver them."""
    pixel = make_pixel(advertiser)
    access_token = access_token or f"EAAtoken{pixel.meta_id}"
    make_credential(pixel, token=access_token)
    _, ingest_token = issue_ingest_token(pixel=pixel, name="Shop server", created_by=None)
    return ConnectedPixel(pixel, access_token, ingest_token)
