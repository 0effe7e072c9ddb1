"""What a guard is here, and how it is taken out. Pure but for the one file that it changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class GuardMoved(Exception):
    """A guard's text is not in its file, or is there more than once: the table says something that is no more."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard of the product. Without it, `instead` stands where `text` stands, exactly once, in the file `path`.

    Each of `tests`, pytest's names of them from the checkout's root, passes with the guard and fails without it; of a
    parametrised one that is named as a whole, one case at least.
    """

    name: str
    protects: str
    path: str
    text: str
    instead: str
    tests: tuple[str, ...]


def without(guard: Guard, checkout: Path) -> str:
    """The guard's file as it is without the guard. Raises GuardMoved."""
    source = (checkout / guard.path).read_text()
    count = source.count(guard.text)
    if count != 1:
        raise GuardMoved(
            f"{guard.name}: its text stands {count} times in {guard.path}, and must stand there once."
        )
    return source.replace(guard.text, guard.instead)
