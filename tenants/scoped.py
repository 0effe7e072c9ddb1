"""How a view is run: for a signed-in person, in that person's scope, in one transaction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from partnerhub.lib.db import tenant_scope
from tenants.models import Advertiser, Partner, Person

View = Callable[..., HttpResponse]


def signed_in(request: HttpRequest) -> Person:
    """The person of a request that `scoped` let through."""
    assert isinstance(request.user, Person)
    return request.user


def scoped(view: View) -> View:
    """The view, for signed-in people only, as one transaction in which row-level security shows their rows.

    The page is rendered inside, so that nothing is read out of scope. No network inside: what must be sent is
    sent after the commit.
    """

    @login_required
    @functools.wraps(view)
    def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with tenant_scope(person_id=signed_in(request).pk):
            return view(request, *args, **kwargs)

    return run


def show(
    request: HttpRequest,
    tenant: Partner | Advertiser | None,
    template: str,
    context: Mapping[str, object],
    status: int = 200,
) -> HttpResponse:
    """A page of the tenant, whose name and pages the masthead then shows; None: of nobody's in particular."""
    request.tenant = tenant  # type: ignore[attr-defined]  # read by tenants.context
    return render(request, template, dict(context), status=status)
