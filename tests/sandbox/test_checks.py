"""What the stand-in refuses in one event, to the second and to the digit."""

from __future__ import annotations

from typing import Any

import pytest

from partnerhub.sandbox.checks import check_event
from tests.sandbox.cast import JOHN_HASH, make_event, make_purchase

NOW = 1_790_000_000.0
DAY = 86_400


def subcode_of(event: Any, now: float = NOW) -> int | None:
    refusal = check_event(event, 0, now)
    if refusal is None:
        return None
    assert refusal.code == 100
    return refusal.subcode


def at(seconds: int, **changes: Any) -> dict[str, Any]:
    return make_event(event_time=int(NOW) + seconds, **changes)


def with_user(**user_data: Any) -> dict[str, Any]:
    return at(0, user_data=user_data)


def test_ordinary_event_passes() -> None:
    assert subcode_of(at(0)) is None


@pytest.mark.parametrize("key", ["event_name", "event_time", "action_source"])
def test_missing_key_is_named(key: str) -> None:
    event = at(0)
    del event[key]

    refusal = check_event(event, 3, NOW)

    assert refusal is not None
    assert (refusal.code, refusal.subcode) == (100, 2804019)
    assert refusal.user_message == f'Missing key "{key}" on param "$[\'data\'][3]".'


def test_unexpected_key_is_named_as_graph_names_it() -> None:
    refusal = check_event(at(0, advertiser_tracking_enabled=True), 0, NOW)

    assert refusal is not None
    assert refusal.subcode == 2804019
    assert refusal.title == "Server Side Api Parameter Error"
    assert refusal.user_message == 'Unexpected key "advertiser_tracking_enabled" on param "$[\'data\'][0]".'


@pytest.mark.parametrize(
    "changes",
    [
        {"event_name": " "},
        {"event_name": 7},
        {"event_id": 7},
        {"event_time": "1790000000"},
        {"event_time": 1790000000.5},
        {"event_time": True},
        {"action_source": "web"},
        {"action_source": ["website"]},
        {"user_data": [JOHN_HASH]},
        {"custom_data": "value"},
    ],
)
def test_wrong_shape_is_refused(changes: dict[str, Any]) -> None:
    assert subcode_of(at(0) | changes) == 2804019


@pytest.mark.parametrize("event", [None, "PageView", 7, ["PageView"]])
def test_event_that_is_no_object_is_refused(event: Any) -> None:
    assert subcode_of(event) == 2804019


@pytest.mark.parametrize(
    ("seconds", "action_source", "expected"),
    [
        (-7 * DAY, "website", None),
        (-7 * DAY - 1, "website", 2804003),
        (-62 * DAY, "physical_store", None),
        (-62 * DAY - 1, "physical_store", 2804003),
        (60, "website", None),
        (61, "website", 2804004),
    ],
)
def test_age_limit_holds_to_the_second(seconds: int, action_source: str, expected: int | None) -> None:
    assert subcode_of(at(seconds, action_source=action_source)) == expected


def test_milliseconds_are_in_the_future() -> None:
    assert subcode_of(make_event(event_time=int(NOW) * 1000)) == 2804004


@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country"])
def test_plain_personal_data_is_refused_and_named(key: str) -> None:
    refusal = check_event(with_user(external_id="c-1", **{key: ["john_smith@gmail.com"]}), 0, NOW)

    assert refusal is not None
    assert refusal.subcode == 2804016
    assert refusal.error_data == {"blame_field_specs": [["user_data", key]]}


@pytest.mark.parametrize(
    "value",
    [
        JOHN_HASH.upper(),
        JOHN_HASH[:32],
        f" {JOHN_HASH}",
        f"{JOHN_HASH}\n",
        f"{JOHN_HASH}.AQ",
        [JOHN_HASH, None],
        [JOHN_HASH, ""],
        16505551212,
        {"hash": JOHN_HASH},
    ],
)
def test_what_is_no_hash_is_refused(value: Any) -> None:
    assert subcode_of(with_user(em=value)) == 2804016


@pytest.mark.parametrize("value", [JOHN_HASH, [JOHN_HASH], [JOHN_HASH, JOHN_HASH], f"{JOHN_HASH}.AQICAQMC"])
def test_hash_passes(value: Any) -> None:
    assert subcode_of(with_user(em=value)) is None


def test_unknown_user_data_key_is_refused() -> None:
    assert subcode_of(with_user(em=JOHN_HASH, email=JOHN_HASH)) == 2804019


@pytest.mark.parametrize(
    "user_data",
    [
        {},
        {"client_user_agent": "Mozilla/5.0"},
        {"external_id": "", "client_user_agent": "Mozilla/5.0"},
        {"em": [], "client_user_agent": "Mozilla/5.0"},
        {"ct": JOHN_HASH, "country": JOHN_HASH, "st": JOHN_HASH, "zp": JOHN_HASH, "ge": JOHN_HASH},
        {"db": JOHN_HASH, "client_user_agent": "Mozilla/5.0"},
        {"fn": JOHN_HASH, "ge": JOHN_HASH},
        {"ln": JOHN_HASH, "ge": JOHN_HASH},
    ],
)
def test_too_broad_is_refused(user_data: dict[str, Any]) -> None:
    assert subcode_of(with_user(**user_data)) == 2804050


@pytest.mark.parametrize(
    "user_data",
    [
        {"client_ip_address": "2001:db8::7", "client_user_agent": "Mozilla/5.0"},
        {"fn": JOHN_HASH, "ln": JOHN_HASH},
        {"fn": JOHN_HASH, "db": JOHN_HASH},
        {"external_id": "c-1"},
    ],
)
def test_enough_to_match_by_passes(user_data: dict[str, Any]) -> None:
    assert subcode_of(with_user(**user_data)) is None


def test_event_without_user_data_is_too_broad() -> None:
    assert subcode_of(at(0, user_data=None)) == 2804050


@pytest.mark.parametrize(
    ("fbc", "expected"),
    [
        ("fb.1.1789990000000.AbC-d_E", None),
        ("fb.1.1789990000000.AbC.AQICAQMC", None),
        ("fb.1.1789990000000.", 2804001),
        ("fb.1.1789990000000", 2804001),
        ("AbC-d_E", 2804001),
        (17, 2804001),
    ],
)
def test_fbc_needs_its_click_id(fbc: Any, expected: int | None) -> None:
    assert subcode_of(with_user(em=JOHN_HASH, fbc=fbc)) == expected


@pytest.mark.parametrize(
    ("custom_data", "expected"),
    [
        ({}, None),
        ({"value": 0}, None),
        ({"currency": "eur"}, None),
        ({"value": None}, 2804009),
        ({"currency": None}, 2804010),
        ({"currency": ""}, 2804010),
        ({"value": "42.5"}, 2804019),
        ({"value": True}, 2804019),
        ({"currency": "euro"}, 2804019),
        ({"currency": 978}, 2804019),
    ],
)
def test_purchase_needs_value_and_currency(custom_data: dict[str, Any], expected: int | None) -> None:
    assert subcode_of(make_purchase(**custom_data) | {"event_time": int(NOW)}) == expected


def test_purchase_without_custom_data_misses_its_value() -> None:
    assert subcode_of(at(0, event_name="Purchase")) == 2804009


def test_value_without_currency_is_refused_on_any_event() -> None:
    assert subcode_of(at(0, custom_data={"value": 1})) == 2804023
    assert subcode_of(at(0, custom_data={"currency": "EUR"})) is None


def test_bad_lead_id_is_refused() -> None:
    assert subcode_of(with_user(em=JOHN_HASH, lead_id="x1")) == 2804036
    assert subcode_of(with_user(em=JOHN_HASH, lead_id="123456789012345")) is None


def test_app_event_needs_all_of_extinfo() -> None:
    whole = ["a2", "", "", "", "14", *[""] * 11]

    assert subcode_of(at(0, action_source="app")) == 2804019
    assert subcode_of(at(0, action_source="app", app_data={"extinfo": whole[:15]})) == 2804043
    assert (
        subcode_of(at(0, action_source="app", app_data={"extinfo": [*whole[:4], "", *whole[5:]]})) == 2804043
    )
    assert subcode_of(at(0, action_source="app", app_data={"extinfo": whole})) is None


def test_business_messaging_needs_its_channel() -> None:
    assert subcode_of(at(0, action_source="business_messaging")) == 2804063
    assert subcode_of(at(0, action_source="business_messaging", messaging_channel="whatsapp")) is None
