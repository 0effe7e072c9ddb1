"""Connecting by the Business Extension: each step of it, and each way in which Meta or a person says no."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from onboarding.models import CredentialEvent, Option, Revocation
from onboarding.services import sessions
from partnerhub.lib.vault import Secret
from tests.onboarding.connecting import (
    ANNA,
    APP,
    PIXEL,
    REDIRECT_URI,
    SECOND_PIXEL,
    SHOP,
    Shop,
    unreferenced_secrets,
)
from tests.support.sandbox import SandboxError

pytestmark = pytest.mark.django_db

FBE = Option.BUSINESS_EXTENSION


def installs(shop: Shop) -> dict[str, object]:
    """Business Extension installs at Meta, by our id."""
    found: dict[str, object] = shop.meta.world()["installs"]
    return found


def connected(shop: Shop) -> Shop:
    """A pixel that is connected by the Business Extension."""
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    assert shop.stands() == ("connected", "")
    return shop


def test_a_log_in_connects_the_pixel_and_leaves_no_token_of_the_persons(shop: Shop) -> None:
    connected(shop)

    credential = shop.credential()
    assert (credential.option, credential.state, credential.expiry) == (FBE, "working", "never")
    assert (credential.client_business_id, credential.issuing_app_id) == (SHOP, APP)
    assert "ads_management" in credential.scopes
    assert [*installs(shop)] == [credential.external_business_id]
    assert credential.pixel.name == "Web shop"
    assert shop.live_tokens(type="USER") == []
    assert unreferenced_secrets() == []
    kinds = credential.events.order_by("pk").values_list("kind", flat=True)
    assert [*kinds] == [CredentialEvent.Kind.ISSUED, CredentialEvent.Kind.PROVEN]


def test_the_dialog_says_what_meta_asks_for(shop: Shop) -> None:
    url = shop.begin(FBE).open_dialog()

    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    extras = json.loads(query["extras"])
    assert query["redirect_uri"] == REDIRECT_URI
    assert query["scope"] == "manage_business_extension,ads_management,ads_read,pages_read_engagement"
    assert (query["display"], query["response_type"]) == ("page", "code")
    assert extras["business_config"] == {"business": {"name": shop.advertiser.name}}
    assert extras["repeat"] is False
    assert extras["setup"]["external_business_id"] == shop.session.facts["external_business_id"]


def test_our_id_stays_with_a_connection_and_serves_no_other(shop: Shop, other_shop: Shop) -> None:
    first = connected(shop).credential()

    shop.begin(pixel=first.pixel)
    shop.act(sessions.choose_option, option=FBE)
    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    assert shop.stands() == ("connected", "")
    mended = shop.credential()
    shop.later().work()
    another = shop.begin(FBE)
    another.open_dialog()

    assert mended.pk != first.pk
    assert mended.external_business_id == first.external_business_id
    assert another.session.facts["external_business_id"] != first.external_business_id
    # The install is the new credential's as well: only the old token was ended.
    assert [*installs(shop)] == [first.external_business_id]
    assert shop.meta.tokens(state="live", type="SYSTEM_USER") != []
    assert CredentialEvent.objects.filter(credential=first, kind="revoked").count() == 1


def test_a_declined_permission_is_said_and_asked_for_again(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL], decline=["ads_management"]).work()
    assert shop.stands() == ("stuck", "declined_permission")
    assert shop.session.facts["declined"] == ["ads_management"]

    shop.log_in(businesses=[SHOP], pixels=[PIXEL], rerequest=True).work()

    assert shop.stands() == ("connected", "")


def test_a_closed_dialog_is_said(shop: Shop) -> None:
    shop.begin(FBE).log_in(decision="cancel")

    assert shop.stands() == ("stuck", "login_cancelled")


def test_no_pixel_is_said(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=["none"]).work()

    assert shop.stands() == ("stuck", "no_pixel")


def test_another_pixel_than_the_one_under_repair_is_refused(shop: Shop) -> None:
    pixel = connected(shop).credential().pixel
    shop.begin(pixel=pixel)
    shop.act(sessions.choose_option, option=FBE)

    shop.log_in(businesses=[SHOP], pixels=[SECOND_PIXEL]).work()

    assert shop.stands() == ("stuck", "wrong_business")
    assert shop.credential().pixel == pixel


def test_a_stale_install_is_cleared_and_the_next_log_in_connects(shop: Shop) -> None:
    shop.meta.set_business(SHOP, fbe_system_user_missing=True)
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    assert shop.stands() == ("stuck", "stale_install")
    assert installs(shop) == {}

    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")


def test_an_existing_user_of_the_extension_logs_in_anew(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.meta.set_install(shop.session.facts["external_business_id"], needs_reauthentication=True)
    shop.work()
    assert shop.stands() == ("stuck", "fbe_reauthenticate")

    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")


def test_who_is_refused_after_logging_in_anew_is_no_admin(shop: Shop) -> None:
    shop.begin(FBE)
    for _ in range(2):
        shop.log_in(businesses=[SHOP], pixels=[PIXEL])
        shop.meta.set_install(shop.session.facts["external_business_id"], needs_reauthentication=True)
        shop.work()

    assert shop.stands() == ("stuck", "not_an_admin")


def test_an_app_that_was_not_let_in_gets_an_error_page_at_meta(shop: Shop) -> None:
    shop.meta.set_app(APP, fbe=False)

    with pytest.raises(SandboxError, match="allow-listed"):
        shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])

    # The person comes back by hand, and goes another way.
    assert shop.stands() == ("at_meta", "")
    assert shop.act(sessions.leave_option).state == "choosing"


def test_a_dialog_that_did_not_ask_for_the_extension_says_that_it_is_not_allowed(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.meta.set_person(ANNA, grants={APP: {"ads_management": "granted"}})

    shop.work()

    assert shop.stands() == ("stuck", "fbe_not_allowed")


def test_while_graph_is_down_it_waits_and_goes_on_by_itself(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    outage = shop.meta.start_outage()
    shop.work()
    assert shop.stands() == ("exchanging", "graph_down")

    shop.meta.remove_knob(outage)
    shop.later().work()

    assert shop.stands() == ("connected", "")


def test_each_step_survives_an_outage_of_its_own(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    endpoints = ["oauth_access_token", "permissions", "fbe_installs", "business_access_token", "debug_token"]

    for endpoint in [*endpoints, "events"]:
        shop.meta.add_knob("html", endpoint=endpoint, count=1)
        shop.later().work()
        assert shop.session.problem == "graph_down", endpoint
    shop.later().work()

    assert shop.stands() == ("connected", "")


def test_a_code_that_is_too_old_is_said(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.meta.move_clock(700)

    shop.work()

    assert shop.stands() == ("stuck", "code_expired")


def test_a_code_that_a_dead_worker_used_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])

    def die(name: str) -> None:
        if name == "session_advanced":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("onboarding.services.session_work.crash_point", die)
        with pytest.raises(KeyboardInterrupt):
            shop.work_once()
    assert shop.work().stands() == ("exchanging", "")  # until the dead worker's lease ends
    shop.later().work()

    assert shop.stands() == ("stuck", "code_used")


def test_another_return_address_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    monkeypatch.setattr("onboarding.services.openings.redirect_uri", lambda: REDIRECT_URI + "x")

    shop.work()

    assert shop.stands() == ("stuck", "redirect_mismatch")


def test_a_wrong_app_secret_is_said(shop: Shop) -> None:
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL])
    shop.meta.set_app(APP, secret="another-secret-altogether")

    shop.work()

    assert shop.stands() == ("stuck", "wrong_app_secret")


def test_abandoning_takes_back_the_install_and_every_token(shop: Shop) -> None:
    shop.meta.add_knob("error", endpoint="events", code=100, subcode=33, count=1)
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    assert shop.session.state == "stuck"
    assert installs(shop) != {}

    shop.act(sessions.abandon_session)
    shop.work()

    assert installs(shop) == {}
    assert shop.live_tokens() == []
    assert unreferenced_secrets() == []
    assert {*Revocation.objects.values_list("state", flat=True)} == {"done"}


def test_leaving_it_for_a_pasted_token_does_the_same_and_keeps_the_pixel(shop: Shop) -> None:
    shop.meta.add_knob("error", endpoint="events", code=100, subcode=33, count=1)
    shop.begin(FBE).log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    shop.act(sessions.choose_option, option=Option.PASTED_TOKEN)
    token = Secret(shop.meta.generate_token(PIXEL))
    shop.act(sessions.submit_token, token=token, said_expiry="never")
    shop.work()

    assert shop.stands() == ("connected", "")
    assert installs(shop) == {}
    assert shop.live_tokens() == [token.last_four]
    assert shop.credential().expiry == "never"
