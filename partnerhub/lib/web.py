"""What every request to the web site carries: ids that its log lines share, and its reader's language."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.translation.trans_real import parse_accept_lang_header

from partnerhub.lib import metrics
from partnerhub.lib.graph.dictionary import DEFAULT_LANGUAGE, LANGUAGES


class RequestIdMiddleware:
    """Bind a fresh request id to the log context, and answer with it, so that a person can quote it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.monotonic()
        response = self.get_response(request)
        metrics.WEB_SECONDS.observe(time.monotonic() - began, f"{response.status_code // 100}xx")
        response["X-Request-Id"] = request_id
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Bind the keys that the address names: of a pixel, a delivery, whatever it is."""
        structlog.contextvars.bind_contextvars(
            **{
                name: value
                for name, value in kwargs.items()
                if name.endswith("_id") and isinstance(value, int)
            }
        )


def language_of(request: HttpRequest) -> str:
    """The language of ours that the reader's browser likes best; English where it likes none."""
    wanted = parse_accept_lang_header(request.headers.get("Accept-Language", ""))
    ours = (tag.partition("-")[0] for tag, quality in wanted if quality > 0)
    return next((language for language in ours if language in LANGUAGES), DEFAULT_LANGUAGE)
