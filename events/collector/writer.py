"""The group commit: requests queue their batches, one task writes what is there in one transaction.

While a transaction is on its way the next group gathers, so its size follows the load by itself. The queue is
bounded. A batch is answered once, when its fate is known: never "stored" before the commit, and never written
a second time while the first may have been committed. One bad batch fails alone.

It is a task of the same loop as the requests: on a thread of its own it took a quarter of the requests a
second less (5,500 for 7,700), for the two then hand the interpreter back and forth.
"""

from __future__ import annotations

import asyncio
import enum
import random
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from psycopg import errors

from events.collector import watch
from events.collector.append import Trail, append_group, was_committed
from events.collector.link import Link
from events.collector.plan import Batch, Plan
from events.collector.trace import without_text
from partnerhub.lib import tracing

log = structlog.get_logger(__name__)

# Serialization and deadlocks are not expected (locks are taken in order): a few turns are plenty.
TURNS: Final = 4
# A lock that was not to be had in lock_timeout is a stray one: seconds, until a person or a time-out ends it.
STUCK_SECONDS: Final = 5.0

UNSTORABLE: Final = (
    errors.DataError,
    errors.IntegrityError,
    # A text that is too long for an index.
    errors.ProgramLimitExceeded,
    # What cannot even be packed: a lone surrogate, a number past 64 bits.
    ValueError,
    struct.error,
)


class Outcome(enum.Enum):
    """What became of a batch."""

    STORED = "stored"
    # The pixel is not there any more, or not that advertiser's.
    STRANGER = "stranger"
    # PostgreSQL cannot hold what is in it.
    UNSTORABLE = "unstorable"
    # Not stored as far as we know; at most once. To be sent again.
    UNAVAILABLE = "unavailable"


@dataclass(eq=False, slots=True)
class _Entry:
    batch: Batch
    deadline: float
    outcome: asyncio.Future[Outcome] = field(repr=False)
    # The request's, where traces are made.
    span: Any = field(repr=False)

    def answer(self, outcome: Outcome) -> None:
        # Whoever waited may have been cancelled.
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Writer:
    """The queue and the one task behind it. `on_woken` is told of pixels whose log had no work before."""

    def __init__(
        self,
        link: Link,
        *,
        group_events: int,
        queue_events: int,
        on_woken: Callable[[Iterable[int]], None],
    ) -> None:
        self._link = link
        self._group_events = group_events
        self._queue_events = queue_events
        self._on_woken = on_woken
        self._queue: deque[_Entry] = deque()
        # Queued, and on their way.
        self._events = 0
        # Pixels whose row somebody sat on lately, and until when they are written apart.
        self._stuck: dict[int, float] = {}
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start writing."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="writer")

    async def close(self) -> None:
        """Write what is queued, then stop. Batches that come later are unavailable."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        await self._link.drop()

    @property
    def is_taking(self) -> bool:
        """Whether it is worth reading another request: there is room, and the database answers."""
        return self.state == "ok"

    @property
    def state(self) -> str:
        """`ok`, or why it takes nothing: `closing`, `database away` or `full`."""
        if self._closing:
            return "closing"
        if self._link.is_down:
            return "database away"
        return "ok" if self._events < self._queue_events else "full"

    async def append(self, batch: Batch, *, seconds: float) -> Outcome:
        """What became of the batch, within about so many seconds."""
        if not self.is_taking:
            return Outcome.UNAVAILABLE
        size = len(batch.events)
        loop = asyncio.get_running_loop()
        entry = _Entry(batch, loop.time() + seconds, loop.create_future(), tracing.here())
        self._events += size
        self._queue.append(entry)
        self._arrived.set()
        try:
            return await entry.outcome
        finally:
            self._events -= size

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                if self._link.is_down:
                    await self._reconnect()
                    continue
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = self._take()
            try:
                await self._write_group(group)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the only writer
                log.error("group failed", batches=len(group), **without_text(error))
                await self._link.drop()
            finally:
                for entry in group:
                    entry.answer(Outcome.UNAVAILABLE)

    def _take(self) -> list[_Entry]:
        group: list[_Entry] = []
        events = 0
        while self._queue and (not group or events + len(self._queue[0].batch.events) <= self._group_events):
            entry = self._queue.popleft()
            events += len(entry.batch.events)
            group.append(entry)
        return group

    async def _reconnect(self) -> None:
        with suppress(psycopg.Error):
            await asyncio.sleep(self._link.seconds_to_wait)
            await self._link.get()
            log.info("database is back")

    async def _write_group(self, group: list[_Entry]) -> None:
        now = asyncio.get_running_loop().time()
        self._stuck = {pixel_id: until for pixel_id, until in self._stuck.items() if until > now}
        if not self._stuck:
            await self._write(group)
            return
        for skip_locked in (False, True):
            await self._write(
                [entry for entry in group if (entry.batch.pixel_id in self._stuck) is skip_locked],
                skip_locked=skip_locked,
            )

    async def _write(self, entries: list[_Entry], *, skip_locked: bool = False) -> None:
        """Answer each entry; those that are left without an answer are unavailable.

        Goes through it again as long as that is safe and somebody waits.
        """
        for turn in range(TURNS):
            if not (entries := self._still_waited_for(entries)):
                return
            trail = Trail()
            try:
                connection = await self._link.get()
                with self._link.limit(connection):
                    batches = [entry.batch for entry in entries]
                    plan = await append_group(connection, batches, trail, skip_locked=skip_locked)
            except UNSTORABLE as error:
                await self._roll_back()
                await self._write_apart(entries, error, skip_locked=skip_locked)
                return
            except errors.LockNotAvailable:
                log.warning("pixel locked", batches=len(entries))
                await self._roll_back()
                skip_locked = True
            except (errors.SerializationFailure, errors.DeadlockDetected):
                await self._roll_back()
                await asyncio.sleep(random.uniform(0, 0.02) * (turn + 1))  # noqa: S311 - jitter
            except errors.UndefinedTable:
                log.critical("partition missing: nothing can be taken in until today's is made")
                await self._roll_back()
                return
            except psycopg.Error as error:
                log.warning("commit failed", batches=len(entries), error=type(error).__name__)
                await self._link.drop()
                if not trail.commit_sent:
                    await asyncio.sleep(self._link.seconds_to_wait)
                elif (committed := await self._look_up(trail, entries)) is None:
                    return
                elif committed and trail.plan is not None:
                    self._answer(entries, trail.plan, trail, skipped=skip_locked)
                    return
            else:
                self._answer(entries, plan, trail, skipped=skip_locked)
                return

    def _still_waited_for(self, entries: Sequence[_Entry]) -> list[_Entry]:
        now = asyncio.get_running_loop().time()
        for entry in entries:
            if entry.deadline <= now:
                entry.answer(Outcome.UNAVAILABLE)
        return [entry for entry in entries if not entry.outcome.done()]

    def _answer(self, entries: Sequence[_Entry], plan: Plan, trail: Trail, *, skipped: bool) -> None:
        watch.committed([(entry.batch, entry.span) for entry in entries], plan, trail, queued=self._events)
        for place, entry in enumerate(entries):
            if place not in plan.strangers:
                entry.answer(Outcome.STORED)
            elif skipped:
                # Somebody sits on the pixel's row. Its neighbours need not wait for that each time.
                self._stuck[entry.batch.pixel_id] = asyncio.get_running_loop().time() + STUCK_SECONDS
                entry.answer(Outcome.UNAVAILABLE)
            else:
                entry.answer(Outcome.STRANGER)
        if plan.woken:
            self._on_woken(plan.woken)

    async def _write_apart(self, entries: list[_Entry], error: Exception, *, skip_locked: bool) -> None:
        """Find the batch whose data PostgreSQL cannot hold, by halves."""
        if len(entries) == 1:
            log.error("batch cannot be stored", pixel=entries[0].batch.pixel_id, error=type(error).__name__)
            entries[0].answer(Outcome.UNSTORABLE)
            return
        middle = len(entries) // 2
        await self._write(entries[:middle], skip_locked=skip_locked)
        await self._write(entries[middle:], skip_locked=skip_locked)

    async def _roll_back(self) -> None:
        try:
            connection = await self._link.get()
            with self._link.limit(connection):
                await connection.execute("ROLLBACK")
        except psycopg.Error:
            await self._link.drop()

    async def _look_up(self, trail: Trail, entries: Sequence[_Entry]) -> bool | None:
        """Whether the transaction was committed; None where that cannot be learnt while somebody waits."""
        while self._still_waited_for(entries):
            try:
                connection = await self._link.get()
                with self._link.limit(connection):
                    return await was_committed(connection, trail)
            except errors.LockNotAvailable:
                return None
            except psycopg.Error:
                await self._link.drop()
                await asyncio.sleep(self._link.seconds_to_wait)
        return None
