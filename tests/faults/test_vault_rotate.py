"""The master keys are rotated while events are delivered, the rotation killed in the middle and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onboarding.models import SealedToken
from onboarding.services.tokens import seal_token
from partnerhub.lib.vault import Secret, new_key_line
from tenants.models import Advertiser, PartnerCredential
from tenants.sealed import count_by_key
from tenants.secrets import vault
from tests.support.collector import CollectorProcess
from tests.support.drain import wait_until_drained
from tests.support.driver import Driver
from tests.support.factories import ConnectedPixel
from tests.support.ledger import audit
from tests.support.sandbox import SandboxProcess
from tests.support.vault import master_keys
from tests.support.worker import WorkerProcess, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
OLD, NEW = os.environ["VAULT_KEYS"], new_key_line("new")
OLD_NAME = OLD.partition(":")[0]
BATCH = 10
# Beside those of the pixels that events are sent to.
OTHERS = 60
RUN_SECONDS = 60


def rotating(**settings: str) -> subprocess.Popen[str]:
    """`vault rotate` as its own process, under the new key, with the old one behind it."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "vault", "rotate", "--batch", str(BATCH)],
        cwd=CHECKOUT,
        env={**os.environ, "PROCESS": "operator", "VAULT_KEYS": f"{NEW},{OLD}", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Exit code, lines, and what it said on standard error."""
    said, complaints = process.communicate(timeout=RUN_SECONDS)
    return process.returncode, said.splitlines(), complaints


def counts() -> dict[str, int]:
    return dict(count_by_key())


@pytest.fixture
def sealed(targets: list[ConnectedPixel]) -> dict[int, str]:
    """Tokens of one advertiser, beside those of the targets, by their keys."""
    advertiser = Advertiser.objects.order_by("pk")[0]
    return {
        seal_token(advertiser_id=advertiser.pk, token=Secret(f"EAAother{number}")).pk: f"EAAother{number}"
        for number in range(OTHERS)
    }


@pytest.mark.parametrize(
    ("crash_points", "kept"),
    [
        # In the third step of the tokens, six of its ten rows written and none of them committed.
        ("mid_rotate:kill:{}", 2 * BATCH),
        # Committed, and nobody told.
        ("after_rotate:kill:4", 3 * BATCH),
    ],
)
def test_killed_in_the_middle_under_load_it_goes_on_and_no_delivery_notices(
    crash_points: str,
    kept: int,
    targets: list[ConnectedPixel],
    sealed: dict[int, str],
    sandbox: SandboxProcess,
    broker: None,
    tmp_path: Path,
) -> None:
    partners = PartnerCredential.objects.count()
    total = partners + SealedToken.objects.count()
    settings: dict[str, Any] = {
        "GRAPH_API_BASE_URL": sandbox.base_url,
        "VAULT_KEYS": f"{NEW},{OLD}",
        "DELIVERY_IDLE_SECONDS": "0.3",
    }
    with CollectorProcess() as collector, WorkerProcess(**settings) as worker:
        driver = Driver(collector.base_url, targets, record=tmp_path / "told", batch=5, rest_seconds=0.02)
        with driver:
            wait_until(lambda: driver.batches >= 5, what="the load")
            point = crash_points.format(partners + 2 * BATCH + 6)

            code, _, _ = ended(rotating(CRASH_POINTS=point))

            assert code == -signal.SIGKILL
            assert counts() == {"new": partners + kept, OLD_NAME: total - partners - kept}
            between = driver.batches
            wait_until(lambda: driver.batches >= between + 10, what="load between the two runs")

            code, lines, _ = ended(rotating())

            assert code == 0
            assert (
                lines[0]
                == f"{total - partners - kept} to seal anew under new: {total - partners - kept} under {OLD_NAME}."
            )
            assert lines[-1] == f"All {total} secrets are under new."
            after = driver.batches
            wait_until(lambda: driver.batches >= after + 10, what="load after it")
        wait_until_drained(target.pixel for target in targets)
        assert "does not open" not in worker.log
    told = driver.told()
    assert {status for answers in told.values() for status in answers.values()} == {200}
    audited = audit(sandbox.client, [target.pixel for target in targets], told=told)
    assert audited.findings == []
    assert (audited.total("rejected"), audited.total("surplus")) == (0, 0)
    assert audited.total("accepted") == audited.total("taken") > 0
    # The old key can go.
    with master_keys(NEW):
        assert {
            row.pk: vault().open(bytes(row.sealed), identity=row.vault_identity).reveal()
            for row in SealedToken.objects.filter(pk__in=sealed)
        } == sealed


def test_ended_by_a_signal_it_says_what_is_left_and_how_to_go_on(
    targets: list[ConnectedPixel], sealed: dict[int, str]
) -> None:
    total = sum(counts().values())
    # Each of its steps takes its time, so that the signal comes in the middle.
    process = rotating(CRASH_POINTS="after_rotate:stall:3:2")
    assert process.stdout is not None
    process.stdout.readline()
    wait_until(lambda: counts().get("new", 0) > len(targets), what="the second step")

    process.send_signal(signal.SIGTERM)
    code, lines, complaints = ended(process)

    found = counts()
    assert code == 1
    assert found["new"] + found[OLD_NAME] == total
    assert (
        lines[-1]
        == f"{found['new']} secrets are under new; left: {found[OLD_NAME]}: {found[OLD_NAME]} under {OLD_NAME}."
    )
    assert complaints.splitlines() == ["CommandError: Stopped. Run it again: it goes on where it stopped."]


def test_two_rotations_at_once_are_one(targets: list[ConnectedPixel], sealed: dict[int, str]) -> None:
    total = sum(counts().values())

    both = [ended(process) for process in [rotating(), rotating()]]

    assert [code for code, _, _ in both] == [0, 0]
    assert counts() == {"new": total}
    with master_keys(NEW):
        for row in SealedToken.objects.filter(pk__in=sealed):
            assert vault().open(bytes(row.sealed), identity=row.vault_identity).reveal() == sealed[row.pk]
