"""The pages of tokens: an advertiser's, a partner's fleet of them, and an operator's watch over Graph."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from onboarding import stories
from tenants.access import get_advertiser_for, get_partner_for, partner_roles
from tenants.models import Advertiser, Partner
from tenants.roles import Act, may_any
from tenants.scoped import scoped, show, signed_in


@require_GET
@scoped
def advertiser_credentials(request: HttpRequest, advertiser_id: int) -> HttpResponse:
    """The advertiser's tokens: how long does each live?"""
    advertiser = get_advertiser_for(signed_in(request), advertiser_id)
    return show(request, advertiser, "onboarding/credentials.html", _context(request, advertiser))


@require_GET
@scoped
def partner_credentials(request: HttpRequest, partner_id: int) -> HttpResponse:
    """The fleet's tokens, and the partner's own: whose token is dying?"""
    person = signed_in(request)
    partner = get_partner_for(person, partner_id)
    context = _context(request, partner) | {
        "own": stories.partner_tokens(partner),
        "may_see_set_up": may_any(partner_roles(person, partner.pk), Act.SEE_SET_UP),
    }
    return show(request, partner, "onboarding/credentials.html", context)


@require_GET
@scoped
def graph_watch(request: HttpRequest) -> HttpResponse:
    """Graph's bad hours, for an operator."""
    if not signed_in(request).is_superuser:
        raise Http404
    return render(request, "onboarding/graph_watch.html", {"watch": stories.graph_watch()})


def _context(request: HttpRequest, tenant: Advertiser | Partner) -> dict[str, object]:
    start = request.GET.get("from", "")
    offset = int(start) if start.isdecimal() and len(start) < 7 else 0
    only_dying = request.GET.get("show") == "dying"
    now = timezone.now()
    return {
        "tenant": tenant,
        "is_fleet": isinstance(tenant, Partner),
        "page": stories.token_page(tenant, only_dying=only_dying, start=offset, now=now),
        "only_dying": only_dying,
        "shows_all": not only_dying,
        "start": offset,
        "newer": max(0, offset - stories.ROWS) if offset else None,
        "now": now,
    }
