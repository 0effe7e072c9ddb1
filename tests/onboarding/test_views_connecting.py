"""The wizard's pages, as the web's role: what each state shows, what each button does, and what is refused."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from onboarding.journey import State
from onboarding.models import OnboardingSession, Option, TokenLink
from tenants.roles import AdvertiserRole
from tests.onboarding.connecting import ANNA, PIXEL, SECOND_PIXEL, SHOP, Shop
from tests.support.factories import join_advertiser, make_person
from tests.support.site import Site, text_of

pytestmark = pytest.mark.django_db

CANARY = "EAAcanary0123456789abcdefZDZD"
TYPED = {"meta_id": PIXEL + "00", "pixel_name": "Web shop", "default_action_source": "physical_store"}
TOKEN = {"access_token": CANARY, "expiry": "unknown"}


@pytest.fixture(autouse=True)
def _unlimited() -> None:
    """The limits on requests begin anew."""
    cache.clear()


def address(shop: Shop, tail: str = "") -> str:
    return f"/connect/{shop.session_id}/{tail}"


def stand(shop: Shop, state: State, option: Option | None = None, **fields: object) -> Shop:
    """A session that is there already, in this state."""
    made = OnboardingSession.objects.create(
        advertiser=shop.advertiser, state=state, option=option or "", created_by=shop.person, **fields
    )
    shop.session_id = made.pk
    return shop


def test_the_way_in_is_a_button_that_begins_a_session(site: Site, shop: Shop) -> None:
    page = site.sign_in(shop.person).post(f"/advertisers/{shop.advertiser.pk}/connect/")

    made = OnboardingSession.objects.get()
    assert page.url == f"/connect/{made.pk}/"
    assert (made.state, made.created_by) == ("choosing", shop.person)


def test_the_question_leads_to_what_the_partner_offers(site: Site, shop: Shop) -> None:
    stand(shop, State.CHOOSING)
    site.sign_in(shop.person)

    words = text_of(site.get(address(shop)))
    assert "Can you sign in to Facebook as an admin" in words
    for answer in (
        "Yes, I can",
        "No, but a colleague can",
        "rather share the pixel",
        "I have an access token",
    ):
        assert answer in words

    shop.partner.offers_business_extension = shop.partner.offers_login_for_business = False
    shop.partner.save()
    words = text_of(site.get(address(shop)))
    assert "You make an access token in Events Manager." in words
    assert "Log in with Facebook" not in words


def test_a_way_that_is_not_offered_is_neither_shown_nor_taken(site: Site, shop: Shop) -> None:
    shop.partner.offers_shared_pixel = False
    shop.partner.save()
    stand(shop, State.CHOOSING)
    site.sign_in(shop.person)

    assert "Show how to share it" not in text_of(site.get(address(shop) + "?way=shared_pixel"))
    assert site.post(address(shop, "share/"), TYPED).status_code == 409
    assert shop.stands() == ("choosing", "")


def test_where_one_way_is_offered_nothing_is_asked(site: Site, shop: Shop) -> None:
    shop.partner.offers_business_extension = shop.partner.offers_login_for_business = False
    shop.partner.offers_shared_pixel = False
    shop.partner.save()
    stand(shop, State.CHOOSING)

    words = text_of(site.sign_in(shop.person).get(address(shop)))

    assert "Enter the access token" in words
    assert "Can you sign in" not in words


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_its_page(site: Site, shop: Shop, state: State) -> None:
    facts = {"meta_id": PIXEL, "pixel_name": "Web shop"}
    option = None if state == State.CHOOSING else Option.PASTED_TOKEN
    stand(shop, state, option, facts=facts, problem="declined_permission" if state == State.STUCK else "")
    site.sign_in(shop.person)

    page = site.get(address(shop))

    assert page.status_code == 200
    assert "Step " in text_of(page)
    assert site.queries <= 16, site.queries
    moving = state in (
        State.AT_META,
        State.EXCHANGING,
        State.TAKING,
        State.SHARING,
        State.PROVING,
        State.WITH_COLLEAGUE,
    )
    assert (f"?seen={state}" in page.content.decode()) == moving


def test_the_moving_line_has_the_page_drawn_anew_once_the_session_moved(site: Site, shop: Shop) -> None:
    stand(shop, State.PROVING, Option.PASTED_TOKEN, facts={"meta_id": PIXEL})
    site.sign_in(shop.person)

    same = site.get(address(shop) + "?seen=proving", **{"HX-Request": "true"})
    moved = site.get(address(shop) + "?seen=taking", **{"HX-Request": "true"})

    assert "<html" not in same.content.decode()
    assert "Meta counts a test event" in text_of(same)
    assert "HX-Refresh" not in same
    assert (moved["HX-Refresh"], moved.content) == ("true", b"")


def test_a_log_in_leads_to_metas_dialog_and_back_to_the_session(
    site: Site, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onboarding.views.session_page.graph_client", lambda: shop.graph)
    stand(shop, State.CHOOSING)
    site.sign_in(shop.person)

    page = site.get(address(shop) + "?way=business_extension")
    assert f"form-action 'self' {shop.graph.base_url}" in page["Content-Security-Policy"]
    away = site.post(address(shop, "log-in/"), {"option": "business_extension"})
    back = shop.meta.approve_dialog(away.url, person=ANNA, businesses=[SHOP], pixels=[PIXEL])
    returned = site.get(back[back.index("/connect/") :])

    assert returned.url == address(shop) + "#main"
    assert shop.stands() == ("exchanging", "")
    shop.work()
    assert "Web shop is connected" in text_of(site.get(address(shop)))


def test_a_callback_of_another_browser_is_refused_and_changes_nothing(site: Site, shop: Shop) -> None:
    stand(shop, State.CHOOSING)
    away = site.sign_in(shop.person).post(address(shop, "log-in/"), {"option": "business_extension"})
    back = shop.meta.approve_dialog(away.url, person=ANNA, businesses=[SHOP], pixels=[PIXEL])
    site.sign_in(shop.person)  # The same person in another browser: a fresh Django session.

    page = site.get(back[back.index("/connect/") :])

    assert page.status_code == 400
    assert "This log-in was not started here" in text_of(page)
    assert shop.stands() == ("at_meta", "")


def test_a_pasted_token_with_its_pixel(site: Site, shop: Shop) -> None:
    stand(shop, State.CHOOSING)

    page = site.sign_in(shop.person).post(address(shop, "token/"), TYPED | TOKEN)

    assert page.url == address(shop)
    session = shop.session
    assert (session.state, session.option) == ("taking", "pasted_token")
    assert session.facts["meta_id"] == TYPED["meta_id"]
    assert session.facts["default_action_source"] == "physical_store"
    assert session.facts["said_expiry"] == "unknown"


@pytest.mark.parametrize(
    "wrong",
    [
        {"meta_id": "12x"},
        {"pixel_name": ""},
        {"default_action_source": "moon"},
        {"access_token": f"{CANARY} ü"},
        {"expiry": ""},
        {"expiry": "day"},
        {"expiry": "day", "expires_on": "2020-02-30"},
        {"expiry": "day", "expires_on": "2020-02-02"},
    ],
)
def test_a_wrong_form_keeps_what_was_typed_but_for_the_token(
    site: Site, shop: Shop, wrong: dict[str, str]
) -> None:
    stand(shop, State.CHOOSING)
    data = TYPED | TOKEN | wrong

    page = site.sign_in(shop.person).post(address(shop, "token/"), data)

    html = page.content.decode()
    assert page.status_code == 422
    assert f'value="{data["meta_id"]}"' in html
    assert CANARY not in html
    assert shop.stands() == ("choosing", "")


def test_a_pixel_that_is_connected_already_is_not_asked_for_again(site: Site, shop: Shop) -> None:
    shop.begin(Option.BUSINESS_EXTENSION).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    pixel = shop.credential().pixel
    site.sign_in(shop.person)

    again = site.post(f"/pixels/{pixel.pk}/connect/")
    shop.session_id = int(again.url.split("/")[2])
    words = text_of(site.get(address(shop) + "?way=pasted_token"))
    site.post(address(shop, "token/"), TOKEN)

    assert "Pixel ID" not in words
    assert shop.session.facts["meta_id"] == PIXEL
    assert site.post(f"/pixels/{pixel.pk}/connect/").url == address(shop)


def test_a_pick_is_one_of_what_was_found(site: Site, shop: Shop) -> None:
    shop.begin(Option.LOGIN_FOR_BUSINESS).log_in(businesses=[SHOP], pixels=[PIXEL, SECOND_PIXEL]).work()
    site.sign_in(shop.person)

    words = text_of(site.get(address(shop)))
    assert "Web shop Owned by Shop" in words
    foreign = site.post(address(shop, "pick/"), {"meta_id": "503"})
    assert foreign.status_code == 409
    assert shop.stands() == ("picking", "")
    site.post(address(shop, "pick/"), {"meta_id": SECOND_PIXEL})
    assert shop.session.facts["meta_id"] == SECOND_PIXEL


def test_what_cannot_be_done_there_shows_where_the_session_is(site: Site, shop: Shop) -> None:
    stand(shop, State.CONNECTED, Option.PASTED_TOKEN, facts={"meta_id": PIXEL})
    site.sign_in(shop.person)
    data = TYPED | TOKEN | {"option": "business_extension"}

    for tail in (
        "log-in/",
        "token/",
        "link/",
        "link/withdraw/",
        "share/",
        "look/",
        "pick/",
        "leave/",
        "stop/",
    ):
        page = site.post(address(shop, tail), data)

        assert page.status_code == 409, tail
        assert "The connection has moved on" in text_of(page), tail
    assert shop.stands() == ("connected", "")


def test_another_way_is_chosen_without_losing_the_pixel(site: Site, shop: Shop) -> None:
    stand(shop, State.CHOOSING)
    site.sign_in(shop.person)
    site.post(address(shop, "share/"), TYPED)

    site.post(address(shop, "leave/"))

    assert shop.stands() == ("choosing", "")
    page = site.get(address(shop) + "?way=pasted_token").content.decode()
    assert f'value="{TYPED["meta_id"]}"' in page
    assert 'value="Web shop"' in page


def test_what_is_not_finished_is_listed_at_home_until_it_is_stopped(site: Site, shop: Shop) -> None:
    stand(shop, State.CHOOSING)
    stand(shop, State.AT_META, Option.BUSINESS_EXTENSION)
    home = f"/advertisers/{shop.advertiser.pk}/"
    site.sign_in(shop.person)

    words = text_of(site.get(home))
    assert "Go on at Meta" in words
    assert "Choose a way" not in words
    site.post(address(shop, "stop/"))

    assert shop.stands() == ("abandoned", "")
    assert "Not finished yet" not in text_of(site.get(home))
    assert "This was stopped" in text_of(site.get(address(shop)))


def test_somebody_who_may_not_connect_sees_how_far_it_is_and_no_button(site: Site, shop: Shop) -> None:
    analyst = make_person()
    join_advertiser(analyst, shop.advertiser, AdvertiserRole.ANALYST)
    for state in (State.CHOOSING, State.AT_META, State.SHARING, State.STUCK):
        stand(shop, state, Option.SHARED_PIXEL, facts={"meta_id": PIXEL}, problem="missing_tasks")

        page = site.sign_in(analyst).get(address(shop))

        assert page.status_code == 200
        assert f'action="/connect/{shop.session_id}/' not in page.content.decode()


# The colleague's link.


def forwarded(site: Site, shop: Shop) -> str:
    """The path of a link that the shop's admin made."""
    stand(shop, State.CHOOSING)
    page = site.sign_in(shop.person).post(address(shop, "link/"), TYPED)
    assert page.status_code == 200
    words = text_of(page)
    assert "shown this once" in words
    path = next(word for word in words.split() if "/token/" in word)
    site.sign_in(None)
    return path[path.index("/token/") :]


def test_a_link_is_shown_once_and_takes_one_token(site: Site, shop: Shop) -> None:
    path = forwarded(site, shop)

    page = site.get(path)
    assert page["Referrer-Policy"] == "strict-origin"
    assert f"{shop.advertiser.name} asks you for an access token" in text_of(page)
    taken = site.post(path, TOKEN)
    again = site.post(path, TOKEN)

    assert (taken.status_code, taken.url) == (302, path)
    assert again.status_code == 409
    assert "The token is being tested" in text_of(again)
    link = TokenLink.objects.get()
    assert (link.state, link.said_expiry) == ("pasted", "unknown")
    assert path not in site.sign_in(shop.person).get(address(shop)).content.decode()


def test_the_colleague_is_told_what_came_of_it(site: Site, shop: Shop) -> None:
    path = forwarded(site, shop)
    site.post(path, TOKEN)

    waits = site.get(path + "?seen=pasted", **{"HX-Request": "true"})
    shop.later().work()
    words = text_of(site.get(path))

    assert waits.status_code == 204
    assert TokenLink.objects.get().state == "refused"
    assert "This link is used up" in words
    assert site.get(path + "?seen=pasted", **{"HX-Request": "true"})["HX-Refresh"] == "true"


def test_a_wrong_token_leaves_the_link_open(site: Site, shop: Shop) -> None:
    path = forwarded(site, shop)

    page = site.post(path, {"access_token": "EAA", "expiry": "unknown"})

    assert page.status_code == 422
    assert TokenLink.objects.get().state == "open"


def test_a_link_that_is_old_or_withdrawn_or_unknown_says_so(site: Site, shop: Shop) -> None:
    path = forwarded(site, shop)
    TokenLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "This link is too old" in text_of(site.get(path))
    assert site.post(path, TOKEN).status_code == 409

    TokenLink.objects.update(state="withdrawn")
    assert "This link was withdrawn" in text_of(site.get(path))
    assert site.post(path, TOKEN).status_code == 409
    unknown = site.get("/token/nothing/")
    assert (unknown.status_code, TokenLink.objects.get().secret_id) == (404, None)
    assert site.post("/token/nothing/", TOKEN).status_code == 404


def test_somebody_who_is_signed_in_opens_a_link_too(site: Site, shop: Shop) -> None:
    path = forwarded(site, shop)

    assert site.sign_in(shop.person).get(path).status_code == 200


def test_who_has_the_token_after_all_pastes_it_and_the_link_ends(site: Site, shop: Shop) -> None:
    path = forwarded(site, shop)
    site.sign_in(shop.person)

    assert "Enter the access token" in text_of(site.get(address(shop) + "?way=pasted_token"))
    site.post(address(shop, "token/"), TOKEN)

    assert shop.stands() == ("taking", "")
    assert "This link was withdrawn" in text_of(site.get(path))


def test_a_new_link_takes_the_old_ones_place(site: Site, shop: Shop) -> None:
    old = forwarded(site, shop)

    page = site.sign_in(shop.person).post(address(shop, "link/"))

    assert page.status_code == 200
    assert old not in page.content.decode()
    assert "This link was withdrawn" in text_of(site.get(old))


def test_from_the_form_for_a_token_the_pixel_can_be_shared_instead(site: Site, shop: Shop) -> None:
    stand(shop, State.ENTERING, Option.PASTED_TOKEN, facts={"meta_id": PIXEL, "pixel_name": "Web shop"})

    site.sign_in(shop.person).post(address(shop, "share/"))

    assert shop.stands() == ("sharing", "")
    assert shop.session.facts["meta_id"] == PIXEL


# Disconnecting, and secrets.


def test_a_pixel_is_disconnected_by_its_name_alone(site: Site, shop: Shop) -> None:
    shop.begin(Option.BUSINESS_EXTENSION).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    credential = shop.credential()
    path = f"/pixels/{credential.pixel_id}/disconnect/"
    site.sign_in(shop.person)

    words = text_of(site.get(path))
    assert "Sending stops at once" in words
    assert "We end the Business Extension's installation at Meta" in words
    assert site.post(path, {"name": "Other"}).status_code == 422
    assert site.post(path).status_code == 422
    credential.refresh_from_db()
    assert credential.state == "working"
    done = site.post(path, {"name": " WEB SHOP "})

    assert done.url == f"/pixels/{credential.pixel_id}/"
    credential.refresh_from_db()
    assert (credential.state, credential.secret_id) == ("retired", None)


def test_no_secret_is_on_a_page_or_in_a_log(site: Site, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path = forwarded(site, shop)
    site.post(path, TOKEN)
    site.sign_in(shop.person)
    stand(shop, State.CHOOSING)
    site.post(address(shop, "token/"), TYPED | TOKEN)

    for shown in (path, address(shop), f"/advertisers/{shop.advertiser.pk}/"):
        assert CANARY not in site.get(shown).content.decode()
    assert CANARY not in caplog.text
    assert path.split("/")[2] not in caplog.text
    assert all(CANARY not in repr(vars(record)) for record in caplog.records)
