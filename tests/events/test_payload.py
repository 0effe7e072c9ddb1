"""One event in, one JSON object out: what is taken, mended with a notice, and refused by name and place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import normalise, notices, payload
from events.normalise import sha256_hex
from events.payload import PixelRules, PreparedEvent, prepare_event, prepare_events
from events.refusals import Refusal
from partnerhub.lib.graph.limits import EVENTS_PER_REQUEST
from partnerhub.sandbox.checks import check_event

NOW = 1_790_000_000
DAY = 86_400
RULES = PixelRules(default_action_source="website", default_country="DE")
PERSON = {"em": ["62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"]}
# What Meta's platform guide prints.
GUIDE_EM = "8159ea0e33c51a774b83104ee562784f9b1836c852102046e4bd8385706fe7ca"
GUIDE: list[dict[str, Any]] = [
    {"event_name": "PageView", "event_time": 1579645238, "user_data": {"em": GUIDE_EM}},
    {
        "event_name": "Purchase",
        "event_time": 1579645238,
        "user_data": {"em": GUIDE_EM},
        "custom_data": {"currency": "USD", "value": "50"},
    },
]


def event(**fields: Any) -> dict[str, Any]:
    """A good event; fields given replace its own, and None takes one away."""
    good = {
        "event_name": "Lead",
        "event_time": NOW,
        "event_id": "ord-1",
        "action_source": "other",
        "user_data": PERSON,
    }
    return {key: value for key, value in (good | fields).items() if value is not None}


def prepare(raw: object, *, index: int = 0, rules: PixelRules = RULES, now: float = NOW) -> PreparedEvent:
    return prepare_event(raw, index=index, rules=rules, now=now, make_id=lambda: "ph-made")


def sent(raw: object, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(prepare(raw, **options).fragment)
    return found


def refusal_of(raw: object, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        prepare(raw, **options)
    return refused.value


def test_a_good_event_is_sent_as_it_came() -> None:
    raw = event(
        event_source_url="https://shop.example/?a=1",
        referrer_url="https://search.example/",
        opt_out=False,
        data_processing_options=["LDU"],
        data_processing_options_country=1,
        data_processing_options_state=1000,
        customer_segmentation="new_customer_to_business",
        original_event_data={"event_name": "Lead"},
        attribution_data={"ad_id": "1"},
        custom_data={
            "value": 42.5,
            "currency": "EUR",
            "contents": [{"id": "a", "quantity": 2}],
            "own": {"x": 1},
        },
    )

    prepared = prepare(raw)

    assert orjson.loads(prepared.fragment) == raw
    assert prepared.notices == ()
    assert (prepared.event_name, prepared.event_id, prepared.event_time) == ("Lead", "ord-1", NOW)
    assert prepared.expires_at == NOW + 7 * DAY
    assert len(prepared.repeat_key) == len(prepared.content_key) == 16


def test_the_guide_as_printed_is_six_years_too_old() -> None:
    refusal = refusal_of(GUIDE[0])

    assert (refusal.code, refusal.subcode, refusal.field, refusal.index) == (100, 2804003, "event_time", 0)


def test_the_guide_moved_to_now_is_mended_and_says_so() -> None:
    moved = [raw | {"event_time": NOW} for raw in GUIDE]

    view, purchase = prepare_events(list(moved), rules=RULES, now=NOW, make_id=lambda: "ph-made")

    assert orjson.loads(view.fragment) == {
        "event_name": "PageView",
        "event_time": NOW,
        "event_id": "ph-made",
        "action_source": "website",
        "user_data": {"em": [GUIDE_EM]},
    }
    assert view.notices == (
        "action_source:defaulted",
        "event_id:made",
        "event_source_url:missing",
        "user_data.client_user_agent:missing",
    )
    assert orjson.loads(purchase.fragment)["custom_data"] == {"currency": "USD", "value": 50}
    assert "custom_data.value:made_number" in purchase.notices


def test_personal_data_leaves_hashed_and_no_other_way() -> None:
    person = {
        "em": " John_Smith@gmail.com",
        "ph": ["+1 (650) 555-1212", "0171 1234567"],
        "fn": "Mary",
        "ln": "O'Brien",
        "ge": "female",
        "db": "1997-02-16",
        "ct": "Menlo Park",
        "st": "CA",
        "zp": "94035-1234",
        "country": "US",
    }

    prepared = prepare(event(user_data=person | {"external_id": 4711, "client_ip_address": "2001:db8::7"}))

    found = orjson.loads(prepared.fragment)["user_data"]
    assert found == {
        "em": [sha256_hex("john_smith@gmail.com")],
        "ph": sorted([sha256_hex("16505551212"), sha256_hex("491711234567")]),
        "fn": [sha256_hex("mary")],
        "ln": [sha256_hex("obrien")],
        "ge": [sha256_hex("f")],
        "db": [sha256_hex("19970216")],
        "ct": [sha256_hex("menlopark")],
        "st": [sha256_hex("ca")],
        "zp": [sha256_hex("94035")],
        "country": [sha256_hex("us")],
        "external_id": ["4711"],
        "client_ip_address": "2001:db8::7",
    }
    assert prepared.notices == ("user_data.external_id:made_text",)
    for plain in ("smith", "Mary", "Brien", "650", "1234567", "Menlo", "94035", "1997"):
        assert plain not in prepared.fragment.decode()


@pytest.mark.parametrize("value", ["A" * 64, f" {'a' * 64} ", ["a" * 64, "A" * 64]])
def test_a_hash_is_lowered_and_not_hashed_again(value: Any) -> None:
    assert sent(event(user_data={"em": value}))["user_data"] == {"em": ["a" * 64]}


def test_metas_appendix_behind_a_hash_keeps_its_case() -> None:
    assert sent(event(user_data={"em": "A" * 64 + ".AQICAQMC"}))["user_data"]["em"] == [
        "a" * 64 + ".AQICAQMC"
    ]


@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "ct", "zp", "db"])
def test_md5_is_refused(key: str) -> None:
    refusal = refusal_of(event(user_data={key: "D41D8CD98F00B204E9800998ECF8427E"}))

    assert (refusal.field, refusal.subcode) == (f"user_data.{key}", 2804016)


@pytest.mark.parametrize(
    ("person", "notice"),
    [
        ({"em": ""}, "user_data.em:empty"),
        ({"em": ["", None]}, "user_data.em:empty"),
        ({"em": normalise.EMPTY_HASH}, "user_data.em:empty"),
        ({"em": "nobody"}, "user_data.em:unusable"),
        ({"ge": "unknown"}, "user_data.ge:unusable"),
        ({"db": "yesterday"}, "user_data.db:unusable"),
        ({"ph": "12"}, "user_data.ph:unusable"),
        ({"external_id": [" "]}, "user_data.external_id:empty"),
        ({"client_user_agent": " "}, "user_data.client_user_agent:empty"),
        ({"fbc": "fb.1.1790000000000."}, "user_data.fbc:no_click_id"),
        ({"fbc": "fb.1.1790000000000"}, "user_data.fbc:no_click_id"),
    ],
)
def test_what_can_match_nobody_is_left_out_with_a_notice(person: dict[str, Any], notice: str) -> None:
    prepared = prepare(
        event(user_data=PERSON | {"em": [PERSON["em"][0], *_listed(person)]} | _without_em(person))
    )

    assert notice in prepared.notices
    assert orjson.loads(prepared.fragment)["user_data"] == PERSON


def _listed(person: dict[str, Any]) -> list[Any]:
    value = person.get("em", [])
    return value if isinstance(value, list) else [value]


def _without_em(person: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in person.items() if key != "em"}


def test_a_national_number_needs_the_advertisers_country() -> None:
    raw = event(user_data=PERSON | {"ph": "0171 1234567"})

    prepared = prepare(raw, rules=PixelRules("website", None))

    assert prepared.notices == ("user_data.ph:no_country",)
    assert orjson.loads(prepared.fragment)["user_data"] == PERSON


@pytest.mark.parametrize(
    ("fbc", "is_odd"),
    [
        ("fb.1.1790000000000.IwAR0Click", False),
        ("fb.1.1790000000000.IwAR0Click.AQICAQMC", False),
        ("fb.1.1790000000.IwAR0Click", True),
        ("IwAR0Click", True),
    ],
)
def test_a_click_id_is_sent_as_it_is_and_an_odd_one_noticed(fbc: str, is_odd: bool) -> None:
    prepared = prepare(event(user_data=PERSON | {"fbc": fbc}))

    assert orjson.loads(prepared.fragment)["user_data"]["fbc"] == fbc
    assert ("user_data.fbc:odd_form" in prepared.notices) is is_odd


@pytest.mark.parametrize(
    ("fields", "want", "notice"),
    [
        ({"event_time": str(NOW)}, {"event_time": NOW}, "event_time:made_number"),
        ({"event_time": float(NOW)}, {"event_time": NOW}, None),
        ({"event_id": 7}, {"event_id": "7"}, "event_id:made_text"),
        ({"event_id": ""}, {"event_id": "ph-made"}, "event_id:made"),
        ({"action_source": ""}, {"action_source": "website"}, "action_source:defaulted"),
        ({"opt_out": "True"}, {"opt_out": True}, "opt_out:made_boolean"),
        (
            {"custom_data": {"value": " 42.50 ", "currency": "eur"}},
            {"custom_data": {"value": 42.5, "currency": "EUR"}},
            "custom_data.value:made_number",
        ),
        (
            {"custom_data": {"value": 1, "currency": " eur "}},
            {"custom_data": {"value": 1, "currency": "EUR"}},
            "custom_data.currency:upper_case",
        ),
        (
            {"custom_data": {"net_revenue": "-3", "predicted_ltv": "7"}},
            {"custom_data": {"net_revenue": -3, "predicted_ltv": 7}},
            "custom_data.net_revenue:made_number",
        ),
    ],
)
def test_what_is_certain_is_mended(fields: dict[str, Any], want: dict[str, Any], notice: str | None) -> None:
    prepared = prepare(event(**fields))

    assert {key: orjson.loads(prepared.fragment)[key] for key in want} == want
    assert notice in prepared.notices if notice else prepared.notices == ()


def test_what_is_null_is_as_if_it_had_not_been_sent() -> None:
    raw = event() | {"custom_data": None, "opt_out": None, "user_data": PERSON | {"ph": None}}

    assert sent(raw) == event()


REFUSED: list[tuple[dict[str, Any], str, int | None]] = [
    ({"event_name": None}, "event_name", 2804019),
    ({"event_name": " "}, "event_name", 2804019),
    ({"event_name": 7}, "event_name", 2804019),
    ({"event_name": "x" * 101}, "event_name", None),
    ({"event_name": "a\0b"}, "event_name", None),
    ({"event_name": "a\ud800"}, "event_name", None),
    ({"event_time": None}, "event_time", 2804019),
    ({"event_time": "soon"}, "event_time", None),
    ({"event_time": True}, "event_time", None),
    ({"event_time": NOW + 0.5}, "event_time", None),
    ({"event_time": -1}, "event_time", None),
    ({"event_time": NOW * 1000}, "event_time", 2804004),
    ({"event_time": f"{NOW}000"}, "event_time", 2804004),
    ({"event_time": NOW + 3600}, "event_time", 2804004),
    ({"event_time": NOW - 8 * DAY}, "event_time", 2804003),
    ({"event_id": ["a"]}, "event_id", None),
    ({"event_id": "x" * 257}, "event_id", None),
    ({"event_id": "a\0"}, "event_id", None),
    ({"action_source": "web"}, "action_source", None),
    ({"action_source": ["website"]}, "action_source", None),
    ({"user_data": None}, "user_data", 2804050),
    ({"user_data": []}, "user_data", 2804050),
    ({"user_data": {"email": "a@b.c"}}, "user_data.email", 2804019),
    ({"user_data": {"em": {"a": 1}}}, "user_data.em", None),
    ({"user_data": {"em": True}}, "user_data.em", None),
    ({"user_data": {"em": ["a@b.c"] * 101}}, "user_data.em", None),
    ({"user_data": {"fn": "Ma\0ry"}}, "user_data.fn", None),
    ({"user_data": {"em": "a\ud800@b.c"}}, "user_data.em", None),
    ({"user_data": {"external_id": ["a", "\0"]}}, "user_data.external_id", None),
    ({"user_data": PERSON | {"client_user_agent": "a\0"}}, "user_data.client_user_agent", None),
    ({"user_data": PERSON | {"client_ip_address": 7}}, "user_data.client_ip_address", None),
    ({"user_data": PERSON | {"lead_id": "none"}}, "user_data.lead_id", 2804036),
    ({"user_data": PERSON | {"lead_id": True}}, "user_data.lead_id", 2804036),
    ({"user_data": PERSON | {"lead_id": "-5"}}, "user_data.lead_id", 2804036),
    ({"user_data": PERSON | {"fb_login_id": [7]}}, "user_data.fb_login_id", None),
    ({"custom_data": "x"}, "custom_data", None),
    ({"custom_data": {"value": "much", "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"value": "1,50", "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"value": "٣", "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"value": True, "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"value": float("nan"), "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"value": 1}}, "custom_data.currency", 2804023),
    ({"custom_data": {"value": 1, "currency": "€"}}, "custom_data.currency", None),
    ({"custom_data": {"value": 1, "currency": "EURO"}}, "custom_data.currency", None),
    ({"custom_data": {"value": 2**63, "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"value": 1e300, "currency": "EUR"}}, "custom_data.value", None),
    ({"custom_data": {"order_id": 2**70}}, "custom_data.order_id", None),
    ({"custom_data": {"a": [{"b": "\0"}]}}, "custom_data.a[0].b", None),
    ({"custom_data": {"a\0": 1}}, "custom_data.a?", None),
    ({"custom_data": {"a": "\ud800"}}, "custom_data.a", None),
    ({"event_name": "Purchase"}, "custom_data.value", 2804009),
    ({"event_name": "Purchase", "custom_data": {"currency": "EUR"}}, "custom_data.value", 2804009),
    ({"event_name": "Purchase", "custom_data": {"value": 1}}, "custom_data.currency", 2804010),
    ({"event_source_url": 7}, "event_source_url", None),
    ({"referrer_url": []}, "referrer_url", None),
    ({"original_event_data": []}, "original_event_data", None),
    ({"opt_out": "maybe"}, "opt_out", None),
    ({"opt_out": 1}, "opt_out", None),
    ({"data_processing_options_country": "1"}, "data_processing_options_country", None),
    ({"data_processing_options_state": True}, "data_processing_options_state", None),
    ({"customer_segmentation": 7}, "customer_segmentation", None),
    ({"advanced_measurement_table": []}, "advanced_measurement_table", None),
    ({"data_processing_options": "LDU"}, "data_processing_options", None),
    ({"data_processing_options": [7]}, "data_processing_options", None),
    ({"advertiser_tracking_enabled": True}, "advertiser_tracking_enabled", 2804019),
    ({"x\ny": 1}, "x?y", 2804019),
    ({"action_source": "app"}, "app_data.extinfo", 2804043),
    ({"action_source": "app", "app_data": {"extinfo": ["a2"]}}, "app_data.extinfo", 2804043),
    ({"action_source": "app", "app_data": {"extinfo": [""] * 16}}, "app_data.extinfo[4]", 2804043),
    ({"action_source": "business_messaging"}, "messaging_channel", 2804063),
    ({"data_processing_options_country": "1"}, "data_processing_options_country", None),
    ({"data_processing_options_state": True}, "data_processing_options_state", None),
    ({"advanced_measurement_table": 7}, "advanced_measurement_table", None),
    ({"custom_data": {"a": [{"b": 2**63}]}}, "custom_data.a[0].b", None),
    ({"custom_data": {"a": float("nan")}}, "custom_data.a", None),
    ({"attribution_data": {"a": 2**63}}, "attribution_data.a", None),
    ({"app_data": {"a": [1e300]}}, "app_data.a[0]", None),
]


@pytest.mark.parametrize(("fields", "field", "subcode"), REFUSED)
def test_what_meta_would_refuse_is_refused_by_field_and_place(
    fields: dict[str, Any], field: str, subcode: int | None
) -> None:
    refusal = refusal_of(event(**fields), index=7)

    assert (refusal.field, refusal.index, refusal.subcode) == (field, 7, subcode)
    assert (refusal.status, refusal.code) == (400, 100)
    assert refusal.message.startswith(f"data[7].{field}: ")


@pytest.mark.parametrize("raw", [None, 7, "text", [], [event()]])
def test_an_event_is_an_object(raw: object) -> None:
    refusal = refusal_of(raw, index=3)

    assert refusal.message == "data[3]: An event must be a JSON object."
    assert (refusal.field, refusal.index) == (None, 3)


def test_the_documentation_names_every_subcode_and_every_field() -> None:
    page = (Path(payload.__file__).parents[1] / "docs/events-accepted.md").read_text()
    subcodes = {int(found) for found in re.findall(r"\b28040[0-9]{2}\b", page)}

    assert subcodes == {case[2] for case in REFUSED if case[2] is not None} | {2804016}
    for name in (*payload.EVENT_KEYS, *normalise.HASHED_KEYS, "ph", "external_id"):
        assert re.search(rf"[` ]{name}[` ]", page), name


def test_milliseconds_are_called_by_their_name() -> None:
    assert "milliseconds" in refusal_of(event(event_time=NOW * 1000)).message


@pytest.mark.parametrize(
    ("source", "days"),
    [("website", 7), ("email", 7), ("system_generated", 7), ("physical_store", 62)],
)
def test_the_age_limit_is_the_sources_and_exact(source: str, days: int) -> None:
    limit = NOW - days * DAY

    assert prepare(event(action_source=source, event_time=limit + 1)).expires_at == NOW + 1
    assert refusal_of(event(action_source=source, event_time=limit)).subcode == 2804003
    assert f"{days} days" in refusal_of(event(action_source=source, event_time=limit - 1)).message


def test_a_clock_may_be_a_minute_ahead() -> None:
    assert prepare(event(event_time=NOW + 60)).event_time == NOW + 60
    assert refusal_of(event(event_time=NOW + 61)).subcode == 2804004


@pytest.mark.parametrize(
    "person",
    [
        {},
        {"em": ""},
        {"client_user_agent": "Mozilla"},
        {"ct": "Berlin", "country": "de", "st": "be", "zp": "10115", "ge": "f", "client_user_agent": "M"},
        {"db": "19970216", "client_user_agent": "M"},
        {"fn": "mary", "ge": "f"},
        {"ln": "smith", "ge": "f"},
    ],
)
def test_too_little_to_match_a_person_is_refused(person: dict[str, str]) -> None:
    refusal = refusal_of(event(user_data=person))

    assert (refusal.subcode, refusal.field) == (2804050, "user_data")


@pytest.mark.parametrize(
    "person",
    [
        {"client_user_agent": "M", "client_ip_address": "203.0.113.7"},
        {"fn": "mary", "ln": "smith"},
        {"db": "19970216", "ge": "f"},
        {"external_id": "4711"},
        {"fbp": "fb.1.1790000000000.123"},
        {"lead_id": 525645896321548},
    ],
)
def test_enough_to_match_a_person_passes(person: dict[str, Any]) -> None:
    assert prepare(event(user_data=person)).notices == ()


def test_the_first_bad_event_refuses_the_request() -> None:
    data: list[object] = [event(), event(event_name=""), event(event_time=0)]

    with pytest.raises(Refusal) as refused:
        prepare_events(data, rules=RULES, now=NOW, make_id=lambda: "ph-made")

    assert (refused.value.index, refused.value.field) == (1, "event_name")


def test_a_refusal_repeats_nothing_personal() -> None:
    secret = "canary@example.com"
    for person in ({secret: 1}, {"em": {secret: 1}}, {"em": f"{secret}\0"}, {"em": [secret, {}]}):
        message = refusal_of(event(user_data=person | {"client_user_agent": "M"})).message
        # The name of an unknown key is repeated, or nobody could find it.
        assert secret not in message.replace(f"user_data.{secret}", "")


@pytest.mark.parametrize(("depth", "passes"), [(29, True), (31, False), (900, False)])
def test_nesting_has_a_limit(depth: int, passes: bool) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    raw = event(custom_data={"a": nested})

    if passes:
        assert sent(raw)["custom_data"]["a"] == nested
    else:
        assert "nested more than 32 deep" in refusal_of(raw).message


def test_many_shallow_lists_are_not_deep() -> None:
    raw = event(custom_data={"contents": [{"id": str(n)} for n in range(100)]})

    assert sent(raw) == raw


@pytest.mark.parametrize("text", ["\\u0000", "1e400", ":[1e5,9999999999999999999"])
def test_a_text_that_looks_like_something_bad_is_only_a_text(text: str) -> None:
    assert sent(event(custom_data={"a": text}))["custom_data"] == {"a": text}


def test_the_same_event_in_another_order_is_the_same() -> None:
    person = {
        "em": ["a@shop.example", "b@shop.example"],
        "external_id": ["1", "2"],
        "fbp": "fb.1.1790000000000.1",
    }
    raw = event(user_data=person, custom_data={"b": 1, "a": {"d": 1, "c": 2}})
    turned: dict[str, Any] = json.loads(json.dumps(raw))
    turned["user_data"] = {key: value[::-1] if key != "fbp" else value for key, value in person.items()}
    turned["custom_data"] = {"a": {"c": 2, "d": 1}, "b": 1}

    assert prepare(dict(reversed(turned.items()))) == prepare(raw)


@pytest.mark.parametrize(
    ("address", "is_odd"),
    [
        ("203.0.113.7", False),
        ("2001:db8::7", False),
        ("203.0.113.7.AQICAQMC", False),
        ("203.0.113.7, 10.0.0.1", True),
        ("unknown", True),
        ("203.0.113", True),
    ],
)
def test_an_address_is_sent_as_it_is_and_an_odd_one_noticed(address: str, is_odd: bool) -> None:
    prepared = prepare(event(user_data=PERSON | {"client_ip_address": address}))

    assert orjson.loads(prepared.fragment)["user_data"]["client_ip_address"] == address
    assert ("user_data.client_ip_address:odd_form" in prepared.notices) is is_odd


def test_the_order_of_an_events_things_is_kept() -> None:
    raw = event(custom_data={"content_ids": ["b", "a"], "contents": [{"id": "b"}, {"id": "a"}]})

    assert sent(raw) == raw


def test_the_keys_tell_repeats_from_clashes() -> None:
    first, other, renamed = (
        prepare(raw) for raw in (event(), event(custom_data={"a": 1}), event(event_name="Contact"))
    )

    assert prepare(event()) == first
    assert first.repeat_key == other.repeat_key != renamed.repeat_key
    assert first.content_key != other.content_key
    assert prepare(event(event_name="ab", event_id="c")).repeat_key != (
        prepare(event(event_name="a", event_id="bc")).repeat_key
    )


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(), max_size=5)
    | st.just("\0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.text(max_size=20)
PEOPLE = st.fixed_dictionaries(
    {},
    optional={
        key: WORDS | st.lists(WORDS, max_size=3) for key in (*normalise.HASHED_KEYS, "ph", "external_id")
    }
    | dict.fromkeys(sorted(payload.PLAIN_KEYS - {"lead_id", "fb_login_id"}), WORDS),
)
GOOD_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "event_name": st.sampled_from(["Contact", "Größe"]),
        "event_time": st.integers(NOW - 6 * DAY, NOW + 60),
        "event_id": WORDS | st.integers(),
        "action_source": st.sampled_from(["email", "website", "physical_store", "app", ""]),
        "app_data": st.fixed_dictionaries({"extinfo": st.lists(WORDS, min_size=16, max_size=16)}),
        "user_data": PEOPLE.map(lambda person: person | PERSON),
        "custom_data": st.fixed_dictionaries(
            {"currency": st.sampled_from(["EUR", "usd"])},
            optional={"value": st.floats(0, 100) | st.integers(0, 9).map(str), "own": TREES},
        ),
        "opt_out": st.booleans() | st.just("true"),
        "event_source_url": WORDS,
        "data_processing_options": st.just(["LDU"]),
    },
)
# What goes wrong in one place or another: any value under a key that is known, or under any other.
ODD_FIELDS = st.dictionaries(
    st.sampled_from(sorted(payload.EVENT_KEYS)) | st.text(max_size=5), TREES, max_size=1
)
RAW_EVENTS = st.builds(lambda good, odd: event() | good | odd, GOOD_FIELDS, st.just({}) | ODD_FIELDS)


@given(RAW_EVENTS, st.sampled_from([None, "DE", "US"]))
def test_any_event_is_prepared_or_refused(raw: dict[str, Any], country: str | None) -> None:
    rules = PixelRules("website", country)
    try:
        prepared = prepare(raw, index=4, rules=rules)
    except Refusal as refusal:
        _check_refusal(refusal)
        return

    found = orjson.loads(prepared.fragment)
    for key in ("ph", *normalise.HASHED_KEYS):
        for digest in found["user_data"].get(key, []):
            assert re.fullmatch(r"[0-9a-f]{64}(\.[A-Za-z0-9_-]{8})?", digest)
            assert digest != normalise.EMPTY_HASH
    # A fragment comes out as it went in, whatever the advertiser's country is.
    again = prepare(found, rules=PixelRules("email", "FR"))
    assert (again.fragment, again.repeat_key, again.content_key) == (
        prepared.fragment,
        prepared.repeat_key,
        prepared.content_key,
    )
    assert not [notice for notice in prepared.notices if notices.describe(notice) == notice]


@given(RAW_EVENTS)
def test_what_a_door_takes_the_stand_in_for_meta_takes(raw: dict[str, Any]) -> None:
    try:
        prepared = prepare(raw)
    except Refusal:
        return

    verdict = check_event(orjson.loads(prepared.fragment), 0, NOW)

    # An odd fbc is sent as it is, with a notice: Meta documents its form, and not that it refuses another.
    assert verdict is None or (verdict.subcode == 2804001 and "user_data.fbc:odd_form" in prepared.notices)


def _check_refusal(refusal: Refusal) -> None:
    assert refusal.message.startswith("data[4]")
    json.loads(refusal.envelope("A1"))


@given(st.lists(RAW_EVENTS, max_size=3) | st.just([None] * EVENTS_PER_REQUEST))
def test_a_request_is_taken_whole_or_refused_whole(data: list[object]) -> None:
    try:
        prepared = prepare_events(data, rules=RULES, now=NOW, make_id=lambda: "ph-made")
    except Refusal as refusal:
        place = refusal.index
        assert place is not None
        prepare_events(data[:place], rules=RULES, now=NOW, make_id=lambda: "ph-made")
        with pytest.raises(Refusal):
            prepare(data[place])
    else:
        assert len(prepared) == len(data)


def test_who_comes_again_in_a_request_is_prepared_as_one_who_comes_alone() -> None:
    people: list[dict[str, Any]] = [
        {"em": " Ada@Shop.example", "ph": "030 123456", "country": "DE", "fbp": "fb.1.1789990000000.12"},
        {"em": "ada@shop.example", "ph": "none", "country": "Germany", "external_id": ["7", "7", "8"]},
        {"em": ["ada@shop.example"], "ph": ["030 123456"], "fbp": "odd", "client_ip_address": "nowhere"},
        {"fn": "DE", "ct": "DE", "country": "DE", "external_id": "DE"},
    ]
    raws: list[object] = [event(user_data=person) for person in people + people[::-1]]

    together = prepare_events(raws, rules=RULES, now=NOW, make_id=str)

    assert together == [prepare(raw) for raw in raws]
    assert sum(len(one.notices) for one in together) == 2 * sum(len(one.notices) for one in together[:4]) > 0
