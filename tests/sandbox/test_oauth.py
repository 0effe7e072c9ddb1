"""Tokens made, refreshed, revoked and looked at."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.sandbox.access import (
    ANNA,
    APP,
    APP_TOKEN,
    ASSIGNER_TOKEN,
    CALLBACK,
    DEVELOPER,
    SECRET,
    SHOP,
    SHOP_PIXEL,
    answer_of,
    call,
    dialog_url,
    exchange,
    flb_url,
    log_in,
)
from tests.sandbox.cast import error_of
from tests.support.sandbox import SandboxClient

DAY = 86_400


def code_for(meta: SandboxClient) -> str:
    return answer_of(meta.approve_dialog(dialog_url(meta), person=ANNA))["code"]


def debug(meta: SandboxClient, token: str, viewer: str = APP_TOKEN) -> dict[str, Any]:
    data: dict[str, Any] = call(meta, "GET", "debug_token", viewer, input_token=token).json()["data"]
    return data


def swap(meta: SandboxClient, token: str, **changes: Any) -> Any:
    params = {
        "grant_type": "fb_exchange_token",
        "client_id": APP,
        "client_secret": SECRET,
        "fb_exchange_token": token,
    }
    return call(meta, "GET", "oauth/access_token", **(params | changes))


def test_code_is_exchanged_once(meta: SandboxClient) -> None:
    code = code_for(meta)
    first, second = exchange(meta, code), exchange(meta, code)

    assert set(first.json()) == {"access_token", "token_type", "expires_in"}
    assert error_of(second) == (400, 100, 36009)
    assert second.json()["error"]["message"] == "This authorization code has been used."
    assert '"invalid_code"' in second.headers["www-authenticate"]


def test_code_ends_with_its_life(meta: SandboxClient) -> None:
    early, late = code_for(meta), code_for(meta)

    meta.move_clock(599)
    in_time = exchange(meta, early)
    meta.move_clock(601)

    assert in_time.ok
    assert error_of(exchange(meta, late)) == (400, 100, 36007)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"redirect_uri": CALLBACK + "/"}, (400, 100, 36008)),
        ({"redirect_uri": None}, (400, 100, 36008)),
        ({"client_secret": "wrong"}, (400, 1, None)),
        ({"client_id": "1"}, (400, 101, None)),
        ({"client_id": "555", "client_secret": "other-secret"}, (400, 100, 36007)),
        ({"code": "garbage"}, (400, 100, 36007)),
        ({"grant_type": "password"}, (400, 100, None)),
    ],
)
def test_exchange_that_is_refused_uses_nothing_up(
    meta: SandboxClient, changes: dict[str, Any], refusal: tuple[int, int, int | None]
) -> None:
    code = code_for(meta)

    assert error_of(exchange(meta, code, **changes)) == refusal
    assert exchange(meta, code).ok


def test_user_token_becomes_long_lived(meta: SandboxClient) -> None:
    short = log_in(meta)
    answer = swap(meta, short).json()

    assert answer["expires_in"] == 60 * DAY
    before, after = debug(meta, short), debug(meta, answer["access_token"])
    assert "issued_at" not in before
    assert after["expires_at"] - after["issued_at"] == 60 * DAY
    assert abs(after["data_access_expires_at"] - time.time() - 90 * DAY) < 60
    assert (after["type"], after["user_id"]) == ("USER", ANNA)


def test_long_lived_user_token_is_not_renewed(meta: SandboxClient) -> None:
    long = swap(meta, log_in(meta)).json()["access_token"]
    meta.move_clock(10 * DAY)

    again = swap(meta, long).json()

    assert abs(again["expires_in"] - 50 * DAY) < 60


def test_system_user_token_is_refreshed_and_the_old_one_lives_on(meta: SandboxClient) -> None:
    meta.put_token("EAAsixty", app_id=APP, expires_at=int(time.time()) + 5 * DAY)
    answer = swap(meta, "EAAsixty", set_token_expires_in_60_days="true").json()

    assert (answer["expires_in"], answer["token_type"]) == (60 * DAY, "bearer")
    assert debug(meta, "EAAsixty")["is_valid"]
    assert debug(meta, answer["access_token"])["expires_at"] > debug(meta, "EAAsixty")["expires_at"]


def test_refresh_is_the_issuing_apps_and_for_the_living(meta: SandboxClient) -> None:
    meta.put_token("EAAforeign", app_id="555")
    meta.put_token("EAAdead", app_id=APP)
    meta.expire_token("EAAdead")
    wanted = {"set_token_expires_in_60_days": "true"}

    assert error_of(swap(meta, "EAAforeign", **wanted)) == (400, 100, None)
    assert error_of(swap(meta, "EAAdead", **wanted)) == (401, 190, 463)
    assert error_of(swap(meta, "garbage", **wanted)) == (401, 190, None)
    assert error_of(swap(meta, ASSIGNER_TOKEN)) == (400, 100, None)


def test_app_token_lives_until_the_secret_changes(meta: SandboxClient) -> None:
    params = {"grant_type": "client_credentials", "client_id": APP, "client_secret": SECRET}
    token = call(meta, "GET", "oauth/access_token", **params).json()["access_token"]

    assert debug(meta, ASSIGNER_TOKEN, token)["is_valid"]
    meta.set_app(APP, secret="another")
    assert error_of(call(meta, "GET", "debug_token", token, input_token=ASSIGNER_TOKEN)) == (401, 190, None)


def test_revoke_kills_at_once(meta: SandboxClient) -> None:
    meta.put_token("EAAold", app_id=APP)
    params = {"client_id": APP, "client_secret": SECRET, "revoke_token": "EAAold"}

    wrong = call(meta, "GET", "oauth/revoke", ASSIGNER_TOKEN, **(params | {"client_secret": "x"}))
    right = call(meta, "GET", "oauth/revoke", ASSIGNER_TOKEN, **params)

    assert error_of(wrong) == (400, 1, None)
    assert right.json() == {"success": True}
    assert debug(meta, "EAAold")["error"]["subcode"] == 467


def test_only_the_apps_own_tokens_are_revoked(meta: SandboxClient) -> None:
    meta.put_token("EAAforeign", app_id="555")
    params = {"client_id": APP, "client_secret": SECRET, "revoke_token": "EAAforeign"}

    assert error_of(call(meta, "GET", "oauth/revoke", ASSIGNER_TOKEN, **params)) == (400, 100, None)
    assert meta.tokens(app_id="555")[0]["state"] == "live"


def test_developer_inspects_and_other_people_do_not(meta: SandboxClient) -> None:
    insider, stranger = log_in(meta, person=DEVELOPER), log_in(meta)

    assert debug(meta, ASSIGNER_TOKEN, insider)["is_valid"]
    assert error_of(call(meta, "GET", "debug_token", stranger, input_token=stranger)) == (400, 100, None)


def test_clients_token_names_the_ticked_pixels(meta: SandboxClient) -> None:
    token = log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL])

    data = debug(meta, token)
    assert (data["type"], data["expires_at"], data["data_access_expires_at"]) == ("SYSTEM_USER", 0, 0)
    assert data["granular_scopes"] == [
        {"scope": "ads_read", "target_ids": [SHOP_PIXEL]},
        {"scope": "business_management", "target_ids": [SHOP]},
    ]


def test_oauth_answers_without_a_version_too(meta: SandboxClient) -> None:
    response = call(meta, "GET", "../debug_token", APP_TOKEN, input_token=ASSIGNER_TOKEN)

    assert response.headers["facebook-api-version"] == "v26.0"
    assert response.json()["data"]["is_valid"]
