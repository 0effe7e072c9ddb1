"""Workers killed at named points under load, another at work beside them: nothing is lost, and nothing is sent
twice but what a recorded doubt explains.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from events.ledger import Account, Audit
from events.models import Attempt, Delivery, PixelLog, Rejection
from tests.support.collector import CollectorProcess
from tests.support.driver import Driver
from tests.support.factories import ConnectedPixel
from tests.support.ledger import audit
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until

# Short leases, so that a dead worker's work is taken over soon; a busy machine still answers within the deadline.
SHORT = {
    "DELIVERY_DEADLINE_SECONDS": "3",
    "DELIVERY_LEASE_SECONDS": "4",
    "DELIVERY_IDLE_SECONDS": "0.3",
}
# One thread, and no look of its own: nothing else of this process is under way when it dies.
ALONE = {"WORKER_THREADS": "1", "DELIVERY_IDLE_SECONDS": "100"}
BATCH = 20
REST_SECONDS = 0.03
# The doomed one dies at its third pass.
PASSES = 3
DRAIN_SECONDS = 60.0


def is_drained(targets: Sequence[ConnectedPixel]) -> bool:
    pixels = [target.pixel.pk for target in targets]
    unclaimed = any(log.unclaimed for log in PixelLog.objects.filter(pixel__in=pixels))
    return not unclaimed and not Delivery.objects.filter(
        pixel__in=pixels, state__in=["waiting", "claimed", "sending", "doubt"]
    )


def kill_under_load(
    point: str, targets: Sequence[ConnectedPixel], sandbox: SandboxProcess, record: Path, *, guilty: int = 0
) -> Audit:
    """The books after a worker was killed at the point while events came in and another worker went on.

    Of each of the first `guilty` batches Meta refuses one event.
    """
    settings = SHORT | {"GRAPH_API_BASE_URL": sandbox.base_url}
    with CollectorProcess() as collector:
        driver = Driver(collector.base_url, targets, record=record, batch=BATCH, rest_seconds=REST_SECONDS)
        if guilty:
            bad = [driver.ids_of(batch)[batch % BATCH] for batch in range(guilty)]
            sandbox.client.add_knob("error", code=100, subcode=2804010, event_ids=bad)
        with (
            WorkerProcess(crash_points=f"{point}:kill:{PASSES}", **settings | ALONE) as doomed,
            WorkerProcess(**settings) as other,
        ):
            with driver:
                wait_until(lambda: doomed.exit_code is not None, seconds=30, what="the kill")
                assert doomed.exit_code == -signal.SIGKILL
                assert other.exit_code is None
                dead_at = driver.batches
                # The load goes on meanwhile.
                wait_until(lambda: driver.batches >= dead_at + 20, what="more load")
            wait_until(lambda: is_drained(targets), seconds=DRAIN_SECONDS, what="the drain")
    told = driver.told()
    assert {status for answers in told.values() for status in answers.values()} == {200}
    return audit(sandbox.client, [target.pixel for target in targets], told=told)


def total(audited: Audit, column: str) -> int:
    return sum(getattr(account, column) for account in audited.accounts.values())


def test_killed_after_its_claim_nothing_is_in_doubt_and_nothing_repeats(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    audited = kill_under_load("after_claim", targets, sandbox, tmp_path / "told")

    assert audited.findings == []
    assert (total(audited, "doubts"), total(audited, "surplus")) == (0, 0)
    assert total(audited, "accepted") == total(audited, "taken") > 0


@pytest.mark.parametrize(
    ("point", "was_stored"),
    [("after_mark", False), ("mid_send", False), ("after_send", True), ("before_settle", True)],
)
def test_killed_between_mark_and_settle_its_delivery_is_in_doubt_and_sent_again_once(
    point: str,
    was_stored: bool,
    targets: list[ConnectedPixel],
    sandbox: SandboxProcess,
    broker: None,
    tmp_path: Path,
) -> None:
    audited = kill_under_load(point, targets, sandbox, tmp_path / "told")

    assert audited.findings == []
    assert total(audited, "accepted") == total(audited, "taken") > 0
    doubted = Delivery.objects.get(doubts__gt=0)
    assert doubted.doubts == 1
    assert list(
        Attempt.objects.filter(delivery=doubted).order_by("pk").values_list("outcome", flat=True)
    ) == ["doubt", "accepted"]
    size = doubted.last_offset - doubted.first_offset + 1
    assert total(audited, "surplus") == (size if was_stored else 0)


def test_killed_after_it_settled_nothing_is_in_doubt_and_nothing_repeats(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    audited = kill_under_load("after_settle", targets, sandbox, tmp_path / "told")

    assert audited.findings == []
    assert (total(audited, "doubts"), total(audited, "surplus")) == (0, 0)
    assert total(audited, "accepted") == total(audited, "taken") > 0


def test_killed_in_the_middle_of_a_split_the_guilty_and_nobody_else_are_rejected(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    audited = kill_under_load("mid_split", targets, sandbox, tmp_path / "told", guilty=30)

    assert audited.findings == []
    rejected = set(Rejection.objects.values_list("event_id", flat=True))
    guilty = {
        event_id
        for event_id in rejected
        if int(event_id.split("-")[2]) % BATCH == int(event_id.split("-")[3])
    }
    assert rejected == guilty
    assert len(guilty) == 30
    accounts: list[Account] = list(audited.accounts.values())
    assert sum(account.accepted for account in accounts) == total(audited, "taken") - 30
    # The kill came after Graph's refusal, which stored nothing, and before it was written down.
    assert total(audited, "surplus") == 0
