"""A canary: secrets that go through a flow and must turn up nowhere.

    canary = Canary(access_token=new_secret("EAAB"))
    visitor = canary.visitor(web.base_url)           # remembers every page that it is answered
    …the flow, through real processes…
    canary.crawl(visitor, "/")                       # and whatever page can be reached from there
    assert canary.sightings(
        database=database, processes=[web, worker, collector], mails=sandbox.client.mail()
    ) == []

A sighting is a sentence that says where and which secret, by its name. Looked at are:

- every row of every table of every schema, the broker's (pgmq) among them, sealed columns too, and what sessions
  hold, which is compressed;
- the processes' logs; give LOG_LEVEL=DEBUG where that says more;
- the mails, and every page that a visitor was answered, headers included;
- /proc: the command line and the environment of each process on the machine but the test's own. VAULT_KEYS is the one
  variable that may hold master keys; who gives them by a file or a command can put them among the canaries.

Reports of exceptions come with the pages: run the web site with DEBUG=true and let it fall (tests/test_canary.py).
`canary.text("where", text)` looks at anything else, `canary.note(name=text)` adds a secret that the product made.

A secret is found whole, a quarter of it is, and either in base64 or in hexadecimal. Make canaries of
32 characters and more from letters and digits: `new_secret`. A page that is to show one, once, is named in
`shown`: `{"ingest_token": "/pixels/1/ingest-tokens/"}`.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg
import requests
from django.contrib.sessions.backends.db import SessionStore
from psycopg import sql

from partnerhub.dev.visitor import LostVisitor, Page, Visitor
from tests.support.environment import TestDatabase
from tests.support.sandbox import SandboxMail

PIECES = 4
# Less than this turns up by chance.
PIECE_CHARACTERS = 8
CRAWLED_PAGES = 200
_LINK = re.compile(r"""(?:href|hx-get|action)="(/[^"#]*)""")
_LEAVES = ("/accounts/logout/", "/static/")


class Watched(Protocol):
    """A process with a log."""

    @property
    def log(self) -> str: ...


def new_secret(prefix: str = "") -> str:
    """A secret of 64 random characters behind the prefix."""
    return prefix + secrets.token_hex(32)


class Canary:
    """The secrets of one flow, by name, and the pages of its visitors."""

    def __init__(self, **texts: str) -> None:
        self._texts: dict[str, str] = {}
        self._signs: dict[str, set[str]] = {}
        self._pages: list[tuple[str, str]] = []
        self.note(**texts)

    def note(self, **texts: str) -> None:
        """Look for these, too."""
        for name, text in texts.items():
            if len(text) < PIECES * PIECE_CHARACTERS:
                raise ValueError(f"The secret {name} is too short to be found in pieces.")
            self._texts[name] = text
            self._signs[name] = _signs(text)

    def secret(self, name: str) -> str:
        """The secret of this name."""
        return self._texts[name]

    def text(self, where: str, text: str) -> list[str]:
        """Sightings in any text."""
        return [
            f"{where}: {name}" for name, signs in self._signs.items() if any(sign in text for sign in signs)
        ]

    def visitor(self, base_url: str) -> Visitor:
        """A visitor whose pages are looked at."""
        return _RememberingVisitor(base_url, self)

    def remember(self, path: str, text: str) -> None:
        """A page that was answered, to be looked at."""
        self._pages.append((path, text))

    @property
    def last_page(self) -> str:
        """The page that was remembered last."""
        return self._pages[-1][1]

    def crawl(self, visitor: Visitor, path: str) -> int:
        """Open what can be reached from the page by links; how many pages."""
        seen: set[str] = set()
        ahead = [path]
        while ahead and len(seen) < CRAWLED_PAGES:
            path = ahead.pop(0)
            if path in seen or path.startswith(_LEAVES):
                continue
            seen.add(path)
            try:
                page = visitor.open(path)
            except LostVisitor:
                continue
            ahead += [link.replace("&amp;", "&") for link in _LINK.findall(page.html)]
        return len(seen)

    def sightings(
        self,
        *,
        database: TestDatabase,
        processes: Iterable[Watched] = (),
        mails: Iterable[SandboxMail] = (),
        shown: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Where the secrets are to be seen; empty where they are not."""
        found = self.pages(shown or {}) + self.database(database) + self.processes()
        for process in processes:
            found += self.text(f"log of {type(process).__name__}", process.log)
        for mail in mails:
            found += self.text(
                f"mail {mail.subject!r}", "\n".join([mail.subject, mail.text, mail.html, *mail.to])
            )
        return found

    def pages(self, shown: Mapping[str, str]) -> list[str]:
        """Sightings on pages; `shown` is the path of the one page, by the name of a secret, that may show it once."""
        found: list[str] = []
        expected = {f"page {path}: {name}" for name, path in shown.items()}
        for path, text in self._pages:
            for sighting in self.text(f"page {path}", text):
                if sighting in expected:
                    expected.remove(sighting)
                else:
                    found.append(sighting)
        return found + [f"not seen where it is shown once: {sighting}" for sighting in sorted(expected)]

    def database(self, database: TestDatabase) -> list[str]:
        """Sightings in rows, whatever the table, and in sessions."""
        found: list[str] = []
        with psycopg.connect(database.admin_url(), autocommit=True) as link:
            tables = link.execute(
                "SELECT nspname, relname FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace"
                " WHERE relkind IN ('r', 'm') AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
            ).fetchall()
            for schema, table in tables:
                query = sql.SQL("SELECT one::text FROM {} AS one").format(sql.Identifier(schema, table))
                for (row,) in link.execute(query):
                    found += self.text(f"table {schema}.{table}", row)
            for (data,) in link.execute("SELECT session_data FROM django_session"):
                found += self.text("a session", repr(SessionStore().decode(data)))
        return found

    def processes(self) -> list[str]:
        """Sightings in command lines and environments of this machine's processes, but for the test's own."""
        found: list[str] = []
        for folder in Path("/proc").glob("[0-9]*"):
            if int(folder.name) == os.getpid():
                continue
            for name in ("cmdline", "environ"):
                try:
                    words = (folder / name).read_bytes().decode("utf-8", "replace").split("\0")
                except OSError:
                    continue  # it has ended, or is somebody else's
                told = "\n".join(word for word in words if not word.startswith("VAULT_KEYS="))
                found += self.text(f"{name} of process {folder.name}", told)
        return found


class _RememberingVisitor(Visitor):
    def __init__(self, base: str, canary: Canary) -> None:
        super().__init__(base)
        self._canary = canary

    def _page(self, answer: requests.Response) -> Page:
        for one in (*answer.history, answer):
            told = "\n".join(f"{name}: {value}" for name, value in one.headers.items())
            self._canary.remember(urlsplit(one.url).path, f"{one.url}\n{told}\n{one.text}")
        return super()._page(answer)


def _signs(text: str) -> set[str]:
    width = len(text) // PIECES
    pieces = [text[place * width : (place + 1) * width] for place in range(PIECES)]
    return {text, *pieces, *(piece.encode().hex() for piece in pieces), *_in_base64(text)}


def _in_base64(text: str) -> Iterable[str]:
    """What of the text stands in base64, wherever it begins there: its ends depend on their neighbours."""
    for before in range(3):
        coded: Any = base64.b64encode(b"x" * before + text.encode()).decode()
        yield coded[4:-4]
        yield coded[4:-4].replace("+", "-").replace("/", "_")
