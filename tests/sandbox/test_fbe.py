"""The Business Extension: its install, the exchange for its system user's token, its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.access import (
    ANNA,
    APP,
    APP_TOKEN,
    ASSIGNER_TOKEN,
    BEN,
    CONNECTION,
    OTHER_SHOP,
    SECOND_PIXEL,
    SECRET,
    SHOP,
    SHOP_PIXEL,
    call,
    extras,
    fbe_url,
    log_in,
    proved,
)
from tests.sandbox.cast import error_of, make_event, proof_of, send
from tests.support.sandbox import SandboxClient

INSTALLS = "fbe_business/fbe_installs"


@pytest.fixture
def anna(meta: SandboxClient) -> str:
    """Anna's user token, after she has installed with the web shop's pixel."""
    return log_in(meta, fbe_url(meta), pixels=[SHOP_PIXEL])


def ask(meta: SandboxClient, token: str, business: str = SHOP, **changes: Any) -> Any:
    params = proved(token) | {
        "app_id": APP,
        "scope": "ads_management,ads_read",
        "fbe_external_business_id": CONNECTION,
    }
    return call(meta, "POST", f"{business}/access_token", **(params | changes))


def test_install_tells_its_assets(meta: SandboxClient, anna: str) -> None:
    answer = call(meta, "GET", INSTALLS, anna, fbe_external_business_id=CONNECTION).json()["data"][0]

    assert (answer["business_manager_id"], answer["pixel_id"]) == (SHOP, SHOP_PIXEL)
    assert answer["installed_features"][0]["connected_assets"] == {"pixel_id": SHOP_PIXEL}
    assert "catalog_id" not in answer


def test_install_of_nobody_is_an_empty_list(meta: SandboxClient, anna: str) -> None:
    nothing = call(meta, "GET", INSTALLS, anna, fbe_external_business_id="ph-nobody").json()
    stranger = log_in(meta, fbe_url(meta, extras=None), person=BEN)

    assert nothing == {"data": []}
    foreign = call(meta, "GET", INSTALLS, stranger, fbe_external_business_id=CONNECTION).json()
    assert [item["pixel_id"] for item in foreign["data"]] == [SHOP_PIXEL]
    meta.set_person(BEN, employee_of=[])
    assert call(meta, "GET", INSTALLS, stranger, fbe_external_business_id=CONNECTION).json() == nothing
    assert error_of(call(meta, "GET", INSTALLS, anna)) == (400, 100, None)


def test_install_without_a_pixel_leaves_it_out(meta: SandboxClient) -> None:
    token = log_in(meta, fbe_url(meta), pixels=["none"])

    answer = call(meta, "GET", INSTALLS, token, fbe_external_business_id=CONNECTION).json()["data"][0]
    assert "pixel_id" not in answer
    assert answer["installed_features"] == []


def test_new_pixel_is_made_in_the_dialog(meta: SandboxClient) -> None:
    log_in(meta, fbe_url(meta), pixels=["new"])

    pixel_id = meta.world()["installs"][CONNECTION]["pixel_id"]
    assert meta.world()["pixels"][pixel_id]["owner_business_id"] == SHOP


def test_exchange_gives_a_system_users_token_that_sends(meta: SandboxClient, anna: str) -> None:
    answer = ask(meta, anna).json()

    assert list(answer) == ["access_token"]
    data = call(meta, "GET", "debug_token", APP_TOKEN, input_token=answer["access_token"]).json()["data"]
    assert (data["type"], data["expires_at"], data["scopes"]) == (
        "SYSTEM_USER",
        0,
        ["ads_management", "ads_read"],
    )
    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=answer["access_token"]).ok
    refused = send(meta, make_event(), pixel_id=SECOND_PIXEL, access_token=answer["access_token"])
    assert error_of(refused) == (400, 100, 33)
    me = call(meta, "GET", "me", answer["access_token"], fields="name,client_business_id").json()
    assert (me["name"], me["client_business_id"]) == ("Demo Hub System User (FBE)", SHOP)
    assert call(meta, "GET", f"{SHOP}/system_users", anna).json()["data"] == []


def test_partners_admin_system_user_may_exchange_too(meta: SandboxClient, anna: str) -> None:
    assert ask(meta, ASSIGNER_TOKEN).ok


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"appsecret_proof": None}, (400, 100, None)),
        ({"appsecret_proof": proof_of("another token", SECRET)}, (400, 100, None)),
        ({"app_id": "555"}, (400, 100, None)),
        ({"app_id": None}, (400, 100, None)),
        ({"scope": None}, (400, 100, None)),
        ({"scope": "ads_managment"}, (400, 3962, None)),
        ({"scope": "catalog_management"}, (400, 200, None)),
        ({"fbe_external_business_id": "ph-nobody"}, (400, 100, 33)),
        ({"business": OTHER_SHOP}, (400, 100, 33)),
    ],
)
def test_exchange_is_refused(
    meta: SandboxClient, anna: str, changes: dict[str, Any], refusal: tuple[int, int, int | None]
) -> None:
    assert error_of(ask(meta, anna, **changes)) == refusal


def test_exchange_is_for_who_administers_the_business(meta: SandboxClient, anna: str) -> None:
    stranger = log_in(meta, fbe_url(meta, extras=None), person=BEN)

    assert error_of(ask(meta, stranger)) == (400, 200, None)


def test_old_install_wants_its_person_again(meta: SandboxClient, anna: str) -> None:
    meta.set_install(CONNECTION, needs_reauthentication=True)
    assert error_of(ask(meta, anna)) == (400, 200, None)

    again = log_in(meta, fbe_url(meta), pixels=[SHOP_PIXEL])

    assert ask(meta, again).ok


def test_stale_install_is_cleared_by_uninstalling(meta: SandboxClient, anna: str) -> None:
    meta.set_business(SHOP, fbe_system_user_missing=True)
    refused = ask(meta, anna)
    assert "Could not retrieve Facebook Business Extension System User" in refused.text

    gone = call(meta, "DELETE", INSTALLS, anna, fbe_external_business_id=CONNECTION)
    again = log_in(meta, fbe_url(meta), pixels=[SHOP_PIXEL])

    assert gone.json() == {"success": True}
    assert ask(meta, again).ok


def test_uninstalling_ends_the_system_users_tokens(meta: SandboxClient, anna: str) -> None:
    token = ask(meta, anna).json()["access_token"]

    call(meta, "DELETE", INSTALLS, token, fbe_external_business_id=CONNECTION)

    assert error_of(send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token)) == (401, 190, 458)
    assert call(meta, "GET", INSTALLS, anna, fbe_external_business_id=CONNECTION).json() == {"data": []}
    again = call(meta, "DELETE", INSTALLS, anna, fbe_external_business_id=CONNECTION)
    assert error_of(again) == (400, 100, None)


@pytest.mark.parametrize("path", ["me/permissions", "me/permissions/manage_business_extension"])
def test_taking_the_extensions_scope_back_uninstalls(meta: SandboxClient, anna: str, path: str) -> None:
    token = ask(meta, anna).json()["access_token"]

    call(meta, "DELETE", path, anna)

    assert error_of(call(meta, "GET", "me", token)) == (401, 190, 458)
    assert meta.world()["installs"] == {}
    assert meta.world()["people"][ANNA]["grants"].get(APP, {}).get("manage_business_extension") != "granted"


def test_installing_again_moves_to_the_pixel_chosen_then(meta: SandboxClient, anna: str) -> None:
    again = log_in(meta, fbe_url(meta), pixels=[SECOND_PIXEL])
    token = ask(meta, again).json()["access_token"]

    assert send(meta, make_event(), pixel_id=SECOND_PIXEL, access_token=token).ok
    refused = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token)
    assert error_of(refused) == (400, 100, 33)


def test_one_of_two_installs_ends_alone(meta: SandboxClient, anna: str) -> None:
    second = json.dumps(extras(external_business_id="ph-adv-second"))
    log_in(meta, fbe_url(meta, extras=second), pixels=[SECOND_PIXEL])
    token = ask(meta, anna).json()["access_token"]

    call(meta, "DELETE", INSTALLS, anna, fbe_external_business_id="ph-adv-second")

    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token).ok
    refused = send(meta, make_event(), pixel_id=SECOND_PIXEL, access_token=token)
    assert error_of(refused) == (400, 100, 33)
