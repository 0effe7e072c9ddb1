"""How the demo talks to whoever watches: steps with their time, progress, waiting, and one sentence when it fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DemoFailed(Exception):
    """Something that the demo promises did not happen; the text is a sentence."""


class step:  # noqa: N801  (used as a statement: `with step("…"):`)
    """Says what was done and how long it took, in a line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            print(f"  {self._name:<44} {time.monotonic() - self._begun:6.1f} s", flush=True)


def wait_for(look: Callable[[], T | None], seconds: float, otherwise: str) -> T:
    """What `look` finds, as soon as it does. Raises DemoFailed with the sentence `otherwise`."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise DemoFailed(otherwise)
        time.sleep(0.1)
    return found


def progress(done: int, whole: int) -> None:
    """A bar on a terminal; elsewhere a line at each quarter."""
    if sys.stdout.isatty():
        filled = 30 * done // whole
        print(f"\r  [{'█' * filled}{'·' * (30 - filled)}] {done}/{whole}", end="", flush=True)
        if done >= whole:
            print("\r" + " " * 60 + "\r", end="", flush=True)
    elif done == whole or done % (whole // 4) == 0:
        print(f"  … {done}/{whole}", flush=True)
