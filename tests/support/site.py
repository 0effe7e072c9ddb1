"""The web site as its own process would answer: as the web's database role, and with what follows a commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from html import unescape
from typing import Any

from django.db import connection
from django.http import HttpResponse
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext

from tenants.models import Person

Page = Any  # The test client's answer: an HttpResponse with `context`, `url` and the like.


class Site:
    """A browser at the site. What the test makes by itself, it makes as the tables' owner."""

    def __init__(self, as_role: Callable[[str], AbstractContextManager[None]]) -> None:
        self.client = Client()
        self._as_role = as_role
        self.queries = 0

    def sign_in(self, person: Person | None) -> Site:
        """The same browser, with the person (or nobody) signed in."""
        self.client.logout()
        if person is not None:
            self.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        return self

    def get(self, path: str, **headers: str) -> Page:
        """The answer to a GET."""
        with self._as_web():
            return self.client.get(path, headers=headers)

    def post(self, path: str, data: Mapping[str, object] | None = None, **headers: str) -> Page:
        """The answer to a POST."""
        with self._as_web():
            return self.client.post(path, data or {}, headers=headers)

    @contextmanager
    def _as_web(self) -> Iterator[None]:
        with (
            self._as_role("app"),
            CaptureQueriesContext(connection) as queries,
            TestCase.captureOnCommitCallbacks(execute=True),
        ):
            yield
        self.queries = len(queries)


def text_of(page: HttpResponse) -> str:
    """The words of a page, without its tags."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", " ", page.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def messages_of(page: Any) -> list[str]:
    """What the page's request told the person, or will on the next page."""
    from django.contrib.messages import get_messages

    return [str(message) for message in get_messages(page.wsgi_request)]
