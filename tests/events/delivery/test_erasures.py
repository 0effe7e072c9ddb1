"""Erasure: all that is stored of one person goes, offsets and the books stay, and the receipt names nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.db import connection
from django.utils import timezone

from events import erasures
from events.delivery.claim import Claim, claim_next
from events.delivery.sweep import take_over_expired
from events.models import Delivery, Erasure, Event, Rejection
from events.normalise import sha256_hex
from events.replay import Fate
from events.selectors import event_page
from onboarding.models import Pixel
from tests.events.delivery.conftest import TakeTurn, let_time_pass
from tests.support.factories import ConnectedPixel
from tests.support.ledger import at_meta, audit
from tests.support.log import append_events, make_event
from tests.support.sandbox import SandboxProcess

AsRole = Callable[[str], AbstractContextManager[None]]
ADA = {"em": "Ada@Shop.example", "client_user_agent": "Mozilla/5.0"}
BEA = {"em": "bea@shop.example", "client_user_agent": "Mozilla/5.0"}


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr(erasures, "send_hint", lambda *hint: None)
    monkeypatch.setattr("partnerhub.lib.after_commit.send_hint", lambda *hint: None)


def wish(pixel: Pixel, text: str, kind: Erasure.Kind = Erasure.Kind.EM) -> Erasure:
    """An erasure that was asked for."""
    needle = erasures.hash_of(kind, text, default_country="IT")
    assert needle is not None
    return erasures.request_erasure(
        advertiser=pixel.advertiser, pixel=pixel, kind=kind, needle=needle, requested_by=None
    )


def work(erasure: Erasure, as_role: AsRole) -> None:
    """One task of it, with the worker's rights."""
    with as_role("worker"):
        erasures.work_on_erasure(erasure.advertiser_id, erasure.pk)
    erasure.refresh_from_db()


def empty_offsets(pixel: Pixel) -> list[int]:
    """Offsets whose content is gone."""
    events = Event.objects.filter(pixel=pixel).order_by("log_offset")
    return [event.log_offset for event in events if not bytes(event.payload)]


def test_what_was_delivered_is_emptied_and_stays_accepted(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(user_data=who) for who in (ADA, BEA, ADA)])
    take_turn(target.pixel)

    erasure = wish(target.pixel, " ADA@shop.example ")
    work(erasure, as_role)

    assert (erasure.state, erasure.events_erased, erasure.events_stopped) == ("done", 2, 0)
    assert empty_offsets(target.pixel) == [0, 2]
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("accepted"), found.total("taken")) == ([], 3, 3)


def test_what_waits_is_rejected_as_erased_and_never_sent(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(user_data=who) for who in (ADA, BEA)])

    erasure = wish(target.pixel, sha256_hex("ada@shop.example"))
    work(erasure, as_role)
    take_turn(target.pixel)

    assert (erasure.events_erased, erasure.events_stopped) == (1, 1)
    assert Rejection.objects.get().reason == Rejection.Reason.ERASED
    assert len(at_meta(sandbox.client, target.pixel)) == 1
    assert [row.fate for row in event_page(target.pixel).rows] == [Fate.ACCEPTED, Fate.REJECTED]
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_what_is_on_its_way_is_waited_for(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(user_data=ADA), make_event(user_data=BEA)])
    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
    assert isinstance(claim, Claim)
    erasure = wish(target.pixel, "ada@shop.example")
    work(erasure, as_role)
    assert (erasure.state, empty_offsets(target.pixel)) == ("running", [])

    let_time_pass(target.pixel)
    with as_role("worker"):
        take_over_expired()
    take_turn(target.pixel)
    work(erasure, as_role)

    assert (erasure.state, empty_offsets(target.pixel)) == ("done", [0])
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_what_is_in_doubt_is_not_sent_again(
    target: ConnectedPixel, sandbox: SandboxProcess, as_role: AsRole, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(user_data=ADA)])
    with as_role("worker"):
        claim_next(target.pixel.pk)
    Delivery.objects.update(
        state="doubt", doubts=1, due_at=timezone.now(), lease_until=None, lease_token=None
    )

    work(wish(target.pixel, "ada@shop.example"), as_role)
    take_turn(target.pixel)

    assert at_meta(sandbox.client, target.pixel) == {}
    assert Delivery.objects.get().state == "rejected"
    found = audit(sandbox.client, [target.pixel])
    assert (found.findings, found.total("rejected"), found.total("in_doubt")) == ([], 1, 0)


@pytest.mark.parametrize(
    ("kind", "given", "asked"),
    [
        (Erasure.Kind.EXTERNAL_ID, {"external_id": "customer-7"}, "customer-7"),
        (Erasure.Kind.EXTERNAL_ID, {"external_id": ["x", "customer-7"]}, sha256_hex("customer-7")),
        (Erasure.Kind.EXTERNAL_ID, {"external_id": sha256_hex("customer-7")}, "customer-7"),
        (Erasure.Kind.PH, {"ph": "+39 333 1234567"}, "333 1234567"),
        (Erasure.Kind.EM, {"em": [sha256_hex("ada@shop.example")]}, "ada@shop.example"),
    ],
)
def test_a_person_is_found_however_it_was_sent_and_asked_for(
    target: ConnectedPixel, as_role: AsRole, kind: Erasure.Kind, given: dict[str, object], asked: str
) -> None:
    append_events(target.pixel, [make_event(user_data=given), make_event()])

    erasure = wish(target.pixel, asked, kind)
    work(erasure, as_role)

    assert empty_offsets(target.pixel) == [0]


def test_the_receipt_names_nobody(target: ConnectedPixel, as_role: AsRole) -> None:
    append_events(target.pixel, [make_event(user_data=ADA)])
    erasure = wish(target.pixel, "ada@shop.example")
    assert erasure.needle == sha256_hex("ada@shop.example")

    work(erasure, as_role)

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(events_erasure) FROM events_erasure")
        row = json.dumps(cursor.fetchall(), default=str)
    assert "ada" not in row
    assert sha256_hex("ada@shop.example") not in row


def test_what_comes_in_later_is_another_matter(target: ConnectedPixel, as_role: AsRole) -> None:
    append_events(target.pixel, [make_event(user_data=ADA)])
    erasure = wish(target.pixel, "ada@shop.example")
    append_events(target.pixel, [make_event(user_data=ADA)])

    work(erasure, as_role)

    assert empty_offsets(target.pixel) == [0]


def test_no_address_is_no_hash() -> None:
    assert erasures.hash_of(Erasure.Kind.EM, "not an address", default_country="IT") is None
    assert erasures.hash_of(Erasure.Kind.PH, "12", default_country="IT") is None
    assert erasures.hash_of(Erasure.Kind.EXTERNAL_ID, " ", default_country="IT") is None


def test_an_unknown_erasure_in_a_hint_is_nothing(target: ConnectedPixel, as_role: AsRole) -> None:
    with as_role("worker"):
        erasures.work_on_erasure(target.pixel.advertiser_id, 2**40)
