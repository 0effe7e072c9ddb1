"""The exporter for tests: the real process on a free port, as the workers' role, and what it shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 10

# A sample: its name, and its labels in order.
Sample = tuple[str, tuple[tuple[str, str], ...]]


class ExporterError(RuntimeError):
    """The exporter did not start."""


class ExporterProcess:
    """`with ExporterProcess(folder) as exporter:` runs it; settings are environment variables of this process."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._environment = {
            **os.environ,
            "METRICS_DIR": str(folder),
            "METRICS_ADDRESS": "127.0.0.1:0",
            **settings,
        }
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """What Prometheus scrapes."""
        return f"http://127.0.0.1:{self.port}/metrics"

    def scrape(self, **headers: str) -> dict[Sample, float]:
        """Every sample that it shows."""
        answer = requests.get(self.url, headers=headers, timeout=20)
        answer.raise_for_status()
        return samples(answer.text)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "events.exporter"],
            cwd=CHECKOUT,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self._process.stdout.close()
            raise ExporterError(f"The exporter did not start (exit code {self._process.wait()}).")
        self.port = json.loads(line)["http"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.terminate()
        self._process.wait(STOP_SECONDS)
        self._process.stdout.close()


def samples(text: str) -> dict[Sample, float]:
    """Prometheus's text format, read by its own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> Sample:
    """The key of a sample."""
    return name, tuple(sorted(labels.items()))
