"""Whose token it is, and for how long that is remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from events.collector import tokens as room
from events.collector.link import Link
from events.collector.tokens import DatabaseAway, Grant, Tokens
from events.models import IngestToken
from events.payload import PixelRules
from events.services import revoke_ingest_token
from tests.events.collector.conftest import Client, make_event
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel

Ask = Callable[[Tokens], Awaitable[object]]


def asked(database: TestDatabase, ask: Ask) -> object:
    """What `ask` gives, with tokens that are looked up as the door's role."""

    async def run() -> object:
        tokens = Tokens(Link(database.url("door")))
        try:
            return await ask(tokens)
        finally:
            await tokens.close()

    return asyncio.run(run())


def test_a_token_opens_its_pixel(database: TestDatabase, target: ConnectedPixel) -> None:
    pixel = target.pixel

    grant = asked(database, lambda tokens: tokens.find(target.ingest_token))

    assert grant == Grant(pixel.pk, pixel.advertiser_id, pixel.meta_id, PixelRules("website", "IT"))


@pytest.mark.parametrize(
    "token", ["", "pht_short", "EAAB" + "x" * 100, "pht_" + "x" * 43, "pht_\ud800" + "x" * 42]
)
def test_what_is_no_token_of_ours_opens_nothing(
    token: str, database: TestDatabase, target: ConnectedPixel
) -> None:
    assert asked(database, lambda tokens: tokens.find(token)) is None


def test_look_ups_that_come_together_are_one_query(database: TestDatabase, target: ConnectedPixel) -> None:
    rounds: list[int] = []

    async def ask(tokens: Tokens) -> list[Grant | None]:
        answer = tokens._answer

        async def count(asked: dict[str, asyncio.Future[Grant | None]]) -> None:
            rounds.append(len(asked))
            await answer(asked)

        tokens._answer = count  # type: ignore[method-assign]
        unknown = [f"pht_{number:043}" for number in range(20)]
        return await asyncio.gather(*map(tokens.find, [target.ingest_token, *unknown] * 5))

    found = asked(database, ask)

    assert isinstance(found, list)
    assert sum(grant is not None for grant in found) == 5
    assert rounds == [21]


def test_what_is_remembered_is_bounded(
    database: TestDatabase, target: ConnectedPixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "REMEMBERED", 10)

    async def ask(tokens: Tokens) -> tuple[int, int]:
        await tokens.find(target.ingest_token)
        await asyncio.gather(*(tokens.find(f"pht_{number:043}") for number in range(50)))
        return len(tokens._grants), len(tokens._unknown)

    assert asked(database, ask) == (1, 10)


def test_nothing_is_said_about_a_token_while_the_database_is_away(target: ConnectedPixel) -> None:
    async def ask() -> None:
        tokens = Tokens(Link("postgresql://nobody@127.0.0.1:9/nowhere"))
        await tokens.find(target.ingest_token)

    with pytest.raises(DatabaseAway):
        asyncio.run(ask())


def test_a_revoked_token_is_refused_within_five_seconds(client_of: Client, target: ConnectedPixel) -> None:
    assert client_of.send(make_event()).status_code == 200

    revoke_ingest_token(token=IngestToken.objects.get(pixel=target.pixel))
    revoked_at = time.monotonic()
    # A busy client must not keep its token alive.
    while client_of.send(make_event()).status_code == 200 and time.monotonic() - revoked_at < 6:
        time.sleep(0.05)

    assert client_of.send(make_event()).status_code == 401
    assert time.monotonic() - revoked_at < 5
