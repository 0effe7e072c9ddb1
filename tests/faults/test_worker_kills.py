"""Workers killed at named points under load, another at work beside them: nothing is lost, and nothing is sent
twice but what a recorded doubt explains.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from events.ledger import Audit
from events.models import Delivery, Rejection
from tests.support.collector import CollectorProcess
from tests.support.drain import wait_until_drained
from tests.support.driver import Driver, ids_of
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
KILL_SECONDS = 60
# So many are doomed, each at its third pass.
KILLS = 3
PASSES = 3


def kill_under_load(
    point: str,
    targets: Sequence[ConnectedPixel],
    sandbox: SandboxProcess,
    record: Path,
    *,
    guilty: Sequence[str] = (),
) -> Audit:
    """The books after workers were killed at the point while events came in and another worker went on.

    Meta refuses the events whose ids are `guilty`, and with each the request it is in.
    """
    settings: dict[str, Any] = SHORT | {"GRAPH_API_BASE_URL": sandbox.base_url}
    with CollectorProcess() as collector:
        driver = Driver(collector.base_url, targets, record=record, batch=BATCH, rest_seconds=REST_SECONDS)
        if guilty:
            sandbox.client.add_knob("error", code=100, subcode=2804010, event_ids=list(guilty))
        with WorkerProcess(**settings) as other, ExitStack() as stack:
            crash_points = f"{point}:kill:{PASSES}"
            doomed = [
                stack.enter_context(WorkerProcess(crash_points=crash_points, **settings | ALONE))
                for _ in range(KILLS)
            ]
            with driver:
                wait_until(
                    lambda: all(worker.exit_code is not None for worker in doomed),
                    seconds=KILL_SECONDS,
                    what="the kills",
                )
                assert [worker.exit_code for worker in doomed] == [-signal.SIGKILL] * KILLS
                assert other.exit_code is None
                # The load goes on meanwhile, and until each of the guilty was sent.
                enough = max(driver.batches + 20, len(guilty) + 1)
                wait_until(lambda: driver.batches >= enough, what="more load")
            wait_until_drained(target.pixel for target in targets)
    told = driver.told()
    assert {status for answers in told.values() for status in answers.values()} == {200}
    return audit(sandbox.client, [target.pixel for target in targets], told=told)


def test_killed_after_its_claim_nothing_is_in_doubt_and_nothing_repeats(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    audited = kill_under_load("after_claim", targets, sandbox, tmp_path / "told")

    assert audited.findings == []
    assert (audited.total("doubts"), audited.total("surplus")) == (0, 0)
    assert not Delivery.objects.filter(doubts__gt=0).exists()
    assert audited.total("accepted") == audited.total("taken") > 0


@pytest.mark.parametrize(
    ("point", "was_stored"),
    # In the middle of a send, Graph may have it all or not.
    [("after_mark", False), ("mid_send", None), ("after_send", True), ("before_settle", True)],
)
def test_killed_between_mark_and_settle_its_delivery_is_in_doubt_and_sent_again(
    point: str,
    was_stored: bool | None,
    targets: list[ConnectedPixel],
    sandbox: SandboxProcess,
    broker: None,
    tmp_path: Path,
) -> None:
    audited = kill_under_load(point, targets, sandbox, tmp_path / "told")

    assert audited.findings == []
    assert audited.total("accepted") == audited.total("taken") > 0
    # Each kill left one attempt without its outcome, and nothing else did.
    assert audited.total("doubts") == KILLS
    doubted = Delivery.objects.filter(doubts__gt=0)
    assert {delivery.state for delivery in doubted} == {"accepted"}
    copies = sum(delivery.doubts * (delivery.events_sent or 0) for delivery in doubted)
    if was_stored is None:
        assert audited.total("surplus") <= copies
    else:
        assert audited.total("surplus") == (copies if was_stored else 0)


def test_killed_after_it_settled_nothing_is_in_doubt_and_nothing_repeats(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    audited = kill_under_load("after_settle", targets, sandbox, tmp_path / "told")

    assert audited.findings == []
    assert (audited.total("doubts"), audited.total("surplus")) == (0, 0)
    assert not Delivery.objects.filter(doubts__gt=0).exists()
    assert audited.total("accepted") == audited.total("taken") > 0


def test_killed_in_the_middle_of_a_split_the_guilty_and_nobody_else_are_rejected(
    targets: list[ConnectedPixel], sandbox: SandboxProcess, broker: None, tmp_path: Path
) -> None:
    # One in each of the first batches, at another place each time.
    guilty = {ids_of(batch, BATCH)[batch % BATCH] for batch in range(30)}

    audited = kill_under_load("mid_split", targets, sandbox, tmp_path / "told", guilty=sorted(guilty))

    assert audited.findings == []
    assert set(Rejection.objects.values_list("event_id", flat=True)) == guilty
    assert audited.total("accepted") == audited.total("taken") - len(guilty)
    # The kill came between Graph's refusal, which stored nothing, and the books.
    assert audited.total("surplus") == 0
