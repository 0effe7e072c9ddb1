"""The management API's frame: who asks, in JSON, and errors that name what is wrong. docs/api.md describes it.

A key does what its person may do: requests run in the person's scope, through the same access functions as pages.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from partnerhub.lib.db import tenant_scope
from tenants.models import ApiKey, Person
from tenants.tokens import API_KEY_PREFIX, hash_token

# More than any list of pixels' numbers needs.
BODY_BYTES: Final = 256 * 1024
# A write a request would make one row hot.
USED_EVERY: Final = timedelta(minutes=1)

View = Callable[..., HttpResponse]


class ApiError(Exception):
    """A refusal in words: an HTTP status, a type for programs, a sentence, and the field it is about."""

    def __init__(self, status: int, kind: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.field = field

    def response(self) -> JsonResponse:
        """As the API answers it."""
        error = {"type": self.kind, "message": str(self)}
        if self.field:
            error["field"] = self.field
        return JsonResponse({"error": error}, status=self.status)


def api(*methods: str) -> Callable[[View], View]:
    """The view, for requests by these methods with a key, as one transaction in the scope of the key's person.

    The view gets the person after the request. What it raises becomes JSON: ApiError, 404, 403.
    """

    def decorate(view: View) -> View:
        @never_cache
        @csrf_exempt
        @functools.wraps(view)
        def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise ApiError(405, "method_not_allowed", f"Use {' or '.join(methods)}.")
                person = _person_of(request)
                with tenant_scope(person_id=person.pk):
                    return view(request, person, *args, **kwargs)
            except ApiError as error:
                answer = error.response()
                if error.status == 405:
                    answer["Allow"] = ", ".join(methods)
                if error.status == 401:
                    answer["WWW-Authenticate"] = "Bearer"
                return answer
            except Http404:
                return ApiError(
                    404, "not_found", "There is no such thing, or the key does not reach it."
                ).response()
            except PermissionDenied as denied:
                return ApiError(403, "forbidden", str(denied)).response()

        return run

    return decorate


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The request's JSON object; empty where there is no body. Raises ApiError."""
    if int(request.headers.get("Content-Length") or 0) > BODY_BYTES:
        raise ApiError(413, "too_large", f"A body has {BODY_BYTES} bytes at most.")
    if not request.body:
        return {}
    try:
        body = json.loads(request.body)
    except ValueError:
        raise ApiError(400, "invalid_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_json", "The body must be a JSON object.")
    return body


def _person_of(request: HttpRequest) -> Person:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    refusal = ApiError(401, "unauthenticated", "Send an API key: Authorization: Bearer phk_….")
    if scheme.lower() != "bearer" or not key.startswith(API_KEY_PREFIX):
        raise refusal
    key_hash = hash_token(key.strip())
    with tenant_scope(link_hash=key_hash):
        found = ApiKey.objects.select_related("person").filter(key_hash=key_hash, revoked_at=None).first()
        if found is None or not found.person.is_active:
            raise refusal
        now = timezone.now()
        if found.last_used_at is None or found.last_used_at < now - USED_EVERY:
            ApiKey.objects.filter(pk=found.pk).update(last_used_at=now)
    return found.person
