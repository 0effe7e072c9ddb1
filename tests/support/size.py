"""How large a fault or a search is played: small in `make test`, at full size in `make faults`."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("FAULTS_SIZE") == "full"


def sized(small: T, full: T) -> T:
    """The one that this run wants."""
    return full if FULL else small
