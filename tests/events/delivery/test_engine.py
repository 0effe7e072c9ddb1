"""Turns of a pixel against the stand-in: every class of answer, and the books after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from events.delivery.claim import Claim, Idle, claim_next
from events.delivery.engine import TURN_DELIVERIES
from events.models import Attempt, Delivery, PixelLog, Rejection
from events.pace import FIRST_WIDTH
from events.retry import REFUSALS_AT_ONCE
from events.selectors import delivery_findings
from onboarding.models import Credential, Pixel, SealedToken
from onboarding.services import release_pixel, save_pasted_token
from partnerhub.lib.vault import Secret
from tests.events.delivery.conftest import TakeTurn, deliveries, introduce, let_time_pass
from tests.support.factories import ConnectedPixel, make_connected_pixel, make_pixel
from tests.support.ledger import audit
from tests.support.log import append_count, append_events, make_event
from tests.support.sandbox import SandboxProcess

DAY = 86_400


def log_of(pixel: Pixel) -> PixelLog:
    return PixelLog.objects.get(pk=pixel.pk)


def stored_ids(sandbox: SandboxProcess, pixel: Pixel) -> list[str | None]:
    return [event.event_id for event in sandbox.client.stored(pixel.meta_id)]


def test_a_turn_sends_the_log_in_order_and_puts_the_pixel_to_sleep(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, hints: list[tuple[str, int]]
) -> None:
    ids = append_count(target.pixel, 1500)

    turn = take_turn(target.pixel)

    assert (turn.deliveries, turn.idle, hints) == (2, Idle.ASLEEP, [])
    assert stored_ids(sandbox, target.pixel) == ids
    assert deliveries(target.pixel) == [(0, 999, "accepted"), (1000, 1499, "accepted")]
    assert (
        list(Attempt.objects.values_list("outcome", "http_status", "failure_class"))
        == [("accepted", 200, "")] * 2
    )
    log = log_of(target.pixel)
    assert (log.tail, log.head, log.awake) == (1500, 1500, False)
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_what_is_sent_names_the_partner_and_is_what_was_stored(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    append_count(target.pixel, 2)

    take_turn(target.pixel)

    stored = sandbox.client.stored(target.pixel.meta_id)
    assert {event.partner_agent for event in stored} == {"datapartner"}
    assert {event.test_event_code for event in stored} == {None}
    delivery = Delivery.objects.get()
    assert (delivery.events_sent, delivery.events_received, delivery.attempts) == (2, 2, 1)
    assert delivery.fbtrace_id
    assert delivery.settled_at is not None
    assert delivery.lease_token is None


def test_a_turn_ends_after_some_deliveries_and_asks_for_the_next(
    target: ConnectedPixel, take_turn: TakeTurn, hints: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", 3)
    monkeypatch.setattr("events.pace.WIDE_REQUESTS", 100)
    append_count(target.pixel, 3 * TURN_DELIVERIES + 1)

    turn = take_turn(target.pixel)

    assert (turn.deliveries, turn.idle) == (TURN_DELIVERIES, None)
    assert hints == [("events.deliver", target.pixel.pk)]
    assert log_of(target.pixel).awake


def test_a_request_is_no_larger_than_the_ceiling_and_one_event_always_fits(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.delivery.claim.REQUEST_BYTES", 3000)
    large = {"custom_data": {"note": "x" * 4000}}
    append_events(target.pixel, [*(make_event() for _ in range(4)), make_event(**large), make_event()])
    sizes = [len(bytes(payload)) for payload in payloads(target.pixel)]

    take_turn(target.pixel)

    assert sum(sizes[:4]) < 3000 < sizes[4]
    assert deliveries(target.pixel) == [(0, 3, "accepted"), (4, 4, "accepted"), (5, 5, "accepted")]


def payloads(pixel: Pixel) -> list[bytes]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM events_event WHERE pixel_id = %s ORDER BY log_offset", [pixel.pk])
        return [payload for (payload,) in cursor.fetchall()]


def test_an_unknown_pixel_is_nothing_to_do(target: ConnectedPixel, take_turn: TakeTurn) -> None:
    assert take_turn(Pixel(pk=2**62)).idle == Idle.UNKNOWN
    assert take_turn(make_pixel()).idle == Idle.UNKNOWN


def test_a_pixel_without_a_credential_waits_and_is_looked_at_again(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    Credential.objects.all().delete()
    append_count(target.pixel, 1)

    assert take_turn(target.pixel).idle == Idle.UNCONNECTED
    assert take_turn(target.pixel).idle == Idle.NOT_DUE
    save_pasted_token(pixel=target.pixel, token=Secret(target.access_token), created_by=None)
    let_time_pass(target.pixel)
    assert take_turn(target.pixel).deliveries == 1


def test_a_token_that_does_not_open_pauses_the_pixel_and_keeps_the_events(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    SealedToken.objects.update(vault_identity="token:another")
    append_count(target.pixel, 1)

    assert take_turn(target.pixel).idle == Idle.NOT_DUE

    assert deliveries(target.pixel) == [(0, 0, "waiting")]
    assert Attempt.objects.count() == 0
    assert stored_ids(sandbox, target.pixel) == []


@pytest.mark.parametrize(
    ("knob", "failure_class", "outcome"),
    [
        ({"kind": "error", "code": 2}, "transient", "refused"),
        ({"kind": "error", "code": 987654}, "transient", "refused"),
        ({"kind": "error", "code": 4}, "rate_limited", "refused"),
        ({"kind": "error", "code": 80004, "subcode": 2446079}, "rate_limited", "refused"),
    ],
)
def test_a_passing_refusal_backs_off_and_is_sent_again(
    knob: dict[str, Any],
    failure_class: str,
    outcome: str,
    target: ConnectedPixel,
    sandbox: SandboxProcess,
    take_turn: TakeTurn,
) -> None:
    sandbox.client.add_knob(str(knob.pop("kind")), count=1, **knob)
    ids = append_count(target.pixel, 3)

    assert take_turn(target.pixel).idle == Idle.NOT_DUE
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.failure_class, delivery.attempts) == ("waiting", failure_class, 1)
    assert delivery.due_at is not None
    assert stored_ids(sandbox, target.pixel) == []
    assert audit(sandbox.client, [target.pixel]).findings == []

    let_time_pass(target.pixel)
    assert take_turn(target.pixel).idle == Idle.ASLEEP

    delivery.refresh_from_db()
    assert (delivery.state, delivery.failure_class, delivery.code, delivery.attempts) == (
        "accepted",
        "",
        None,
        2,
    )
    assert list(Attempt.objects.order_by("pk").values_list("outcome", flat=True)) == [outcome, "accepted"]
    assert stored_ids(sandbox, target.pixel) == ids


def test_a_wait_that_meta_names_holds_for_the_whole_pixel(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("error", code=80004, subcode=2446079, regain_minutes=7, count=1)
    append_count(target.pixel, 1)

    take_turn(target.pixel)

    floor = timezone.now() + timedelta(minutes=7, seconds=-5)
    due_at = Delivery.objects.get().due_at
    assert due_at is not None
    assert due_at > floor
    assert log_of(target.pixel).due_at > floor


def test_what_never_left_is_unsent_and_no_doubt(
    target: ConnectedPixel, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_count(target.pixel, 1)
    monkeypatch.setattr("tests.events.delivery.conftest.deliver_pixel", refused_connection())

    assert take_turn(target.pixel).idle == Idle.NOT_DUE

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.failure_class, delivery.doubts) == ("waiting", "unsent", 0)
    assert Attempt.objects.get().outcome == "unsent"


def refused_connection() -> Callable[[int, object], object]:
    from events.delivery.engine import deliver_pixel
    from partnerhub.lib.graph import GraphClient

    client = GraphClient(base_url="http://127.0.0.1:9", version="v26.0")
    return lambda pixel_id, _: deliver_pixel(pixel_id, client)


@pytest.mark.parametrize(
    ("knob", "hold"),
    [
        ({"code": 190, "subcode": 460, "status": 401}, "credential"),
        ({"code": 190, "status": 500}, "credential"),
        ({"code": 100, "subcode": 33}, "permission"),
        ({"code": 200}, "permission"),
        ({"code": 10}, "permission"),
    ],
)
def test_a_refusal_that_a_person_must_mend_parks_the_pixel_whole(
    knob: dict[str, Any], hold: str, target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    knob_id = sandbox.client.add_knob("error", **knob)
    ids = append_count(target.pixel, 1500)

    assert take_turn(target.pixel).idle == Idle.HELD

    # One call, and the batch is not taken apart.
    assert len(sandbox.client.received_requests(target.pixel.meta_id)) == 1
    assert deliveries(target.pixel) == [(0, 999, "waiting")]
    assert Pixel.objects.get(pk=target.pixel.pk).hold == hold
    assert Credential.objects.get().state == "refused"
    assert take_turn(target.pixel).idle == Idle.HELD
    assert audit(sandbox.client, [target.pixel]).findings == []

    sandbox.client.remove_knob(knob_id)
    release_pixel(pixel_id=target.pixel.pk)
    assert take_turn(target.pixel).idle == Idle.ASLEEP

    assert stored_ids(sandbox, target.pixel) == ids
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_dead_token_that_was_replaced_on_the_way_holds_nothing(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from events.delivery import engine
    from events.delivery.send import Parcel, send

    sandbox.client.set_token_state(target.access_token, "revoked")
    append_count(target.pixel, 1)

    def replaced_meanwhile(parcel: Parcel, client: object) -> object:
        outcome = send(parcel, client)  # type: ignore[arg-type]
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            save_pasted_token(pixel=target.pixel, token=Secret("EAAnew-token"), created_by=None)
        monkeypatch.undo()
        return outcome

    sandbox.client.put_token("EAAnew-token", pixels=[target.pixel.meta_id])
    monkeypatch.setattr(engine, "send", replaced_meanwhile)

    assert take_turn(target.pixel).idle == Idle.ASLEEP

    assert not Pixel.objects.get(pk=target.pixel.pk).hold
    assert len(stored_ids(sandbox, target.pixel)) == 1


@pytest.mark.parametrize(
    "knob",
    [
        {"kind": "cut"},
        {"kind": "html"},
        {"kind": "text"},
        {"kind": "html", "status": 200, "store": True},
        {"kind": "cut", "store": True},
        {"kind": "huge"},
    ],
)
def test_no_answer_of_graphs_is_a_doubt_and_is_sent_again(
    knob: dict[str, Any], target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    knob = dict(knob)
    was_stored = knob.get("store", knob["kind"] == "huge")
    sandbox.client.add_knob(str(knob.pop("kind")), count=1, **knob)
    ids = append_count(target.pixel, 2)

    assert take_turn(target.pixel).idle is None
    assert take_turn(target.pixel).idle == Idle.ASLEEP
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.doubts, delivery.failure_class) == ("doubt", 1, "in_doubt")
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert audited.accounts[target.pixel.pk].in_doubt == 2

    let_time_pass(target.pixel)
    take_turn(target.pixel)

    delivery.refresh_from_db()
    assert (delivery.state, delivery.doubts) == ("accepted", 1)
    assert list(Attempt.objects.order_by("pk").values_list("outcome", flat=True)) == ["doubt", "accepted"]
    assert stored_ids(sandbox, target.pixel) == ids
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert audited.accounts[target.pixel.pk].surplus == (2 if was_stored else 0)


def test_a_turn_without_an_answer_ends_for_it_may_have_been_long(
    target: ConnectedPixel, take_turn: TakeTurn, sandbox: SandboxProcess, hints: list[tuple[str, int]]
) -> None:
    sandbox.client.add_knob("cut")
    append_count(target.pixel, 1500)

    turn = take_turn(target.pixel)

    assert (turn.deliveries, turn.idle, hints) == (1, None, [("events.deliver", target.pixel.pk)])
    assert deliveries(target.pixel) == [(0, 999, "doubt")]


def test_a_doubt_is_sent_again_twice_and_then_kept_for_a_person(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("cut")
    append_count(target.pixel, 1)

    for _ in range(5):
        take_turn(target.pixel)
        let_time_pass(target.pixel)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.doubts, delivery.attempts, delivery.due_at) == ("doubt", 3, 3, None)
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_refusal_after_a_doubt_leaves_it_in_doubt(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("cut", store=True, count=1)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    sandbox.client.add_knob("error", code=2, count=1)
    let_time_pass(target.pixel)

    take_turn(target.pixel)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.doubts, delivery.failure_class) == ("doubt", 1, "transient")
    assert delivery.due_at is not None


@pytest.mark.parametrize("received", [0, 1, 3, "3", None, -5, 2**70])
def test_another_count_than_ours_is_accepted_with_a_finding(
    received: object,
    target: ConnectedPixel,
    sandbox: SandboxProcess,
    take_turn: TakeTurn,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options: dict[str, Any] = {} if received is None else {"events_received": received}
    sandbox.client.add_knob("received", count=1, **options)
    append_count(target.pixel, 2)

    take_turn(target.pixel)

    delivery = Delivery.objects.get()
    expected = received if isinstance(received, int) and abs(received) < 2**63 else None
    assert (delivery.state, delivery.events_received) == ("accepted", expected)
    assert "Graph counted other than we sent" in caplog.text
    [finding] = delivery_findings(target.pixel)
    assert (finding.delivery, finding.events_sent, finding.events_received) == (delivery, 2, expected)
    assert finding.fbtrace_id == delivery.fbtrace_id
    assert len(stored_ids(sandbox, target.pixel)) == 2


@pytest.mark.parametrize("guilty", [[0], [999], [500], [0, 1], [3, 400, 998], list(range(90, 120))])
def test_halving_finds_exactly_the_guilty(
    guilty: list[int], target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    ids = append_count(target.pixel, 1000)
    bad = [ids[offset] for offset in guilty]
    sandbox.client.add_knob(
        "error",
        code=100,
        subcode=2804010,
        event_ids=bad,
        error_data={"blame_field_specs": [["custom_data", "currency"]]},
    )

    while take_turn(target.pixel).idle is None:
        pass

    assert list(
        Rejection.objects.order_by("log_offset").values_list(
            "log_offset", "reason", "code", "subcode", "field"
        )
    ) == [(offset, "refused", 100, 2804010, "custom_data.currency") for offset in guilty]
    assert sorted(stored_ids(sandbox, target.pixel), key=str) == sorted(set(ids) - set(bad))
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    assert audited.accounts[target.pixel.pk].surplus == 0
    if len(guilty) == 1:
        # The batch, and a half at each step down.
        assert Attempt.objects.filter(outcome="refused").count() <= 11


def test_halving_goes_on_after_a_back_off_in_the_middle(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    ids = append_count(target.pixel, 16)
    sandbox.client.add_knob("error", code=100, event_ids=[ids[5]])
    take_turn(target.pixel)
    sandbox.client.add_knob("error", code=4, count=1)
    take_turn(target.pixel)

    while take_turn(target.pixel).idle is not Idle.ASLEEP:
        let_time_pass(target.pixel)
    let_time_pass(target.pixel)
    take_turn(target.pixel)

    assert list(Rejection.objects.values_list("log_offset", flat=True)) == [5]
    assert len(stored_ids(sandbox, target.pixel)) == 15
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_one_that_meta_finds_too_old_is_found_by_halving_and_rejected_as_that(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    ids = append_count(target.pixel, 10)
    sandbox.client.add_knob("error", code=100, subcode=2804003, event_ids=[ids[7]])

    while take_turn(target.pixel).idle is None:
        pass

    rejection = Rejection.objects.get()
    assert (rejection.log_offset, rejection.reason, rejection.subcode) == (7, "too_old", 2804003)
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_events_too_old_by_now_are_rejected_before_sending_and_the_rest_is_sent(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    now = int(time.time())
    week = now - 7 * DAY
    # The margin is an hour: what has 30 minutes left is not sent, what has two hours is.
    events = [
        make_event(event_time=week + 1800),
        make_event(event_time=week + 7200),
        make_event(event_time=now - 40 * DAY, action_source="physical_store"),
    ]
    ids = append_events(target.pixel, events)

    take_turn(target.pixel)

    assert list(Rejection.objects.values_list("log_offset", "reason", "code")) == [(0, "too_old", None)]
    assert stored_ids(sandbox, target.pixel) == ids[1:]
    assert len(sandbox.client.received_requests(target.pixel.meta_id)) == 1
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_range_of_which_nothing_is_left_is_rejected_without_a_call(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    append_events(target.pixel, [make_event(event_time=int(time.time()) - 7 * DAY + 60) for _ in range(2)])

    assert take_turn(target.pixel).idle == Idle.ASLEEP

    assert deliveries(target.pixel) == [(0, 1, "rejected")]
    assert Rejection.objects.count() == 2
    assert sandbox.client.received_requests(target.pixel.meta_id) == []
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_what_is_in_doubt_never_turns_into_too_old(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("cut", store=True, count=1)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_event SET expires_at = now()")
    let_time_pass(target.pixel)

    take_turn(target.pixel)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.due_at, delivery.attempts) == ("doubt", None, 1)
    assert Rejection.objects.count() == 0
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_what_is_in_doubt_stays_so_where_meta_finds_it_too_old(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("cut", store=True, count=1)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    sandbox.client.add_knob("error", code=100, subcode=2804003)
    let_time_pass(target.pixel)

    take_turn(target.pixel)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.due_at, delivery.doubts) == ("doubt", None, 1)
    assert Rejection.objects.count() == 0
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_the_halves_of_a_doubt_are_doubts(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    sandbox.client.add_knob("cut", store=True, count=1)
    ids = append_count(target.pixel, 4)
    take_turn(target.pixel)
    sandbox.client.add_knob("error", code=100, event_ids=[ids[0]])
    let_time_pass(target.pixel)

    while take_turn(target.pixel).idle is None:
        pass

    halves = Delivery.objects.filter(kind="half")
    assert {half.doubts for half in halves} == {1}
    assert halves.filter(state="accepted").exists()
    # Refused now, and yet at Meta since the send that nobody answered: a doubt on record explains it.
    assert Rejection.objects.get().log_offset == 0
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_a_clash_found_at_the_door_is_not_sent(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    ids = append_events(target.pixel, [make_event(event_id="one", event_source_url="https://a.example/")])
    append_events(
        target.pixel,
        [make_event(event_id="one", event_source_url="https://b.example/"), make_event(event_id="two")],
    )

    take_turn(target.pixel)

    assert stored_ids(sandbox, target.pixel) == [*ids, "two"]
    audited = audit(sandbox.client, [target.pixel])
    assert audited.findings == []
    account = audited.accounts[target.pixel.pk]
    assert (account.taken, account.accepted, account.rejected) == (3, 2, 1)


def test_a_pixel_has_no_more_sends_at_once_than_its_share(
    target: ConnectedPixel,
    as_role: Callable[[str], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", 1)
    append_count(target.pixel, FIRST_WIDTH + 2)

    with as_role("worker"):
        claims = [claim_next(target.pixel.pk) for _ in range(FIRST_WIDTH + 1)]

    assert [type(claim) for claim in claims] == [Claim] * FIRST_WIDTH + [Idle]
    assert claims[-1] == Idle.BUSY


def test_one_pixels_trouble_is_not_its_neighbours(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    neighbour = make_connected_pixel(target.pixel.advertiser)
    introduce(sandbox, neighbour)
    sandbox.client.add_knob("error", pixel_id=target.pixel.meta_id, code=190)
    for pixel in (target.pixel, neighbour.pixel):
        append_count(pixel, 2)

    assert take_turn(target.pixel).idle == Idle.HELD
    assert take_turn(neighbour.pixel).idle == Idle.ASLEEP

    assert len(stored_ids(sandbox, neighbour.pixel)) == 2


def test_a_batch_of_which_most_is_refused_is_taken_apart_slowly_and_blocks_nothing(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    bad = append_count(target.pixel, 400)
    sandbox.client.add_knob("error", code=100, event_ids=bad)

    while take_turn(target.pixel).idle is None:
        pass

    at_once = Attempt.objects.filter(outcome="refused").count()
    assert REFUSALS_AT_ONCE <= at_once < 2 * REFUSALS_AT_ONCE
    fresh = append_count(target.pixel, 1)
    take_turn(target.pixel)
    assert stored_ids(sandbox, target.pixel) == fresh
    for _ in range(20):
        let_time_pass(target.pixel)
        while take_turn(target.pixel).idle is None:
            pass
    assert Rejection.objects.count() == 400
    assert audit(sandbox.client, [target.pixel]).findings == []


def test_sends_widen_with_quick_answers_and_narrow_with_refusals(
    target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn
) -> None:
    PixelLog.objects.filter(pk=target.pixel.pk).update(width=1)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    assert log_of(target.pixel).width == 2

    PixelLog.objects.filter(pk=target.pixel.pk).update(width=8)
    sandbox.client.add_knob("error", code=613, count=1)
    append_count(target.pixel, 1)
    take_turn(target.pixel)
    assert log_of(target.pixel).width == 4

    sandbox.client.add_knob("cut", count=1)
    let_time_pass(target.pixel)
    take_turn(target.pixel)
    assert log_of(target.pixel).width == 1
