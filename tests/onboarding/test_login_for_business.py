"""Connecting by Facebook Login for Business: the token, the pixels that it reaches, and the pick of one."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from onboarding.models import CredentialEvent, Option, Revocation
from onboarding.options import ADAPTERS
from onboarding.options.base import Standing
from onboarding.services import sessions
from onboarding.services.openings import opening_of_credential
from onboarding.services.sessions import SessionRefused
from tests.onboarding.connecting import (
    APP,
    CARLA,
    CONFIGURATION,
    OTHER_PIXEL,
    OTHER_SHOP,
    PIXEL,
    SECOND_PIXEL,
    SHOP,
    Shop,
    unreferenced_secrets,
)

pytestmark = pytest.mark.django_db

FLB = Option.LOGIN_FOR_BUSINESS


def test_the_one_pixel_that_was_ticked_is_connected(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")
    credential = shop.credential()
    assert (credential.option, credential.state, credential.expiry) == (FLB, "working", "never")
    assert (credential.client_business_id, credential.issuing_app_id) == (SHOP, APP)
    assert (credential.pixel.name, credential.scopes) == ("Web shop", ["ads_read", "business_management"])
    assert unreferenced_secrets() == []


def test_the_dialog_says_what_meta_asks_for(shop: Shop) -> None:
    url = shop.begin(FLB).open_dialog(rerequest=True)

    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query.pop("state")
    assert query == {
        "client_id": APP,
        "redirect_uri": "http://localhost:8000/connect/callback/",
        "response_type": "code",
        "config_id": CONFIGURATION,
        "override_default_response_type": "true",
    }


def test_of_two_ticked_pixels_the_person_picks_one_and_nothing_else_is_taken(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL, SECOND_PIXEL]).work()
    assert shop.stands() == ("picking", "")
    assert [
        (one["id"], one["name"], one["owner"], one["usable"]) for one in shop.session.facts["pixels"]
    ] == [
        (PIXEL, "Web shop", "Shop", True),
        (SECOND_PIXEL, "Blog", "Shop", True),
    ]

    for forged in (OTHER_PIXEL, "", "501 "):
        with pytest.raises(SessionRefused):
            shop.act(sessions.pick, meta_id=forged)
    assert shop.stands() == ("picking", "")
    shop.act(sessions.pick, meta_id=SECOND_PIXEL)
    shop.work()

    assert shop.stands() == ("connected", "")
    assert shop.credential(SECOND_PIXEL).pixel.name == "Blog"


def test_a_listed_pixel_that_was_not_ticked_is_not_offered(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[SECOND_PIXEL]).work()

    assert shop.session.facts["meta_id"] == SECOND_PIXEL
    usable = {one["id"]: one["usable"] for one in shop.session.facts["pixels"]}
    assert usable == {PIXEL: False, SECOND_PIXEL: True}


def test_no_ticked_pixel_is_said(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP]).work()

    assert shop.stands() == ("stuck", "no_pixel")


def test_another_business_than_that_of_the_pixel_under_repair_is_said(shop: Shop) -> None:
    pixel = shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work().credential().pixel
    shop.begin(pixel=pixel)
    shop.act(sessions.choose_option, option=FLB)

    shop.log_in(person=CARLA, businesses=[OTHER_SHOP], pixels=[OTHER_PIXEL]).work()
    assert shop.stands() == ("stuck", "wrong_business")
    shop.log_in(businesses=[SHOP], pixels=[SECOND_PIXEL]).work()
    assert shop.stands() == ("stuck", "log_in_without_pixel")
    with pytest.raises(SessionRefused):
        shop.act(sessions.pick, meta_id=SECOND_PIXEL)
    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")
    assert shop.credential().pixel == pixel


def test_a_pick_is_lost_with_the_next_log_in(shop: Shop) -> None:
    shop.meta.add_knob("error", endpoint="events", code=100, subcode=33, count=1)
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    assert shop.session.state == "stuck"

    shop.log_in(person=CARLA, businesses=[OTHER_SHOP], pixels=[OTHER_PIXEL]).work()

    assert shop.stands() == ("connected", "")
    assert shop.credential(OTHER_PIXEL).client_business_id == OTHER_SHOP


def test_a_closed_dialog_and_a_declined_permission_are_one_to_meta(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL], decline=["ads_read"])

    assert shop.stands() == ("stuck", "login_cancelled")


def test_a_configuration_for_peoples_tokens_is_the_partners_to_mend(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.work_once()
    shop.meta.change_tokens({"business_id": SHOP}, scopes=["business_management"])

    shop.work()

    assert shop.stands() == ("stuck", "flb_not_configured")


def test_a_token_that_dies_on_the_way_is_said_by_metas_numbers(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.work_once()
    shop.meta.uninstall(APP, SHOP)

    shop.work()

    session = shop.session
    assert (session.state, session.problem, session.failure_class) == ("stuck", "", "credential")
    assert session.code == 190


def test_changing_the_token_ends_the_old_one_at_meta_and_only_that(shop: Shop) -> None:
    old = shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work().credential()
    before = shop.live_tokens()

    shop.begin(pixel=old.pixel)
    shop.act(sessions.choose_option, option=FLB)
    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")
    new = shop.credential()
    # Sends that hold the old one still come to their end.
    assert shop.live_tokens() == sorted([old.last_four, new.last_four])
    shop.later().work()
    assert (before, shop.live_tokens()) == ([old.last_four], [new.last_four])
    assert [*old.events.order_by("pk").values_list("kind", flat=True)][-1] == CredentialEvent.Kind.REVOKED
    assert unreferenced_secrets() == []


def test_a_revocation_that_meta_refuses_is_said_once_and_tried_again(shop: Shop) -> None:
    old = shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work().credential()
    knob = shop.meta.add_knob("error", endpoint="oauth_revoke", code=200)
    shop.disconnect(old.pixel)
    for _ in range(3):
        shop.later().work()

    assert [*old.events.filter(kind="revoke_failed").values_list("code", flat=True)] == [200]
    assert Revocation.objects.get().state == "waiting"
    assert shop.live_tokens() == [old.last_four]
    shop.meta.remove_knob(knob)
    shop.later().work()

    assert shop.live_tokens() == []
    assert old.events.filter(kind="revoked").count() == 1
    assert unreferenced_secrets() == []


def test_without_the_apps_secret_nothing_is_told_of_a_token(shop: Shop) -> None:
    credential = shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work().credential()
    opening = opening_of_credential(credential, shop.partner)
    adapter = ADAPTERS[FLB]
    assert adapter.look(opening, shop.graph).is_valid

    bare = replace(opening, partner=replace(opening.partner, app_secret=None))

    assert adapter.look(bare, shop.graph) == Standing()
    assert adapter.refresh(bare, shop.graph) is None


def test_a_60_day_token_is_refreshed_and_one_without_an_end_is_not(shop: Shop) -> None:
    credential = shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work().credential()
    opening, adapter = opening_of_credential(credential, shop.partner), ADAPTERS[FLB]
    assert adapter.refresh(opening, shop.graph) is None

    shop.meta.change_tokens({"business_id": SHOP}, expires_in_s=86_400)
    refreshed = adapter.refresh(opening, shop.graph)

    assert refreshed is not None
    assert refreshed[0] != opening.token
    assert refreshed[1] == 60 * 86_400
