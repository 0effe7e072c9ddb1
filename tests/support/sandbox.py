"""The stand-in Graph API for tests: the real process on free ports, and a typed client for its admin."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from partnerhub.dev.stand_in import SandboxClient, SandboxError, SandboxMail, StoredEvent, token_key

__all__ = [
    "SandboxClient",
    "SandboxError",
    "SandboxMail",
    "SandboxProcess",
    "StoredEvent",
    "digest_of_fragment",
    "token_key",
]

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 5


def digest_of_fragment(fragment: bytes) -> str:
    """What the stand-in keeps of an event that was sent as exactly these bytes (as orjson writes them)."""
    return hashlib.blake2b(fragment, digest_size=16).hexdigest()


class SandboxProcess:
    """`with SandboxProcess() as sandbox:` runs the stand-in; `sandbox.client` sets it up."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.smtp_port = 0

    @property
    def base_url(self) -> str:
        """What `GRAPH_API_BASE_URL` points at."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start on free ports; returns once it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "partnerhub.sandbox", "--port", "0", "--smtp-port", "0"],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # A stand-in that hangs before its first line would hang the test run with it.
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise SandboxError(f"The sandbox did not start (exit code {self._process.wait()}).")
        ports = json.loads(line)
        self.port, self.smtp_port = ports["http"], ports["smtp"]
        self.client = SandboxClient(self.base_url)
        return self

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
