"""The calls of access ("who asked what") in a bounded log, so that tests can count and people can look.

Names of parameters only: a value may be a secret. Events are kept by `store`.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call and how it went: `ok`, or the code of the refusal."""

    number: int
    at: float
    endpoint: str
    verb: str
    path: str
    parameters: tuple[str, ...]
    outcome: str


class CallLog:
    """The last calls, and the count of all."""

    def __init__(self) -> None:
        self._calls: deque[LoggedCall] = deque(maxlen=KEPT)
        self._number = 0
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(
        self, endpoint: str, verb: str, path: str, parameters: tuple[str, ...], outcome: str, at: float
    ) -> None:
        """Note a call."""
        self._number += 1
        self._calls.append(LoggedCall(self._number, at, endpoint, verb, path, parameters, outcome))
        self.counts[endpoint, outcome] += 1

    def newest(self, endpoint: str | None = None) -> list[LoggedCall]:
        """The calls, newest first."""
        return [call for call in reversed(self._calls) if endpoint in (None, call.endpoint)]

    def clear(self) -> None:
        """Forget them."""
        self._calls.clear()
        self.counts.clear()
