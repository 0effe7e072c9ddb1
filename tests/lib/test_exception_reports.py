"""A report of an exception shows where and what kind, and no value of the request or of a frame."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.log import AdminEmailHandler
from django.views.debug import technical_500_response

from partnerhub.lib.exception_reports import Reporter

# None of the shapes that redaction knows.
CANARY = "canary-7f31c0aa94be5d2816"


def fallen(request: HttpRequest) -> tuple[type[BaseException], BaseException, TracebackType]:
    def call() -> None:
        token = secret = code = state = CANARY  # noqa: F841  (a frame's locals are what is shown)
        innocent = {"deep": [CANARY, (CANARY,)]}  # noqa: F841
        number = 4711  # noqa: F841
        try:
            raise ValueError(f"first access_token={request.GET['code']}")
        except ValueError as error:
            text = f"access_token={CANARY}"
            raise KeyError(text) from error

    try:
        call()
    except KeyError:
        kind, error, trace = sys.exc_info()
        assert kind is not None
        assert error is not None
        assert trace is not None
        return kind, error, trace
    raise AssertionError


@pytest.fixture
def request_with_secrets(rf: RequestFactory) -> Any:
    rf.cookies["messages"] = CANARY
    return rf.post(
        f"/invitations/{CANARY}/?code={CANARY}&state={CANARY}",
        {"access_token": CANARY, "anything": CANARY, "file": SimpleUploadedFile(f"{CANARY}.txt", b"x")},
        headers={"authorization": f"Bearer {CANARY}", "referer": f"/back?code={CANARY}", "x-any": CANARY},
    )


def page(request: HttpRequest) -> str:
    return technical_500_response(request, *fallen(request)).content.decode()


def plain(request: HttpRequest) -> str:
    reporter = Reporter(request, *fallen(request), is_email=True)
    return str(reporter.get_traceback_text())


def mailed(request: HttpRequest) -> str:
    handler = AdminEmailHandler(include_html=True)
    record = logging.LogRecord("django.request", logging.ERROR, "x", 1, "Error", (), fallen(request))
    record.request = request
    handler.emit(record)
    [message] = mail.outbox
    return str(message.message())


@pytest.mark.parametrize("report", [page, plain, mailed])
@pytest.mark.parametrize("debug", [True, False])
def test_no_value_is_in_a_report(
    report: Callable[[HttpRequest], str], debug: bool, request_with_secrets: Any, settings: Any
) -> None:
    settings.DEBUG = debug
    settings.ADMINS = [("Ada", "ada@hub.example")]
    assert CANARY in "".join(traceback.format_exception(fallen(request_with_secrets)[1]))

    shown = report(request_with_secrets)

    assert CANARY not in shown
    assert "KeyError" in shown
    assert "test_exception_reports.py" in shown


def test_what_helps_is_there(request_with_secrets: Any, settings: Any) -> None:
    settings.DEBUG = True

    shown = page(request_with_secrets)

    for word in (
        "4711",
        "innocent",
        "&lt;dict&gt;",
        "access_token",
        "HTTP_AUTHORIZATION",
        "HTTP_X_ANY",
        "POST",
    ):
        assert word in shown
