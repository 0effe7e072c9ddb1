"""Graph's reads: the pixel's node and debug_token, with their refusals."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.sandbox.cast import (
    APP_ID,
    APP_SECRET,
    CALL_SECONDS,
    FOREIGN_PIXEL,
    PIXEL,
    TOKEN,
    error_of,
    make_event,
    send,
)
from tests.support.sandbox import SandboxClient

READER = "EAAreader"
FIELDS = "id,name,owner_business,is_unavailable,last_fired_time,data_use_setting"
APP_TOKEN = f"{APP_ID}|{APP_SECRET}"


def get(sandbox: SandboxClient, path: str, **params: Any) -> requests.Response:
    return requests.get(f"{sandbox.base_url}/v26.0/{path}", params=params, timeout=CALL_SECONDS)


@pytest.fixture
def reader(sandbox: SandboxClient) -> SandboxClient:
    sandbox.put_token(READER, pixels=[PIXEL], app_id=APP_ID, scopes=["ads_read"])
    return sandbox


def test_pixel_is_read_by_its_fields(reader: SandboxClient) -> None:
    before = get(reader, PIXEL, fields=FIELDS, access_token=READER).json()
    send(reader, make_event())
    after = get(reader, PIXEL, fields="owner_business{id,name},last_fired_time", access_token=READER).json()

    assert before == {
        "id": PIXEL,
        "name": "Shop Example",
        "owner_business": {"id": "8001", "name": "Shop"},
        "is_unavailable": False,
        "data_use_setting": "ADVERTISING_AND_ANALYTICS",
    }
    assert after["owner_business"] == {"id": "8001", "name": "Shop"}
    fired = time.strptime(after["last_fired_time"], "%Y-%m-%dT%H:%M:%S+0000")
    assert abs(time.time() - time.mktime(fired) + time.timezone) < 10


def test_pixel_takes_the_token_from_the_header(reader: SandboxClient) -> None:
    headers = {"Authorization": f"Bearer {READER}"}
    response = requests.get(f"{reader.base_url}/v26.0/{PIXEL}", headers=headers, timeout=CALL_SECONDS)

    assert response.json() == {"id": PIXEL, "name": "Shop Example"}


def test_pixel_refuses_what_it_should(reader: SandboxClient) -> None:
    without_scopes = get(reader, PIXEL, fields=FIELDS, access_token=TOKEN)

    assert error_of(without_scopes) == (400, 100, None)
    assert without_scopes.json()["error"]["message"] == "(#100) Missing permissions"
    assert error_of(get(reader, PIXEL, access_token="nonsense")) == (401, 190, None)
    assert error_of(get(reader, FOREIGN_PIXEL, access_token=READER)) == (400, 100, 33)
    assert error_of(get(reader, PIXEL, fields="nonsense", access_token=READER)) == (400, 100, None)
    assert error_of(get(reader, "nonsense", access_token=READER)) == (400, 2500, None)


def test_debug_token_describes_a_token_of_the_same_app(reader: SandboxClient) -> None:
    data = get(reader, "debug_token", input_token=READER, access_token=APP_TOKEN).json()["data"]

    assert (data["app_id"], data["application"], data["type"]) == (APP_ID, "Demo Hub", "SYSTEM_USER")
    assert (data["is_valid"], data["expires_at"], data["scopes"]) == (True, 0, ["ads_read"])
    assert READER not in str(data)


def test_debug_token_tells_of_a_dead_token_with_200(reader: SandboxClient) -> None:
    reader.set_token_state(READER, "password_changed")

    response = get(reader, "debug_token", input_token=READER, access_token=APP_TOKEN)

    assert response.status_code == 200
    data = response.json()["data"]
    assert data["is_valid"] is False
    assert (data["error"]["code"], data["error"]["subcode"]) == (190, 460)


def test_debug_token_refuses_a_foreign_apps_token(reader: SandboxClient) -> None:
    reader.put_token("EAAforeign", app_id="555", pixels=[PIXEL])

    response = get(reader, "debug_token", input_token="EAAforeign", access_token=APP_TOKEN)

    assert error_of(response) == (400, 100, None)
    expected = "(#100) The App_id in the input_token did not match the Viewing App"
    assert response.json()["error"]["message"] == expected


def test_debug_token_refuses_garbage_self_inspection_and_a_wrong_secret(reader: SandboxClient) -> None:
    garbage = get(reader, "debug_token", input_token="nonsense", access_token=APP_TOKEN)
    itself = get(reader, "debug_token", input_token=READER, access_token=READER)
    wrong_secret = get(reader, "debug_token", input_token=READER, access_token=f"{APP_ID}|wrong")
    nothing = get(reader, "debug_token", access_token=APP_TOKEN)

    assert error_of(garbage) == (401, 190, None)
    assert garbage.json()["error"]["message"] == "Invalid OAuth access token - Cannot parse access token"
    assert error_of(itself) == (400, 100, None)
    assert itself.json()["error"]["message"].startswith("(#100) You must provide an app access token")
    assert error_of(wrong_secret) == (401, 190, None)
    assert error_of(nothing) == (400, 100, None)


def test_debug_token_is_get_only(reader: SandboxClient) -> None:
    query = {"input_token": READER, "access_token": APP_TOKEN}
    response = requests.post(f"{reader.base_url}/v26.0/debug_token", params=query, timeout=CALL_SECONDS)

    assert error_of(response) == (400, 100, 33)


def test_knob_reaches_the_reads_too(reader: SandboxClient) -> None:
    reader.add_knob("error", endpoint="pixel", pixel_id=PIXEL, code=200, count=1)
    reader.add_knob("error", endpoint="debug_token", code=2, count=1)

    assert error_of(get(reader, PIXEL, access_token=READER)) == (400, 200, None)
    assert get(reader, PIXEL, access_token=READER).status_code == 200
    assert error_of(get(reader, "debug_token", input_token=READER, access_token=APP_TOKEN)) == (400, 2, None)
