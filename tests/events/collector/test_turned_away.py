"""What a door refused is counted by reason and field, and holds nothing that the client wrote."""

from __future__ import annotations

import json

import pytest

from events.collector.turned_away import known_field
from events.models import DoorRefusal, Event
from tests.events.collector.conftest import Client, make_event
from tests.support.collector import CollectorProcess
from tests.support.factories import make_connected_pixel
from tests.support.log import append_count


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (None, ""),
        ("user_data.em", "user_data.em"),
        ("custom_data.contents[3].item_price", "custom_data.contents.item_price"),
        ("user_data.ada@shop.example", "user_data"),
        ("ada@shop.example", ""),
        ("", ""),
    ],
)
def test_a_field_is_kept_by_metas_names_alone(path: str | None, kept: str) -> None:
    assert known_field(path) == kept


def test_refusals_are_written_with_their_pixel_and_say_nothing_personal(transactional_db: None) -> None:
    target, other = make_connected_pixel(), make_connected_pixel()
    with CollectorProcess() as collector:
        client = Client(collector.base_url, target)
        bad = make_event(user_data={"em": "ada@shop.example", "ada@shop.example": "x"})
        for _ in range(4):
            assert client.send(make_event(), bad).status_code == 400
        assert client.send(make_event(custom_data={"value": "Ada", "currency": "EUR"})).status_code == 400
        # Whose they were, nobody knows.
        assert client.send(make_event(), token="pht_" + "x" * 43).status_code == 401

    rows = {row.field: row for row in DoorRefusal.objects.all()}
    assert {field: row.requests for field, row in rows.items()} == {"user_data": 4, "custom_data.value": 1}
    assert {row.pixel_id for row in rows.values()} == {target.pixel.pk}
    sample = rows["user_data"].sample
    assert [one["index"] for one in sample] == [1, 1, 1]
    assert all(one["fbtrace_id"].startswith("A") for one in sample)
    assert "ada" not in json.dumps([row.sample for row in rows.values()]).lower()
    assert not Event.objects.filter(pixel__in=[target.pixel, other.pixel]).exists()


def test_counts_of_two_processes_add_up(transactional_db: None) -> None:
    target = make_connected_pixel()
    for _ in range(2):
        with CollectorProcess() as collector:
            assert Client(collector.base_url, target).send(make_event(event_time=1)).status_code == 400

    assert [row.requests for row in DoorRefusal.objects.all()] == [2]


def test_what_comes_in_is_not_among_them(transactional_db: None) -> None:
    target = make_connected_pixel()
    append_count(target.pixel, 1)

    assert not DoorRefusal.objects.exists()
    Event.objects.all().delete()
