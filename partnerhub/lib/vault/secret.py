"""A secret in memory, that does not show itself by accident."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A text that only `reveal()` gives out: printing, pickling, formatting and hashing do not."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Raises ValueError where the text is empty: an empty secret is a missing one."""
        if not text:
            raise ValueError("A secret may not be empty.")
        self._text = text

    def reveal(self) -> str:
        """The text. For the one place that must have it."""
        return self._text

    @property
    def last_four(self) -> str:
        """The last four characters, to recognise it by; nothing of a short one."""
        return self._text[-4:] if len(self._text) >= 12 else ""

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    # A dictionary or set would spread a value derived from it.
    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A Secret is not pickled: it would leave the process in plain text.")
