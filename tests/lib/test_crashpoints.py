"""A crash point does nothing, or exactly what CRASH_POINTS says, once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from partnerhub.lib import crashpoints
from partnerhub.lib.crashpoints import NAMES

ROOT = Path(__file__).resolve().parents[2]


def passes(setting: str | None, *names: str) -> subprocess.CompletedProcess[str]:
    """A process that passes these points in order and prints each that it survived."""
    environment = {key: value for key, value in os.environ.items() if key != "CRASH_POINTS"}
    if setting is not None:
        environment["CRASH_POINTS"] = setting
    program = (
        "import sys\nfrom partnerhub.lib.crashpoints import crash_point\n"
        "for name in sys.argv[1:]:\n    crash_point(name)\n    print(name, flush=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *names],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_nothing_happens_where_nothing_is_set() -> None:
    result = passes(None, *sorted(NAMES))

    assert (result.returncode, result.stdout.split()) == (0, sorted(NAMES))


def test_the_process_is_killed_at_the_named_pass() -> None:
    result = passes("after_commit:kill:2", "before_copy", "after_commit", "after_commit")

    assert (result.returncode, result.stdout.split()) == (-9, ["before_copy", "after_commit"])


def test_an_exception_is_raised_once() -> None:
    result = passes("mid_copy:raise", "mid_copy")

    assert result.returncode == 1
    assert "CrashPointError: crash point mid_copy" in result.stderr


def test_a_stall_ends_and_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("partnerhub.lib.crashpoints.time.sleep", naps.append)
    monkeypatch.setattr(
        crashpoints, "_charges", crashpoints._read("mid_send:stall:0.25:2, after_send:stall:1")
    )

    for _ in range(3):
        crashpoints.crash_point("mid_send")

    assert naps == [0.25]


@pytest.mark.parametrize("setting", ["nowhere:kill", "mid_copy", "mid_copy:explode", "mid_copy:kill:1:2"])
def test_a_setting_that_would_do_nothing_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="CRASH_POINTS"):
        crashpoints._read(setting)


def test_the_code_has_exactly_the_points_that_have_a_name() -> None:
    called = re.compile(r"\bcrash_point\(\s*\"(\w+)\"\s*\)")
    rooms = (ROOT / room for room in ("events", "onboarding", "tenants", "partnerhub"))

    found = {
        name for room in rooms for path in room.rglob("*.py") for name in called.findall(path.read_text())
    }

    assert found == NAMES
