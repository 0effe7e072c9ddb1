"""The whole of PartnerHub as real processes on the run's database, and a real browser that walks through it.

Rows are committed for real and stay for the run: each test makes people and pixels of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from pytest_django.plugin import DjangoDbBlocker

from partnerhub.dev.chromium import ensure_chromium
from tests.support.brokers import prepared_broker
from tests.support.collector import CollectorProcess
from tests.support.sandbox import SandboxClient, SandboxProcess
from tests.support.web import WebProcess
from tests.support.worker import WorkerProcess

CHECKOUT = Path(__file__).resolve().parents[2]
MAIL_SECONDS = 15
PASSWORD = "correct horse battery staple"
# Colours change with a transition; one that is still changing has no contrast to speak of.
SETTLE_MS = 250
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
# Without these Chromium knocks at its maker's hosts, which the closed network refuses.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What a strict policy refuses is told to the page, and collected here.
WATCH_POLICY = """
window.refusedByPolicy = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.refusedByPolicy.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """The running product and its stand-in for Meta."""

    web: str
    door: str
    meta: SandboxClient

    def mailed_link(self, to: str, pattern: str) -> str:
        """The newest link of this form that was mailed to the address."""
        deadline = time.monotonic() + MAIL_SECONDS
        while time.monotonic() < deadline:
            for mail in self.meta.mail(to):
                if found := re.search(pattern, mail.text):
                    return self.web + found[0]
            time.sleep(0.1)
        raise AssertionError(f"No mail with {pattern} came to {to}.")


# For the module, not the session: the processes' addresses are in the environment, and Playwright's event loop runs
# in this thread as long as the browser is open.
@pytest.fixture(scope="module")
def hub(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Hub]:
    """Sandbox, web site, collector and worker, each the real process in its own role."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        sandbox = stack.enter_context(SandboxProcess())
        broker = stack.enter_context(prepared_broker("pgmq"))
        settings = {
            **broker.environment,
            "GRAPH_API_BASE_URL": sandbox.base_url,
            "EMAIL_URL": f"smtp://127.0.0.1:{sandbox.smtp_port}",
        }
        web = WebProcess(settings)
        settings["PUBLIC_URL"] = web.base_url
        collector = stack.enter_context(CollectorProcess(settings))
        settings["COLLECTOR_URL"] = collector.base_url
        stack.enter_context(WorkerProcess(settings))
        stack.enter_context(web)
        sandbox.client.put_app("900100", secret="the-partner-app-secret")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            yield Hub(web.base_url, collector.base_url, sandbox.client)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none, the sentence says what to install."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(ensure_chromium()), args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """One person's browser, which looks at every page that it opens."""

    hub: Hub
    context: BrowserContext
    page: Page
    faults: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        """The page at a path of the site, or at a whole address."""
        self.page.goto(address if address.startswith("http") else self.hub.web + address)
        return self.page

    def sign_in(self, email: str, password: str = PASSWORD) -> Page:
        """Sign in as a person does."""
        self.open("/accounts/login/")
        self.page.get_by_label("Email").fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.locator("main").get_by_role("button", name="Sign in").click()
        self.page.wait_for_load_state()
        assert "/accounts/login/" not in self.page.url
        return self.page

    def check(self) -> None:
        """This page: nothing serious for axe in light and dark, no sideways scroll on a phone, no policy refusal."""
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            self.page.wait_for_timeout(SETTLE_MS)
            found = Axe().run(self.page, options={"resultTypes": ["violations"]})
            serious = [
                f"{one['id']}: {one['nodes'][0]['html'][:160]}"
                for one in found.response["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], f"{self.page.url} in {scheme}"
        if self.page.viewport_size:
            size = self.page.viewport_size
            self.page.set_viewport_size(PHONE)
            wide = self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{self.page.url} scrolls sideways on a phone"
            self.page.set_viewport_size(size)
        assert self.page.evaluate("window.refusedByPolicy") == [], self.page.url
        assert self.faults == [], self.page.url


MakeVisitor = Callable[..., Visitor]


@pytest.fixture
def visit(hub: Hub, browser: Browser) -> Iterator[MakeVisitor]:
    """`visit()` is a new person's browser; `visit(javascript=False)` one without JavaScript."""
    opened: list[Visitor] = []

    def make(*, javascript: bool = True) -> Visitor:
        context = browser.new_context(
            viewport=DESKTOP,
            java_script_enabled=javascript,
        )
        context.set_default_timeout(8_000)
        if javascript:
            context.add_init_script(WATCH_POLICY)
        visitor = Visitor(hub, context, context.new_page())
        visitor.page.on(
            "console",
            # A page that is an error itself is told in the console, too; that is what the test asked for.
            lambda said: (
                visitor.faults.append(said.text)
                if said.type == "error" and "Failed to load resource" not in said.text
                else None
            ),
        )
        visitor.page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        opened.append(visitor)
        return visitor

    yield make
    for visitor in opened:
        assert visitor.faults == []
        visitor.context.close()


@pytest.fixture
def make_partner(hub: Hub) -> Callable[[str, str], None]:
    """The operator's command, as its own process; the owner gets the mail."""

    def make(name: str, owner: str) -> None:
        subprocess.run(
            [
                *(sys.executable, "manage.py", "partner", "create", "--name", name),
                *("--partner-agent", "datapartner", "--meta-app-id", "900100", "--owner-email", owner),
            ],
            cwd=CHECKOUT,
            env={**os.environ, "PROCESS": "operator"},
            check=True,
            capture_output=True,
            timeout=60,
        )

    return make
