"""What a forwarded link opens: a colleague, who has no account here, pastes one token and sees nothing else."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from onboarding.access import find_token_link
from onboarding.forms import TokenForm
from onboarding.models import Option, TokenLink
from onboarding.services import sessions
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph.remedies import Explanation, explain, explain_problem
from partnerhub.lib.web import language_of
from tenants.tokens import hash_token


@require_http_methods(["GET", "POST"])
@never_cache
def colleague(request: HttpRequest, token: str) -> HttpResponse:
    """The link's page: who asks for what, the form for the token, and from then on what came of it."""
    form, status = TokenForm(request.POST or None), 200
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            sessions.use_link(link_token=token, token=data["access_token"], said_expiry=data["said_expiry"])
        except sessions.SessionRefused:
            # It is over; the page says how it ended.
            status = 409
        else:
            return _private(redirect("onboarding:colleague", token))
    elif form.is_bound:
        status = 422
    with tenant_scope(link_hash=hash_token(token)):
        link = find_token_link(hash_token(token))
    if link is None:
        return render(request, "onboarding/colleague_unknown.html", status=404)
    if request.htmx:  # type: ignore[attr-defined]  # django-htmx
        is_as_seen = request.GET.get("seen") == link.state
        return HttpResponse(status=204) if is_as_seen else HttpResponse(headers={"HX-Refresh": "true"})
    context = {
        "link": link,
        "is_open": link.state == TokenLink.State.OPEN and link.expires_at > timezone.now(),
        "form": form,
        "explanation": _explanation(request, link),
    }
    return _private(render(request, "onboarding/colleague.html", context, status=status))


def _private(response: HttpResponse) -> HttpResponse:
    # The address holds the link's token: what is opened from here learns only the site's name.
    response["Referrer-Policy"] = "strict-origin"
    return response


def _explanation(request: HttpRequest, link: TokenLink) -> Explanation | None:
    if link.problem:
        return explain_problem(link.problem, language=language_of(request))
    if link.failure_class:
        return explain(
            link.failure_class,
            link.code,
            link.subcode,
            language=language_of(request),
            option=Option.PASTED_TOKEN,
        )
    return None
