"""The Celery worker for tests: the real process, as the worker's role, and what its log holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 15
READY = "ready."


class WorkerError(RuntimeError):
    """The worker did not start."""


class WorkerProcess:
    """`with WorkerProcess() as worker:` runs it; `environment` and `settings` are variables of this one process.

    `crash_points` is CRASH_POINTS. The environment is that of the tests, so it reads the run's database. With
    `awaits_broker=False` it counts as started before it has reached a broker.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        crash_points: str = "",
        awaits_broker: bool = True,
        **settings: str,
    ) -> None:
        self._environment = {
            **os.environ,
            "PROCESS": "worker",
            "LOG_LEVEL": "INFO",
            **(environment or {}),
            **settings,
            "CRASH_POINTS": crash_points,
        }
        self._awaits_broker = awaits_broker
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[str] | None = None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        assert self._log is not None
        return Path(self._log.name).read_text()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        assert self._process is not None
        return self._process.poll()

    def start(self) -> Self:
        """Start it; returns once it takes messages."""
        self._log = tempfile.NamedTemporaryFile("w+", prefix="worker-", suffix=".log")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--app", "partnerhub", "--quiet", "worker"],
            cwd=CHECKOUT,
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        sign = READY if self._awaits_broker else "looks by itself"
        deadline = time.monotonic() + START_SECONDS
        while sign not in self.log:
            if self.exit_code is not None or time.monotonic() > deadline:
                fault = f"The worker did not start (exit code {self.exit_code}): {self.log}"
                self.stop()
                raise WorkerError(fault)
            time.sleep(0.05)
        return self

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code; negative where a signal ended it."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> int:
        """End it with SIGTERM, unless it has ended; its exit code."""
        assert self._process is not None
        assert self._log is not None
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def wait_until(condition: Callable[[], bool], *, seconds: float = 20.0, what: str = "it") -> None:
    """Wait for the condition to hold. Raises AssertionError where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds:g} s")
        time.sleep(0.05)
