"""The ledger check: right books pass, and each rule that is broken by hand is named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from events.delivery.claim import claim_next
from events.ledger import AtMeta, Audit, audit_ledger
from onboarding.models import Pixel
from tests.events.delivery.conftest import TakeTurn, let_time_pass
from tests.support.factories import ConnectedPixel, hold, make_pixel
from tests.support.ledger import at_meta, audit
from tests.support.log import append_count, append_events, make_event
from tests.support.sandbox import SandboxProcess


@pytest.fixture
def delivered(target: ConnectedPixel, sandbox: SandboxProcess, take_turn: TakeTurn) -> ConnectedPixel:
    """A pixel with a split, a rejection, an accepted doubt, a delivery that backs off, and new events."""
    ids = append_count(target.pixel, 8)
    sandbox.client.add_knob("error", code=100, event_ids=[ids[2]])
    while take_turn(target.pixel).idle is None:
        pass
    sandbox.client.add_knob("cut", store=True, count=1)
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    let_time_pass(target.pixel)
    take_turn(target.pixel)
    sandbox.client.add_knob("error", code=2, count=1)
    append_count(target.pixel, 3)
    take_turn(target.pixel)
    append_count(target.pixel, 4)
    assert audit(sandbox.client, [target.pixel]).findings == []
    return target


def sql(statement: str, *parameters: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        changed: int = cursor.rowcount
        return changed


def rules(audited: Audit) -> set[str]:
    return {finding.rule for finding in audited.findings}


def test_right_books_are_counted(delivered: ConnectedPixel, sandbox: SandboxProcess) -> None:
    account = audit(sandbox.client, [delivered.pixel]).accounts[delivered.pixel.pk]

    assert (account.taken, account.accepted, account.rejected, account.waiting) == (17, 9, 1, 7)
    assert (account.in_flight, account.in_doubt, account.doubts, account.surplus) == (0, 0, 1, 2)


def test_what_is_claimed_and_what_is_in_doubt_have_their_columns(
    target: ConnectedPixel,
    sandbox: SandboxProcess,
    take_turn: TakeTurn,
    as_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    sandbox.client.add_knob("cut", count=1)
    append_count(target.pixel, 2)
    take_turn(target.pixel)
    append_count(target.pixel, 3)
    with as_role("worker"):
        claim_next(target.pixel.pk)

    audited = audit(sandbox.client, [target.pixel])

    account = audited.accounts[target.pixel.pk]
    assert (account.in_doubt, account.in_flight, account.waiting) == (2, 3, 0)
    assert audited.findings == []


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("L1", "DELETE FROM events_event WHERE log_offset = 14"),
        ("L1", "UPDATE events_pixellog SET head = head + 1"),
        (
            "L1",
            (
                "INSERT INTO events_event SELECT advertiser_id, pixel_id, log_offset, received_at + interval '1 us',"
                " expires_at, origin, event_name, event_id || 'x', payload, notices FROM events_event"
                " WHERE log_offset = 14"
            ),
        ),
        ("L3", "UPDATE events_delivery SET last_offset = 8, state = 'accepted' WHERE first_offset = 8"),
        ("L3", "UPDATE events_delivery SET parent_id = NULL WHERE parent_id IS NOT NULL"),
        ("L3", "UPDATE events_delivery SET state = 'split' WHERE first_offset = 10"),
        ("L4", "DELETE FROM events_rejection"),
        ("L4", "UPDATE events_rejection SET event_id = 'another'"),
        ("L4", "UPDATE events_delivery SET state = 'rejected' WHERE first_offset = 10"),
        ("L4", "UPDATE events_pixellog SET tail = tail + 1"),
        ("L5", "UPDATE events_hourlycount SET taken = taken - 1"),
        ("L5", "DELETE FROM events_hourlycount"),
        ("L6", "UPDATE events_event SET payload = '{}' WHERE log_offset = 0"),
        ("L6", "UPDATE events_delivery SET state = 'accepted' WHERE first_offset = 10"),
        (
            "L6",
            (
                "INSERT INTO events_rejection (advertiser_id, pixel_id, log_offset, received_at, reason, event_name,"
                " event_id) SELECT advertiser_id, pixel_id, log_offset, received_at, 'refused', event_name, event_id"
                " FROM events_event WHERE log_offset = 0"
            ),
        ),
        ("L7", "UPDATE events_attempt SET outcome = 'refused' WHERE outcome = 'doubt'"),
        ("L9", "UPDATE events_pixellog SET awake = false"),
        ("L9", "UPDATE events_delivery SET due_at = NULL WHERE state = 'waiting'"),
        (
            "L9",
            (
                "UPDATE events_delivery SET state = 'claimed', lease_token = gen_random_uuid(),"
                " lease_until = now() - interval '1 s' WHERE state = 'waiting'"
            ),
        ),
    ],
)
def test_what_is_wrong_is_found(
    rule: str, statement: str, delivered: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    assert sql(statement) >= 1

    assert rule in rules(audit(sandbox.client, [delivered.pixel]))


def test_an_event_of_another_advertiser_is_found(delivered: ConnectedPixel, sandbox: SandboxProcess) -> None:
    other = make_pixel().advertiser_id

    sql("UPDATE events_event SET advertiser_id = %s WHERE log_offset = 0", other)

    assert "L8" in rules(audit(sandbox.client, [delivered.pixel]))


def test_what_doors_answered_is_held_against_the_log(target: ConnectedPixel, sandbox: SandboxProcess) -> None:
    append_events(target.pixel, [make_event(event_id=name) for name in ("kept", "refused", "open")])
    told = {
        ("PageView", "kept"): 200,
        ("PageView", "open"): 503,
        ("PageView", "gone"): 0,
    }

    assert audit(sandbox.client, [target.pixel], told={target.pixel.pk: told}).findings == []
    told[("PageView", "lost")] = 200
    told[("PageView", "refused")] = 400
    found = audit(sandbox.client, [target.pixel], told={target.pixel.pk: told}).findings

    assert [(finding.rule, finding.text) for finding in found] == [
        ("L2", "1 events answered 200 and not kept: PageView lost"),
        ("L2", "1 events refused and kept: PageView refused"),
    ]


def test_what_meta_holds_and_we_never_took_is_found(target: ConnectedPixel, sandbox: SandboxProcess) -> None:
    held = at_meta(sandbox.client, target.pixel) | {("Lead", "from nowhere"): AtMeta(1, "0" * 32)}

    audited = audit_ledger([target.pixel.pk], at_meta={target.pixel.pk: held})

    assert [finding.text for finding in audited.findings] == [
        "1 events at Meta and not in the log: Lead from nowhere"
    ]


def test_a_held_pixels_events_may_sleep(delivered: ConnectedPixel, sandbox: SandboxProcess) -> None:
    hold(delivered.pixel, Pixel.Hold.CREDENTIAL)
    sql("UPDATE events_pixellog SET awake = false")

    assert audit(sandbox.client, [delivered.pixel]).findings == []


def test_a_lease_that_just_ended_is_nobodys_fault(
    target: ConnectedPixel,
    sandbox: SandboxProcess,
    as_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    append_count(target.pixel, 1)
    with as_role("worker"):
        claim_next(target.pixel.pk)
    let_time_pass(target.pixel)

    assert rules(audit(sandbox.client, [target.pixel])) == {"L9"}
    assert audit(sandbox.client, [target.pixel], overdue_seconds=30).findings == []


def test_the_command_prints_a_line_a_pixel_and_the_verdict(delivered: ConnectedPixel) -> None:
    out = StringIO()

    call_command("ledger", "check", stdout=out)

    head, line, verdict = out.getvalue().splitlines()
    assert head.split() == [
        "pixel",
        "taken",
        "accepted",
        "rejected",
        "in",
        "flight",
        "in",
        "doubt",
        "waiting",
        "doubts",
    ]
    assert line.split() == [delivered.pixel.meta_id, "17", "9", "1", "0", "0", "7", "1"]
    assert verdict == "1 pixels: the books are right"


def test_the_command_ends_with_one_where_a_rule_does_not_hold(delivered: ConnectedPixel) -> None:
    out = StringIO()
    sql("UPDATE events_hourlycount SET taken = taken + 1")

    with pytest.raises(SystemExit) as ended:
        call_command("ledger", "check", "--pixel", str(delivered.pixel.pk), stdout=out)

    assert ended.value.code == 1
    assert f"L5 pixel {delivered.pixel.pk}: PageView at " in out.getvalue()
    assert out.getvalue().splitlines()[-1].endswith("1 findings")
