"""The partner's looks, as its pages fetch them: a stylesheet and a picture, each at an address of its content."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from tenants.access import get_logo_for, get_seen_partner_for
from tenants.branding import stylesheet, stylesheet_digest
from tenants.scoped import scoped, signed_in

# The address changes with the content. Private: who may see it is asked each time it is fetched.
FOR_EVER = "private, max-age=31536000, immutable"


@require_GET
@scoped
def brand_css(request: HttpRequest, partner_id: int, digest: str) -> HttpResponse:
    """The partner's colour as custom properties."""
    partner = get_seen_partner_for(signed_in(request), partner_id)
    if stylesheet_digest(partner.brand_colour) != digest:
        raise Http404
    return _kept(stylesheet(partner.brand_colour).encode(), "text/css; charset=utf-8")


@require_GET
@scoped
def logo(request: HttpRequest, partner_id: int, digest: str) -> HttpResponse:
    """The partner's logo."""
    found = get_logo_for(signed_in(request), partner_id, digest)
    return _kept(bytes(found.content), found.content_type)


def _kept(content: bytes, content_type: str) -> HttpResponse:
    return HttpResponse(content, content_type=content_type, headers={"Cache-Control": FOR_EVER})
