"""What this worker process did last, which tells one that has nothing to do from one that is stuck. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Times on a monotonic clock. Writes from many threads are single assignments."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._worked_at = clock()
        self._looked_at = clock()
        # Since when looks have found work and no message has come; None: the last one found none.
        self._unheard_since: float | None = None

    def took_work(self) -> None:
        """A delivery was claimed."""
        self._worked_at = self._clock()

    def heard(self) -> None:
        """A message came from the broker."""
        self._unheard_since = None

    def looked(self, *, has_worked: bool) -> None:
        """A look into the database came to its end, and had work or none; so did one that found it away."""
        self._looked_at = self._clock()
        if not has_worked:
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = self._clock()

    def idle_seconds(self) -> float:
        """Since this process last claimed a delivery."""
        return self._clock() - self._worked_at

    def stuck_seconds(self) -> float:
        """Since this process last claimed a delivery or came to the end of a look."""
        return self._clock() - max(self._worked_at, self._looked_at)

    def deaf_seconds(self) -> float:
        """For how long work has been found by looks alone."""
        return 0.0 if self._unheard_since is None else self._clock() - self._unheard_since


PROGRESS = Progress()
