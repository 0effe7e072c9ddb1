"""Failures on demand: each does what it says to the client, and to the store."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests

from tests.sandbox.cast import (
    CALL_SECONDS,
    FOREIGN_PIXEL,
    PIXEL,
    TOKEN,
    error_of,
    events_url,
    make_event,
    send,
)
from tests.support.sandbox import SandboxClient, SandboxError


def impatient(sandbox: SandboxClient, event: dict[str, Any]) -> requests.Response:
    body = {"data": [event], "access_token": TOKEN}
    return requests.post(events_url(sandbox), json=body, timeout=0.3)


def stored_ids(sandbox: SandboxClient) -> list[str | None]:
    return [event.event_id for event in sandbox.stored(PIXEL)]


@pytest.mark.parametrize("store", [False, True])
def test_timeout_before_and_after_storing(sandbox: SandboxClient, store: bool) -> None:
    sandbox.add_knob("timeout", count=1, store=store)
    event = make_event()

    with pytest.raises(requests.ReadTimeout):
        impatient(sandbox, event)

    assert stored_ids(sandbox) == ([event["event_id"]] if store else [])
    assert sandbox.account(PIXEL)["injected"] == {"timeout": 1}
    assert send(sandbox, event).status_code == 200


@pytest.mark.parametrize("store", [False, True])
def test_cut_before_and_after_storing(sandbox: SandboxClient, store: bool) -> None:
    sandbox.add_knob("cut", count=1, store=store)
    event = make_event()

    with pytest.raises(requests.ConnectionError):
        send(sandbox, event)

    assert stored_ids(sandbox) == ([event["event_id"]] if store else [])


@pytest.mark.parametrize("store", [False, True])
def test_bad_gateway_before_and_after_storing(sandbox: SandboxClient, store: bool) -> None:
    sandbox.add_knob("html", count=1, store=store)
    event = make_event()

    response = send(sandbox, event)

    assert (response.status_code, response.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert stored_ids(sandbox) == ([event["event_id"]] if store else [])


def test_service_unavailable_comes_with_200(sandbox: SandboxClient) -> None:
    sandbox.add_knob("text", count=1)

    response = send(sandbox, make_event())

    assert (response.status_code, response.content) == (200, b"Service Unavailable")


def test_held_connection_ends_by_itself(sandbox: SandboxClient) -> None:
    sandbox.add_knob("timeout", count=1, hold_ms=100)

    with pytest.raises(requests.ConnectionError):
        send(sandbox, make_event())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"code": 1}, (400, 1, None)),
        ({"code": 2, "status": 503}, (503, 2, None)),
        ({"code": 4, "subcode": 1504022}, (400, 4, 1504022)),
        ({"code": 17}, (400, 17, None)),
        ({"code": 613, "subcode": 1487742}, (400, 613, 1487742)),
        ({"code": 80004, "subcode": 2446079}, (400, 80004, 2446079)),
        ({"code": 190, "subcode": 460}, (401, 190, 460)),
        ({"code": 190, "subcode": 460, "status": 500}, (500, 190, 460)),
        ({"code": 10}, (400, 10, None)),
        ({"code": 368}, (400, 368, None)),
        ({"code": 99999}, (400, 99999, None)),
    ],
)
def test_any_error_can_be_ordered(
    sandbox: SandboxClient, options: dict[str, Any], expected: tuple[int, int, int | None]
) -> None:
    sandbox.add_knob("error", count=1, **options)

    response = send(sandbox, make_event())

    assert error_of(response) == expected
    assert response.json()["error"]["fbtrace_id"].startswith("A")
    assert sandbox.account(PIXEL)["events"] == 0


def test_error_carries_usage_and_retry_after(sandbox: SandboxClient) -> None:
    sandbox.add_knob(
        "error", code=80004, count=1, regain_minutes=19, retry_after_s=7, headers={"X-Odd": "yes"}
    )

    headers = send(sandbox, make_event()).headers

    usage = json.loads(headers["x-business-use-case-usage"])["8001"][0]
    assert (usage["estimated_time_to_regain_access"], usage["call_count"]) == (19, 100)
    assert (headers["retry-after"], headers["x-odd"]) == ("7", "yes")


def test_error_can_be_localised_with_its_data_as_text(sandbox: SandboxClient) -> None:
    data = json.dumps({"blame_field_specs": [["custom_data", "currency"]]})
    sandbox.add_knob(
        "error",
        count=1,
        code=100,
        subcode=2804010,
        message="Paramètre erroné",
        title="Devise manquante",
        user_message="Indiquez une devise.",
        error_data=data,
    )

    error = send(sandbox, make_event()).json()["error"]

    assert error["message"] == "Paramètre erroné"
    assert (error["error_user_title"], error["error_user_msg"]) == (
        "Devise manquante",
        "Indiquez une devise.",
    )
    assert error["error_data"] == data


def test_usage_rides_on_an_ordinary_answer(sandbox: SandboxClient) -> None:
    sandbox.add_knob("usage", count=1, call_count=85)

    response = send(sandbox, make_event())

    assert response.status_code == 200
    assert json.loads(response.headers["x-business-use-case-usage"])["8001"][0]["call_count"] == 85


@pytest.mark.parametrize("received", [0, 5, "many", None])
def test_events_received_can_lie(sandbox: SandboxClient, received: Any) -> None:
    sandbox.add_knob("received", count=1, events_received=received)

    response = send(sandbox, make_event())

    assert response.status_code == 200
    assert response.json().get("events_received") == received
    assert ("events_received" in response.json()) is (received is not None)
    assert sandbox.account(PIXEL)["events"] == 1


def test_huge_answer_is_over_a_megabyte(sandbox: SandboxClient) -> None:
    sandbox.add_knob("huge", count=1)

    assert len(send(sandbox, make_event()).content) > 2 * 1024 * 1024


def test_dripping_answer_takes_its_time_and_starves_nobody(sandbox: SandboxClient) -> None:
    sandbox.add_knob("drip", count=1, interval_ms=5)
    started = time.monotonic()

    with requests.post(
        events_url(sandbox),
        json={"data": [make_event()], "access_token": TOKEN},
        timeout=CALL_SECONDS,
        stream=True,
    ) as dripping:
        assert send(sandbox, make_event()).status_code == 200
        between = time.monotonic() - started
        answer = dripping.json()

    assert answer["events_received"] == 1
    assert between < time.monotonic() - started
    assert time.monotonic() - started > 0.3


def test_latency_delays_and_stores(sandbox: SandboxClient) -> None:
    sandbox.add_knob("latency", pixel_id=PIXEL, latency_ms=150)
    started = time.monotonic()

    response = send(sandbox, make_event())

    assert response.status_code == 200
    assert time.monotonic() - started >= 0.15


def test_knob_is_for_its_pixel_and_its_count(sandbox: SandboxClient) -> None:
    sandbox.set_token_pixels(TOKEN, [PIXEL, FOREIGN_PIXEL])
    sandbox.add_knob("error", pixel_id=PIXEL, code=2, count=2)

    foreign = send(sandbox, make_event(), pixel_id=FOREIGN_PIXEL)
    statuses = [send(sandbox, make_event()).status_code for _ in range(3)]

    assert foreign.status_code == 200
    assert statuses == [400, 400, 200]
    assert sandbox.knobs() == []


def test_knob_without_count_stays_until_it_is_taken_away(sandbox: SandboxClient) -> None:
    knob_id = sandbox.add_knob("error", code=2)
    assert [send(sandbox, make_event()).status_code for _ in range(3)] == [400] * 3

    sandbox.remove_knob(knob_id)

    assert send(sandbox, make_event()).status_code == 200
    with pytest.raises(SandboxError, match="no such knob"):
        sandbox.remove_knob(knob_id)


def test_probability_picks_some(sandbox: SandboxClient) -> None:
    sandbox.add_knob("error", code=2, probability=0.5)

    refused = sum(send(sandbox, make_event()).status_code == 400 for _ in range(200))

    # Outside 60 to 140 of 200 lies one run in some hundred million.
    assert 60 <= refused <= 140


def test_knob_can_wait_for_one_event(sandbox: SandboxClient) -> None:
    poison = make_event(event_id="poison")
    sandbox.add_knob("error", code=100, subcode=2804087, event_ids=["poison"])

    assert send(sandbox, make_event(), make_event()).status_code == 200
    assert error_of(send(sandbox, make_event(), poison)) == (400, 100, 2804087)
    assert "poison" not in stored_ids(sandbox)


def test_knob_that_stores_leaves_a_refused_request_alone(sandbox: SandboxClient) -> None:
    sandbox.add_knob("timeout", count=1, store=True)

    assert error_of(send(sandbox, make_event(event_time=1))) == (400, 100, 2804003)
    assert len(sandbox.knobs()) == 1


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("nonsense", {}, "kind must be one of"),
        ("error", {"cod": 2}, "A knob has no cod"),
        ("error", {"code": "2"}, "code must be int"),
        ("error", {"count": True}, "count must be int"),
        ("error", {"headers": {"a": 1}}, "headers must be an object of texts"),
        ("error", {"event_ids": "x"}, "event_ids must be a list of texts"),
        ("error", {"endpoint": "x"}, "endpoint must be one of"),
        ("error", {"count": 0}, "count must be at least 1"),
    ],
)
def test_bad_knob_is_refused_with_a_sentence(
    sandbox: SandboxClient, kind: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SandboxError, match=says):
        sandbox.add_knob(kind, **options)
