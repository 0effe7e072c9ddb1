"""Taking events in over a socket: each shape of body, the order of refusals, envelopes to the byte."""

from __future__ import annotations

import json
import re
import threading
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
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
    events_url,
    make_event,
    make_purchase,
    proof_of,
    send,
)
from tests.support.sandbox import SandboxClient, digest_of_fragment

TRACE_ID = re.compile(r"A[A-Za-z0-9_-]{22}")


def post(sandbox: SandboxClient, version: str = "v26.0", **arguments: Any) -> requests.Response:
    return requests.post(events_url(sandbox, version=version), timeout=CALL_SECONDS, **arguments)


def test_success_has_exactly_graphs_three_keys(sandbox: SandboxClient) -> None:
    response = send(sandbox, make_event(), make_event())

    assert response.status_code == 200
    trace_id = response.json()["fbtrace_id"]
    assert TRACE_ID.fullmatch(trace_id)
    assert response.content == f'{{"events_received":2,"messages":[],"fbtrace_id":"{trace_id}"}}'.encode()
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    assert response.headers["facebook-api-version"] == "v26.0"
    assert sandbox.account(PIXEL)["last_fbtrace_id"] == trace_id


def test_refusal_is_graphs_envelope_to_the_byte(sandbox: SandboxClient) -> None:
    response = send(sandbox, make_purchase(currency=None))

    trace_id = response.json()["error"]["fbtrace_id"]
    assert TRACE_ID.fullmatch(trace_id)
    assert response.content == (
        b'{"error":{"message":"Invalid parameter","type":"OAuthException","code":100,'
        b'"error_data":{"blame_field_specs":[["custom_data","currency"]]},"error_subcode":2804010,'
        b'"is_transient":false,"error_user_title":"Missing Currency for Purchase Event",'
        b'"error_user_msg":"Purchase events need a currency parameter.","fbtrace_id":"%s"}}'
        % trace_id.encode()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"json": lambda event: {"data": [event], "access_token": TOKEN}},
        {"json": lambda event: {"data": json.dumps([event]), "access_token": TOKEN}},
        {"data": lambda event: {"data": json.dumps([event]), "access_token": TOKEN}},
        {"data": lambda event: {"data": json.dumps([json.dumps(event)]), "access_token": TOKEN}},
        {"files": lambda event: {"data": (None, json.dumps([event])), "access_token": (None, TOKEN)}},
        {"params": lambda _: {"access_token": TOKEN}, "json": lambda event: {"data": [event]}},
        {"params": lambda _: {"access_token": TOKEN}, "data": lambda event: {"data": json.dumps([event])}},
        {"headers": lambda _: {"Authorization": f"Bearer {TOKEN}"}, "json": lambda event: {"data": [event]}},
    ],
    ids=["json", "json-text", "form", "form-of-texts", "multipart", "query-json", "query-form", "bearer"],
)
def test_every_way_to_say_it_is_understood(sandbox: SandboxClient, arguments: dict[str, Any]) -> None:
    event = make_event(custom_data={"名": "é"})

    response = post(sandbox, **{name: make(event) for name, make in arguments.items()})

    assert response.status_code == 200, response.text
    (stored,) = sandbox.stored(PIXEL)
    assert (stored.event_id, stored.digest) == (event["event_id"], digest_of_fragment(orjson.dumps(event)))
    (kept,) = sandbox.received_requests(PIXEL)
    assert TOKEN not in json.dumps(kept)
    assert kept["events"] == 1


@pytest.mark.parametrize("version", ["v21.0", "v26.0"])
def test_known_version_answers_under_its_own_name(sandbox: SandboxClient, version: str) -> None:
    response = post(sandbox, version, json={"data": [make_event()], "access_token": TOKEN})

    assert response.status_code == 200
    assert response.headers["facebook-api-version"] == version


@pytest.mark.parametrize(("version", "code"), [("v20.0", 2635), ("v27.0", 2500), ("v26.1", 2500)])
def test_other_version_is_an_envelope(sandbox: SandboxClient, version: str, code: int) -> None:
    response = post(sandbox, version, json={"data": [make_event()], "access_token": TOKEN})

    assert error_of(response) == (400, code, None)
    assert sandbox.account(PIXEL)["events"] == 0


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
def test_other_verb_is_an_envelope(sandbox: SandboxClient, verb: str) -> None:
    response = requests.request(
        verb, events_url(sandbox), params={"access_token": TOKEN}, timeout=CALL_SECONDS
    )

    assert error_of(response) == (400, 100, 33)
    assert response.json()["error"]["message"].startswith(
        f"Unsupported {verb.lower()} request. Object with ID"
    )


def test_token_is_judged_before_pixel_before_shape(sandbox: SandboxClient) -> None:
    bad_event = {"nonsense": 1}

    assert error_of(send(sandbox, bad_event, pixel_id=FOREIGN_PIXEL, access_token="EAAbad")) == (
        401,
        190,
        None,
    )
    assert error_of(send(sandbox, bad_event, pixel_id=FOREIGN_PIXEL)) == (400, 100, 33)
    assert error_of(send(sandbox, bad_event)) == (400, 100, 2804019)


def test_missing_token_is_104(sandbox: SandboxClient) -> None:
    assert error_of(send(sandbox, make_event(), access_token=None)) == (400, 104, None)


def test_foreign_and_missing_pixel_look_the_same(sandbox: SandboxClient) -> None:
    foreign = send(sandbox, make_event(), pixel_id=FOREIGN_PIXEL).json()["error"]
    missing = send(sandbox, make_event(), pixel_id="1000000000009").json()["error"]

    del foreign["fbtrace_id"], missing["fbtrace_id"]
    assert foreign["message"].replace(FOREIGN_PIXEL, "1000000000009") == missing.pop("message")
    assert {key: value for key, value in foreign.items() if key != "message"} == missing
    assert (missing["type"], missing["code"], missing["error_subcode"]) == ("GraphMethodException", 100, 33)


@pytest.mark.parametrize(
    ("state", "subcode"),
    [
        ("app_removed", 458),
        ("checkpoint", 459),
        ("password_changed", 460),
        ("expired", 463),
        ("unconfirmed", 464),
        ("revoked", 467),
        ("role_lost", 492),
    ],
)
def test_dead_token_says_how_it_died(sandbox: SandboxClient, state: str, subcode: int) -> None:
    sandbox.set_token_state(TOKEN, state)

    dead = send(sandbox, make_event())
    sandbox.set_token_state(TOKEN, "live")
    alive = send(sandbox, make_event())

    assert error_of(dead) == (401, 190, subcode)
    assert "invalid_token" in dead.headers["www-authenticate"]
    assert alive.status_code == 200


def test_token_expires_by_the_clock(sandbox: SandboxClient) -> None:
    sandbox.put_token(TOKEN, pixels=[PIXEL], app_id=APP_ID, expires_at=1_700_000_000)

    assert error_of(send(sandbox, make_event())) == (401, 190, 463)


def test_right_proof_passes_and_wrong_one_is_refused(sandbox: SandboxClient) -> None:
    right = send(sandbox, make_event(), appsecret_proof=proof_of(TOKEN, APP_SECRET))
    wrong = send(sandbox, make_event(), appsecret_proof=proof_of(TOKEN, "another"))

    assert right.status_code == 200
    assert error_of(wrong) == (400, 100, None)
    error = wrong.json()["error"]
    assert error["type"] == "GraphMethodException"
    assert error["message"] == "Invalid appsecret_proof provided in the API argument"


def test_proof_for_a_foreign_apps_token_is_refused(sandbox: SandboxClient) -> None:
    sandbox.put_token("EAAforeign", pixels=[PIXEL], app_id="555")

    without = send(sandbox, make_event(), access_token="EAAforeign")
    with_ours = send(
        sandbox, make_event(), access_token="EAAforeign", appsecret_proof=proof_of("EAAforeign", APP_SECRET)
    )

    assert without.status_code == 200
    assert error_of(with_ours) == (400, 100, None)


def test_app_that_wants_proof_gets_it(sandbox: SandboxClient) -> None:
    sandbox.put_app(APP_ID, secret=APP_SECRET, require_proof=True)

    without = send(sandbox, make_event())
    given = send(sandbox, make_event(), appsecret_proof=proof_of(TOKEN, APP_SECRET))

    assert error_of(without) == (400, 100, None)
    assert (
        without.json()["error"]["message"] == "API calls from the server require an appsecret_proof argument"
    )
    assert given.status_code == 200


@pytest.mark.parametrize("data", [None, [], "", "nonsense", {"event_name": "x"}, 7, ["nonsense"]])
def test_data_that_is_no_list_of_events_is_refused(sandbox: SandboxClient, data: Any) -> None:
    response = post(sandbox, json={"access_token": TOKEN} | ({} if data is None else {"data": data}))

    assert error_of(response)[:2] == (400, 100)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data":[{"x":1}],"access_token":"%s"' % TOKEN.encode(), "application/json"),
        (b"[]", "application/json"),
        (b'{"data":[NaN]}', "application/json"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x"),
        (b"--x", "multipart/form-data"),
    ],
)
def test_unreadable_body_is_refused_and_not_kept(sandbox: SandboxClient, body: bytes, kind: str) -> None:
    response = post(sandbox, data=body, headers={"Content-Type": kind}, params={"access_token": TOKEN})

    assert error_of(response)[:2] == (400, 100)
    assert TOKEN not in json.dumps(sandbox.received_requests())


def test_secrets_are_masked_wherever_they_stand(sandbox: SandboxClient) -> None:
    proof = proof_of(TOKEN, APP_SECRET)
    secrets = {"access_token": TOKEN, "appsecret_proof": proof}
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": "session=canary", "X-Echo": TOKEN}

    post(sandbox, params=secrets, json={"data": [make_event()]} | secrets, headers=headers)
    post(sandbox, params=secrets, data={"data": json.dumps([make_event()])} | secrets, headers=headers)

    kept = json.dumps(sandbox.received_requests())
    assert len(sandbox.received_requests()) == 2
    for secret in (TOKEN, quote_plus(TOKEN), quote(TOKEN), proof, "canary"):
        assert secret not in kept


def test_a_thousand_pass_and_one_more_is_refused(sandbox: SandboxClient) -> None:
    events = [make_event() for _ in range(1001)]

    assert error_of(send(sandbox, *events)) == (400, 100, None)
    assert sandbox.account(PIXEL)["events"] == 0
    assert send(sandbox, *events[:1000]).json()["events_received"] == 1000


def test_one_bad_event_refuses_all_and_stores_nothing(sandbox: SandboxClient) -> None:
    events = [make_event() for _ in range(100)]
    events[99]["user_data"] = {"em": "john_smith@gmail.com"}

    assert error_of(send(sandbox, *events)) == (400, 100, 2804016)
    account = sandbox.account(PIXEL)
    assert (account["events"], account["requests"], account["distinct"]) == (0, 0, 0)
    assert account["refused"] == {"100/2804016": 1}
    assert sandbox.stored(PIXEL) == []


def test_first_fault_in_the_order_of_events_is_told(sandbox: SandboxClient) -> None:
    old, unhashed = make_event(event_time=1579645238), make_event(user_data={"ph": "16505551212"})

    assert error_of(send(sandbox, make_event(), old, unhashed)) == (400, 100, 2804003)
    assert error_of(send(sandbox, make_event(), unhashed, old)) == (400, 100, 2804016)


def test_account_tells_what_came(sandbox: SandboxClient) -> None:
    send(sandbox, make_event(), make_purchase(), partner_agent="datapartner")
    send(sandbox, make_event(), partner_agent="datapartner", test_event_code="TEST123")

    account = sandbox.account(PIXEL)
    assert (account["requests"], account["events"], account["distinct"]) == (2, 3, 3)
    assert account["batch_sizes"] == {"1": 1, "2": 1}
    assert account["agents"] == {"datapartner": 3}
    assert account["event_names"] == {"PageView": 2, "Purchase": 1}
    assert account["test_event_codes"] == {"TEST123": 1}
    assert [event.test_event_code for event in sandbox.stored(PIXEL)] == [None, None, "TEST123"]
    assert sandbox.account(FOREIGN_PIXEL)["events"] == 0


def test_server_repeats_and_browser_twins_are_counted_apart(sandbox: SandboxClient) -> None:
    event = make_event()
    sandbox.browser_event(PIXEL, "PageView", event["event_id"])

    send(sandbox, event)
    send(sandbox, event | {"custom_data": {"note": "other"}})

    account = sandbox.account(PIXEL)
    assert (account["browser_events"], account["browser_deduplicated"], account["server_repeats"]) == (
        1,
        1,
        1,
    )
    (repeat,) = sandbox.repeats(PIXEL)
    assert (repeat["event_id"], repeat["copies"]) == (event["event_id"], 2)
    assert repeat["digests"][0] == digest_of_fragment(orjson.dumps(event))
    assert repeat["digests"][1] != repeat["digests"][0]


def test_usage_headers_are_json_in_a_string_and_missing_now_and_then(sandbox: SandboxClient) -> None:
    answers = [send(sandbox, make_event()) for _ in range(20)]

    with_usage = [answer for answer in answers if "x-business-use-case-usage" in answer.headers]
    assert len(with_usage) == 18
    usage = json.loads(with_usage[0].headers["x-business-use-case-usage"])
    assert usage["8001"][0]["estimated_time_to_regain_access"] == 0
    assert json.loads(with_usage[0].headers["x-app-usage"])["call_count"] == 1


def test_concurrent_requests_are_all_counted(sandbox: SandboxClient) -> None:
    batches = [[make_event() for _ in range(50)] for _ in range(40)]
    statuses: list[int] = []

    def work(mine: list[list[dict[str, Any]]]) -> None:
        statuses.extend(send(sandbox, *batch).status_code for batch in mine)

    threads = [threading.Thread(target=work, args=(batches[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 40
    assert {event.event_id for event in sandbox.stored(PIXEL)} == {
        event["event_id"] for batch in batches for event in batch
    }
    assert sandbox.account(PIXEL)["server_repeats"] == 0
