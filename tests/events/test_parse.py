"""A request's bytes: every form that clients send, and every one that is refused, with the place named."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import Request

from events import parse
from events.collector.body import BODY_BYTES
from events.parse import open_request, parse_submission, read_submission
from events.refusals import Refusal

EVENTS: list[Any] = [{"event_name": "Lead", "n": 1}, {"event_name": "Größe", "n": 2}]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PART = b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n'


def refusal_of(
    body: bytes, content_type: str = JSON, query: bytes = b"", authorization: str | None = None
) -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse_submission(body, content_type, query, authorization)
    return refused.value


def body_with(event: str) -> bytes:
    return b'{"access_token":"t","data":[{"event_name":"Lead"},' + event.encode() + b"]}"


def multipart(fields: dict[str, str]) -> tuple[bytes, str]:
    prepared = Request(
        "POST", "http://x", files={key: (None, value) for key, value in fields.items()}
    ).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.body, prepared.headers["Content-Type"]


def test_json_with_the_token_in_it() -> None:
    submission = parse_submission(
        orjson.dumps({"access_token": "pht_1", "data": EVENTS, "appsecret_proof": "x"}), JSON, b"", None
    )

    assert submission.access_token == "pht_1"
    assert submission.data == EVENTS
    assert submission.notices == ()


def test_the_python_sdk_sends_a_form_of_json_texts_and_the_token_in_the_query() -> None:
    body = urlencode({"data": json.dumps([json.dumps(event) for event in EVENTS]), "partner_agent": "shop"})

    submission = parse_submission(body.encode(), FORM, b"access_token=pht_1&appsecret_proof=aa", None)

    assert submission.access_token == "pht_1"
    assert submission.data == EVENTS
    assert submission.notices == ("partner_agent:replaced",)


def test_the_php_sdk_sends_a_form_with_all_in_the_body() -> None:
    body = urlencode({"data": json.dumps(EVENTS), "access_token": "pht_1", "appsecret_proof": "aa"})

    assert parse_submission(body.encode(), FORM, b"", None).data == EVENTS


def test_the_node_sdk_sends_the_token_twice() -> None:
    body = orjson.dumps({"data": EVENTS, "access_token": "pht_1"})

    submission = parse_submission(body, "application/json; charset=utf-8", b"access_token=pht_1", None)

    assert submission.access_token == "pht_1"
    assert submission.data == EVENTS


def test_the_guides_curl_sends_multipart() -> None:
    body, content_type = multipart({"data": json.dumps(EVENTS), "access_token": "pht_1"})

    submission = parse_submission(body, content_type, b"", None)

    assert submission.access_token == "pht_1"
    assert submission.data == EVENTS


@pytest.mark.parametrize("header", ["Bearer pht_1", "bearer  pht_1 "])
def test_the_token_may_come_in_the_header(header: str) -> None:
    assert parse_submission(orjson.dumps({"data": EVENTS}), JSON, b"", header).access_token == "pht_1"


@pytest.mark.parametrize("token", [None, "", 7, ["pht_1"], {"a": 1}, True])
def test_what_is_no_text_is_no_token(token: object) -> None:
    body = orjson.dumps({"data": EVENTS, "access_token": token})

    assert parse_submission(body, JSON, b"", None).access_token is None
    assert parse_submission(body, JSON, b"access_token=pht_1", None).access_token == "pht_1"


def test_two_tokens_are_refused_and_not_repeated() -> None:
    refusal = refusal_of(orjson.dumps({"data": EVENTS, "access_token": "pht_1"}), JSON, b"", "Bearer pht_2")

    assert refusal.field == "access_token"
    assert "pht" not in refusal.message


def test_the_token_is_known_before_the_events_are_looked_at() -> None:
    opened = open_request(b'{"access_token":"pht_1","data":"{broken"}', JSON, b"", None)

    assert opened.access_token == "pht_1"
    with pytest.raises(Refusal, match=r"^data: This is not valid JSON"):
        read_submission(opened)


@pytest.mark.parametrize("content_type", ["", JSON, "text/plain;charset=UTF-8", "application/vnd.shop+json"])
def test_json_goes_by_several_names(content_type: str) -> None:
    assert parse_submission(orjson.dumps({"data": EVENTS}), content_type, b"", None).data == EVENTS


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", "image/png", "application/gzip"])
def test_another_content_type_is_415(content_type: str) -> None:
    assert refusal_of(b"{}", content_type).status == 415


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "x" * 300, "utf-7"])
def test_another_charset_is_415(charset: str) -> None:
    refusal = refusal_of(b"{}", f"application/json; charset={charset}")

    assert refusal.status == 415
    assert len(refusal.message) < 200


def test_a_byte_order_mark_is_taken_off() -> None:
    assert parse_submission(b"\xef\xbb\xbf" + orjson.dumps({"data": EVENTS}), JSON, b"", None).data == EVENTS


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    assert parse_submission(b'{"data":[1],"data":[{"a":1,"a":2}]}', JSON, b"", None).data == [{"a": 2}]


@pytest.mark.parametrize(
    ("body", "content_type", "query", "field"),
    [
        (b"data=[1]&data=[2]", FORM, b"", "data"),
        (b"data=[1]&access_token=a&access_token=b", FORM, b"", "access_token"),
        (b"data=[1]", FORM, b"access_token=a&access_token=b", "access_token"),
        (b"data=[1]", FORM, b"data=[1]", "data"),
        (b"data=[1]", FORM, b"data=[2]", "data"),
        (
            PART + b"[1]\r\n" + PART + b"[2]\r\n--b--",
            "multipart/form-data; boundary=b",
            b"",
            "data",
        ),
    ],
)
def test_of_a_field_that_stands_twice_nothing_is_lost(
    body: bytes, content_type: str, query: bytes, field: str
) -> None:
    assert refusal_of(body, content_type, query).field == field


def test_the_same_field_twice_is_one() -> None:
    submission = parse_submission(b"data=[1]&data=[1]&access_token=a", FORM, b"access_token=a", None)

    assert (submission.access_token, submission.data) == ("a", [1])


def test_a_parameter_of_nobodys_is_ignored() -> None:
    assert parse_submission(b"data=[1]&trace=7&pretty=1", FORM, b"debug=all", None).data == [1]


@pytest.mark.parametrize(
    ("event", "field", "words"),
    [
        ('{"custom_data":{"value":NaN}}', "data[1].custom_data.value", "no finite number"),
        ('{"custom_data":{"value":-Infinity}}', "data[1].custom_data.value", "no finite number"),
        ('{"custom_data":{"value":1e400}}', "data[1].custom_data.value", "no finite number"),
        ('{"user_data":{"em":["a","\\ud800"]}}', "data[1].user_data.em[1]", "lone surrogate"),
        ('{"event_id":"\\udc00"}', "data[1].event_id", "lone surrogate"),
        ('{"a":{"\\ud800":1}}', "data[1].a (a key)", "lone surrogate"),
        ('{"a":NaN,"b":"\\ud800"}', "data[1].a", "no finite number"),
    ],
)
def test_a_value_that_json_does_not_allow_is_named_with_its_place(event: str, field: str, words: str) -> None:
    refusal = refusal_of(body_with(event))

    assert refusal.field == field
    assert words in refusal.message
    assert refusal.message.startswith(f"{field}: ")


def test_in_the_sdks_form_the_place_is_the_same() -> None:
    body = urlencode({"data": json.dumps(['{"a":1}', '{"custom_data":{"value":NaN}}'])}).encode()

    refusal = refusal_of(body, FORM)

    assert refusal.field == "data[1].custom_data.value"
    blamed = json.loads(refusal.envelope("A1"))["error"]["error_data"]["blame_field_specs"]
    assert blamed == [["data", 1, "custom_data", "value"]]


def test_a_field_of_a_form_is_named_too() -> None:
    refusal = refusal_of(urlencode({"data": '[{"a":NaN}]'}).encode(), FORM)

    assert refusal.field == "data[0].a"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "line 1, column 2"),
        (b'{"data":[}', "line 1, column 10"),
        (b"{'data':[]}", "not valid JSON"),
        (b'{"data":[\n{"a":"' + b"\xff" + b'"}]}', "not UTF-8, at byte 16"),
        (b'{"data":[{"a":"\x00"}]}', "not valid JSON"),
        (b'{"data":[1]}{"data":[2]}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"data":' + b"[" * 2000 + b"]" * 2000 + b"}", "not valid JSON"),
        (orjson.dumps({"data": EVENTS}).decode().encode("utf-16"), "not UTF-8, at byte 0"),
    ],
)
def test_malformed_json_is_refused_with_its_place(body: bytes, words: str) -> None:
    refusal = refusal_of(body)

    assert words in refusal.message
    assert (refusal.status, refusal.code) == (400, 100)


def test_among_a_thousand_events_the_place_is_named() -> None:
    events = [{"event_name": "Lead", "user_data": {"client_user_agent": "é" * 500}}] * 999
    body = json.dumps({"data": [*events, {"custom_data": {"value": float("nan")}}]}, ensure_ascii=False)

    assert refusal_of(body.encode()).field == "data[999].custom_data.value"


def test_a_large_broken_body_is_refused_by_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "DIAGNOSED_BYTES", 10)

    assert "lone surrogate" in refusal_of(body_with('{"a":"\\ud800"}')).message
    assert "column" in refusal_of(body_with('{"a":NaN}')).message


def test_one_long_key_is_not_copied_for_each_value() -> None:
    body = b'{"' + b"k" * 120_000 + b'":[' + b"0," * 60_000 + b"NaN]}"
    begun = time.process_time()

    refusal = refusal_of(body)

    assert refusal.field is not None
    assert len(refusal.field) <= parse.PATH_CHARACTERS
    # Copied, it would be seven gigabytes; a whole second is far from both.
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "missing"),
        ("", "missing"),
        ([], "no event"),
        ({}, "a list"),
        (7, "a list"),
        ("7", "a list"),
        ([{}] * 1001, "1001 events; 1000 are the most"),
    ],
)
def test_data_is_a_list_of_one_to_a_thousand_events(data: object, words: str) -> None:
    refusal = refusal_of(orjson.dumps({"data": data}))

    assert refusal.field == "data"
    assert words in refusal.message


def test_a_thousand_events_pass() -> None:
    assert len(parse_submission(orjson.dumps({"data": [{}] * 1000}), JSON, b"", None).data) == 1000


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b'"text"'])
def test_a_body_is_an_object(body: bytes) -> None:
    assert "JSON object" in refusal_of(body).message


@pytest.mark.parametrize(
    "name", ["test_event_code", "upload_id", "upload_tag", "upload_source", "namespace_id"]
)
def test_what_is_not_passed_on_is_refused_by_name(name: str) -> None:
    assert refusal_of(orjson.dumps({"data": EVENTS, name: "x"})).field == name


def test_piles_of_keys_and_of_values_are_refused_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orjson, "loads", None)

    assert "150000 keys" in refusal_of(b'{"a":0,' * 150_001).message
    assert "400000 values" in refusal_of(b"[" + b"0," * 400_001).message
    assert "150000 objects and lists" in refusal_of(b"[" * 100_000 + b"{" * 50_001).message


def test_a_form_has_few_fields() -> None:
    assert "64 fields" in refusal_of(b"&".join(b"f%d=1" % n for n in range(65)), FORM).message


@pytest.mark.parametrize("form", [b"data=%ff", b"data=%ed%a0%80", "data=ü".encode()])
def test_a_form_is_encoded_utf8(form: bytes) -> None:
    assert "not UTF-8" in refusal_of(form, FORM).message
    assert "The query is not UTF-8" in refusal_of(b"{}", JSON, form).message


@pytest.mark.parametrize(
    "form", [b"%", b"%2", b"%zz", b"%%41", b"%=", b"a%\n", b"%\r\n", b"%u0041", b"100%25%"]
)
def test_a_percent_sign_that_is_no_escape_is_refused(form: bytes) -> None:
    assert "no escape" in refusal_of(b"data=" + form, FORM).message
    assert "no escape" in refusal_of(form, FORM).message
    assert "The query holds a %" in refusal_of(b"{}", JSON, b"data=" + form).message


@given(
    st.text(alphabet=st.characters() | st.sampled_from("%=+&\r\n ")), st.text(alphabet="%=+ \n", max_size=3)
)
def test_a_form_is_decoded_as_the_standard_library_does(text: str, raw: str) -> None:
    # `quote` leaves `raw`'s signs alone where they are its safe ones: `=`, `+` and a line's end stand bare, too.
    try:
        form = quote(text + raw.replace("%", ""), safe="=+\n ")
    except UnicodeEncodeError:
        return

    assert parse._unquoted(form.encode(), "body") == unquote_plus(form)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"data=" + b"%22" * (BODY_BYTES // 3 - 2), FORM),
        (b'{"data":[' + b",".join([b"[" * 500 + b"]" * 500] * 8000) + b"]}", JSON),
        (b"--b\r\n" + b"a: b\r\n" * 1_300_000 + b"\r\n\r\n\r\n--b--", "multipart/form-data; boundary=b"),
        (b"&" * BODY_BYTES, FORM),
        (b'{"data":[' + b"{}," * 2_700_000 + b"0]}", JSON),
    ],
)
def test_a_body_made_to_cost_much_costs_little(body: bytes, content_type: str) -> None:
    assert len(body) <= BODY_BYTES
    begun = time.process_time()

    with suppress(Refusal):
        open_request(body, content_type, b"", None)

    # Measured 1 to 40 ms; unguarded 0.3 to 1.2 s.
    assert time.process_time() - begun < 0.2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "incomplete"),
        (b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n[1]', "incomplete"),
        (b"junk\r\n--b--", "incomplete"),
        (b"--b\r\n\r\n[1]\r\n--b--", "no name"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n[1]\r\n--b--", "no name"),
        (b'--b\r\nContent-Disposition: form-data; name="data"\r\n[1]\r\n--b--', "no name"),
        (b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n\xff\r\n--b--', "not UTF-8"),
        (b"\r\n--b" * 80 + b"\r\n--b--", "64 fields"),
        (b"--b\r\n" + b"a: b\r\n" * 1000 + b"\r\n\r\n[1]\r\n--b--", "too long"),
    ],
)
def test_a_multipart_body_is_whole_and_named(body: bytes, words: str) -> None:
    assert words in refusal_of(body, "multipart/form-data; boundary=b").message


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 71}", '; boundary="ü"'])
def test_a_multipart_body_needs_a_boundary(boundary: str) -> None:
    assert "boundary" in refusal_of(b"--b--", f"multipart/form-data{boundary}").message


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(), TREES), min_size=1, max_size=5))
def test_every_form_gives_the_same_events(events: list[Any]) -> None:
    try:
        body = orjson.dumps({"data": events})
    except (orjson.JSONEncodeError, TypeError):
        return
    text = orjson.dumps(events).decode()
    want = orjson.loads(text)

    assert parse_submission(body, JSON, b"", None).data == want
    assert parse_submission(urlencode({"data": text}).encode(), FORM, b"", None).data == want
    texts = json.dumps([orjson.dumps(event).decode() for event in events])
    assert parse_submission(b"data=" + quote(texts).encode(), FORM, b"", None).data == want
    if "\r\n--" not in text:
        assert parse_submission(*multipart({"data": text}), b"", None).data == want


@given(
    st.binary(max_size=400) | st.text(max_size=200).map(str.encode),
    st.sampled_from([JSON, FORM, "multipart/form-data; boundary=b", "text/plain"]) | st.text(max_size=40),
    st.binary(max_size=40),
    st.none() | st.text(max_size=40),
)
def test_no_request_raises_anything_but_a_refusal(
    body: bytes, content_type: str, query: bytes, authorization: str | None
) -> None:
    with suppress(Refusal):
        parse_submission(body, content_type, query, authorization)


@given(
    st.recursive(
        st.just(float("nan")) | st.just("\ud800"),
        lambda inner: st.lists(inner | TREES, max_size=3),
        max_leaves=4,
    )
)
def test_what_is_guilty_is_found_in_any_tree(tree: Any) -> None:
    text = json.dumps({"data": [tree]}).encode()
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        assert "data[0]" in refusal_of(text).message
