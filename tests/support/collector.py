"""The collector for tests: the real process on a free port, as the door's role, and what its log holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 10


class CollectorError(RuntimeError):
    """The collector did not start."""


class CollectorProcess:
    """`with CollectorProcess() as collector:` runs it; settings are environment variables of this one
    process.

    `crash_points` is CRASH_POINTS. The environment is that of the tests, so it writes to the run's database.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        crash_points: str = "",
        port: int = 0,
        **settings: str,
    ) -> None:
        self._environment = {
            **os.environ,
            **(environment or {}),
            **settings,
            "CRASH_POINTS": crash_points,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._wanted_port = port
        self.port = 0

    @property
    def base_url(self) -> str:
        """What an SDK's base URL is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        assert self._log is not None
        return Path(self._log.name).read_text()

    def start(self) -> Self:
        """Start it; returns once it listens."""
        self._log = tempfile.NamedTemporaryFile("w+", prefix="collector-", suffix=".log")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "events.collector", "--port", str(self._wanted_port)],
            cwd=CHECKOUT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        # One that hangs before its first line would hang the test run with it.
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise CollectorError(
                f"The collector did not start (exit code {self._process.wait()}): {self.log}"
            )
        self.port = json.loads(line)["http"]
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
        assert self._process.stdout is not None
        assert self._log is not None
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()
            self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
