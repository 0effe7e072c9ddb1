"""The main job as people live it: partner staff, and the advertiser that they invite."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connection
from playwright.sync_api import expect
from pytest_django.plugin import DjangoDbBlocker

from tenants.models import Partner
from tenants.roles import AdvertiserRole
from tests.e2e.conftest import PASSWORD, Hub, MakeVisitor, Visitor
from tests.e2e.connecting import is_connected
from tests.support.factories import PASSWORD as FACTORY_PASSWORD
from tests.support.factories import join_advertiser, make_advertiser, make_person

GUIDE_EM = "8159ea0e33c51a774b83104ee562784f9b1836c852102046e4bd8385706fe7ca"


class Cast:
    """An owner and an advertiser's admin with names of this test's own, and how they come in."""

    def __init__(
        self, hub: Hub, visit: MakeVisitor, make_partner: Callable[[str, str], None], rows: DjangoDbBlocker
    ) -> None:
        self.hub = hub
        self._rows = rows
        self.visit = visit
        tag = secrets.token_hex(3)
        self.partner = f"Partner {tag}"
        self.shop = f"Shop {tag}"
        self.owner_email = f"owner-{tag}@datapartner.example"
        self.admin_email = f"admin-{tag}@shop.example"
        self.meta_id = str(10**12 + secrets.randbelow(10**11))
        self.token = f"EAAB{secrets.token_hex(30)}"
        hub.meta.put_pixel(self.meta_id, name="Web shop")
        hub.meta.put_token(self.token, pixels=[self.meta_id])
        make_partner(self.partner, self.owner_email)

    def come_in(self, visitor: Visitor, email: str, name: str, *, look: bool = False) -> None:
        """From the mail through sign-up, confirmation and acceptance, to the person's own page."""
        page = visitor.open(self.hub.mailed_link(email, r"/invitations/[A-Za-z0-9_-]+/"))
        expect(page.get_by_role("heading", level=1)).to_contain_text("invite")
        if look:
            visitor.check()
        page.get_by_role("link", name="Make an account").click()
        if look:
            visitor.check()
        page.get_by_label("Name").fill(name)
        expect(page.get_by_label("Email")).to_have_value(email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.locator("main").get_by_role("button", name="Make the account").click()
        page.wait_for_load_state()
        visitor.open(self.hub.mailed_link(email, r"/accounts/confirm-email/[^/\s]+/"))
        page.locator("main").get_by_role("button").first.click()
        page.wait_for_load_state()
        visitor.open(self.hub.mailed_link(email, r"/invitations/[A-Za-z0-9_-]+/"))
        if page.get_by_role("link", name="Make an account").count():
            visitor.sign_in(email)
            visitor.open(self.hub.mailed_link(email, r"/invitations/[A-Za-z0-9_-]+/"))
        page.get_by_role("button", name="Accept the invitation").click()
        page.wait_for_load_state()
        expect(page.locator("main")).to_contain_text("Welcome to")

    def owner(self, *, look: bool = False) -> Visitor:
        """The partner's owner, signed in, who has invited the shop."""
        visitor = self.visit()
        self.come_in(visitor, self.owner_email, "Olivia Owner", look=look)
        page = visitor.page
        if look:
            visitor.check()
        page.get_by_role("link", name="Invite an advertiser").first.click()
        page.get_by_label("Advertiser").fill(self.shop)
        page.get_by_label("Country").fill("IT")
        page.get_by_label("Its admin's e-mail address").fill(self.admin_email)
        if look:
            visitor.check()
        page.get_by_role("button", name="Send the invitation").click()
        page.wait_for_load_state()
        expect(page.locator("main")).to_contain_text(self.admin_email)
        return visitor

    def admin(self, *, look: bool = False) -> Visitor:
        """The shop's admin, signed in, at its own page."""
        visitor = self.visit()
        self.come_in(visitor, self.admin_email, "Adam Admin", look=look)
        return visitor

    def settled_admin(self, *, javascript: bool = True) -> Visitor:
        """The shop's admin as somebody who came in some time ago: made beforehand, signed in by hand."""
        # On a thread of its own: Playwright's event loop runs in this one, where Django refuses to query.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._make_admin).result()
        visitor = self.visit(javascript=javascript)
        visitor.sign_in(self.admin_email, FACTORY_PASSWORD)
        return visitor

    def _make_admin(self) -> None:
        with self._rows.unblock():
            partner = Partner.objects.get(name=self.partner)
            advertiser = make_advertiser(partner, name=self.shop)
            join_advertiser(
                make_person(self.admin_email, name="Adam Admin"), advertiser, AdvertiserRole.ADMIN
            )
            connection.close()

    def connect(self, visitor: Visitor, token: str | None = None) -> None:
        """Enter the pixel and its token; the test begins."""
        page = visitor.page
        page.get_by_role("button", name="Connect a pixel").first.click()
        page.get_by_label("Pixel ID").fill(f" {self.meta_id} ")
        page.get_by_label("Name").fill("Web shop")
        page.get_by_label("Access token").fill(token or self.token)
        page.get_by_label("I do not know").check()
        page.get_by_role("button", name="Connect and test").click()

    def connected(self, visitor: Visitor, token: str | None = None) -> str:
        """Connect, see it done without a reload, and go on to the pixel's page; its address."""
        self.connect(visitor, token)
        is_connected(visitor.page)
        visitor.page.get_by_role("link", name="Send events to the pixel").click()
        return visitor.page.url

    def ingest_token(self, visitor: Visitor) -> str:
        """Make an ingest token on the pixel's page, and read it off the one page that shows it."""
        page = visitor.page
        page.get_by_label("Name").fill("Shop server")
        page.get_by_role("button", name="Make a token").click()
        return page.locator("#ingest-token").inner_text().strip()

    def send(self, ingest_token: str, events: list[dict[str, object]]) -> requests.Response:
        """Events to the door, as a shop's server sends them."""
        return requests.post(
            f"{self.hub.door}/v26.0/{self.meta_id}/events",
            params={"access_token": ingest_token},
            json={"data": events, "partner_agent": "datapartner"},
            timeout=10,
        )


@pytest.fixture
def cast(
    hub: Hub,
    visit: MakeVisitor,
    make_partner: Callable[[str, str], None],
    django_db_blocker: DjangoDbBlocker,
) -> Cast:
    return Cast(hub, visit, make_partner, django_db_blocker)


def test_from_the_partners_mail_to_events_at_meta(cast: Cast) -> None:
    owner = cast.owner(look=True)
    admin = cast.admin(look=True)
    page = admin.page
    admin.check()
    home = page.url

    pixel = cast.connected(admin)
    admin.check()
    token = cast.ingest_token(admin)
    assert token.startswith("pht_")
    admin.check()
    admin.open(pixel)
    assert token not in page.content()

    now = int(time.time())
    who: dict[str, object] = {"em": GUIDE_EM}
    answer = cast.send(
        token,
        [
            {"event_name": "PageView", "event_time": now, "user_data": who},
            {
                "event_name": "Purchase",
                "event_time": now,
                "user_data": who,
                "custom_data": {"currency": "USD", "value": "50"},
            },
        ],
    )
    assert answer.json()["events_received"] == 2

    _until_shown(admin, pixel, "Accepted")
    page.get_by_role("link", name="All events").click()
    admin.check()
    page.get_by_role("link", name="Purchase").click()
    main = page.locator("main")
    expect(main).to_contain_text("action_source was missing; the pixel's default was used.")
    expect(main).to_contain_text("event_id was missing; we made one")
    expect(main).to_contain_text("custom_data.value came as text; it is sent as a number.")
    expect(main).to_contain_text('"value": 50')
    admin.check()
    [stored] = [one for one in cast.hub.meta.stored(cast.meta_id) if one.event_name == "Purchase"]
    assert (stored.copies, stored.partner_agent) == (1, "datapartner")

    owner.page.reload()
    owner.page.get_by_role("link", name=cast.shop).first.click()
    expect(owner.page.locator("main")).to_contain_text("Working")
    owner.check()
    owner.page.get_by_role("link", name="People").click()
    owner.check()
    assert home != pixel


def test_a_dead_token_is_explained_parks_the_pixel_and_a_new_one_mends_it(cast: Cast) -> None:
    admin = cast.settled_admin()
    page = admin.page
    pixel = cast.connected(admin)
    token = cast.ingest_token(admin)

    cast.hub.meta.set_token_state(cast.token, "expired")
    event = {"event_name": "Lead", "event_time": int(time.time()), "user_data": {"em": "a@shop.example"}}
    assert cast.send(token, [event]).status_code == 200

    _until_shown(admin, pixel, "Paused")
    expect(page.locator("main")).to_contain_text("Meta refused the token")
    admin.check()
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("[data-state=failed]")).to_be_visible()
    expect(page.locator("main")).to_contain_text("The access token has expired")
    expect(page.locator("main")).to_contain_text("What you can do")
    admin.check()

    mended = f"EAAB{secrets.token_hex(30)}"
    cast.hub.meta.put_token(mended, pixels=[cast.meta_id])
    page.get_by_role("button", name="Paste a new token").click()
    page.get_by_label("Access token").fill(mended)
    page.get_by_label("Never").check()
    page.get_by_role("button", name="Connect and test").click()
    is_connected(page)
    _until_shown(admin, pixel, "Accepted")
    assert [one.copies for one in cast.hub.meta.stored(cast.meta_id) if one.event_name == "Lead"] == [1]


def test_what_meta_refuses_is_rejected_in_words(cast: Cast) -> None:
    admin = cast.settled_admin()
    page = admin.page
    pixel = cast.connected(admin)
    token = cast.ingest_token(admin)
    cast.hub.meta.add_knob("error", pixel_id=cast.meta_id, code=100, subcode=2804050, event_ids=["guilty"])

    now = int(time.time())
    events: list[dict[str, object]] = [
        {"event_name": "Lead", "event_time": now, "event_id": name, "user_data": {"em": "a@shop.example"}}
        for name in ("innocent", "guilty")
    ]
    assert cast.send(token, events).status_code == 200

    _until_shown(admin, pixel, "The event does not say enough about the person")
    expect(page.get_by_role("row", name="guilty")).to_contain_text("Rejected")
    admin.check()
    assert {one.event_id for one in cast.hub.meta.stored(cast.meta_id) if one.event_name == "Lead"} == {
        "innocent"
    }


def test_a_pixel_is_connected_with_the_keyboard_alone(cast: Cast) -> None:
    admin = cast.settled_admin()
    page = admin.page
    page.get_by_role("button", name="Connect a pixel").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/connect/*/")

    page.get_by_label("Pixel ID").focus()
    page.keyboard.type(cast.meta_id)
    page.keyboard.press("Tab")
    page.keyboard.type("Web shop")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type(cast.token)
    page.keyboard.press("Tab")  # The button that shows the token.
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")

    is_connected(page)


def test_the_doors_of_sign_in_are_in_order(visit: MakeVisitor) -> None:
    visitor = visit()

    for path in ("/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/nowhere/"):
        visitor.open(path)
        visitor.check()


def test_bad_input_keeps_what_was_typed_but_for_the_token(cast: Cast) -> None:
    admin = cast.settled_admin()
    page = admin.page
    page.get_by_role("button", name="Connect a pixel").first.click()
    page.get_by_label("Pixel ID").fill(
        "https://business.facebook.com/events_manager2/list/pixel/123456789012345/"
    )
    page.get_by_label("Name").fill("Kept name")
    page.get_by_label("Access token").fill(cast.token)

    page.get_by_role("button", name="Connect and test").click()

    expect(page.get_by_label("Name")).to_have_value("Kept name")
    expect(page.get_by_label("Access token")).to_have_value("")
    expect(page.locator("main")).to_contain_text("123456789012345")
    assert cast.token not in page.content()
    admin.check()


def _until_shown(visitor: Visitor, address: str, words: str) -> None:
    """Reload the page until it says so."""
    deadline = time.monotonic() + 20
    while True:
        visitor.open(address)
        if words in visitor.page.locator("main").inner_text():
            return
        assert time.monotonic() < deadline, f"{address} does not say {words!r}"
        time.sleep(0.2)
