"""The supervisor, on real processes: their lines, their restarts, and their end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from partnerhub.dev.postgres import CHECKOUT
from partnerhub.dev.supervisor import ProcessSpec, Supervisor, SupervisorError

# Prints its pid and that of a child of its own, then stays.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
time.sleep(60)
"""


def python(name: str, code: str, **signs: str | float) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), **signs)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_lines_carry_the_name_of_their_process() -> None:
    lines: list[str] = []

    with Supervisor(lines.append, coloured=False) as supervisor:
        supervisor.start(
            [
                python(
                    "web",
                    "print('listening', flush=True); import time; time.sleep(60)",
                    ready_text="listening",
                )
            ]
        )

    assert lines == ["web       | listening"]


def test_colour_marks_the_name_only() -> None:
    lines: list[str] = []

    with Supervisor(lines.append, coloured=True) as supervisor:
        supervisor.start(
            [python("web", "print('up', flush=True); import time; time.sleep(60)", ready_text="up")]
        )

    assert lines == ["\x1b[36mweb       |\x1b[0m up"]


def test_process_that_dies_is_started_again() -> None:
    lines: list[str] = []
    with Supervisor(lines.append, coloured=False) as supervisor:
        supervisor.start([python("web", "import time; time.sleep(60)")])
        first = supervisor.pids()["web"]

        os.kill(first, signal.SIGKILL)

        assert eventually(lambda: supervisor.pids().get("web") not in {None, first})
        assert supervisor.lives("web") == 2
    assert lines == ["web       | ended by SIGKILL; starting it again in 0.5 s"]


def test_what_a_dead_process_had_started_is_ended_before_its_next_life() -> None:
    lines: list[str] = []
    with Supervisor(lines.append, coloured=False) as supervisor:
        supervisor.start([python("web", PARENT, ready_text="child")])
        child = int(lines[0].split()[-1])

        os.kill(supervisor.pids()["web"], signal.SIGKILL)

        assert eventually(lambda: not is_alive(child))


def test_process_that_ends_before_it_is_ready_fails_the_start_with_its_last_words() -> None:
    with Supervisor(lambda line: None) as supervisor, pytest.raises(SupervisorError) as caught:
        supervisor.start([python("web", "print('no database'); raise SystemExit(3)", ready_text="up")])

    assert str(caught.value) == "web ended with exit code 3 before it was ready.\nno database"


def test_process_that_is_not_ready_in_time_fails_the_start() -> None:
    spec = python(
        "web", "import time; time.sleep(60)", ready_url="http://127.0.0.1:9/healthz", ready_seconds=0.3
    )

    with Supervisor(lambda line: None) as supervisor, pytest.raises(SupervisorError) as caught:
        supervisor.start([spec])

    assert str(caught.value) == "web was not ready after 0.3 s: no http://127.0.0.1:9/healthz."


def test_program_that_is_not_there_fails_the_start() -> None:
    with Supervisor(lambda line: None) as supervisor, pytest.raises(SupervisorError) as caught:
        supervisor.start([ProcessSpec("web", ("/nowhere/web",))])

    assert str(caught.value) == (
        "web cannot run /nowhere/web: No such file or directory before it was ready."
    )


def test_process_that_ignores_the_request_to_end_is_killed() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    lines: list[str] = []
    with Supervisor(lines.append, coloured=False) as supervisor:
        supervisor.start([python("web", stubborn, ready_text="up", stop_seconds=0.2)])
        pid = supervisor.pids()["web"]

    assert not is_alive(pid)
    assert lines[-1] == "web       | does not end; killing it"


def test_restart_on_request_begins_a_new_life() -> None:
    with Supervisor(lambda line: None) as supervisor:
        supervisor.start([python("web", "import time; time.sleep(60)")])
        first = supervisor.pids()["web"]

        supervisor.restart(["web"])

        assert eventually(lambda: supervisor.pids().get("web") not in {None, first}, seconds=2)


SUPERVISING = f"""
import sys
from partnerhub.dev import postgres
from partnerhub.dev.supervisor import ProcessSpec, Supervisor
from pathlib import Path
state = Path(sys.argv[1])
try:
    with postgres.ensure_running(state), Supervisor(lambda line: print(line, flush=True)) as supervisor:
        supervisor.catch_signals()
        supervisor.start([ProcessSpec("web", (sys.executable, "-c", {PARENT!r}), ready_text="child")])
        print("pids", supervisor.pids()["web"], postgres.keeper_pid(state), flush=True)
        supervisor.wait_for_end()
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def supervising(state: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A supervisor in a process of its own with a PostgreSQL; and the pids of all that it started."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISING, str(state)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline().split()[-1])
    pids = [child, *map(int, process.stdout.readline().split()[1:])]
    (postmaster,) = map(int, Path(f"/proc/{pids[-1]}/task/{pids[-1]}/children").read_text().split())
    return process, [*pids, postmaster]


def test_all_processes_go_with_a_killed_supervisor(tmp_path: Path) -> None:
    process, pids = supervising(tmp_path)
    assert all(map(is_alive, pids))

    process.kill()
    process.communicate()

    assert eventually(lambda: not any(map(is_alive, pids)), seconds=2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_processes_end_in_order_with_their_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    process, pids = supervising(tmp_path)

    # To the whole group, as a terminal does it.
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=15)

    assert output == "stopped\n"
    assert process.returncode == 0
    assert eventually(lambda: not any(map(is_alive, pids)), seconds=2)
