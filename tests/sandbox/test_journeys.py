"""The dialog and Business settings in a real browser, with the keys and the labels that a person has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from partnerhub.dev.chromium import ensure_chromium
from tests.sandbox.access import (
    APP,
    DEVELOPER,
    OTHER_SHOP,
    PARTNER,
    SECOND_PIXEL,
    SHOP,
    SHOP_PIXEL,
    answer_of,
    dialog_url,
    exchange,
    fbe_url,
    flb_url,
)
from tests.support.sandbox import SandboxClient


class Landing(BaseHTTPRequestHandler):
    """Where the app's redirects lead."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b'<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,">')

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def callback() -> Iterator[str]:
    """The app's callback, on a port of its own."""
    server = HTTPServer(("127.0.0.1", 0), Landing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/callback"
    server.shutdown()
    server.server_close()
    thread.join()


def look_at(page: Page, complaints: list[str]) -> None:
    """Note what is wrong with the page that is open."""
    violations = Axe().run(page).response["violations"]
    complaints += [f"{page.title()}: {item['id']}" for item in violations]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        complaints.append(f"{page.title()}: wider than the screen")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_person_goes_through_dialogs_and_settings(
    meta: SandboxClient, callback: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    meta.set_app(APP, redirect_uris=[callback])
    meta.set_person(DEVELOPER, businesses=[SHOP, OTHER_SHOP])
    meta.share_pixel(SECOND_PIXEL, PARTNER, pending=True)
    complaints: list[str] = []

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(ensure_chromium()), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(10_000)
        page.on("console", lambda line: complaints.append(line.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

        page.goto(fbe_url(meta, redirect_uri=callback))
        look_at(page, complaints)
        page.get_by_label("Dora").check()
        page.get_by_role("button", name="Continue").click()
        look_at(page, complaints)
        page.get_by_role("radio", name="Shop 8001", exact=True).check()
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("Blog").check()
        page.get_by_label("Read your ads").uncheck()
        look_at(page, complaints)
        page.get_by_role("button", name="Continue as Dora").click()
        page.wait_for_url(f"{callback}?**")
        installed = exchange(meta, answer_of(page.url)["code"], redirect_uri=callback)

        page.goto(flb_url(meta, redirect_uri=callback) + "&person=3001")
        page.get_by_label("Web shop").check()
        look_at(page, complaints)
        page.get_by_role("button", name="Continue as Anna").click()
        page.wait_for_url(f"{callback}?**")
        integrated = exchange(meta, answer_of(page.url)["code"], redirect_uri=callback)

        page.goto(dialog_url(meta, redirect_uri=callback) + "&person=3001")
        page.get_by_role("button", name="Not now").click()
        page.wait_for_url(f"{callback}?**")
        denied = answer_of(page.url)
        page.goto(dialog_url(meta, redirect_uri=callback) + "&person=3001")
        page.get_by_role("button", name="Close without answering").click()
        page.get_by_role("heading", name="You closed the window").wait_for()
        look_at(page, complaints)

        page.goto(f"{meta.base_url}/sandbox/businesses")
        look_at(page, complaints)
        page.get_by_role("link", name="Shop", exact=True).click()
        card = page.locator("section", has=page.get_by_role("heading", name="Web shop"))
        card.locator("summary").click()
        card.get_by_label("Partner business ID").fill(PARTNER)
        look_at(page, complaints)
        card.get_by_role("button", name="Assign partner").click()
        card.get_by_role("button", name="Withdraw").wait_for()
        look_at(page, complaints)
        page.goto(f"{meta.base_url}/sandbox/businesses/{PARTNER}")
        page.get_by_role("button", name="Accept").click()
        look_at(page, complaints)
        browser.close()

    world = meta.world()
    assert complaints == []
    assert installed.ok
    assert integrated.ok
    assert denied["error"] == "access_denied"
    assert world["installs"]["ph-adv-7f3c"]["pixel_id"] == SECOND_PIXEL
    assert world["people"][DEVELOPER]["grants"][APP]["ads_read"] == "declined"
    assert world["pixels"][SHOP_PIXEL]["agencies"][PARTNER]["status"] == "APPROVE"
    assert world["pixels"][SECOND_PIXEL]["agencies"][PARTNER]["status"] == "APPROVE"
