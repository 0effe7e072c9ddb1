"""What a signed-in person's request carries: their time zone, and in the admin an operator's reach."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from partnerhub.lib.db import tenant_scope

ADMIN_PATH = "/operator/"


class TimeZoneMiddleware:
    """Show times in the person's own zone, as the browser told us or as they chose."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = getattr(request.user, "time_zone", "") or request.COOKIES.get("time_zone", "")
        try:
            zone = zoneinfo.ZoneInfo(name) if name else None
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            # A cookie can say anything; "America" is a folder.
            zone = None
        with timezone.override(zone):
            return self.get_response(request)


class OperatorScopeMiddleware:
    """Run each request to the admin in the operator's own scope, in which row-level security shows all."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not (request.path.startswith(ADMIN_PATH) and request.user.is_authenticated):
            return self.get_response(request)
        with tenant_scope(person_id=request.user.pk):
            response = self.get_response(request)
            # Admin pages are rendered late; their queries belong in the scope, too.
            return (
                response.render() if hasattr(response, "render") and callable(response.render) else response
            )
