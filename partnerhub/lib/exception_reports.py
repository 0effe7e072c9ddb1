"""Django's reports of exceptions (its page with DEBUG, and what it would mail to admins), without what they show.

A report shows where it happened and of which kind each value was. Values themselves are not shown, whatever they
are called: a token may stand in any local, in a form, a cookie, an address. Numbers are, and the names of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType, SimpleNamespace
from typing import Any, Final

from django.http import HttpRequest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from partnerhub.lib.redact import MASK, redact_text

# Of the request, beside its headers' names: what says nothing about a person or a secret.
_SHOWN_META: Final = frozenset(
    {"REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "CONTENT_TYPE", "CONTENT_LENGTH"}
)


class _Kind:
    """What is shown in the place of a value."""

    def __init__(self, value: object) -> None:
        self._text = type(value).__name__

    def __repr__(self) -> str:
        return f"<{self._text}>"


class ReportFilter(SafeExceptionReporterFilter):
    """Names and kinds of a request's and a frame's values."""

    def is_active(self, request: HttpRequest | None) -> bool:
        """Always, with DEBUG too."""
        return True

    def get_safe_request_meta(self, request: HttpRequest | None) -> dict[str, Any]:
        """The request's headers and the server's variables: their names, and a few values."""
        if request is None:
            return {}
        return {
            name: value if name in _SHOWN_META else MASK
            for name, value in request.META.items()
            # wsgi.input and the like.
            if isinstance(value, str)
        }

    def get_safe_cookies(self, request: HttpRequest | None) -> dict[str, Any]:
        """The cookies' names: messages to the person stand in one, too."""
        return {} if request is None else _masked(request.COOKIES)

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        """The form's names."""
        return {} if request is None else _masked(request.POST)

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        """The locals: numbers, and the kinds of all others."""
        return [
            (name, value if value is None or isinstance(value, bool | int | float) else _Kind(value))
            for name, value in tb_frame.f_locals.items()
        ]


class Reporter(ExceptionReporter):
    """A report in which the exceptions' own texts and the request's address are redacted."""

    def get_traceback_data(self) -> dict[str, Any]:
        """What the report's templates are given."""
        data: dict[str, Any] = super().get_traceback_data()
        for name in ("exception_value", "exception_notes"):
            if name in data:
                data[name] = redact_text(data[name])
        data["unicode_hint"] = ""
        for frame in data["frames"]:
            if frame.get("exc_cause"):
                frame["exc_cause"] = redact_text(str(frame["exc_cause"]))
        if data["template_info"]:
            data["template_info"] = data["template_info"] | {
                "message": redact_text(str(data["template_info"]["message"]))
            }
        if self.request is not None:
            path = redact_text(self.request.path_info)
            data["request"] = SimpleNamespace(
                META={"REQUEST_METHOD": self.request.method},
                path_info=path,
                GET=self.request.GET,
                FILES=self.request.FILES,
                COOKIES=self.request.COOKIES,
            )
            data["request_GET_items"] = list(_masked(self.request.GET).items())
            data["request_FILES_items"] = list(_masked(self.request.FILES).items())
            data["request_insecure_uri"] = path
        return data


def _masked(values: Mapping[str, Any]) -> dict[str, str]:
    return dict.fromkeys(values, MASK)
