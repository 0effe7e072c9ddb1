"""A partner sets itself up in a browser, from the first step to the test event, and hands Meta its addresses."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from playwright.sync_api import Page, expect
from pytest_django.plugin import DjangoDbBlocker

from tenants.roles import PartnerRole
from tenants.services import create_partner
from tests.e2e.conftest import Hub, MakeVisitor, Visitor
from tests.support.factories import PASSWORD, join_partner, make_person
from tests.tenants.test_branding import png

SECRET = "the-secret-of-the-own-app"
ASSIGNING = f"EAAassigning{secrets.token_hex(20)}"


class Platform:
    """A partner of which nothing is set up, its owner, and what it has at Meta: an app, a business, system users."""

    def __init__(self, hub: Hub, visit: MakeVisitor, rows: DjangoDbBlocker) -> None:
        self.hub, self.visit, self._rows = hub, visit, rows
        tag = secrets.token_hex(3)
        self.name, self.email = f"Platform {tag}", f"owner-{tag}@platform.example"
        number = 10**9 + secrets.randbelow(10**8)
        self.app, self.business, self.admin, self.sender, self.pixel = (str(number + n) for n in range(5))
        hub.meta.set_world(
            {
                "apps": {
                    self.app: {
                        "secret": SECRET,
                        "name": "Platform App",
                        "business_id": self.business,
                        "permissions": {"ads_management": "live", "ads_read": "pending"},
                    }
                },
                "businesses": {self.business: {"name": "Platform Ltd", "verification_status": "verified"}},
                "system_users": {
                    self.admin: {
                        "name": "Admin",
                        "business_id": self.business,
                        "role": "ADMIN",
                        "apps": [self.app],
                    },
                    self.sender: {"name": "Sender", "business_id": self.business, "role": "EMPLOYEE"},
                },
                "pixels": {
                    self.pixel: {
                        "owner_business": self.business,
                        "users": {self.sender: ["UPLOAD", "ANALYZE"]},
                    }
                },
                "tokens": {
                    ASSIGNING: {
                        "app_id": self.app,
                        "user_id": self.admin,
                        "scopes": ["business_management", "ads_management"],
                    }
                },
            }
        )
        # On a thread of its own: Playwright's event loop runs in this one, where Django refuses to query.
        with ThreadPoolExecutor(1) as pool:
            self.key = pool.submit(self._make).result()

    def _make(self) -> int:
        with self._rows.unblock():
            partner = create_partner(name=self.name, partner_agent="platform")
            join_partner(make_person(self.email, name="Olivia Owner"), partner, PartnerRole.OWNER)
            connection.close()
        return partner.pk

    def owner(self, *, javascript: bool = True) -> Visitor:
        visitor = self.visit(javascript=javascript)
        visitor.sign_in(self.email, PASSWORD)
        return visitor


@pytest.fixture
def platform(hub: Hub, visit: MakeVisitor, django_db_blocker: DjangoDbBlocker) -> Platform:
    return Platform(hub, visit, django_db_blocker)


def save(page: Page, button: str = "Save and check with Meta") -> None:
    page.get_by_role("button", name=button, exact=True).click()


def passed(page: Page) -> None:
    """The check is over, and went well, without a reload by hand."""
    expect(page.locator('[data-check="passed"]')).to_be_visible(timeout=20_000)


def failed(page: Page, title: str) -> None:
    expect(page.locator('[data-check="failed"]')).to_contain_text(title, timeout=20_000)


def go_on(page: Page) -> None:
    page.get_by_role("link", name="Next step").click()


def test_from_the_first_step_to_the_test_event(platform: Platform) -> None:
    owner = platform.owner()
    page = owner.page
    expect(page.locator("main")).to_contain_text("0 of 3 steps are done")
    owner.check()
    page.get_by_role("link", name="Go on with the set-up").click()

    page.get_by_label("Shared pixel").check()
    page.get_by_label("Facebook Login for Business").check()
    save(page, "Save")
    page.get_by_label("partner_agent").fill("platform")
    save(page, "Save")

    # A wrong secret says so; the right one is taken.
    page.get_by_label("App ID").fill(platform.app)
    page.get_by_label("App secret").fill("not-the-secret")
    page.get_by_label("App mode").select_option("live")
    save(page)
    failed(page, "The app ID and the app secret do not belong together")
    owner.check()
    page.get_by_label("App ID").fill(platform.app)
    page.get_by_label("App secret").fill(SECRET)
    save(page)
    passed(page)
    expect(page.locator("main")).to_contain_text("Platform App")
    go_on(page)

    page.get_by_label("Business ID").fill(platform.business)
    page.get_by_label("Access token").fill(ASSIGNING)
    save(page)
    passed(page)
    expect(page.locator("main")).to_contain_text("Platform Ltd")
    go_on(page)

    page.get_by_label("PartnerHub makes one").check()
    page.get_by_label("System user's ID").fill(platform.sender)
    owner.check()
    save(page)
    passed(page)
    go_on(page)

    page.get_by_label("Configuration ID").fill("55501")
    save(page, "Save")

    page.get_by_label("Colour").fill("#ffb300")
    page.get_by_label("Logo optional").set_input_files(
        {"name": "logo.png", "mimeType": "image/png", "buffer": png(48, 48)}
    )
    owner.check()
    save(page, "Save")
    expect(page.locator("img.masthead-logo").first).to_be_visible()

    page.get_by_label("Pixel ID").fill(platform.pixel)
    save(page)
    passed(page)
    expect(page.locator("main")).to_contain_text("All is set up")
    owner.check()
    [stored] = platform.hub.meta.stored(platform.pixel)
    assert stored.event_name == "PartnerHubConnectionTest"
    owner.open(f"/partners/{platform.key}/")
    expect(page.locator("main")).not_to_contain_text("steps are done")


def test_app_review_is_read_and_metas_addresses_answer(platform: Platform) -> None:
    owner = platform.owner()
    page = owner.page
    owner.open(f"/partners/{platform.key}/set-up/options/")
    page.get_by_label("Shared pixel").check()
    save(page, "Save")
    owner.open(f"/partners/{platform.key}/set-up/app/")
    page.get_by_label("App ID").fill(platform.app)
    page.get_by_label("App secret").fill(SECRET)
    save(page)
    passed(page)

    page.get_by_role("link", name="App Review").first.click()
    page.get_by_role("button", name="Read from Meta now").click()

    expect(page.locator("main")).to_contain_text("Granted", timeout=20_000)
    expect(page.locator("main")).to_contain_text("In review")
    owner.check()

    def address(name: str) -> str:
        return page.locator(f"#{name} .copyable-value").inner_text()

    meta = platform.hub.meta
    meta.set_app(
        platform.app,
        webhook_url=address("address-webhook"),
        verify_token=address("verify-token"),
        deauthorize_url=address("address-deauthorise"),
        deletion_url=address("address-data_deletion"),
    )
    assert meta.verify_webhook(platform.app)["verified"] is True
    assert meta.verify_webhook(platform.app, "another-token")["verified"] is False
    field = "business_integration_uninstall"
    sent = meta.send_webhook(platform.app, field, business_id="8001", copies=2)
    assert [one["attempts"][0]["status"] for one in sent] == [200, 200]
    [forged] = meta.send_webhook(platform.app, field, business_id="8001", signature="wrong")
    assert forged["attempts"][0]["status"] == 403
    assert meta.deauthorize(platform.app, "3001")["status"] == 200
    assert meta.deauthorize(platform.app, "3001", signature="wrong")["status"] == 403

    answer = meta.request_deletion(platform.app, "3001")

    assert answer["status"] == 200
    anybody = platform.visit()
    there = anybody.open(json.loads(answer["body"])["url"])
    expect(there.get_by_role("heading", level=1)).to_have_text("Deletion of your data")
    anybody.check()
    for _ in range(40):
        if "Your data is deleted" in there.locator("main").inner_text():
            break
        there.wait_for_timeout(250)
        there.reload()
    expect(there.locator("main")).to_contain_text("Your data is deleted")


def test_without_javascript_a_step_is_checked_by_a_reload(platform: Platform) -> None:
    owner = platform.owner(javascript=False)
    page = owner.page
    owner.open(f"/partners/{platform.key}/set-up/app/")
    page.get_by_label("App ID").fill(platform.app)
    page.get_by_label("App secret").fill(SECRET)
    save(page)

    for _ in range(40):
        if page.locator('[data-check="passed"]').count():
            break
        page.wait_for_timeout(250)
        page.reload()

    passed(page)
