"""A visitor without a browser: opens pages, fills in the forms that it finds there, and follows where they lead.

The demo walks through the product's front doors with it. What a page does not offer, a visitor cannot do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

TIMEOUT_SECONDS = 20


class LostVisitor(Exception):
    """The page is not what the visitor expected; the text says what was there instead."""


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, and its fields with the values they came with; `offers`: boxes not ticked."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    offers: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.texts: list[str] = []
        self._form: Form | None = None
        self._select: str | None = None
        self._area: str | None = None
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        name = values.get("name", "")
        if tag in ("script", "style"):
            self._silent += 1
        elif tag == "form":
            self._form = Form(values.get("action", ""), values.get("method", "get").lower())
            self.forms.append(self._form)
        elif self._form is None:
            return
        elif tag == "input" and name:
            kind = values.get("type", "text")
            if kind in ("checkbox", "radio") and "checked" not in values:
                self._form.offers.add(name)
                return
            if kind != "submit":
                self._form.fields[name] = values.get("value", "")
        elif tag == "textarea" and name:
            self._area = name
            self._form.fields[name] = ""
        elif tag == "select" and name:
            self._select = name
            self._form.fields[name] = ""
        elif (
            tag == "option" and self._select and ("selected" in values or not self._form.fields[self._select])
        ):
            self._form.fields[self._select] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._silent -= 1
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area and self._form:
            self._form.fields[self._area] += data
        elif not self._silent and data.strip():
            self.texts.append(" ".join(data.split()))


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it was answered: its address, its forms, and its words."""

    url: str
    status: int
    forms: list[Form]
    text: str
    html: str

    @property
    def path(self) -> str:
        """The address without scheme and host."""
        return urlsplit(self.url).path


class Visitor:
    """One person's session at the site whose address is `base`."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._session = requests.Session()
        self._session.trust_env = False

    def open(self, path: str) -> Page:
        """The page at `path` (or at a whole address of the site), after redirects. Raises LostVisitor."""
        return self._page(self._session.get(urljoin(self.base, path), timeout=TIMEOUT_SECONDS))

    def submit(self, page: Page, having: str, **values: str) -> Page:
        """The page after sending the form of `page` that has the field `having` or whose action ends with it."""
        for form in page.forms:
            if having in form.fields or having in form.offers or form.action.rstrip("/").endswith(having):
                break
        else:
            raise LostVisitor(f"{page.path} has no form with {having!r}: {page.text[:300]}")
        data = form.fields | values
        answer = self._session.request(
            form.method,
            urljoin(page.url, form.action or page.url),
            data=data,
            headers={"Referer": page.url},
            timeout=TIMEOUT_SECONDS,
        )
        return self._page(answer)

    def _page(self, answer: requests.Response) -> Page:
        if answer.status_code >= 400:
            reader = _Reader()
            reader.feed(answer.text)
            raise LostVisitor(
                f"{urlsplit(answer.url).path} answered {answer.status_code}: {' '.join(reader.texts)[:300]}"
            )
        reader = _Reader()
        reader.feed(answer.text)
        return Page(answer.url, answer.status_code, reader.forms, " ".join(reader.texts), answer.text)
