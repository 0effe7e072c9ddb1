"""Whose ingest token it is: looked up by its hash, remembered for seconds.

A token that was revoked is refused within REVOKED_WITHIN_SECONDS, whatever was remembered. Look-ups that come
together are one query. What is remembered is bounded, and a flood of invented tokens cannot push out real
ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Final, TypeVar

import psycopg
import structlog

from events.collector.link import Link
from events.payload import PixelRules

log = structlog.get_logger(__name__)

REVOKED_WITHIN_SECONDS: Final = 5.0
# Counted from before the query, so that the promise holds whatever the query took; the rest is for the
# clocks.
REMEMBER_SECONDS: Final = 4.0
# A token is issued before it is used, so there is little to wait for; long enough to blunt a loop with a bad
# one.
REMEMBER_UNKNOWN_SECONDS: Final = 1.0
# Some hundred bytes each.
REMEMBERED: Final = 20_000
# Those who wait for the query that runs: past that the database is away.
WAITING: Final = 20_000

# events.services makes them so.
_SHAPE: Final = re.compile(r"pht_[A-Za-z0-9_-]{43}")

_QUERY: Final = """
SELECT token.token_hash, pixel.id, pixel.advertiser_id, pixel.meta_id, pixel.default_action_source,
    advertiser.default_country
FROM events_ingesttoken AS token
JOIN onboarding_pixel AS pixel ON pixel.id = token.pixel_id AND pixel.advertiser_id = token.advertiser_id
JOIN tenants_advertiser AS advertiser ON advertiser.id = pixel.advertiser_id
WHERE token.token_hash = ANY (%s) AND token.revoked_at IS NULL
"""

_READY: Final = """
SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean,
    count(*) FILTER (WHERE has_table_privilege(to_regclass(leaf || to_char(moment, 'YYYYMMDD')), 'INSERT'))
FROM unnest(ARRAY['events_event_', 'events_repeat_']) AS leaf,
    (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS moment) AS today
"""


# A day's, of _READY.
DAYS_PARTITIONS: Final = 2


class DatabaseAway(Exception):
    """Nothing can be said about a token now."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The pixel that a token opens, and how its events are read."""

    pixel_id: int
    advertiser_id: int
    meta_id: str
    rules: PixelRules


class Tokens:
    """Ingest tokens by their text. It has a connection of its own: the writer's is always busy."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._using_link = asyncio.Lock()
        self._grants: dict[str, tuple[float, Grant]] = {}
        self._unknown: dict[str, float] = {}
        self._asked: dict[str, asyncio.Future[Grant | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, token: str) -> Grant | None:
        """What the token opens; None for one that is unknown or revoked. Raises DatabaseAway."""
        if not _SHAPE.fullmatch(token):
            return None
        token_hash = hashlib.sha256(token.encode()).hexdigest()
        loop = asyncio.get_running_loop()
        now = loop.time()
        if (remembered := self._grants.get(token_hash)) is not None and remembered[0] > now:
            return remembered[1]
        if self._unknown.get(token_hash, 0.0) > now:
            return None
        if (answer := self._asked.get(token_hash)) is None:
            if len(self._asked) >= WAITING:
                raise DatabaseAway
            answer = self._asked[token_hash] = loop.create_future()
            if self._task is None:
                self._task = loop.create_task(self._look_up(), name="tokens")
        # Shielded: several requests wait for the one answer, and any of them may go away.
        return await asyncio.shield(answer)

    async def check(self) -> dict[str, str]:
        """Whether the database can be written to, and has today's partitions: `ok`, or what is the matter."""
        async with self._using_link:
            try:
                connection = await self._link.get()
                with self._link.limit(connection):
                    row = await (await connection.execute(_READY)).fetchone()
            except psycopg.Error:
                await self._link.drop()
                return {"database": "away"}
        assert row is not None
        is_writable, partitions = row
        return {
            "database": "ok" if is_writable else "read-only",
            "partitions": "ok" if partitions == DAYS_PARTITIONS else "missing",
        }

    async def close(self) -> None:
        """Let go of the connection."""
        if self._task is not None:
            await self._task
        await self._link.drop()

    async def _look_up(self) -> None:
        try:
            while self._asked:
                # Who asks for one of these from here on waits for the next round: the query has begun.
                asked, self._asked = self._asked, {}
                try:
                    await self._answer(asked)
                except psycopg.Error as error:
                    log.warning("token look-up failed", error=type(error).__name__)
                    for answer in asked.values():
                        answer.set_exception(DatabaseAway())
                        # Nobody may be left to hear it.
                        answer.exception()
        finally:
            self._task = None

    async def _answer(self, asked: dict[str, asyncio.Future[Grant | None]]) -> None:
        now = asyncio.get_running_loop().time()
        async with self._using_link:
            try:
                connection = await self._link.get()
                with self._link.limit(connection):
                    rows = await (await connection.execute(_QUERY, [list(asked)])).fetchall()
            except psycopg.Error:
                await self._link.drop()
                raise
        found = {
            token_hash: Grant(pixel_id, advertiser_id, meta_id, PixelRules(action_source, country or None))
            for token_hash, pixel_id, advertiser_id, meta_id, action_source, country in rows
        }
        for token_hash, answer in asked.items():
            grant = found.get(token_hash)
            if grant is not None:
                _remember(self._grants, token_hash, (now + REMEMBER_SECONDS, grant))
            else:
                self._grants.pop(token_hash, None)
                _remember(self._unknown, token_hash, now + REMEMBER_UNKNOWN_SECONDS)
            answer.set_result(grant)


_V = TypeVar("_V")


def _remember(memory: dict[str, _V], key: str, value: _V) -> None:
    # The oldest goes first: a dictionary keeps the order in which its keys came.
    memory.pop(key, None)
    if len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
