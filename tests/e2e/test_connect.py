"""Connecting a pixel in a browser, by each auth option and with each failure that a person can meet."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pytest_django.plugin import DjangoDbBlocker

from tests.e2e.conftest import Hub, MakeVisitor
from tests.e2e.connecting import Shop, is_connected, shows

# How long somebody without JavaScript presses "Reload" at most.
RELOAD_SECONDS = 30


@pytest.fixture
def shop(hub: Hub, visit: MakeVisitor, django_db_blocker: DjangoDbBlocker) -> Shop:
    return Shop(hub, visit, django_db_blocker)


def test_business_extension_from_the_question_to_the_proof(shop: Shop) -> None:
    admin = shop.admin()
    page = admin.page
    page.get_by_role("button", name="Connect a pixel").first.click()
    expect(page.get_by_role("heading", name="Can you sign in to Facebook as an admin")).to_be_visible()
    admin.check()
    page.get_by_role("link", name="Yes, I can").click()
    expect(page.locator("main")).to_contain_text("Choose the business")
    admin.check()

    shop.at_meta(page, shop.pixel)

    is_connected(page)
    admin.check()
    page.get_by_role("link", name="Send events to the pixel").click()
    expect(page.locator("main")).to_contain_text("Meta Business Extension")
    assert shop.hub.meta.stored(shop.pixel)[0].event_name == "PartnerHubConnectionTest"


def test_login_for_business_on_a_phone_with_two_pixels_to_pick_from(shop: Shop) -> None:
    admin = shop.admin(phone=True)
    page = shop.begin(admin, "Log in with Facebook for Business")

    shop.at_meta(page, shop.pixel, shop.blog)

    shows(page, "Which pixel does your shop use?")
    expect(page.get_by_role("button", name="Web shop")).to_contain_text("last activity")
    expect(page.get_by_role("button", name="Blog")).to_contain_text("no activity yet")
    admin.check()
    page.get_by_role("button", name="Blog").click()
    is_connected(page)
    expect(page.locator("main")).to_contain_text(shop.blog)


def test_a_pasted_token_on_a_phone(shop: Shop) -> None:
    admin = shop.admin(phone=True)
    page = shop.begin(admin, "I have an access token")
    admin.check()
    page.get_by_label("Pixel ID").fill(f" {shop.pixel} ")
    page.get_by_label("Name").fill("Web shop")
    page.get_by_label("Access token").fill(f"Bearer {shop.generated_token()}\n")
    page.get_by_label("In 60 days").check()

    page.get_by_role("button", name="Connect and test").click()

    is_connected(page)
    expect(page.locator("main")).to_contain_text("we remind you in time")


def test_a_colleague_pastes_the_token_and_sees_nothing_else(shop: Shop, visit: MakeVisitor) -> None:
    admin = shop.admin()
    page = shop.begin(admin, "No, but a colleague can")
    page.get_by_label("Pixel ID").fill(shop.pixel)
    page.get_by_label("Name").fill("Web shop")
    admin.check()
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("#link code").inner_text().strip()
    admin.check()
    page.get_by_role("link", name="I have sent it").click()
    shows(page, "A colleague has your link")
    assert link not in page.content()
    admin.check()

    colleague = visit()
    theirs = colleague.open(link)
    expect(theirs.get_by_role("heading", level=1)).to_contain_text(
        f"{shop.name} asks you for an access token"
    )
    assert theirs.locator("a[href^='/advertisers/'], a[href^='/pixels/']").count() == 0
    colleague.check()
    theirs.get_by_label("Access token").fill(shop.generated_token())
    theirs.get_by_label("I do not know").check()
    theirs.get_by_role("button", name="Hand it in").click()

    shows(theirs, "The token works. Thank you")
    colleague.check()
    is_connected(page)

    # The link is used up, for everybody.
    again = visit().open(link)
    shows(again, "this link is used up")
    assert again.get_by_label("Access token").count() == 0


def test_a_link_that_was_withdrawn_says_so(shop: Shop, visit: MakeVisitor) -> None:
    page = shop.begin(shop.admin(), "No, but a colleague can")
    page.get_by_label("Pixel ID").fill(shop.pixel)
    page.get_by_label("Name").fill("Web shop")
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("#link code").inner_text().strip()
    page.get_by_role("link", name="I have sent it").click()

    page.get_by_role("button", name="Withdraw the link").click()

    colleague = visit()
    shows(colleague.open(link), "This link was withdrawn")
    colleague.check()
    shows(page, "Enter the access token")


def test_a_shared_pixel_is_found_on_a_phone_while_the_page_is_open(shop: Shop) -> None:
    admin = shop.admin(phone=True)
    page = shop.begin(admin, "share the pixel")
    page.get_by_label("Pixel ID").fill(shop.pixel)
    page.get_by_label("Name").fill("Web shop")
    page.get_by_role("button", name="Show how to share it").click()
    expect(page.locator("#business-id code")).to_have_text(shop.partner_business)
    shows(page, "looked")
    admin.check()

    shop.hub.meta.share_pixel(shop.pixel, shop.partner_business)
    page.get_by_role("button", name="I have shared it").click()

    is_connected(page)


def test_a_pixel_is_shared_by_a_log_in(shop: Shop) -> None:
    page = shop.begin(shop.admin(), "share the pixel")
    page.get_by_label("Pixel ID").fill(shop.pixel)
    page.get_by_label("Name").fill("Web shop")
    page.get_by_role("button", name="Show how to share it").click()

    shop.at_meta(page)

    is_connected(page)


def decline_one(page: Page) -> None:
    page.locator('input[name=allow][value="ads_management"]').uncheck()


def test_a_log_in_that_went_wrong_says_why_and_goes_on_from_there(shop: Shop) -> None:
    """Cancelled, declined, without a pixel; then as it should be. One session, nothing begun anew."""
    admin = shop.admin(phone=True)
    page = shop.begin(admin, "Log in with Facebook")
    session = page.url.partition("?")[0]

    shop.cancel_at_meta(page)
    shows(page, "You closed Meta's window")
    admin.check()
    shop.at_meta(page, shop.pixel, allow=decline_one)
    shows(page, "A permission was declined")
    shop.at_meta(page, "none")
    shows(page, "No pixel was found")
    shop.at_meta(page, shop.pixel)

    is_connected(page)
    assert page.url.partition("#")[0] == session


@pytest.mark.parametrize(
    ("fault", "title", "button"),
    [
        (
            {"endpoint": "oauth_access_token", "code": 100, "subcode": 36009},
            "This log-in was used already",
            "Connect again",
        ),
        (
            {"endpoint": "oauth_access_token", "code": 100, "subcode": 36008},
            "Meta does not know our return address",
            "Try again",
        ),
        (
            {"endpoint": "fbe_installs", "code": 200},
            "You are not an admin of the business",
            "Send a link to a colleague",
        ),
    ],
    ids=["code reused", "redirect mismatch", "not an admin"],
)
def test_what_meta_refuses_is_a_sentence_and_one_button(
    shop: Shop, fault: dict[str, Any], title: str, button: str
) -> None:
    knob = shop.hub.meta.add_knob("error", **fault)
    admin = shop.admin()
    page = shop.begin(admin, "Log in with Facebook")

    shop.at_meta(page, shop.pixel)

    shows(page, title)
    shop.hub.meta.remove_knob(knob)
    assert page.locator(".button-primary").all_inner_texts() == [button]


def test_while_meta_is_away_it_waits_and_can_be_sent_on(shop: Shop) -> None:
    admin = shop.admin()
    page = shop.begin(admin, "Log in with Facebook")
    knob = shop.hub.meta.add_knob("html", endpoint="oauth_access_token")

    shop.at_meta(page, shop.pixel)
    shows(page, "Meta does not answer at the moment")
    admin.check()
    shop.hub.meta.remove_knob(knob)
    page.get_by_role("button", name="Try now").click()

    is_connected(page)


def test_a_forged_and_a_repeated_callback_change_nothing(shop: Shop) -> None:
    admin = shop.admin()
    page = shop.begin(admin, "Log in with Facebook")
    back: list[str] = []
    page.on(
        "request", lambda request: back.append(request.url) if "/connect/callback/" in request.url else None
    )
    shop.at_meta(page, shop.pixel)
    is_connected(page)
    session = page.url

    admin.open("/connect/callback/?state=forged&code=AQ")
    shows(page, "This log-in was not started here")
    admin.open(back[0])

    assert page.url == session
    is_connected(page)


def test_the_wrong_business_is_said_and_the_old_connection_stays(shop: Shop) -> None:
    admin = shop.admin()
    page = shop.begin(admin, "Log in with Facebook")
    shop.at_meta(page, shop.pixel)
    is_connected(page)
    page.get_by_role("link", name="Send events to the pixel").click()
    page.get_by_role("button", name="Change the connection").click()
    page.get_by_role("link", name="Log in with Facebook").first.click()

    shop.at_meta(page, shop.foreign, business=shop.other_business)

    shows(page, "That business does not own the pixel")
    # Another way, on another device: nothing of it is lost.
    other = shop.admin()
    other.page.get_by_role("link", name="Cannot go on").click()
    other.page.get_by_role("button", name="Another way").click()
    other.page.get_by_role("link", name="I have an access token").click()
    other.page.get_by_label("Access token").fill(shop.generated_token())
    other.page.get_by_label("Never").check()
    other.page.get_by_role("button", name="Connect and test").click()
    is_connected(other.page)
    other.page.get_by_role("link", name="Send events to the pixel").click()
    expect(other.page.locator("main")).to_contain_text("Pasted system-user token")


def test_disconnecting_says_what_it_does_and_wants_the_name(shop: Shop) -> None:
    admin = shop.admin()
    page = shop.begin(admin, "Log in with Facebook")
    shop.at_meta(page, shop.pixel)
    is_connected(page)
    page.get_by_role("link", name="Send events to the pixel").click()

    page.get_by_role("link", name="Disconnect").click()
    expect(page.locator("main")).to_contain_text("Sending stops at once")
    admin.check()
    page.get_by_role("button", name="Disconnect").click()
    shows(page, "This did not work yet")
    page.get_by_label("The pixel's name").fill("web shop")
    page.get_by_role("button", name="Disconnect").click()

    shows(page, "is disconnected")


def test_without_javascript_a_reload_shows_how_far_it_is(shop: Shop) -> None:
    plain = shop.admin(javascript=False)
    page = shop.begin(plain, "I have an access token")
    page.get_by_label("Pixel ID").fill(shop.pixel)
    page.get_by_label("Name").fill("Web shop")
    page.get_by_label("Access token").fill(shop.generated_token())
    page.get_by_label("Never").check()

    page.get_by_role("button", name="Connect and test").click()
    deadline = time.monotonic() + RELOAD_SECONDS
    while page.get_by_role("link", name="Reload").count() and time.monotonic() < deadline:
        page.get_by_role("link", name="Reload").click()
        page.wait_for_load_state()

    is_connected(page)
