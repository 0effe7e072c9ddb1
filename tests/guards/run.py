"""Takes out one guard after the other and runs the tests that must notice.

Everything happens in a copy of the last commit in a temporary folder; the checkout is not touched. The tests of all
chosen guards run there once with every guard in its place. Then, guard by guard, one file is changed, the guard's own
tests run, and the file is put back. The databases are the test server's, one a run, as for any run of the tests.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from partnerhub.dev.postgres import CHECKOUT, PostgresError, Server, server_for_tests
from tests.guards.guard import Guard, GuardMoved, without
from tests.guards.table import GUARDS

# Of one guard's tests: most take some seconds, and what hangs without its guard has not shown that it fails.
TIME_OUT_SECONDS: Final = 120
# Of all their tests together, with every guard in its place.
FIRST_RUN_SECONDS: Final = 600
# Until an interrupted pytest has taken its processes and its database down.
END_SECONDS: Final = 20
SHOWN_LINES: Final = 25
NAME_WIDTH: Final = 38

# Which brokers are at hand changes the tests' names; where the tests' database is, is said anew.
_LEFT_OUT: Final = {"RABBITMQ_URL", "REDIS_URL", "PYTHONPATH", "PYTEST_ADDOPTS"}


@dataclass(frozen=True, slots=True)
class Run:
    """What pytest said: each test's outcomes by its name; a failed one may be in error, too, at its end."""

    outcomes: dict[str, set[str]]
    is_over: bool
    seconds: float
    output: str

    def of(self, test: str) -> set[str]:
        """The outcomes of a test, or of all cases of a parametrised one."""
        found: set[str] = set()
        for name, words in self.outcomes.items():
            if name == test or name.startswith(f"{test}["):
                found |= words
        return found

    @property
    def last_lines(self) -> str:
        """The end of what pytest printed."""
        return "\n".join(f"    {line}" for line in self.output.splitlines()[-SHOWN_LINES:])


def main(arguments: Sequence[str]) -> int:
    """0 where the absence of each chosen guard was noticed, else 1."""
    chosen = _chosen(arguments)
    try:
        # Held to the end, so that it does not start and stop with each run.
        server = server_for_tests()
        with tempfile.TemporaryDirectory(prefix="partnerhub-guards-") as folder:
            copy = Path(folder)
            _copy_last_commit(copy)
            return _try(chosen, copy, server)
    except (PostgresError, GuardMoved, subprocess.CalledProcessError) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _chosen(arguments: Sequence[str]) -> list[Guard]:
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="this guard; may be given again")
    parser.add_argument("--list", action="store_true", help="say what each guard protects, and run nothing")
    options = parser.parse_args(arguments)
    names = [guard.name for guard in GUARDS]
    if unknown := set(options.only or []) - set(names):
        parser.error(f"no guard is called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    chosen = [guard for guard in GUARDS if options.only is None or guard.name in options.only]
    if options.list:
        for guard in chosen:
            _say(f"{_label(guard)} {guard.protects}")
        sys.exit(0)
    return chosen


def _copy_last_commit(folder: Path) -> None:
    archive = _git("archive", "HEAD").stdout
    subprocess.run(("tar", "-x", "-C", str(folder)), input=archive, check=True)  # noqa: S607 - as for git
    if _git("status", "--porcelain", "--untracked-files=no").stdout:
        _say("What is not committed is left out.")


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    # Where it lies is this machine's affair: the checkout was made with it.
    return subprocess.run(("git", *arguments), cwd=CHECKOUT, check=True, capture_output=True)  # noqa: S607


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _try(guards: Sequence[Guard], copy: Path, server: Server) -> int:
    # Before anything runs: a table that has rotted is no matter of luck.
    for guard in guards:
        without(guard, copy)
    _say(f"{len(guards)} guards. First, all their tests with each guard in its place …")
    first = _run({test for guard in guards for test in guard.tests}, copy, server, FIRST_RUN_SECONDS)
    missing = [test for guard in guards for test in guard.tests if first.of(test) != {"PASSED"}]
    if missing:
        _say(f"{first.last_lines}\nThese do not pass with every guard in its place: {', '.join(missing)}")
        return 1
    _say(f"pass, in {first.seconds:.1f} s. Now without:")
    held = sum(_is_held(guard, copy, server) for guard in guards)
    _say(f"guards: {held} of {len(guards)} held" + (": ok" if held == len(guards) else ""))
    return 0 if held == len(guards) else 1


def _is_held(guard: Guard, copy: Path, server: Server) -> bool:
    path = copy / guard.path
    whole = path.read_text()
    path.write_text(without(guard, copy))
    try:
        run = _run(guard.tests, copy, server, TIME_OUT_SECONDS)
    finally:
        path.write_text(whole)
    silent = [test for test in guard.tests if "FAILED" not in run.of(test)]
    if not silent:
        _say(f"{_label(guard)} held by {', '.join(guard.tests)} (failed without it in {run.seconds:.1f} s)")
    elif not run.is_over:
        _say(f"{_label(guard)} NOT SHOWN: without it, {', '.join(silent)} did not end")
    elif all(run.of(test) == {"PASSED"} for test in silent):
        _say(f"{_label(guard)} NOT HELD: without it, {', '.join(silent)} still passes")
    else:
        # In error before the test began, or not even found: whatever broke, it was not the rule that noticed.
        _say(f"{run.last_lines}\n{_label(guard)} NOT SHOWN: without it, {', '.join(silent)} could not run")
    return not silent


def _label(guard: Guard) -> str:
    return f"{guard.name} ".ljust(NAME_WIDTH, "…")


def _run(tests: Iterable[str], copy: Path, server: Server, seconds: float) -> Run:
    address = os.environ.get("TEST_DATABASE_URL") or server.url(server.parameters["user"], "postgres")
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT} | {
        "TEST_DATABASE_URL": address,
        # A file that is changed twice in a second would be taken for its own compiled form.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = (sys.executable, "-m", "pytest", "--quiet", "--color=no", "--tb=short", "-rpfE")
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            (*command, "-p", "no:cacheprovider", *sorted(tests)),
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            # Not a pipe: a process that outlived its test would keep it open.
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
            is_over = True
        except subprocess.TimeoutExpired:
            is_over = False
        finally:
            _end(process)
        output.seek(0)
        text = output.read()
    return Run(outcomes_of(text), is_over, time.monotonic() - began, text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the run, if it has not ended: as Ctrl-C does, so that it cleans up, and by force where that is in vain."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def outcomes_of(output: str) -> dict[str, set[str]]:
    """The lines of pytest's short summary: `FAILED tests/test_x.py::test_y[case] - why`."""
    found: dict[str, set[str]] = {}
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word in {"PASSED", "FAILED", "ERROR"} and "::" in rest:
            found.setdefault(rest.partition(" - ")[0], set()).add(word)
    return found
