"""Counting: every id with its arrivals, and repeats apart from the browser's twins."""

from __future__ import annotations

import hashlib

import orjson

from partnerhub.sandbox.store import Account, Origin, ReceivedRequest, Ring
from tests.sandbox.cast import make_event

PLAIN = Origin("datapartner", None)
HOUR = 3600


def test_stored_events_come_back_in_the_order_of_their_arrival() -> None:
    account = Account("1")
    first, second = make_event(event_name="B"), make_event(event_name="A")

    account.add([first], PLAIN, "agent/1", 10.0)
    account.add([second], Origin("other", "TEST1"), "agent/1", 20.0)

    stored = account.stored()
    assert [(event.event_name, event.event_id, event.copies, event.first_arrival) for event in stored] == [
        ("B", first["event_id"], 1, 10.0),
        ("A", second["event_id"], 1, 20.0),
    ]
    assert [(event.partner_agent, event.test_event_code) for event in stored] == [
        ("datapartner", None),
        ("other", "TEST1"),
    ]


def test_digest_is_of_the_bytes_that_orjson_writes() -> None:
    account = Account("1")
    event = make_event(custom_data={"value": 1.10, "currency": "EUR", "名": "é"})

    account.add([event], PLAIN, "", 10.0)

    assert account.stored()[0].digest == hashlib.blake2b(orjson.dumps(event), digest_size=16).hexdigest()


def test_server_repeat_is_counted_apart_and_keeps_the_first_arrival() -> None:
    account = Account("1")
    event = make_event()

    account.add([event, event], PLAIN, "", 10.0)
    account.add([event | {"event_time": 1}], PLAIN, "", 100 * HOUR)

    assert (account.events, account.distinct, account.server_repeats) == (3, 1, 2)
    (stored,) = account.stored()
    assert (stored.copies, stored.first_arrival) == (3, 10.0)
    ((repeated, repeats),) = account.repeated()
    assert repeated == stored
    assert [repeat.arrival for repeat in repeats] == [10.0, 100 * HOUR]
    assert [repeat.digest.hex() == stored.digest for repeat in repeats] == [True, False]


def test_same_id_under_another_name_is_another_event() -> None:
    account = Account("1")

    account.add([make_event(event_id="x"), make_event(event_id="x", event_name="Lead")], PLAIN, "", 10.0)

    assert (account.distinct, account.server_repeats) == (2, 0)


def test_events_without_an_id_are_never_repeats() -> None:
    account = Account("1")

    account.add([make_event(event_id=None), make_event(event_id=None)], PLAIN, "", 10.0)

    assert (account.events, account.distinct, account.without_id, account.server_repeats) == (2, 0, 2, 0)
    assert [event.event_id for event in account.stored()] == [None, None]


def test_browser_twin_counts_within_48_hours_in_either_order() -> None:
    account = Account("1")
    account.add_browser("PageView", "browser-first", 0.0)
    account.add([make_event(event_id="server-first")], PLAIN, "", 0.0)

    account.add([make_event(event_id="browser-first")], PLAIN, "", 48.0 * HOUR)
    account.add_browser("PageView", "server-first", 48.0 * HOUR)
    account.add_browser("PageView", "server-first", 48.0 * HOUR)

    assert (account.browser_events, account.browser_deduplicated, account.server_repeats) == (3, 2, 0)


def test_browser_twin_after_48_hours_is_none() -> None:
    account = Account("1")
    account.add_browser("PageView", "x", 0.0)

    account.add([make_event(event_id="x")], PLAIN, "", 48.0 * HOUR + 1)

    assert account.browser_deduplicated == 0


def test_stored_can_be_read_from_a_time_or_past_a_row() -> None:
    account = Account("1")
    for moment in (10.0, 20.0, 30.0):
        account.add([make_event(event_name=f"at {moment}"), make_event(event_id=None)], PLAIN, "", moment)

    assert [event.row for event in account.stored()] == [0, 1, 2, 3, 4, 5]
    assert [event.row for event in account.stored(since=20.0)] == [2, 3, 4, 5]
    assert [event.row for event in account.stored(after_row=1, limit=3)] == [2, 3, 4]
    assert account.stored(after_row=5) == []


def test_labels_from_outside_are_bounded() -> None:
    account = Account("1")

    for number in range(1500):
        account.add([make_event()], Origin(f"agent {number}", None), "", 1.0)

    assert len(account.agents) == 1001
    assert account.agents["(other)"] == 500
    assert account.agents.total() == account.events == 1500


def make_request(number: int, body: bytes, pixel_id: str = "1") -> ReceivedRequest:
    return ReceivedRequest(number, 1.0, pixel_id, "/", "", (), body, 1, "accepted", "A")


def test_ring_forgets_the_oldest_by_number_and_by_bytes() -> None:
    ring = Ring(max_requests=3, max_bytes=100)

    for number in range(1, 6):
        ring.add(make_request(number, b"x" * 10))
    assert [item.number for item in ring.newest()] == [5, 4, 3]

    ring.add(make_request(6, b"x" * 90))
    assert [item.number for item in ring.newest()] == [6, 5]

    ring.add(make_request(7, b"x" * 500))
    assert [item.number for item in ring.newest()] == [7]
    assert ring.get(6) is None


def test_ring_is_read_by_pixel() -> None:
    ring = Ring()
    ring.add(make_request(1, b"", "1"))
    ring.add(make_request(2, b"", "2"))
    ring.add(make_request(3, b"", "1"))

    assert [item.number for item in ring.newest("1")] == [3, 1]
    assert [item.number for item in ring.newest("1", limit=1)] == [3]
