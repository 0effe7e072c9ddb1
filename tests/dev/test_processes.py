"""The local processes: one run a checkout, and the words around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from partnerhub.dev.ports import PREFERRED, Ports
from partnerhub.dev.postgres import CHECKOUT
from partnerhub.dev.processes import AlreadyRunning, process_specs, say_step, sole_run, step


def test_second_run_in_a_checkout_is_refused(tmp_path: Path) -> None:
    with (
        sole_run(tmp_path),
        pytest.raises(
            AlreadyRunning, match=r"^PartnerHub is already running in this checkout: stop it first\.$"
        ),
        sole_run(tmp_path),
    ):
        pass


def test_next_run_begins_when_the_last_has_ended(tmp_path: Path) -> None:
    with sole_run(tmp_path):
        pass
    with sole_run(tmp_path):
        pass


def test_every_process_has_a_sign_of_being_ready() -> None:
    specs = process_specs(Ports(PREFERRED), {})

    assert [spec.name for spec in specs] == ["sandbox", "web", "collector", "worker", "beat"]
    assert all(spec.ready_url or spec.ready_text for spec in specs)


def test_background_processes_take_the_workers_role_whatever_we_were_started_as() -> None:
    specs = process_specs(Ports(PREFERRED), {"PROCESS": "operator"})

    assert {spec.name: spec.env["PROCESS"] for spec in specs} == {
        "sandbox": "web",
        "web": "web",
        "collector": "web",
        "worker": "worker",
        "beat": "worker",
    }


def test_step_is_a_line_with_its_time() -> None:
    lines: list[str] = []

    say_step("PostgreSQL ready", 1.24, lines.append)

    assert lines == ["  PostgreSQL ready                                1.2 s"]


def test_step_that_fails_says_nothing() -> None:
    lines: list[str] = []

    with pytest.raises(ValueError, match="no"), step("database migrated", lines.append):
        raise ValueError("no")

    assert lines == []


def test_unknown_command_is_told_which_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "partnerhub.dev", "start"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m partnerhub.dev COMMAND\n")
