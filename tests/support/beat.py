"""Celery beat for tests: the real process, with a schedule of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

CHECKOUT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 10


class BeatProcess:
    """`with BeatProcess():` runs it; `environment` and `settings` are variables of this one process."""

    def __init__(self, environment: Mapping[str, str] | None = None, **settings: str) -> None:
        self._environment = {**os.environ, "PROCESS": "worker", **(environment or {}), **settings}
        self._folder = tempfile.TemporaryDirectory(prefix="beat-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        schedule = Path(self._folder.name) / "schedule"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "celery",
                "--app",
                "partnerhub",
                "--quiet",
                "beat",
                "--schedule",
                schedule,
            ],
            cwd=CHECKOUT,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STOP_SECONDS)
        self._folder.cleanup()
