"""Runs several processes as one: prefixes their lines, restarts what dies, and ends them all with itself.

Each process leads a process group of its own, so that Ctrl-C reaches the supervisor alone and what a process
started ends with it. When the supervisor is killed, a shell of half a megabyte outlives it just long enough
to kill the groups (`_Undertaker`). It refuses to wait for anything without a deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self
from urllib.parse import urlsplit

# The first restart comes at once as a person sees it; a process that cannot start does not fill the screen.
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 10.0
# Who lived this long was healthy: its next death is a new story.
HEALTHY_SECONDS = 10.0

# A local server answers its health check in milliseconds, or is busy starting.
READY_CALL_SECONDS = 2.0
READY_POLL_SECONDS = 0.1

COLOURS = (36, 35, 33, 32, 34, 96, 95, 93)


class SupervisorError(Exception):
    """A process did not start; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to run, and how to see that it is ready.

    It is ready when `ready_url` answers 200, or when it prints a line that holds `ready_text`; with neither,
    as soon as it runs.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    ready_url: str | None = None
    ready_text: str | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 15.0


class _Undertaker:
    """Kills the process groups that it was told of when this process ends without a word.

    A shell reads lines of group numbers from a pipe, each line replacing the last. Its end of the pipe closes
    when we die, however we die; then it kills what the last line named. Dead groups leave the line at once:
    their numbers may come to belong to others.
    """

    _SCRIPT = 'while read -r line; do groups=$line; done; [ -z "$groups" ] || kill -s KILL -- $groups'

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", self._SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            bufsize=1,
        )

    def watch(self, group: int) -> None:
        with self._lock:
            self._groups.add(group)
            self._tell()

    def forget(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            self._tell()

    def _tell(self) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.write(" ".join(f"-{group}" for group in sorted(self._groups)) + "\n")

    def close(self) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        self._shell.wait()


class _Process:
    """One spec's process, through all its lives. Its thread starts it, waits for it, starts it again."""

    def __init__(self, spec: ProcessSpec, owner: Supervisor) -> None:
        self.spec = spec
        self.owner = owner
        self.lives = 0
        self.pid: int | None = None
        self.said_ready = threading.Event()
        self.failed: str | None = None
        self.last_lines: deque[str] = deque(maxlen=12)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"supervise-{spec.name}", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            born = time.monotonic()
            outcome = self._live()
            if self._stopping.is_set():
                return
            if self.owner.is_starting(self):
                self.failed = outcome
                return
            if time.monotonic() - born > HEALTHY_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            self.owner.say(self.spec.name, f"{outcome}; starting it again in {backoff:g} s")
            self._wake.wait(backoff)
            self._wake.clear()
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)

    def _live(self) -> str:
        """Runs the process once; how it ended, in words."""
        try:
            child = subprocess.Popen(
                self.spec.argv,
                env={**os.environ, **self.spec.env},
                cwd=self.spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        except OSError as error:
            return f"cannot run {self.spec.argv[0]}: {error.strerror}"
        self.owner.undertaker.watch(child.pid)
        self.lives += 1
        self.pid = child.pid
        reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        reader.start()
        if self._stopping.is_set():
            self.terminate()
        # Left a zombie until its group is dead, too: so long nobody else can be given the number.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self._signal_group(signal.SIGKILL)
        self.pid = None
        self.owner.undertaker.forget(child.pid)
        code = child.wait()
        reader.join(timeout=2)
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        with child.stdout:
            for raw in child.stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                self.last_lines.append(line)
                self.owner.say(self.spec.name, line)
                if self.spec.ready_text is not None and self.spec.ready_text in line:
                    self.said_ready.set()

    def _signal_group(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    def terminate(self) -> None:
        """Asks the process to end; for its leader alone, which knows how to end what it started."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def restart(self) -> None:
        """Ends the present life, by force after `stop_seconds`; the next one starts at once."""
        life, deadline = self.lives, time.monotonic() + self.spec.stop_seconds
        self.terminate()
        while self.lives == life and self.pid is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.lives == life:
            self._signal_group(signal.SIGKILL)
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self.terminate()

    def join(self, deadline: float) -> None:
        if not self._thread.is_alive():
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self.owner.say(self.spec.name, "does not end; killing it")
            self._signal_group(signal.SIGKILL)
            self._thread.join(5)

    def is_ready(self) -> bool:
        if self.spec.ready_url is not None:
            return answers(self.spec.ready_url)
        if self.spec.ready_text is not None:
            return self.said_ready.is_set()
        return self.pid is not None


def answers(url: str) -> bool:
    """Whether a local http address answers 200 within READY_CALL_SECONDS."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=READY_CALL_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def print_line(line: str) -> None:
    """Writes one line to standard output at once, also through a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Supervisor:
    """The processes that were started through it; as a context manager it stops them at its end."""

    def __init__(self, write: Callable[[str], None] = print_line, *, coloured: bool | None = None) -> None:
        if coloured is None:
            coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._write = write
        self._coloured = coloured
        self._lock = threading.Lock()
        self._processes: dict[str, _Process] = {}
        self._starting: set[str] = set()
        self._ended = threading.Event()
        self.undertaker = _Undertaker()

    def say(self, name: str, line: str) -> None:
        """Writes one whole line with its process's name before it."""
        label = f"{name:<9} |"
        with self._lock:
            if self._coloured:
                colour = COLOURS[list(self._processes).index(name) % len(COLOURS)]
                label = f"\x1b[{colour}m{label}\x1b[0m"
            self._write(f"{label} {line}")

    def is_starting(self, process: _Process) -> bool:
        return process.spec.name in self._starting

    def start(self, specs: Iterable[ProcessSpec], on_ready: Callable[[str], None] | None = None) -> None:
        """Starts all at once and returns when all are ready; `on_ready` is told each name as it becomes so.

        Raises SupervisorError when one ends before it was ready, or is not ready in time; the others run on.
        """
        begun = time.monotonic()
        waiting: list[_Process] = []
        for spec in specs:
            process = _Process(spec, self)
            self._processes[spec.name] = process
            self._starting.add(spec.name)
            waiting.append(process)
        for process in waiting:
            process.begin()
        while waiting:
            for process in list(waiting):
                name = process.spec.name
                if process.failed is not None:
                    last = "\n".join(process.last_lines)
                    raise SupervisorError(f"{name} {process.failed} before it was ready.\n{last}".rstrip())
                if process.is_ready():
                    self._starting.discard(name)
                    waiting.remove(process)
                    if on_ready is not None:
                        on_ready(name)
                elif time.monotonic() - begun > process.spec.ready_seconds:
                    sign = process.spec.ready_url or f"the line {process.spec.ready_text!r}"
                    raise SupervisorError(
                        f"{name} was not ready after {process.spec.ready_seconds:g} s: no {sign}."
                    )
            if waiting:
                time.sleep(READY_POLL_SECONDS)

    def restart(self, names: Iterable[str]) -> None:
        """Ends these processes one after the other; each is started again."""
        for name in names:
            self._processes[name].restart()

    def pids(self) -> dict[str, int]:
        """The pid of each process that runs, by name."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    def lives(self, name: str) -> int:
        """How often the process has been started."""
        return self._processes[name].lives

    def end(self) -> None:
        """Has `wait_for_end()` return; safe in a signal handler."""
        self._ended.set()

    def wait_for_end(self) -> None:
        """Returns at Ctrl-C, SIGTERM, SIGHUP (once `catch_signals()` is on) or `end()`."""
        self._ended.wait()

    def catch_signals(self) -> None:
        """Turns the signals that ask a program to end into KeyboardInterrupt once, then into `end()`.

        Call it in the main thread. Wherever the main thread is, it comes to its `finally`; a second signal
        while it stops its processes does not cut that short.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            if not self._ended.is_set():
                self._ended.set()
                raise KeyboardInterrupt

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, handle)

    def stop(self) -> None:
        """Ends all processes, each by force after its `stop_seconds`. A second call does nothing."""
        self._ended.set()
        begun = time.monotonic()
        for process in self._processes.values():
            process.stop()
        for process in self._processes.values():
            process.join(begun + process.spec.stop_seconds)
        self.undertaker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
