"""What Meta calls, one set of addresses a partner: webhooks, deauthorisation, data deletion. Nobody is signed in here.

The partner, and so the app secret that signs, is chosen by the address and not by what is sent.
"""

from __future__ import annotations

import time

import orjson
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from onboarding.access import find_deletion
from onboarding.callback_content import changes
from onboarding.models import MetaCallback
from onboarding.services import callbacks
from onboarding.services.openings import app_secret_of
from onboarding.signatures import Forged, is_same, is_signed, read_signed_request
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.vault import Secret
from tenants.access import find_called_partner
from tenants.models import Partner

# Meta's POST of 1,000 updates is some 300 kB.
BODY_BYTES = 1024 * 1024
# Meta's are some 20 digits.
CHALLENGE_CHARACTERS = 256


def _called(callback_key: str) -> tuple[Partner, Secret | None]:
    """The partner of the address, and its app's secret. An unknown key is a page that does not exist."""
    with tenant_scope(callback_key=callback_key):
        partner = find_called_partner(callback_key)
        if partner is None:
            raise Http404
        return partner, app_secret_of(partner)


@csrf_exempt
@require_http_methods(["GET", "POST"])
@never_cache
def webhook(request: HttpRequest, callback_key: str) -> HttpResponse:
    """Meta's handshake by GET; its news by POST, signed."""
    partner, secret = _called(callback_key)
    if request.method == "GET":
        return _handshake(request, partner)
    if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_BYTES:
        return HttpResponse(status=413)
    signature = request.headers.get("X-Hub-Signature-256")
    if secret is None or not is_signed(request.body, signature, secret.reveal().encode()):
        return HttpResponseForbidden()
    try:
        found = list(changes(orjson.loads(request.body)))
    except orjson.JSONDecodeError:
        return HttpResponse(status=400)
    with tenant_scope(callback_key=callback_key):
        callbacks.keep_webhook(partner=partner, changes=found)
    return HttpResponse(status=200)


def _handshake(request: HttpRequest, partner: Partner) -> HttpResponse:
    challenge = request.GET.get("hub.challenge", "")
    is_meant = (
        request.GET.get("hub.mode") == "subscribe"
        and is_same(request.GET.get("hub.verify_token", ""), partner.webhook_verify_token)
        and len(challenge) <= CHALLENGE_CHARACTERS
    )
    return HttpResponse(challenge, content_type="text/plain") if is_meant else HttpResponseForbidden()


@csrf_exempt
@require_POST
@never_cache
def deauthorise(request: HttpRequest, callback_key: str) -> HttpResponse:
    """A person took our app away from their account."""
    kept = _keep(request, callback_key, MetaCallback.Kind.DEAUTHORISE)
    return HttpResponseForbidden() if kept is None else HttpResponse(status=200)


@csrf_exempt
@require_POST
@never_cache
def data_deletion(request: HttpRequest, callback_key: str) -> HttpResponse:
    """A person wants their data deleted: answered with the page that says how far that is."""
    kept = _keep(request, callback_key, MetaCallback.Kind.DATA_DELETION)
    if kept is None:
        return HttpResponseForbidden()
    path = reverse("onboarding:deletion_status", args=[callback_key, kept.confirmation_code])
    return JsonResponse(
        {"url": f"{settings.CONFIG.public_url}{path}", "confirmation_code": kept.confirmation_code}
    )


def _keep(request: HttpRequest, callback_key: str, kind: MetaCallback.Kind) -> MetaCallback | None:
    """The signed request, kept; None where Meta did not sign it for this app."""
    partner, secret = _called(callback_key)
    text = request.POST.get("signed_request", "")
    if secret is None:
        return None
    try:
        payload = read_signed_request(text, secret.reveal().encode(), now=time.time())
    except Forged:
        return None
    with tenant_scope(callback_key=callback_key):
        return callbacks.keep_signed_request(partner=partner, kind=kind, text=text, payload=payload)


@require_GET
@never_cache
def deletion_status(request: HttpRequest, callback_key: str, code: str) -> HttpResponse:
    """How far a deletion is, for whoever has its code."""
    with tenant_scope(callback_key=callback_key):
        found = find_deletion(callback_key, code)
    if found is None:
        raise Http404
    page = render(request, "onboarding/partner/deletion.html", {"deletion": found})
    page["X-Robots-Tag"] = "noindex"
    return page
