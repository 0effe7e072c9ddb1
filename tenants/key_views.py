"""A person's API keys: made, shown once, revoked."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from tenants import services
from tenants.forms import ApiKeyForm
from tenants.models import ApiKey
from tenants.scoped import scoped, signed_in


@require_http_methods(["GET", "POST"])
@never_cache
@scoped
def api_keys(request: HttpRequest) -> HttpResponse:
    """The person's keys; a new one is shown on the page that made it, and never again."""
    person = signed_in(request)
    form = ApiKeyForm(request.POST or None)
    text = ""
    if request.method == "POST" and form.is_valid():
        _, text = services.issue_api_key(person=person, name=form.cleaned_data["name"])
        form = ApiKeyForm()
    keys = ApiKey.objects.filter(person=person).order_by("revoked_at", "-id")
    status = 422 if form.is_bound else 200
    return render(request, "tenants/api_keys.html", {"form": form, "keys": keys, "text": text}, status=status)


@require_POST
@scoped
def revoke_api_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Revoke a key of the person's."""
    key = ApiKey.objects.filter(person=signed_in(request), pk=key_id).first()
    if key is None:
        raise Http404
    if services.revoke_api_key(key=key):
        messages.success(request, f"{key.name} is revoked: no request with it is answered from now on.")
    return redirect("tenants:api_keys")
