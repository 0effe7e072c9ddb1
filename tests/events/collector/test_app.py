"""The door over HTTP: what official SDKs send is taken in, and what is wrong is refused as Graph does."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import time
from typing import Any
from urllib.parse import urlencode

import orjson
import psycopg
import pytest
import requests
from django.core.management import call_command
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event as SdkEvent
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession
from psycopg import sql

from events.collector.__main__ import DELIVER
from events.models import Event, HourlyCount, PixelLog, Rejection
from onboarding.services import DELIVER as TASK
from partnerhub.lib.config import config
from tests.events.collector.conftest import Client, make_event
from tests.support.collector import CollectorProcess
from tests.support.factories import ConnectedPixel, make_connected_pixel

JOHN = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"


def logged(target: ConnectedPixel) -> list[dict[str, Any]]:
    """The events of the pixel's log as they will be sent, in order."""
    rows = Event.objects.filter(pixel_id=target.pixel.pk).order_by("log_offset")
    return [orjson.loads(bytes(row.payload)) for row in rows]


def nothing_is_logged(target: ConnectedPixel) -> bool:
    """Whether the refused request left nothing behind."""
    return (
        logged(target) == []
        and PixelLog.objects.get(pixel=target.pixel).head == 0
        and not HourlyCount.objects.filter(pixel=target.pixel).exists()
    )


def error_of(response: requests.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert error["fbtrace_id"].startswith("A")
    return dict(error)


def test_an_event_is_stored_as_it_will_be_sent(client_of: Client, target: ConnectedPixel) -> None:
    event = make_event("order-7781")

    response = client_of.send(event)

    assert response.status_code == 200
    assert set(response.json()) == {"events_received", "messages", "fbtrace_id"}
    assert (response.json()["events_received"], response.json()["messages"]) == (1, [])
    assert logged(target) == [event | {"user_data": {"em": [JOHN], "client_user_agent": "Mozilla/5.0"}}]
    row = Event.objects.get(pixel_id=target.pixel.pk)
    assert (row.advertiser_id, row.log_offset, row.origin) == (target.pixel.advertiser_id, 0, 1)
    assert (row.event_name, row.event_id) == ("Purchase", "order-7781")
    assert row.expires_at.timestamp() == event["event_time"] + 7 * 86_400


def test_the_log_is_awake_and_counted(client_of: Client, target: ConnectedPixel) -> None:
    client_of.send(make_event(), make_event(event_name="Lead"))
    client_of.send(make_event())

    log = PixelLog.objects.get(pixel=target.pixel)
    rows = list(Event.objects.filter(pixel_id=target.pixel.pk).order_by("log_offset"))
    assert (log.head, log.tail, log.awake) == (3, 0, True)
    assert (log.tail_received_at, log.head_received_at) == (rows[0].received_at, rows[2].received_at)
    assert rows[0].received_at == rows[1].received_at < rows[2].received_at
    counts = HourlyCount.objects.filter(pixel=target.pixel).order_by("event_name")
    assert list(counts.values_list("event_name", "taken", "repeated")) == [("Lead", 1, 0), ("Purchase", 2, 0)]


def test_the_official_sdk_is_understood(door: CollectorProcess, target: ConnectedPixel) -> None:
    api = FacebookAdsApi(FacebookSession(access_token=target.ingest_token))
    FacebookSession.GRAPH = door.base_url
    FacebookAdsApi.set_default_api(api)
    now = int(time.time())

    answer = EventRequest(
        pixel_id=target.pixel.meta_id,
        access_token=target.ingest_token,
        events=[
            SdkEvent(
                event_name="Purchase",
                event_time=now,
                event_id=f"sdk-{number}",
                action_source=ActionSource.WEBSITE,
                event_source_url="https://shop.example/thanks",
                user_data=UserData(email="john_smith@gmail.com", client_user_agent="Mozilla/5.0"),
                custom_data=CustomData(value=9.5, currency="eur"),
            )
            for number in range(3)
        ],
    ).execute()

    assert (answer.events_received, answer.messages) == (3, [])
    assert [event["event_id"] for event in logged(target)] == ["sdk-0", "sdk-1", "sdk-2"]
    assert [event["user_data"]["em"] for event in logged(target)] == [[JOHN]] * 3


@pytest.mark.parametrize("place", ["body", "query", "header"])
def test_the_token_is_taken_from_where_clients_put_it(
    place: str, client_of: Client, target: ConnectedPixel
) -> None:
    body: dict[str, Any] = {"data": [make_event()]}
    options: dict[str, Any] = {}
    match place:
        case "body":
            body["access_token"] = target.ingest_token
        case "query":
            options["params"] = {"access_token": target.ingest_token, "appsecret_proof": "0" * 64}
        case _:
            options["headers"] = {"authorization": f"Bearer {target.ingest_token}"}

    response = client_of.session.post(client_of.url, json=body, timeout=20, **options)

    assert (response.status_code, len(logged(target))) == (200, 1)


def test_forms_are_taken(client_of: Client, target: ConnectedPixel) -> None:
    event = make_event()
    fields = {"access_token": target.ingest_token, "partner_agent": "another_platform"}

    urlencoded = client_of.session.post(
        client_of.url, data={**fields, "data": json.dumps([event])}, timeout=20
    )
    multipart = client_of.session.post(
        client_of.url,
        files={name: (None, value) for name, value in {**fields, "data": json.dumps([make_event()])}.items()},
        timeout=20,
    )

    assert (urlencoded.status_code, multipart.status_code) == (200, 200)
    assert {row.notices for row in Event.objects.filter(pixel_id=target.pixel.pk)} == {
        "partner_agent:replaced"
    }


def test_a_compressed_body_is_taken(client_of: Client, target: ConnectedPixel) -> None:
    body = gzip.compress(json.dumps({"data": [make_event()]}).encode())

    response = client_of.post(body, content_encoding="gzip")

    assert (response.status_code, len(logged(target))) == (200, 1)


def test_a_large_body_is_taken_in_order(client_of: Client, target: ConnectedPixel) -> None:
    ids = [f"large-{number}" for number in range(1000)]

    response = client_of.send(*map(make_event, ids))

    assert response.json()["events_received"] == 1000
    assert [event["event_id"] for event in logged(target)] == ids


def test_a_chunked_body_is_taken(client_of: Client, target: ConnectedPixel) -> None:
    body = json.dumps({"access_token": target.ingest_token, "data": [make_event()]}).encode()

    response = client_of.session.post(
        client_of.url,
        data=(body[at : at + 50] for at in range(0, len(body), 50)),
        headers={"content-type": "application/json"},
        timeout=20,
    )

    assert (response.status_code, len(logged(target))) == (200, 1)


@pytest.mark.parametrize("version", ["v21.0", "v26.0"])
def test_each_version_that_meta_runs_is_taken(
    version: str, door: CollectorProcess, client_of: Client, target: ConnectedPixel
) -> None:
    response = client_of.send(make_event(), url=f"{door.base_url}/{version}/{target.pixel.meta_id}/events")

    assert response.status_code == 200


def test_a_pixel_that_wakes_is_hinted_at_once_after_its_commit(target: ConnectedPixel) -> None:
    call_command("broker", "prepare")

    # A door of its own: one that found no broker earlier would still rest from that.
    with CollectorProcess() as door:
        client = Client(door.base_url, target)
        client.send(make_event())
        client.send(make_event())

    queue = sql.Identifier("pgmq", f"q_{config().broker_prefix}hints")
    found: list[Any] = []
    deadline = time.monotonic() + 5
    with psycopg.connect(os.environ["DATABASE_URL_OWNER"], autocommit=True) as owner:
        while not found and time.monotonic() < deadline:
            time.sleep(0.05)
            found = owner.execute(
                sql.SQL("SELECT message #>> '{{headers,task}}' FROM {}").format(queue)
            ).fetchall()
    assert found == [("events.deliver",)]
    assert DELIVER == TASK


# Refusals: what is wrong, and Graph's numbers for it.


def test_another_version_is_refused_before_the_token(door: CollectorProcess, client_of: Client) -> None:
    response = client_of.send(make_event(), token="nonsense", url=f"{door.base_url}/v3.0/1/events")

    assert (response.status_code, error_of(response)["code"]) == (400, 2635)


@pytest.mark.parametrize("token", ["nonsense", "pht_" + "x" * 43])
def test_a_wrong_token_is_refused_before_the_pixel(
    token: str, door: CollectorProcess, client_of: Client
) -> None:
    response = client_of.send(make_event(), token=token, url=f"{door.base_url}/v26.0/999/events")

    assert (response.status_code, error_of(response)["code"]) == (401, 190)


def test_a_foreign_pixel_and_an_unknown_one_are_the_same(client_of: Client, door: CollectorProcess) -> None:
    foreign = make_connected_pixel().pixel.meta_id
    unknown = "".join(reversed(foreign))

    answers = [
        client_of.send(make_event(), url=f"{door.base_url}/v26.0/{meta_id}/events")
        for meta_id in (foreign, unknown)
    ]

    def without_chance(response: requests.Response, meta_id: str) -> tuple[int, str, list[str]]:
        text = re.sub(r'"fbtrace_id":"[^"]+"', "", response.text).replace(meta_id, "")
        return response.status_code, text, sorted(response.headers)

    assert without_chance(answers[0], foreign) == without_chance(answers[1], unknown)
    error = error_of(answers[0])
    assert (answers[0].status_code, error["code"], error["error_subcode"]) == (400, 100, 33)


def test_the_token_is_looked_at_before_the_shape_and_the_pixel_too(
    client_of: Client, door: CollectorProcess
) -> None:
    body = {"data": [{}] * 1001, "test_event_code": "T1"}
    elsewhere = f"{door.base_url}/v26.0/999/events"
    own = {"access_token": client_of.target.ingest_token}

    without_token, at_another_pixel, at_its_pixel = (
        client_of.session.post(url, json=body | token, timeout=20)
        for url, token in ((client_of.url, {}), (elsewhere, own), (client_of.url, own))
    )

    assert error_of(without_token)["code"] == 190
    assert error_of(at_another_pixel)["error_subcode"] == 33
    assert "test_event_code" in error_of(at_its_pixel)["message"]


def test_the_trace_id_is_new_each_time(client_of: Client) -> None:
    answers = [client_of.send(make_event(), token="nonsense") for _ in range(3)]

    assert len({error_of(answer)["fbtrace_id"] for answer in answers}) == 3


BAD_EVENTS: dict[str, tuple[dict[str, Any], str, int | None]] = {
    "eight days old": ({"event_time": int(time.time()) - 8 * 86_400}, "event_time", 2_804_003),
    "in the future": ({"event_time": int(time.time()) + 3600}, "event_time", 2_804_004),
    "in milliseconds": ({"event_time": int(time.time() * 1000)}, "event_time", 2_804_004),
    "without a name": ({"event_name": None}, "event_name", 2_804_019),
    "a value that is no number": (
        {"custom_data": {"value": "much", "currency": "EUR"}},
        "custom_data.value",
        None,
    ),
    "a NUL byte": ({"event_id": "a\0b"}, "event_id", None),
    "an unknown key": ({"advertiser_tracking_enabled": 1}, "advertiser_tracking_enabled", 2_804_019),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_one_bad_event_refuses_the_request_and_is_named(
    name: str, client_of: Client, target: ConnectedPixel
) -> None:
    changes, field, subcode = BAD_EVENTS[name]

    response = client_of.send(make_event(), make_event(**changes), make_event())

    error = error_of(response)
    assert (response.status_code, error["code"], error["type"]) == (400, 100, "OAuthException")
    assert error.get("error_subcode") == subcode
    assert error["message"].startswith(f"(#100) data[1].{field}: ")
    assert error["error_data"]["blame_field_specs"] == [["data", 1, *field.split(".")]]
    assert nothing_is_logged(target)


BAD_BODIES = {
    "malformed JSON": (b'{"data":[', "JSON"),
    "not a number": (b'{"data":[{"event_time":NaN}]}', "data[0].event_time"),
    "a lone surrogate": (b'{"data":[{"event_name":"\\ud800"}]}', "surrogate"),
    "not UTF-8": (b'{"data":[{"event_name":"\xff"}]}', ""),
    "no events": (b'{"data":[]}', "data: "),
    "a thousand and one": (json.dumps({"data": [{}] * 1001}).encode(), "1001"),
    "half a million keys": (
        b'{"data":[{' + b",".join(b'"%d":0' % n for n in range(500_000)) + b"}]}",
        "150000 keys",
    ),
    "a pile of brackets": (b'{"data":' + b"[" * 100_000, ""),
    "a test code": (b'{"data":[{}],"test_event_code":"T1"}', "test_event_code"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_and_says_why(name: str, client_of: Client, target: ConnectedPixel) -> None:
    body, words = BAD_BODIES[name]

    response = client_of.post(body)

    assert (response.status_code, error_of(response)["code"]) == (400, 100)
    assert words in error_of(response)["message"]
    assert nothing_is_logged(target)


def test_the_guide_as_printed_is_six_years_too_old(client_of: Client) -> None:
    person = {"em": "8159ea0e33c51a774b83104ee562784f9b1836c852102046e4bd8385706fe7ca"}
    data = [
        {"event_name": "PageView", "event_time": 1579645238, "user_data": person},
        {
            "event_name": "Purchase",
            "event_time": 1579645238,
            "user_data": person,
            "custom_data": {"currency": "USD", "value": "50"},
        },
    ]

    response = client_of.send(*data)

    assert (response.status_code, error_of(response)["error_subcode"]) == (400, 2_804_003)


@pytest.mark.parametrize("content_type", ["text/csv", "application/json; charset=utf-16"])
def test_another_content_type_is_refused(content_type: str, client_of: Client) -> None:
    assert client_of.post(b"{}", content_type=content_type).status_code == 415


def test_another_encoding_is_refused(client_of: Client) -> None:
    assert client_of.post(b"{}", content_encoding="br").status_code == 415


def test_a_body_that_is_not_what_its_encoding_says_is_refused(client_of: Client) -> None:
    assert client_of.post(b"not gzip", content_encoding="gzip").status_code == 400


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE"])
def test_another_verb_is_refused(verb: str, client_of: Client) -> None:
    response = client_of.session.request(verb, client_of.url, timeout=20)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_another_path_is_refused(door: CollectorProcess) -> None:
    assert requests.post(f"{door.base_url}/v26.0/events", timeout=20).status_code == 404


def test_a_body_past_the_limit_is_refused_before_it_is_read(
    door: CollectorProcess, target: ConnectedPixel
) -> None:
    with socket.create_connection(("127.0.0.1", door.port), 10) as line:
        line.sendall(
            f"POST /v26.0/{target.pixel.meta_id}/events HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
            f"content-length: {8 * 1024 * 1024 + 1}\r\n\r\n".encode()
        )

        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_too_much_still_hears_why(client_of: Client) -> None:
    response = client_of.post(b"x" * (9 * 1024 * 1024))

    assert (response.status_code, response.headers["connection"]) == (413, "close")


def test_a_bomb_is_refused_at_the_limit(client_of: Client, target: ConnectedPixel) -> None:
    body = gzip.compress(b"[" + b" " * (200 * 1024 * 1024))

    response = client_of.post(body, content_encoding="gzip")

    assert (response.status_code, nothing_is_logged(target)) == (413, True)


# A repeat, and a clash.


def test_a_repeat_is_acknowledged_and_stored_once(client_of: Client, target: ConnectedPixel) -> None:
    event = make_event()

    answers = [client_of.send(event), client_of.send(event, event)]

    assert [answer.json()["events_received"] for answer in answers] == [1, 2]
    assert len(logged(target)) == 1
    count = HourlyCount.objects.get(pixel=target.pixel)
    assert (count.taken, count.repeated) == (1, 2)


def test_the_same_id_with_other_content_is_kept_and_not_sent(
    client_of: Client, target: ConnectedPixel
) -> None:
    event = make_event("order-1")
    other = event | {"custom_data": {"value": 43, "currency": "EUR"}}

    statuses = [client_of.send(one).status_code for one in (event, other, other)]

    assert statuses == [200, 200, 200]
    assert [one["custom_data"]["value"] for one in logged(target)] == [42.5, 43]
    rejection = Rejection.objects.get(pixel=target.pixel)
    assert (rejection.log_offset, rejection.reason, rejection.event_id) == (1, "clash", "order-1")
    assert rejection.received_at == Event.objects.get(pixel_id=target.pixel.pk, log_offset=1).received_at


def test_an_event_without_an_id_is_never_a_repeat(client_of: Client, target: ConnectedPixel) -> None:
    event = make_event()
    del event["event_id"]

    client_of.send(event, event)

    assert len({one["event_id"] for one in logged(target)}) == 2


# The process itself.


def test_it_is_alive_and_ready(door: CollectorProcess) -> None:
    answers = [requests.get(f"{door.base_url}/{path}", timeout=20) for path in ("healthz", "readyz")]

    assert [(answer.status_code, answer.text) for answer in answers] == [
        (200, "alive\n"),
        (200, "queue: ok\ndatabase: ok\npartitions: ok\n"),
    ]


def test_nothing_that_a_client_sent_is_logged(target: ConnectedPixel) -> None:
    with CollectorProcess(LOG_LEVEL="DEBUG") as door:
        client = Client(door.base_url, target)
        canary = "canary-7f3a@shop.example"
        client.send(make_event(user_data={"em": canary}))
        client.send(make_event(user_data={"em": canary}, event_name=None))
        client.post(f'{{"data":[{{"event_name":"{canary}'.encode())
        client.session.post(client.url, params=urlencode({"access_token": canary}), data=canary, timeout=20)
        with socket.create_connection(("127.0.0.1", door.port), 10) as line:
            line.sendall(f"POST /{canary} HTTP/1.1\r\nhost {canary}\r\n\r\n".encode())
            assert line.recv(100).startswith(b"HTTP/1.1 400 ")

        log = door.log
    assert canary not in log
    assert target.ingest_token not in log
