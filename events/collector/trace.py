"""An exception for the log, without its text: that may quote what a client sent, or a row."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final, TypedDict

# The innermost calls say where it broke.
FRAMES: Final = 4


class Trace(TypedDict):
    """The words for a log line."""

    error: str
    at: list[str]


def without_text(error: BaseException) -> Trace:
    """The exception's type, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return {
        "error": type(error).__name__,
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
