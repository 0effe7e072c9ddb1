"""The web site for tests: gunicorn as in production, as the web's role, and what its log holds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import requests

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 15


class WebProcess:
    """`with WebProcess() as web:` runs it; settings are environment variables of this one process."""

    def __init__(self, environment: Mapping[str, str] | None = None, **settings: str) -> None:
        # Known before it runs, for others are told where it will be.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self._port}"
        self._given = environment or {}
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[str] | None = None

    @property
    def pid(self) -> int:
        """The running process; what serves is a child of it."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        assert self._log is not None
        return Path(self._log.name).read_text()

    def __enter__(self) -> Self:
        self._log = tempfile.NamedTemporaryFile("w+", prefix="web-", suffix=".log")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "partnerhub.wsgi", "--bind", f"127.0.0.1:{self._port}"),
                *("--worker-class", "gthread", "--threads", "4", "--no-control-socket"),
            ],
            cwd=CHECKOUT,
            env={
                **os.environ,
                "PUBLIC_URL": self.base_url,
                **self._given,
                **self._settings,
                "PROCESS": "web",
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                requests.get(f"{self.base_url}/healthz", timeout=2).raise_for_status()
                return self
            except requests.RequestException:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    fault = f"The web site did not start: {self.log}"
                    self.__exit__(None, None, None)
                    raise AssertionError(fault) from None
                time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._log is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._log.close()
