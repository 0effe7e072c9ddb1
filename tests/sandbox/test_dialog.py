"""The log-in dialog: what its address must be, what a person's answer sends back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.sandbox.access import (
    ANNA,
    APP,
    BEN,
    CALLBACK,
    CONNECTION,
    DEVELOPER,
    FLB,
    OTHER_PIXEL,
    PARTNER,
    SECOND_PIXEL,
    SHOP,
    SHOP_PIXEL,
    USER_FLB,
    answer_of,
    call,
    dialog_url,
    exchange,
    extras,
    fbe_url,
    flb_url,
    log_in,
)
from tests.sandbox.cast import CALL_SECONDS
from tests.support.sandbox import SandboxClient, SandboxError


def refusal_of(sandbox: SandboxClient, url: str, **choices: Any) -> str:
    """The words of the page that stands where the app would have heard something."""
    with pytest.raises(SandboxError) as caught:
        sandbox.approve_dialog(url, **({"person": ANNA} | choices))
    return str(caught.value)


def scopes_of(sandbox: SandboxClient, token: str) -> dict[str, str]:
    answer = call(sandbox, "GET", "me/permissions", token).json()
    return {item["permission"]: item["status"] for item in answer["data"]}


def test_accepting_sends_code_and_state_back(meta: SandboxClient) -> None:
    location = meta.approve_dialog(dialog_url(meta), person=ANNA)

    assert location.startswith(f"{CALLBACK}&code=")
    assert location.endswith("#_=_")
    assert answer_of(location)["state"] == "a b&c"


def test_cancelling_sends_facebooks_four_words(meta: SandboxClient) -> None:
    answer = answer_of(meta.approve_dialog(dialog_url(meta), person=ANNA, decision="cancel"))

    assert answer == {
        "via": "meta",
        "error": "access_denied",
        "error_code": "200",
        "error_description": "Permissions error",
        "error_reason": "user_denied",
        "state": "a b&c",
    }


def test_person_may_never_return(meta: SandboxClient) -> None:
    assert meta.approve_dialog(dialog_url(meta), person=ANNA, decision="never_return") == ""


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"client_id": "1"}, "Invalid App ID"),
        ({"redirect_uri": CALLBACK + "&x=1"}, "URL Blocked"),
        ({"redirect_uri": CALLBACK.removesuffix("?via=meta")}, "URL Blocked"),
        ({"state": None}, "Invalid parameter"),
        ({"response_type": "password"}, "Invalid parameter"),
        ({"scope": "ads_write"}, "Invalid Scopes: ads_write"),
        ({"config_id": "1"}, "Invalid config_id"),
        ({"config_id": FLB}, "Invalid parameter"),
        ({"config_id": USER_FLB, "override_default_response_type": "true"}, "Invalid parameter"),
        ({"extras": "{"}, "Invalid extras"),
        ({"extras": "[]"}, "Invalid extras"),
        ({"extras": json.dumps(extras(currency=""))}, "Invalid extras"),
        ({"extras": json.dumps(extras(channel="COMMERCE"))}, "Invalid extras"),
        ({"extras": json.dumps(extras() | {"repeat": True})}, "Invalid extras"),
        ({"extras": json.dumps(extras())}, "Invalid parameter"),
    ],
)
def test_what_is_wrong_with_the_address_is_told_to_the_person_alone(
    meta: SandboxClient, changes: dict[str, Any], title: str
) -> None:
    url = dialog_url(meta, **changes)
    shown = requests.get(url, timeout=CALL_SECONDS, allow_redirects=False)

    assert refusal_of(meta, url).startswith(f"400 {title}: ")
    assert (shown.status_code, "location" in shown.headers) == (400, False)


@pytest.mark.parametrize(
    ("uri", "works"),
    [
        ("http://127.0.0.1:8000/x", True),
        ("http://hub.localhost/x", True),
        ("http://hub.example/x", False),
    ],
)
def test_plain_http_leads_to_this_machine_only(meta: SandboxClient, uri: str, works: bool) -> None:
    meta.set_app(APP, redirect_uris=[uri])
    url = dialog_url(meta, redirect_uri=uri)

    if works:
        assert meta.approve_dialog(url, person=ANNA).startswith(f"{uri}?code=")
    else:
        assert "URL Blocked" in refusal_of(meta, url)


def test_token_comes_in_the_fragment(meta: SandboxClient) -> None:
    location = meta.approve_dialog(dialog_url(meta, response_type="token"), person=ANNA)
    answer = answer_of(location)

    assert location.startswith(f"{CALLBACK}#access_token=EAA")
    assert 3600 <= int(answer["expires_in"]) <= 7200
    assert call(meta, "GET", "me", answer["access_token"]).json() == {"id": ANNA, "name": "Anna"}


def test_granted_scopes_come_along_when_asked_for(meta: SandboxClient) -> None:
    url = dialog_url(meta, response_type="code granted_scopes")
    answer = answer_of(meta.approve_dialog(url, person=ANNA, decline=["ads_read"]))

    assert answer["granted_scopes"] == "public_profile,business_management"
    assert answer["denied_scopes"] == "ads_read"


def test_declined_scope_is_asked_again_with_rerequest_alone(meta: SandboxClient) -> None:
    first = scopes_of(meta, log_in(meta, decline=["ads_read"]))
    without = scopes_of(meta, log_in(meta))
    again = scopes_of(meta, log_in(meta, dialog_url(meta, auth_type="rerequest")))

    assert first == {"public_profile": "granted", "ads_read": "declined", "business_management": "granted"}
    assert without == first
    assert again == first | {"ads_read": "granted"}


def test_what_was_not_asked_cannot_be_declined(meta: SandboxClient) -> None:
    assert "was not asked for" in refusal_of(meta, dialog_url(meta), decline=["email"])


def test_login_for_business_gives_a_system_user_with_the_ticked_pixels(meta: SandboxClient) -> None:
    token = log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL])

    me = call(meta, "GET", "me", token, fields="client_business_id").json()
    assigned = call(meta, "GET", f"{SHOP_PIXEL}/assigned_users", token, business=SHOP).json()["data"]
    assert me["client_business_id"] == SHOP
    assert [(user["id"], user["tasks"]) for user in assigned] == [(me["id"], ["ANALYZE", "UPLOAD"])]
    assert call(meta, "GET", SHOP_PIXEL, token).status_code == 200
    assert call(meta, "GET", SECOND_PIXEL, token).json()["error"]["error_subcode"] == 33
    listed = call(meta, "GET", f"{SHOP}/owned_pixels", token).json()["data"]
    assert [pixel["id"] for pixel in listed] == [SHOP_PIXEL, SECOND_PIXEL]


def test_login_for_business_is_all_or_nothing(meta: SandboxClient) -> None:
    location = meta.approve_dialog(
        flb_url(meta), person=ANNA, businesses=[SHOP], pixels=[SHOP_PIXEL], decline=["ads_read"]
    )

    assert answer_of(location)["error"] == "access_denied"
    assert meta.tokens(business_id=SHOP) == []


def test_user_configuration_gives_a_user_token(meta: SandboxClient) -> None:
    token = log_in(meta, dialog_url(meta, config_id=USER_FLB, scope=None))

    refused = call(meta, "GET", "me", token, fields="client_business_id")
    assert call(meta, "GET", "me", token).json()["id"] == ANNA
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, 190)


def test_app_in_development_is_denied_to_strangers(meta: SandboxClient) -> None:
    meta.set_app(APP, mode="development")

    stranger = meta.approve_dialog(flb_url(meta), person=ANNA, businesses=[SHOP])
    insider = meta.approve_dialog(flb_url(meta), person=DEVELOPER, businesses=[SHOP])

    assert answer_of(stranger)["error"] == "access_denied"
    assert "code" in answer_of(insider)
    assert "App not active" in refusal_of(meta, dialog_url(meta))


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"person": BEN}, "You do not have full control of a business"),
        ({"person": "1"}, "There is nobody here with that account"),
        ({"person": DEVELOPER}, "Choose one business"),
        ({"businesses": [PARTNER]}, "Choose one business"),
        ({"businesses": [SHOP]}, "This business has several pixels"),
        ({"businesses": [SHOP], "pixels": [OTHER_PIXEL]}, "Shop does not own pixel 503"),
        ({"businesses": [SHOP], "pixels": [SHOP_PIXEL, SECOND_PIXEL]}, "takes one pixel"),
        ({"businesses": [SHOP], "decision": "perhaps"}, "decision is accept, cancel or never_return"),
    ],
)
def test_choice_that_does_not_do_is_told(meta: SandboxClient, choices: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal_of(meta, fbe_url(meta), **choices)


def test_business_extension_prefills_the_pixel_of_its_extras(meta: SandboxClient) -> None:
    url = fbe_url(meta, extras=json.dumps(extras(pixel_id=SECOND_PIXEL)))
    log_in(meta, url)

    assert meta.world()["installs"][CONNECTION]["pixel_id"] == SECOND_PIXEL


def test_business_extension_is_for_allow_listed_apps(meta: SandboxClient) -> None:
    meta.set_app(APP, fbe=False)

    assert "Feature unavailable" in refusal_of(meta, fbe_url(meta))
    assert "Invalid Scopes: manage_business_extension" in refusal_of(meta, fbe_url(meta, extras=None))


def test_declining_the_extensions_scope_installs_nothing(meta: SandboxClient) -> None:
    token = log_in(meta, fbe_url(meta), pixels=[SHOP_PIXEL], decline=["manage_business_extension"])

    assert scopes_of(meta, token)["manage_business_extension"] == "declined"
    assert meta.world()["installs"] == {}


def test_fault_takes_the_dialogs_place(meta: SandboxClient) -> None:
    meta.add_knob("error", endpoint="dialog", code=1, count=1)
    meta.add_knob("html", endpoint="dialog", count=1)

    assert "Sorry, something went wrong" in refusal_of(meta, dialog_url(meta))
    assert requests.get(dialog_url(meta), timeout=CALL_SECONDS).status_code == 502
    assert exchange(meta, answer_of(meta.approve_dialog(dialog_url(meta), person=ANNA))["code"]).ok
