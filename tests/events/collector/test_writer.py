"""The group commit against a real PostgreSQL, as the door's role, also where the database breaks under it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import connection

from events.collector import link as link_room
from events.collector import writer as writer_room
from events.collector.link import Link
from events.collector.plan import Batch
from events.collector.writer import Outcome, Writer
from events.models import Event, HourlyCount, PixelLog, Rejection
from events.payload import PreparedEvent
from onboarding.models import Pixel
from tests.support.environment import ROLES, TestDatabase
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.proxy import database_proxy, proxied_url

STORED, UNAVAILABLE = Outcome.STORED, Outcome.UNAVAILABLE

_numbers = itertools.count(1)


def prepared(event_id: str | None = None, content: str = "", *, name: str = "Purchase") -> PreparedEvent:
    """An event of its own, unless `event_id` is given."""
    event_id = event_id or f"written-{next(_numbers)}"
    now = int(time.time())
    return PreparedEvent(
        event_name=name,
        event_id=event_id,
        event_time=now,
        expires_at=now + 7 * 86_400,
        fragment=b"{}",
        repeat_key=hashlib.blake2b(
            f"{name} {event_id}".encode(errors="surrogatepass"), digest_size=16
        ).digest(),
        content_key=hashlib.blake2b(content.encode(), digest_size=16).digest(),
        notices=(),
    )


def batch(pixel: Pixel, *events: PreparedEvent) -> Batch:
    """A batch of these events, or of one of its own."""
    return Batch(pixel.pk, pixel.advertiser_id, events or (prepared(),))


@dataclass
class Desk:
    """A running writer, and the pixels that it woke."""

    writer: Writer
    link: Link
    woken: list[int] = field(default_factory=list)

    async def append(self, *batches: Batch, seconds: float = 5.0) -> list[Outcome]:
        """What becomes of batches that come together."""
        return list(await asyncio.gather(*(self.writer.append(one, seconds=seconds) for one in batches)))


R = TypeVar("R")


def written(url: str, work: Callable[[Desk], Awaitable[R]], *, queue_events: int = 10_000) -> R:
    """What `work` gives, with a writer that writes to the database at `url`."""

    async def run() -> R:
        link = Link(url)
        woken: list[int] = []
        writer = Writer(link, group_events=1000, queue_events=queue_events, on_woken=woken.extend)
        writer.start()
        try:
            return await work(Desk(writer, link, woken))
        finally:
            await writer.close()

    return asyncio.run(run())


def offsets(pixel: Pixel) -> list[int]:
    return list(
        Event.objects.filter(pixel_id=pixel.pk).order_by("log_offset").values_list("log_offset", flat=True)
    )


def ids(pixel: Pixel) -> list[str]:
    return list(
        Event.objects.filter(pixel_id=pixel.pk).order_by("log_offset").values_list("event_id", flat=True)
    )


def counted(pixel: Pixel) -> tuple[int, int]:
    """Taken and repeated."""
    counts = list(HourlyCount.objects.filter(pixel=pixel).values_list("taken", "repeated"))
    return sum(taken for taken, _ in counts), sum(repeated for _, repeated in counts)


def test_batches_that_come_together_share_a_commit(database: TestDatabase, target: ConnectedPixel) -> None:
    batches = [batch(target.pixel) for _ in range(200)]

    outcomes = written(database.url("door"), lambda desk: desk.append(*batches))

    assert outcomes == [STORED] * 200
    assert offsets(target.pixel) == list(range(200))
    assert Event.objects.filter(pixel_id=target.pixel.pk).values("received_at").distinct().count() == 1


def test_a_pixel_is_woken_once(database: TestDatabase, target: ConnectedPixel) -> None:
    async def work(desk: Desk) -> list[int]:
        for _ in range(3):
            await desk.append(batch(target.pixel), batch(target.pixel))
        return desk.woken

    assert written(database.url("door"), work) == [target.pixel.pk]


# Random, for a text that repeats itself would be compressed.
TOO_LONG = random.Random(5).randbytes(6000).hex()


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param("a NUL \0 byte", id="NUL"),
        pytest.param("a surrogate \ud800", id="surrogate"),
        pytest.param(TOO_LONG, id="too long for an index"),
    ],
)
def test_one_bad_batch_of_five_hundred_fails_alone(
    poison: str, database: TestDatabase, target: ConnectedPixel
) -> None:
    batches = [batch(target.pixel) for _ in range(500)]
    batches[321] = batch(target.pixel, prepared("bad", name=poison))

    outcomes = written(database.url("door"), lambda desk: desk.append(*batches))

    assert [place for place, outcome in enumerate(outcomes) if outcome is not STORED] == [321]
    assert outcomes[321] is Outcome.UNSTORABLE
    assert offsets(target.pixel) == list(range(499))
    assert counted(target.pixel) == (499, 0)


def test_a_foreign_or_missing_pixel_fails_alone(database: TestDatabase, target: ConnectedPixel) -> None:
    other = make_connected_pixel()
    forged = Batch(target.pixel.pk, other.pixel.advertiser_id, (prepared(),))
    missing = Batch(2**40, target.pixel.advertiser_id, (prepared(),))

    outcomes = written(
        database.url("door"),
        lambda desk: desk.append(forged, batch(target.pixel), missing, batch(other.pixel)),
    )

    assert outcomes == [Outcome.STRANGER, STORED, Outcome.STRANGER, STORED]
    assert (offsets(target.pixel), offsets(other.pixel)) == ([0], [0])


def test_clients_that_went_away_leave_nothing_behind(database: TestDatabase, target: ConnectedPixel) -> None:
    async def work(desk: Desk) -> int:
        waits = [asyncio.create_task(desk.writer.append(batch(target.pixel), seconds=5)) for _ in range(100)]
        await asyncio.sleep(0)
        for wait in waits[::2]:
            wait.cancel()
        assert await asyncio.gather(*waits[1::2]) == [STORED] * 50
        return desk.writer._events

    assert written(database.url("door"), work) == 0


# Two collectors.


def at_two_doors(url: str, first: Sequence[Batch], second: Sequence[Batch]) -> list[Outcome]:
    """Outcomes of two writers that begin at the same moment, each with its connection open."""

    async def run() -> list[Outcome]:
        writers = [
            Writer(Link(url), group_events=50, queue_events=10_000, on_woken=_forget) for _ in range(2)
        ]
        for writer in writers:
            await writer._link.get()
            writer.start()
        together = asyncio.Barrier(2)

        async def send(writer: Writer, batches: Sequence[Batch]) -> list[Outcome]:
            await together.wait()
            return list(await asyncio.gather(*(writer.append(one, seconds=5) for one in batches)))

        outcomes = await asyncio.gather(send(writers[0], first), send(writers[1], second))
        for writer in writers:
            await writer.close()
        return outcomes[0] + outcomes[1]

    return asyncio.run(run())


def _forget(pixel_ids: Iterable[int]) -> None:
    pass


def test_offsets_are_dense_and_receive_times_ordered_with_two_collectors(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    pixels = [target.pixel, *(make_connected_pixel().pixel for _ in range(4))]
    groups = [[batch(pixels[number * step % 5]) for number in range(500)] for step in (1, 3)]

    outcomes = at_two_doors(database.url("door"), *groups)

    assert set(outcomes) == {STORED}
    for pixel in pixels:
        rows = list(
            Event.objects.filter(pixel_id=pixel.pk)
            .order_by("log_offset")
            .values_list("log_offset", "received_at")
        )
        assert [offset for offset, _ in rows] == list(range(200))
        assert [moment for _, moment in rows] == sorted(moment for _, moment in rows)
        assert PixelLog.objects.get(pixel=pixel).head == 200


def test_the_same_event_at_two_doors_at_once_is_stored_once(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    same = [batch(target.pixel, prepared(f"same-{number}")) for number in range(100)]

    outcomes = at_two_doors(database.url("door"), same, same)

    assert set(outcomes) == {STORED}
    assert sorted(ids(target.pixel)) == sorted(f"same-{number}" for number in range(100))
    assert counted(target.pixel) == (100, 100)


def test_two_contents_of_one_id_at_two_doors_at_once_are_one_clash(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    groups = [
        [batch(target.pixel, prepared(f"id-{number}", content)) for number in range(50)] for content in "ab"
    ]

    outcomes = at_two_doors(database.url("door"), *groups)

    assert set(outcomes) == {STORED}
    assert len(offsets(target.pixel)) == 100
    clashes = list(Rejection.objects.filter(pixel=target.pixel, reason="clash"))
    assert sorted(clash.event_id for clash in clashes) == sorted(f"id-{number}" for number in range(50))
    # The one that came second is the clash.
    for clash in clashes:
        assert clash.log_offset == max(
            row.log_offset for row in Event.objects.filter(pixel_id=target.pixel.pk, event_id=clash.event_id)
        )


# Time.


@pytest.mark.parametrize(("hours", "stored"), [(47, 1), (49, 2)])
def test_a_repeat_is_known_for_forty_eight_hours(
    hours: int, stored: int, database: TestDatabase, target: ConnectedPixel
) -> None:
    event = prepared()
    written(database.url("door"), lambda desk: desk.append(batch(target.pixel, event)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_make_partitions((now() AT TIME ZONE 'UTC')::date - 4, 4)")
        cursor.execute(
            "UPDATE events_repeat SET received_at = received_at - make_interval(hours => %s)", [hours]
        )

    written(database.url("door"), lambda desk: desk.append(batch(target.pixel, event)))

    assert len(offsets(target.pixel)) == stored
    assert counted(target.pixel) == (stored, 2 - stored)


def test_receive_times_do_not_go_back_when_the_clock_does(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=30)
    PixelLog.objects.filter(pixel=target.pixel).update(head_received_at=ahead)

    written(database.url("door"), lambda desk: desk.append(batch(target.pixel)))

    assert Event.objects.get(pixel_id=target.pixel.pk).received_at == ahead


def test_a_missing_partition_takes_nothing_in_and_is_shouted(
    database: TestDatabase, target: ConnectedPixel, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")
        leaf = f"events_event_{cursor.fetchone()[0]}"

        async def work(desk: Desk) -> list[Outcome]:
            first = await desk.append(batch(target.pixel))
            await asyncio.to_thread(rename, f"{leaf}_away", leaf)
            return first + await desk.append(batch(target.pixel))

        def rename(old: str, new: str) -> None:
            # On a connection of its own: Django's belongs to the test's thread.
            with psycopg.connect(database.url("owner"), autocommit=True) as owner:
                owner.execute(f"ALTER TABLE {old} RENAME TO {new}")

        rename(leaf, f"{leaf}_away")

        assert written(database.url("door"), work) == [UNAVAILABLE, STORED]


# Bounds.


def test_past_the_queue_a_batch_is_turned_away(database: TestDatabase, target: ConnectedPixel) -> None:
    batches = [batch(target.pixel, *(prepared() for _ in range(10))) for _ in range(20)]

    outcomes = written(database.url("door"), lambda desk: desk.append(*batches), queue_events=50)

    assert outcomes == [STORED] * 5 + [UNAVAILABLE] * 15
    assert len(offsets(target.pixel)) == 50


def test_a_pixel_that_somebody_sits_on_does_not_hold_up_the_others(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    other = make_connected_pixel().pixel

    async def work(desk: Desk) -> tuple[list[list[Outcome]], float]:
        first = await desk.append(batch(target.pixel), batch(other))
        started = time.monotonic()
        second = await desk.append(batch(target.pixel), batch(other))
        return [first, second], time.monotonic() - started

    with psycopg.connect(database.url("owner")) as stray:
        stray.execute("SELECT FROM events_pixellog WHERE pixel_id = %s FOR UPDATE", [target.pixel.pk])
        outcomes, seconds = written(database.url("door"), work)

    assert outcomes == [[UNAVAILABLE, STORED]] * 2
    # The first group waited for the lock; the second knew better.
    assert seconds < 0.5
    assert (offsets(target.pixel), offsets(other)) == ([], [0, 1])


def test_a_batch_that_waited_too_long_is_not_stored(database: TestDatabase, target: ConnectedPixel) -> None:
    outcomes = written(database.url("door"), lambda desk: desk.append(batch(target.pixel), seconds=0))

    assert (outcomes, offsets(target.pixel)) == ([UNAVAILABLE], [])


def test_closing_writes_what_is_queued(database: TestDatabase, target: ConnectedPixel) -> None:
    async def work(desk: Desk) -> list[Outcome]:
        waits = [asyncio.create_task(desk.writer.append(batch(target.pixel), seconds=5)) for _ in range(2000)]
        await asyncio.sleep(0)
        await desk.writer.close()
        return [*await asyncio.gather(*waits), *await desk.append(batch(target.pixel))]

    assert written(database.url("door"), work) == [STORED] * 2000 + [UNAVAILABLE]
    assert len(offsets(target.pixel)) == 2000


# The database breaks.


def test_a_lost_reply_to_the_commit_is_looked_up(database: TestDatabase, target: ConnectedPixel) -> None:
    async def work(desk: Desk) -> tuple[list[Outcome], list[int]]:
        await desk.append(batch(target.pixel, prepared("before")))
        put_to_sleep()
        proxy.swallow = b"COMMIT\0"
        return await desk.append(*(batch(target.pixel, prepared(f"lost-{n}")) for n in range(3))), desk.woken

    def put_to_sleep() -> None:
        with psycopg.connect(database.url("owner"), autocommit=True) as owner:
            owner.execute("UPDATE events_pixellog SET awake = false")

    with database_proxy(database) as proxy:
        outcomes, woken = written(proxied_url(database, "door", proxy), work)
        assert proxy.struck == 1

    assert outcomes == [STORED] * 3
    assert ids(target.pixel) == ["before", "lost-0", "lost-1", "lost-2"]
    # Looked up, not sent again and recognised; and the hint is not lost with the reply.
    assert counted(target.pixel) == (4, 0)
    assert woken == [target.pixel.pk] * 2


def test_a_lost_reply_while_the_database_is_away_is_not_guessed(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    async def work(desk: Desk) -> list[Outcome]:
        await desk.append(batch(target.pixel))
        proxy.swallow, proxy.refuses = b"COMMIT\0", True
        lost = await desk.append(batch(target.pixel), seconds=0.5)
        proxy.refuses = False
        return lost + await back(desk, target.pixel)

    with database_proxy(database) as proxy:
        assert written(proxied_url(database, "door", proxy), work) == [UNAVAILABLE, STORED]

    assert offsets(target.pixel) == [0, 1, 2]


async def taking(desk: Desk) -> None:
    """Wait until the writer takes batches again."""
    async with asyncio.timeout(5):
        while not desk.writer.is_taking:  # noqa: ASYNC110 - the writer tells nobody
            await asyncio.sleep(0.01)


async def back(desk: Desk, pixel: Pixel) -> list[Outcome]:
    """The outcome of a batch once the writer takes batches again."""
    await taking(desk)
    return await desk.append(batch(pixel))


def test_a_connection_cut_anywhere_loses_and_doubles_nothing(
    database: TestDatabase, target: ConnectedPixel
) -> None:
    answers: list[tuple[str, Outcome]] = []

    async def work(desk: Desk) -> None:
        await desk.append(batch(target.pixel, prepared("first")))
        for number in range(40):
            proxy.cut_after = 10 + 90 * number
            event_id = f"cut-{number}"
            await taking(desk)
            answers.append((event_id, (await desk.append(batch(target.pixel, prepared(event_id))))[0]))

    with database_proxy(database) as proxy:
        written(proxied_url(database, "door", proxy), work)
        assert proxy.struck >= 20

    found = ids(target.pixel)
    assert len(found) == len(set(found))
    assert {event_id for event_id, outcome in answers if outcome is STORED} <= set(found)
    assert offsets(target.pixel) == list(range(len(found)))
    assert counted(target.pixel)[0] == len(found)


def test_a_killed_backend_costs_nobody_an_event(database: TestDatabase, target: ConnectedPixel) -> None:
    def kill() -> None:
        with psycopg.connect(database.admin_url(), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'partnerhub collector' AND datname = %s AND usename = %s",
                [database.name, ROLES.door],
            )

    async def work(desk: Desk) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for _ in range(5):
            waits = [
                asyncio.create_task(desk.writer.append(batch(target.pixel), seconds=5)) for _ in range(50)
            ]
            await asyncio.to_thread(kill)
            outcomes += await asyncio.gather(*waits)
        return outcomes

    outcomes = written(database.url("door"), work)

    assert outcomes == [STORED] * 250
    assert offsets(target.pixel) == list(range(250))


def test_a_line_that_went_dead_is_given_up(
    database: TestDatabase, target: ConnectedPixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_room, "SILENCE_SECONDS", 0.3)

    async def work(desk: Desk) -> list[Outcome]:
        await desk.append(batch(target.pixel))
        proxy.is_mute = True
        silent = await desk.append(batch(target.pixel), seconds=1)
        proxy.is_mute = False
        return silent + await back(desk, target.pixel)

    with database_proxy(database) as proxy:
        assert written(proxied_url(database, "door", proxy), work) == [UNAVAILABLE, STORED]


def test_a_fault_of_ours_ends_one_group_and_not_the_writer(
    database: TestDatabase, target: ConnectedPixel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(writer_room, "append_group", broken)

    async def work(desk: Desk) -> list[Outcome]:
        return [*await desk.append(batch(target.pixel)), *await desk.append(batch(target.pixel))]

    assert written(database.url("door"), work) == [UNAVAILABLE, STORED]
