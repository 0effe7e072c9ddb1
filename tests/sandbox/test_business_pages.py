"""Business settings by hand: the forms do what they say, and only what their business may."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from tests.sandbox.access import (
    APP,
    ASSIGNER_TOKEN,
    OTHER_PIXEL,
    OTHER_SHOP,
    PARTNER,
    SECRET,
    SHOP,
    SHOP_PIXEL,
    call,
    flb_url,
    log_in,
)
from tests.sandbox.cast import CALL_SECONDS, error_of, make_event, send
from tests.support.sandbox import SandboxClient, token_key


def page(meta: SandboxClient, business: str = SHOP) -> str:
    return requests.get(f"{meta.base_url}/sandbox/businesses/{business}", timeout=CALL_SECONDS).text


def post(meta: SandboxClient, business: str, act: str, **fields: Any) -> requests.Response:
    url = f"{meta.base_url}/sandbox/businesses/{business}"
    return requests.post(url, data={"act": act} | fields, allow_redirects=False, timeout=CALL_SECONDS)


def agencies(meta: SandboxClient, pixel: str = SHOP_PIXEL) -> Any:
    return meta.world()["pixels"][pixel]["agencies"]


def test_pixel_is_shared_and_withdrawn_by_hand(meta: SandboxClient) -> None:
    shared = post(
        meta, SHOP, "share", pixel_id=SHOP_PIXEL, business_id=f" {PARTNER} ", tasks=["ANALYZE", "UPLOAD"]
    )

    assert (shared.status_code, shared.headers["location"]) == (303, f"/sandbox/businesses/{SHOP}")
    assert agencies(meta)[PARTNER]["permitted_tasks"] == ["ANALYZE", "UPLOAD"]
    assert "Datapartner" in page(meta)
    assert "Web shop" in page(meta, PARTNER)
    post(meta, SHOP, "withdraw", pixel_id=SHOP_PIXEL, business_id=PARTNER)
    assert agencies(meta) == {}


def test_offer_is_accepted_and_given_back_by_hand(meta: SandboxClient) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER, pending=True)
    assert "not accepted yet" in page(meta, PARTNER)

    post(meta, PARTNER, "accept", pixel_id=SHOP_PIXEL, business_id=PARTNER)
    assert agencies(meta)[PARTNER]["status"] == "APPROVE"
    post(meta, PARTNER, "withdraw", pixel_id=SHOP_PIXEL, business_id=PARTNER)
    assert agencies(meta) == {}


@pytest.mark.parametrize(
    ("business", "act", "fields", "sentence"),
    [
        (SHOP, "share", {"business_id": "9", "tasks": ["UPLOAD"]}, "no other business with that id"),
        (SHOP, "share", {"business_id": SHOP, "tasks": ["UPLOAD"]}, "no other business with that id"),
        (SHOP, "share", {"business_id": PARTNER}, "Choose at least one task"),
        (OTHER_SHOP, "share", {"business_id": PARTNER, "tasks": ["UPLOAD"]}, "Only the business that owns"),
        (OTHER_SHOP, "withdraw", {"business_id": PARTNER}, "Only the two businesses"),
        (OTHER_SHOP, "generate", {}, "Only the business that owns"),
        (OTHER_SHOP, "accept", {}, "no longer offered"),
        (SHOP, "generate", {"pixel_id": "9"}, "There is no such pixel"),
        (SHOP, "explode", {}, "not known here"),
    ],
)
def test_form_that_cannot_be_done_says_so(
    meta: SandboxClient, business: str, act: str, fields: dict[str, Any], sentence: str
) -> None:
    meta.share_pixel(SHOP_PIXEL, PARTNER)
    before = meta.world()

    response = post(meta, business, act, **({"pixel_id": SHOP_PIXEL} | fields))

    assert response.status_code == 400
    assert sentence in response.text
    assert meta.world() == before


def test_token_is_shown_once_and_revoked_by_hand(meta: SandboxClient) -> None:
    shown = post(meta, SHOP, "generate", pixel_id=SHOP_PIXEL).text
    token = re.findall(r"EAA\w+", shown)[0]

    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token).ok
    assert token not in page(meta)
    assert f"…{token[-4:]}" in page(meta)
    post(meta, OTHER_SHOP, "revoke", key=token_key(token))
    assert send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token).ok
    post(meta, SHOP, "revoke", key=token_key(token))
    refused = send(meta, make_event(), pixel_id=SHOP_PIXEL, access_token=token)
    assert error_of(refused) == (401, 190, 467)


def test_connected_app_is_removed_by_hand(meta: SandboxClient) -> None:
    token = log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL])
    assert "Demo Hub" in page(meta)

    post(meta, SHOP, "remove", app_id=APP)

    assert error_of(call(meta, "GET", "me", token)) == (401, 190, 458)


def test_pages_hold_no_secret_and_escape_what_they_show(meta: SandboxClient) -> None:
    evil = '"><script>alert(1)</script>'
    meta.set_business(SHOP, name=evil)
    meta.set_pixel(SHOP_PIXEL, name=evil)
    meta.share_pixel(OTHER_PIXEL, SHOP)
    listed = requests.get(f"{meta.base_url}/sandbox/businesses", timeout=CALL_SECONDS).text

    for text in (page(meta), page(meta, PARTNER), listed):
        assert "<script" not in text
        assert SECRET not in text
        assert ASSIGNER_TOKEN not in text


def test_calls_and_webhooks_are_shown(meta: SandboxClient) -> None:
    meta.set_settings(webhook_retry_s=[])
    meta.set_app(APP, webhook_url="http://127.0.0.1:9/hook")
    call(meta, "GET", f"{SHOP}/owned_pixels", ASSIGNER_TOKEN)
    meta.send_webhook(APP, "business_integration_update", business_id=SHOP)

    text = requests.get(f"{meta.base_url}/sandbox/businesses", timeout=CALL_SECONDS).text

    for shown in (f"GET /v26.0/{SHOP}/owned_pixels", "100/33", "business_integration_update", "no answer"):
        assert shown in text


def test_missing_business_is_404(meta: SandboxClient) -> None:
    url = f"{meta.base_url}/sandbox/businesses/9"

    assert requests.get(url, timeout=CALL_SECONDS).status_code == 404
    assert post(meta, "9", "share").status_code == 404
