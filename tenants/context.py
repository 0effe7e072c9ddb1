"""What every page needs to draw its frame: where the person can go."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def navigation(request: HttpRequest) -> dict[str, Any]:
    """`nav`, set by views that show a tenant (tenants.views.show); nothing elsewhere."""
    return {"nav": getattr(request, "nav", None)}
