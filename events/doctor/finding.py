"""What a check finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Of many findings of one kind, as many are told.
SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and what to do about it: a sentence each."""

    problem: str
    remedy: str


def some(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
