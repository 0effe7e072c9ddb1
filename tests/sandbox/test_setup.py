"""Describing the world: merged by node, whole or not at all, and without secrets on the way out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.sandbox.access import (
    ANNA,
    APP,
    APP_TOKEN,
    ASSIGNER,
    ASSIGNER_TOKEN,
    OTHER_PIXEL,
    SECRET,
    SHOP,
    SHOP_PIXEL,
    call,
)
from tests.sandbox.cast import error_of, make_event, send
from tests.support.sandbox import SandboxClient, SandboxError, token_key


def test_what_is_left_out_stays(meta: SandboxClient) -> None:
    meta.set_business(SHOP, verification_status="verified")
    meta.set_pixel(SHOP_PIXEL, last_fired_time=1_790_000_000)

    world = meta.world()
    assert (world["businesses"][SHOP]["name"], world["businesses"][SHOP]["verification_status"]) == (
        "Shop",
        "verified",
    )
    pixel = call(meta, "GET", SHOP_PIXEL, reader(meta), fields="name,last_fired_time").json()
    assert pixel == {"id": SHOP_PIXEL, "name": "Web shop", "last_fired_time": "2026-09-21T14:13:20+0000"}


def reader(meta: SandboxClient) -> str:
    meta.put_token("EAAreader", app_id=APP, pixels=[SHOP_PIXEL], scopes=["ads_read"])
    return "EAAreader"


def test_nodes_id_is_the_one_it_stands_under(meta: SandboxClient) -> None:
    meta.set_business(SHOP, id="9")

    assert meta.world()["businesses"][SHOP]["name"] == "Shop"


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"shops": {}}, "has no shops"),
        ({"apps": []}, "apps must be a JSON object"),
        ({"businesses": {"1": {"verified": True}}}, "there is no verified"),
        ({"pixels": {"abc": {}}}, "A pixel's id is a number"),
        ({"pixels": {"1": {"owner_business": {"name": "x"}}}}, "owner_business"),
        ({"apps": {"1": {}}}, "secret Field required"),
        ({"tokens": {"EAAsecret": {"app_id": "1", "state": "dead"}}}, "a token: state"),
        ({"tokens": {"EAAsecret": {"app_id": "1", "expires_in_s": "1"}}}, "expires_in_s must be"),
        ({"system_users": {"1": {"business_id": "1", "role": "BOSS"}}}, "role"),
    ],
)
def test_mistake_changes_nothing_and_is_a_sentence(
    meta: SandboxClient, document: dict[str, Any], sentence: str
) -> None:
    before = meta.world()

    with pytest.raises(SandboxError, match=sentence) as caught:
        meta.set_world({"businesses": {SHOP: {"name": "Changed"}}} | document)

    assert "EAAsecret" not in str(caught.value)
    assert meta.world() == before


def test_world_is_told_without_secrets(meta: SandboxClient) -> None:
    text = str(meta.world())

    assert SECRET not in text
    assert ASSIGNER_TOKEN not in text
    assert token_key(ASSIGNER_TOKEN) in meta.world()["tokens"]


def test_token_is_changed_by_what_it_is(meta: SandboxClient) -> None:
    assert meta.change_tokens({"user_id": ASSIGNER, "app_id": APP}, state="password_changed") == 1
    assert error_of(call(meta, "GET", "me", ASSIGNER_TOKEN)) == (401, 190, 460)
    assert meta.change_tokens({"key": token_key(ASSIGNER_TOKEN)}, state="live", expires_in_s=100) == 1
    listed = meta.tokens(user_id=ASSIGNER)[0]
    assert (listed["state"], listed["last_four"]) == ("live", "gner")
    assert abs(listed["expires_at"] - time.time() - 100) < 10
    assert call(meta, "GET", "me", ASSIGNER_TOKEN).ok
    with pytest.raises(SandboxError, match="matched by"):
        meta.tokens(colour="red")


def test_moved_clock_ends_tokens_and_leaves_events_their_age(meta: SandboxClient) -> None:
    meta.put_token("EAAshort", app_id=APP, pixels=[SHOP_PIXEL], expires_at=int(time.time()) + 3600)
    meta.put_token("EAAlong", app_id=APP, pixels=[SHOP_PIXEL])
    meta.move_clock(30 * 86_400)

    short = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token="EAAshort")
    assert error_of(short) == (401, 190, 463)
    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token="EAAlong").ok


def test_generated_token_sends_and_reads_nothing_and_is_another_apps(meta: SandboxClient) -> None:
    token = meta.generate_token(SHOP_PIXEL)
    meta.generate_token(SHOP_PIXEL, expires_in_s=60 * 86_400)

    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token).ok
    refused = send(meta, make_event(), pixel_id=OTHER_PIXEL, access_token=token)
    assert error_of(refused) == (400, 100, 33)
    assert "Missing permissions" in call(meta, "GET", SHOP_PIXEL, token).text
    foreign = call(meta, "GET", "debug_token", APP_TOKEN, input_token=token)
    assert "did not match the Viewing App" in foreign.text
    users = [user for user in meta.world()["system_users"].values() if user["business_id"] == SHOP]
    assert [user["name"] for user in users] == ["Conversions API System User"]


def test_reset_forgets_the_world_unless_told_otherwise(meta: SandboxClient) -> None:
    meta.set_settings(page_size=2)
    meta.reset(keep_world=True)
    assert meta.world()["settings"]["page_size"] == 2
    assert ANNA in meta.world()["people"]

    meta.reset()

    assert meta.world()["settings"]["page_size"] == 25
    assert meta.world()["people"] == {}
