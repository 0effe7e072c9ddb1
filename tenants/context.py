"""What every page needs to draw its frame: where the person can go, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from partnerhub.lib.db import tenant_scope
from tenants.access import partner_roles
from tenants.branding import stylesheet_digest
from tenants.models import Advertiser, Logo, Partner, Person
from tenants.roles import Act, may_any
from tenants.selectors import tenants_of

SET_UP = "onboarding:setup"


@dataclass(frozen=True, slots=True)
class Link:
    """A place to go."""

    label: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True)
class Brand:
    """Where the partner's looks are; each empty where it has none."""

    css_url: str
    logo_url: str


def navigation(request: HttpRequest) -> dict[str, Any]:
    """`nav`: the tenant's name, pages and looks, and the person's other tenants. Empty for who has not signed in.

    Queries run when a template first asks, in the person's scope.
    """
    return {"nav": SimpleLazyObject(lambda: _navigation(request) or {})}


def _navigation(request: HttpRequest) -> dict[str, Any] | None:
    person = getattr(request, "user", None)
    if not isinstance(person, Person) or not person.is_authenticated:
        return None
    with tenant_scope(person_id=person.pk):
        tenants = tenants_of(person)
        shown = getattr(request, "tenant", None)
        if shown is None and len(tenants.all()) == 1:
            [shown] = tenants.all()
        brand = brand_of(shown) if shown else None
        may_see_set_up = isinstance(shown, Partner) and may_any(
            partner_roles(person, shown.pk), Act.SEE_SET_UP
        )
    links = [_link(request, tenant.name, *_home(tenant)) for tenant in tenants.all()]
    return {
        "tenant_name": str(shown) if shown else "",
        "items": _items(request, shown, may_see_set_up=may_see_set_up) if shown else [],
        "switch": links if len(links) > 1 else [],
        "brand": brand,
    }


def brand_of(tenant: Partner | Advertiser) -> Brand:
    """The looks of the partner, or of the advertiser's partner. Runs in the scope of who sees it."""
    partner = tenant if isinstance(tenant, Partner) else tenant.partner
    digest = Logo.objects.filter(partner=partner).values_list("digest", flat=True).first()
    colour = partner.brand_colour
    return Brand(
        css_url=reverse("tenants:brand_css", args=[partner.pk, stylesheet_digest(colour)]) if colour else "",
        logo_url=reverse("tenants:logo", args=[partner.pk, digest]) if digest else "",
    )


def _home(tenant: Partner | Advertiser) -> tuple[str, int]:
    return ("events:partner_home" if isinstance(tenant, Partner) else "events:advertiser_home", tenant.pk)


def _items(request: HttpRequest, tenant: Partner | Advertiser, *, may_see_set_up: bool) -> list[Link]:
    if isinstance(tenant, Partner):
        pages = [
            ("Advertisers", "events:partner_home"),
            ("Tokens", "onboarding:partner_credentials"),
            ("People", "tenants:partner_people"),
        ]
        if may_see_set_up:
            pages.append(("Set-up", SET_UP))
    else:
        pages = [
            ("Pixels", "events:advertiser_home"),
            ("Tokens", "onboarding:advertiser_credentials"),
            ("People", "tenants:advertiser_people"),
        ]
    return [_link(request, label, name, tenant.pk) for label, name in pages]


def _link(request: HttpRequest, label: str, name: str, pk: int) -> Link:
    url = reverse(name, args=[pk])
    # A page below it is still there: a step of the set-up.
    return Link(label, url, request.path == url or (name == SET_UP and request.path.startswith(url)))
