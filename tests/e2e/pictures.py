"""The pictures of docs/connect-a-pixel.md, made anew:

.venv/bin/python -m pytest tests/e2e/pictures.py
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import FloatRect, Page
from pytest_django.plugin import DjangoDbBlocker

from tests.e2e.conftest import Hub, MakeVisitor
from tests.e2e.connecting import Shop, is_connected, shows

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "img"
# What a page of the docs should load.
LARGEST_BYTES = 80_000
WIDTH, TOP, HEIGHT = 800, 64, 540


def take(page: Page, name: str) -> None:
    """The page's upper part below the masthead."""
    page.set_viewport_size({"width": WIDTH, "height": TOP + HEIGHT})
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    part: FloatRect = {"x": 0, "y": TOP, "width": WIDTH, "height": HEIGHT}
    page.screenshot(path=PICTURES / f"{name}.png", clip=part, animations="disabled")
    assert (PICTURES / f"{name}.png").stat().st_size < LARGEST_BYTES


def test_pictures(hub: Hub, visit: MakeVisitor, django_db_blocker: DjangoDbBlocker) -> None:
    PICTURES.mkdir(exist_ok=True)
    shop = Shop(hub, visit, django_db_blocker, name="Shop Example", partner="Datapartner")
    admin = shop.admin()
    page = admin.page
    page.get_by_role("button", name="Connect a pixel").first.click()
    take(page, "connect-choose")

    page.get_by_role("link", name="Log in with Facebook for Business").click()
    take(page, "connect-log-in")
    shop.at_meta(page, shop.pixel, shop.blog)
    shows(page, "Which pixel does your shop use?")
    take(page, "connect-pick")
    page.get_by_role("button", name="Web shop").click()
    is_connected(page)
    take(page, "connect-done")
    page.get_by_role("link", name="Send events to the pixel").click()
    page.get_by_role("link", name="Disconnect").click()
    take(page, "disconnect")

    admin.open("/")
    page = shop.begin(admin, "share the pixel")
    page.get_by_label("Pixel ID").fill(shop.blog)
    page.get_by_label("Name").fill("Blog")
    page.get_by_role("button", name="Show how to share it").click()
    shows(page, "looked")
    take(page, "connect-share")
    page.get_by_role("button", name="Another way").click()
    page.get_by_role("link", name="I have an access token").click()
    take(page, "connect-token")
    page.get_by_label("Access token").fill("EAA" + "x" * 40)
    page.get_by_label("I do not know").check()
    page.get_by_role("button", name="Connect and test").click()
    shows(page, "What you can do")
    take(page, "connect-stuck")
    page.get_by_role("button", name="Another way").click()
    page.get_by_role("link", name="No, but a colleague can").click()
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("#link code").inner_text().strip()

    take(visit().open(link), "connect-colleague")
