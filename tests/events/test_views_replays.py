"""The pages, API and commands about sending once more, doubts, dry runs and erasure: what they say and never hold."""

from __future__ import annotations

import io
import json
import shlex
import uuid
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from events import erasures, replays
from events.dry_run import dry_run
from events.flow import Flow, flows_of
from events.models import (
    Attempt,
    Delivery,
    DoorRefusal,
    DoubtDecision,
    DoubtPolicy,
    Erasure,
    Event,
    Rejection,
    Replay,
)
from events.normalise import sha256_hex
from events.replay import Fate
from events.selectors import event_page
from onboarding.models import Pixel
from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.vault import Secret
from tenants.models import Person
from tenants.roles import AdvertiserRole
from tenants.services import issue_api_key
from tests.support.factories import ConnectedPixel, join_advertiser, make_connected_pixel, make_person
from tests.support.log import append_count, append_events, make_event
from tests.support.site import Page, Site, messages_of, text_of


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker, and the limits on requests begin anew."""
    cache.clear()
    monkeypatch.setattr(replays, "send_hint", lambda *hint: None)
    monkeypatch.setattr(erasures, "send_hint", lambda *hint: None)
    monkeypatch.setattr("partnerhub.lib.after_commit.send_hint", lambda *hint: None)


def person_of(pixel: Pixel, role: AdvertiserRole = AdvertiserRole.ADMIN) -> Person:
    person = make_person()
    join_advertiser(person, pixel.advertiser, role)
    return person


def deliver(pixel: Pixel, first: int, last: int, state: str, **fields: Any) -> Delivery:
    """A delivery over the range, as if a worker had made it."""
    events = Event.objects.filter(pixel=pixel)
    leased = state in ("claimed", "sending")
    if leased:
        fields |= {"lease_until": timezone.now(), "lease_token": uuid.uuid4()}
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_pixellog SET tail = greatest(tail, %s) WHERE pixel_id = %s", [last + 1, pixel.pk]
        )
    return Delivery.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        first_offset=first,
        last_offset=last,
        first_received_at=events.get(log_offset=first).received_at,
        last_received_at=events.get(log_offset=last).received_at,
        state=state,
        **fields,
    )


def call(site: Site, person: Person, path: str, body: Any = None) -> Page:
    """The API's answer to a GET, or to a POST of the body."""
    key = issue_api_key(person=person, name="report")[1]
    headers = {"authorization": f"Bearer {key}"}
    with site._as_web():
        if body is None:
            return site.client.get(path, headers=headers)
        return site.client.post(path, json.dumps(body), content_type="application/json", headers=headers)


# Replays.


def test_a_replay_is_asked_for_counted_and_confirmed_on_pages(site: Site, connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    append_count(pixel, 3)
    deliver(pixel, 0, 2, "accepted")
    site.sign_in(person_of(pixel))

    asked = site.post(f"/pixels/{pixel.pk}/replays/", {"first_offset": "1", "event_names": "PageView, Lead"})
    replay = Replay.objects.get()
    assert asked.url == f"/replays/{replay.pk}/"
    assert (replay.first_offset, replay.last_offset) == (1, 2)
    assert "Nothing is sent" in text_of(site.get(asked.url))
    replays.work_on_replay(replay.pk)
    ready = text_of(site.get(asked.url))
    assert "Send 2 events" in ready
    assert "Meta may count 2 of these events twice" in ready

    for act, state in (
        ("confirm", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("cancel", "cancelled"),
    ):
        site.post(asked.url, {"act": act})
        replay.refresh_from_db()
        assert replay.state == state
    said = site.post(asked.url, {"act": "resume"})
    assert "This replay is not paused." in messages_of(said)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"first_offset": "9"}, "The log ends at offset 2."),
        ({"since": "2099-01-01 00:00"}, "No event came in within that time."),
        ({"first_offset": "2", "last_offset": "1"}, "The range ends before it begins."),
        ({"first_offset": "-1"}, "greater than or equal to 0"),
        ({"fates": ["waiting"]}, "waiting is not one of the available choices"),
    ],
)
def test_what_cannot_be_replayed_is_said_and_changes_nothing(
    site: Site, connected: ConnectedPixel, typed: dict[str, Any], said: str
) -> None:
    append_count(connected.pixel, 3)
    site.sign_in(person_of(connected.pixel))

    page = site.post(f"/pixels/{connected.pixel.pk}/replays/", typed)

    assert page.status_code == 422
    assert said in text_of(page)
    assert not Replay.objects.exists()


def test_the_api_asks_counts_confirms_and_refuses_in_words(site: Site, connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    person = person_of(pixel)
    append_count(pixel, 2)
    deliver(pixel, 0, 1, "accepted")

    asked = call(site, person, f"/api/v1/pixels/{pixel.pk}/replays/", {"fates": ["accepted"]})
    assert (asked.status_code, asked.json()["state"]) == (202, "counting")
    path = f"/api/v1/replays/{asked.json()['id']}/"
    early = call(site, person, path, {"act": "confirm"})
    assert (early.status_code, early.json()["error"]["type"]) == (409, "wrong_state")
    replays.work_on_replay(asked.json()["id"])
    counted = call(site, person, path).json()
    assert (counted["sendable"], counted["may_count_twice"], counted["found"]) == (2, 2, {"again": 2})
    assert call(site, person, path, {"act": "confirm"}).json()["state"] == "running"

    bad = call(site, person, f"/api/v1/pixels/{pixel.pk}/replays/", {"event_names": "Lead"})
    assert (bad.status_code, bad.json()["error"]["field"]) == (400, "event_names")
    far = call(site, person, f"/api/v1/pixels/{pixel.pk}/replays/", {"first_offset": 99})
    assert (far.status_code, far.json()["error"]["field"]) == (400, "first_offset")
    analyst = person_of(pixel, AdvertiserRole.ANALYST)
    assert call(site, analyst, path, {"act": "cancel"}).status_code == 403
    assert call(site, analyst, path).status_code == 200
    assert call(site, person_of(make_connected_pixel().pixel), path).status_code == 404


def test_the_command_asks_shows_and_steers(connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    append_count(pixel, 2)
    deliver(pixel, 0, 1, "accepted")
    out = io.StringIO()

    call_command("replay", "ask", "--pixel", str(pixel.pk), "--fate", "accepted", stdout=out)
    replay = Replay.objects.get()
    replays.work_on_replay(replay.pk)
    call_command("replay", "confirm", str(replay.pk), stdout=out)

    assert "sendable: 2, of which Meta may count 2 twice" in out.getvalue()
    assert Replay.objects.get().state == "running"
    with pytest.raises(CommandError, match="no such replay"):
        call_command("replay", "show", str(2**40))
    with pytest.raises(SystemExit):
        call_command("replay", "ask", "--pixel", str(pixel.pk), "--first", "99", stderr=io.StringIO())


# Dry runs.


def test_a_dry_run_is_the_request_byte_for_byte_without_its_token(
    site: Site, connected: ConnectedPixel
) -> None:
    pixel = connected.pixel
    append_events(pixel, [make_event(), make_event(event_name="Lead")])
    payloads = [bytes(one.payload) for one in Event.objects.filter(pixel=pixel).order_by("log_offset")]
    agent = pixel.advertiser.partner.partner_agent
    body = b'{"partner_agent":"%s","data":[%s,%s]}' % (agent.encode(), *payloads)

    answer = call(site, person_of(pixel), f"/api/v1/pixels/{pixel.pk}/dry-run/?first=0&last=1").json()
    page = site.sign_in(person_of(pixel)).get(f"/pixels/{pixel.pk}/dry-run/?first=0&last=1")
    out = io.StringIO()
    call_command("replay", "dry-run", "--pixel", str(pixel.pk), stdout=out)

    assert answer["body"].encode() == body
    assert answer["body_bytes"] == len(body)
    assert answer["headers"]["Authorization"] == f"Bearer ****{connected.access_token[-4:]}"
    assert body.decode() in out.getvalue()
    assert connected.access_token not in page.content.decode() + out.getvalue() + json.dumps(answer)


def test_a_dry_run_is_what_the_client_sends(
    connected: ConnectedPixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel = connected.pixel
    append_count(pixel, 2)
    run = dry_run(pixel, first=0, last=1)
    sent: list[tuple[str, bytes]] = []

    def call_graph(self: GraphClient, method: str, target: str, body: bytes, *_: Any) -> GraphAnswer:
        sent.append((f"{method} {self._prefix}{target}", body))
        return GraphAnswer(200, {"events_received": 2}, "A-trace", 2, None, 1)

    monkeypatch.setattr(GraphClient, "_call", call_graph)
    config = settings.CONFIG
    client = GraphClient(base_url=config.graph_api_base_url, version=config.graph_api_version)
    client.send_events(
        pixel.meta_id,
        token=Secret(connected.access_token),
        fragments=[bytes(one.payload) for one in Event.objects.filter(pixel=pixel).order_by("log_offset")],
        partner_agent=pixel.advertiser.partner.partner_agent,
        deadline_seconds=5,
    )
    client.close()

    [(line, body)] = sent
    assert body == run.body
    assert run.url.endswith(line.removeprefix("POST "))


def test_an_event_tells_its_life_and_copies_as_curl(site: Site, connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    append_events(pixel, [make_event(event_source_url="https://shop.example/it's")])
    delivery = deliver(pixel, 0, 0, "doubt", doubts=1)
    own = {"advertiser_id": pixel.advertiser_id, "pixel": pixel, "delivery": delivery}
    Attempt.objects.create(**own, outcome="doubt", http_status=502, fbtrace_id="AtraceOfMeta", latency_ms=31)
    DoubtDecision.objects.create(**own, decision="again", events=1)

    page = site.sign_in(person_of(pixel)).get(f"/pixels/{pixel.pk}/events/0/")
    said = text_of(page)

    for word in ("Door: server", "offset 0", f"Batch {delivery.pk}", "31 ms", "HTTP 502", "AtraceOfMeta"):
        assert word in said or word in page.content.decode(), word
    assert "A person decides" in said
    curl = page.context["event"].request.curl
    words = shlex.split(curl.replace("\\\n", " "))
    assert json.loads(words[-1])["data"][0]["event_source_url"] == "https://shop.example/it's"
    assert connected.access_token not in page.content.decode()


# Doubts.


def test_doubts_are_listed_and_decided_after_a_question(site: Site, connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    append_count(pixel, 3)
    delivery = deliver(pixel, 0, 2, "doubt", doubts=1)
    person = person_of(pixel)
    site.sign_in(person)

    listed = text_of(site.get(f"/pixels/{pixel.pk}/doubts/"))
    assert "3 events in doubt" in listed
    assert "Held for a person" in listed
    path = f"/pixels/{pixel.pk}/doubts/decide/"
    asked = site.get(f"{path}?decision=delivered&delivery={delivery.pk}")
    assert "Treat as delivered?" in text_of(asked)
    assert Delivery.objects.get().state == "doubt"
    site.post(path, {"decision": "delivered", "delivery": delivery.pk})

    assert Delivery.objects.get().state == "accepted"
    assert DoubtDecision.objects.get().decided_by == person
    again = site.post(path, {"decision": "again", "delivery": delivery.pk})
    assert "not in doubt any more" in " ".join(messages_of(again))
    assert site.post(path, {"decision": "again", "delivery": 2**40}).status_code == 404


def test_a_policy_is_set_and_dropped_by_name(site: Site, connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    site.sign_in(person_of(pixel))
    path = f"/pixels/{pixel.pk}/doubts/"

    site.post(path, {"event_name": "Purchase", "action": "hold"})
    site.post(path, {"event_name": "", "action": "again"})
    assert sorted(DoubtPolicy.objects.values_list("event_name", "action")) == [
        ("", "again"),
        ("Purchase", "hold"),
    ]
    site.post(path, {"event_name": "Purchase", "action": "drop"})

    assert DoubtPolicy.objects.get().event_name == ""


# Erasure.


def test_an_erasure_is_asked_for_without_keeping_what_was_typed(
    site: Site, connected: ConnectedPixel, caplog: pytest.LogCaptureFixture
) -> None:
    pixel = connected.pixel
    append_events(pixel, [make_event(user_data={"em": "ada@shop.example"})])
    site.sign_in(person_of(pixel))

    asked = site.post(
        f"/advertisers/{pixel.advertiser_id}/erasures/", {"kind": "em", "value": "Ada@shop.example"}
    )
    erasure = Erasure.objects.get()
    assert erasure.needle == sha256_hex("ada@shop.example")
    erasures.work_on_erasure(erasure.advertiser_id, erasure.pk)
    receipt = site.get(asked.url)

    assert "Events erased 1" in text_of(receipt)
    assert "ada@" not in receipt.content.decode().lower()
    assert sha256_hex("ada@shop.example") not in receipt.content.decode()
    assert "shop.example" not in caplog.text
    assert "Erased" in text_of(site.get(f"/pixels/{pixel.pk}/events/0/"))


def test_the_api_and_the_command_erase(
    site: Site, connected: ConnectedPixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel = connected.pixel
    append_events(pixel, [make_event(user_data={"external_id": "c-7"})])
    person = person_of(pixel)
    path = f"/api/v1/advertisers/{pixel.advertiser_id}/erasures/"

    asked = call(site, person, path, {"kind": "external_id", "value": "c-7", "pixel": pixel.pk})
    assert asked.status_code == 202
    erasures.work_on_erasure(pixel.advertiser_id, asked.json()["id"])
    done = call(site, person, f"/api/v1/erasures/{asked.json()['id']}/").json()
    assert (done["state"], done["events_erased"]) == ("done", 1)
    bad = call(site, person, path, {"kind": "em", "value": "nobody"})
    assert (bad.status_code, bad.json()["error"]["field"]) == (400, "value")
    assert "nobody" not in bad.content.decode()

    out = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO("c-7\n"))
    call_command(
        "erase", "ask", "--advertiser", str(pixel.advertiser_id), "--kind", "external_id", stdout=out
    )
    assert "all pixels: running" in out.getvalue()
    assert "c-7" not in out.getvalue()


# The flow.


def test_the_flow_adds_up_and_each_number_opens_exactly_its_events(
    site: Site, connected: ConnectedPixel
) -> None:
    pixel = connected.pixel
    append_count(pixel, 20)
    deliver(pixel, 0, 4, "accepted")
    deliver(pixel, 5, 6, "sending")
    split = deliver(pixel, 7, 12, "split")
    deliver(pixel, 7, 12, "doubt", parent=split, offsets=[7, 9, 11], doubts=1)
    deliver(pixel, 7, 12, "waiting", parent=split, offsets=[8, 10, 12])
    refused = deliver(pixel, 13, 13, "rejected")
    for offset in (2, 13, 15):
        event = Event.objects.get(pixel=pixel, log_offset=offset)
        event_fields = {"event_name": event.event_name, "event_id": event.event_id}
        Rejection.objects.create(
            advertiser_id=pixel.advertiser_id,
            pixel=pixel,
            log_offset=offset,
            received_at=event.received_at,
            reason="refused",
            delivery=refused if offset == 13 else None,
            **event_fields,
        )
    other = make_connected_pixel().pixel
    append_count(other, 1)

    flow = flows_of([pixel.pk])[pixel.pk]

    assert flow == Flow(taken=20, accepted=4, rejected=3, waiting=8, in_flight=2, in_doubt=3)
    assert flow.adds_up
    counts = {
        Fate.ACCEPTED: flow.accepted,
        Fate.REJECTED: flow.rejected,
        Fate.WAITING: flow.waiting,
        Fate.SENDING: flow.in_flight,
        Fate.DOUBT: flow.in_doubt,
    }
    site.sign_in(person_of(pixel))
    for fate, count in counts.items():
        rows = event_page(pixel, fate=fate).rows
        assert [row.fate for row in rows] == [fate] * count
        assert site.get(f"/pixels/{pixel.pk}/events/?fate={fate}").status_code == 200
    assert "The books add up" in text_of(site.get(f"/pixels/{pixel.pk}/"))


def test_a_page_of_a_fate_goes_on_where_the_last_one_ended(connected: ConnectedPixel) -> None:
    append_count(connected.pixel, 12)
    deliver(connected.pixel, 0, 3, "accepted")

    first = event_page(connected.pixel, fate=Fate.WAITING, size=5)
    second = event_page(connected.pixel, fate=Fate.WAITING, size=5, before=first.older)

    assert [row.log_offset for row in first.rows + second.rows] == [11, 10, 9, 8, 7, 6, 5, 4]
    assert second.older is None


def test_what_a_door_refused_stands_beside_the_flow(site: Site, connected: ConnectedPixel) -> None:
    pixel = connected.pixel
    DoorRefusal.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        hour=timezone.now(),
        reason="invalid_parameter",
        field="custom_data.currency",
        requests=7,
        sample=[{"at": "2026-11-24T10:00:00+00:00", "fbtrace_id": "Aours", "index": 3}],
    )

    said = text_of(site.sign_in(person_of(pixel)).get(f"/pixels/{pixel.pk}/"))

    assert "Invalid parameter custom_data.currency 7" in said
    assert "Aours, data[3]" in said
