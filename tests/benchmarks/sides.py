"""The sides that are compared, all on this machine: PartnerHub as its processes run it, Meta's SDK, bare `requests`.

Everybody sends to the same stand-in of the Graph API, and everybody sends the same events.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import requests
import uvloop
from django.db import connection
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest

from events.payload import PixelRules, prepare_events
from onboarding.models import Pixel
from onboarding.services import DELIVER
from partnerhub.dev.shop import ShopEvent, traffic
from partnerhub.lib.hints import send_hint
from tests.support.collector import CollectorProcess
from tests.support.environment import TestDatabase
from tests.support.factories import ConnectedPixel
from tests.support.load import post, run_load
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess

DRAIN_SECONDS = 120.0
RULES = PixelRules("website", "IT")


class Unmeasured(Exception):
    """A group of figures cannot be measured; the text says why."""


@dataclass(slots=True)
class Sides:
    """What runs, and what each group of figures measures on."""

    database: TestDatabase
    sandbox: SandboxProcess
    collector: CollectorProcess
    worker: WorkerProcess
    target: ConnectedPixel
    rounds: int
    # Of the whole measurement: 1 is what the figures are named after.
    scale: float
    say: Callable[[str], None]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    # What singles a second went from the door to Graph: half of it is the half load.
    singles: list[float] = field(default_factory=list)
    # The pixel with the pile, once it is made.
    pile: ConnectedPixel | None = None

    def new_run(self) -> str:
        """A prefix for ids that nobody has used."""
        return f"r{next(self._numbers)}"

    def path(self, target: ConnectedPixel | None = None) -> str:
        """Where events are posted, at our door and at Graph."""
        return f"/v26.0/{(target or self.target).pixel.meta_id}/events"

    def stored(self, target: ConnectedPixel | None = None) -> int:
        """Events that "Meta" has of the pixel."""
        return int(self.sandbox.client.account((target or self.target).pixel.meta_id)["events"])

    def wait_for(self, count: int, target: ConnectedPixel | None = None) -> None:
        """Wait until so many events of the pixel are at "Meta"."""
        deadline = time.perf_counter() + DRAIN_SECONDS
        while self.stored(target) < count:
            if time.perf_counter() > deadline:
                raise Unmeasured(f"Not everything arrived at Graph in time.\n{self.worker.log[-2000:]}")
            # Asking takes a core some 2 ms: often enough for a run of seconds, and no more.
            time.sleep(0.02)

    def through_partnerhub(self, size: int, count: int, connections: int) -> tuple[float, float]:
        """Events a second until the door had answered for all, and until all were at Graph."""
        bodies = self.requests(size, count)
        before = self.stored()
        begun = time.perf_counter()
        self.load(bodies, connections)
        answered = time.perf_counter() - begun
        self.wait_for(before + size * count)
        return size * count / answered, size * count / (time.perf_counter() - begun)

    def requests(self, size: int, count: int) -> list[bytes]:
        """So many requests of `size` events each to the target's door."""
        raws = [raw_event(one) for one in shop_events(self.new_run(), size * count)]
        return door_requests(self.path(), self.target.ingest_token, raws, size)

    def into_the_door(self, size: int, count: int, connections: int) -> float:
        """Events a second until the door had answered for all; nobody waits for their delivery."""
        bodies = self.requests(size, count)
        begun = time.perf_counter()
        self.load(bodies, connections)
        return size * count / (time.perf_counter() - begun)

    def admit(self, target: ConnectedPixel) -> None:
        """Have "Meta" know the pixel and its token."""
        self.sandbox.client.put_pixel(target.pixel.meta_id)
        self.sandbox.client.put_token(target.access_token, pixels=[target.pixel.meta_id])

    def hint(self, pixel: Pixel) -> None:
        """Tell the workers that the pixel has work."""
        send_hint(DELIVER, pixel.pk)

    def load(self, bodies: Sequence[bytes], connections: int, port: int | None = None) -> None:
        """Send all of them, at our door if no other port is given."""
        load = uvloop.run(
            run_load(
                port or self.collector.port, iter(bodies), connections=connections, seconds=DRAIN_SECONDS
            )
        )
        if load.statuses[200] != len(bodies):
            raise Unmeasured(f"Not every request was taken: {dict(load.statuses)}")

    def with_the_sdk(self, size: int, count: int) -> float:
        """Events a second that the SDK sends straight to Graph; its event objects are made beforehand."""
        made = [sdk_event(one) for one in shop_events(self.new_run(), size * count)]
        batches: list[list[Event]] = [made[start : start + size] for start in range(0, len(made), size)]
        begun = time.perf_counter()
        for batch in batches:
            EventRequest(pixel_id=self.target.pixel.meta_id, events=batch).execute()
        return size * count / (time.perf_counter() - begun)

    def with_bare_requests(self, count: int) -> float:
        """Events a second that `requests` sends straight to Graph, from bodies of 1,000 made beforehand."""
        bodies = graph_bodies(self.target.access_token, self.new_run(), count)
        session = requests.Session()
        session.trust_env = False
        url = f"{self.sandbox.base_url}{self.path()}"
        begun = time.perf_counter()
        for body in bodies:
            session.post(
                url, data=body, headers={"Content-Type": "application/json"}, timeout=60
            ).raise_for_status()
        return 1000 * count / (time.perf_counter() - begun)

    def sandbox_alone(self, count: int) -> float:
        """Events a second that the stand-in takes from two bare connections, its checks on."""
        bodies = graph_bodies(self.target.access_token, self.new_run(), count)
        requests_made = [post(self.path(), body) for body in bodies]
        begun = time.perf_counter()
        self.load(requests_made, 2, self.sandbox.port)
        return 1000 * count / (time.perf_counter() - begun)

    def paced(self, target: ConnectedPixel, per_second: float, seconds: float) -> list[float]:
        """Seconds from the moment a single event was due at the door until it was at Graph, sorted."""
        made = shop_events(self.new_run(), int(per_second * seconds))
        bodies = door_requests(self.path(target), target.ingest_token, [raw_event(one) for one in made], 1)
        since = time.time()
        due = uvloop.run(_send_paced(self.collector.port, bodies, per_second))
        sent = {one.event_id: at for one, at in zip(made, due, strict=True)}
        deadline = time.time() + DRAIN_SECONDS
        while time.time() < deadline:
            stored = self.sandbox.client.stored(target.pixel.meta_id, since=since - 1)
            arrived = {one.event_id: one.first_arrival for one in stored}
            if sent.keys() <= arrived.keys():
                return sorted(arrived[event_id] - at for event_id, at in sent.items())
            time.sleep(0.1)
        raise Unmeasured("Not every paced event arrived at Graph.")


def shop_events(run: str, count: int) -> list[ShopEvent]:
    """A shop's traffic of the last day."""
    return list(traffic(count, run=run, now=int(time.time()), days=0.9))


def raw_event(made: ShopEvent) -> dict[str, Any]:
    """As a shop's server sends it, in plain text, with nine match keys: what a checkout form knows."""
    event = made.raw()
    number = made.who.number
    event["user_data"] |= {
        "st": "Lazio",
        "zp": f"{100 + number:05}",
        "db": f"19{60 + number % 40}-0{1 + number % 9}-1{number % 10}",
    }
    return event


def sdk_event(made: ShopEvent) -> Event:
    """The same event as an object of Meta's SDK, which hashes by itself."""
    event = made.sdk()
    number = made.who.number
    event.user_data.state = "lazio"
    event.user_data.zip_code = f"{100 + number:05}"
    event.user_data.date_of_birth = f"19{60 + number % 40}0{1 + number % 9}1{number % 10}"
    return event


def door_requests(path: str, token: str, raws: Sequence[dict[str, Any]], size: int) -> list[bytes]:
    """Requests to the door, of so many events each."""
    return [
        post(
            path,
            json.dumps(
                {"access_token": token, "data": raws[start : start + size]}, separators=(",", ":")
            ).encode(),
        )
        for start in range(0, len(raws), size)
    ]


def graph_bodies(token: str, run: str, count: int) -> list[bytes]:
    """Bodies of 1,000 events as PartnerHub sends them: hashed beforehand."""
    raws: list[object] = [raw_event(one) for one in shop_events(run, 1000 * count)]
    prepared = prepare_events(raws, rules=RULES, now=time.time(), make_id=str)
    head = orjson.dumps({"access_token": token})[:-1]
    return [
        b'%b,"data":[%b]}' % (head, b",".join(one.fragment for one in prepared[start : start + 1000]))
        for start in range(0, len(prepared), 1000)
    ]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of them stay within."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def peak_memory_mib(pid: int) -> float:
    """The most memory that the process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise Unmeasured("This system does not say how much memory a process has had.")


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Of values that were measured side by side."""
    return statistics.median(one / other for one, other in pairs)


async def _send_paced(
    port: int, bodies: Sequence[bytes], per_second: float, connections: int = 32
) -> list[float]:
    """Send each when it is due, whatever became of those before it; when each was due."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            writer.write(await queue.get())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise Unmeasured(f"The door did not take a paced event: {head[:40]!r}")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            queue.task_done()

    senders = [asyncio.create_task(send()) for _ in range(connections)]
    begun = time.time()
    due: list[float] = []
    for number, body in enumerate(bodies):
        # From the intended start: a slow answer must not hide the wait of those behind it.
        due.append(begun + number / per_second)
        if (wait := due[-1] - time.time()) > 0:
            await asyncio.sleep(wait)
        queue.put_nowait(body)
    answered = asyncio.create_task(queue.join())
    await asyncio.wait([answered, *senders], return_when=asyncio.FIRST_COMPLETED)
    for sender in senders:
        if sender.done():
            sender.result()
        sender.cancel()
    return due


def hold(pixel_id: int) -> None:
    """Have the workers leave the pixel alone. No hint, no business rule: the benchmark's own switch."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE onboarding_pixel SET held_at = now(), hold = 'credential' WHERE id = %s", [pixel_id]
        )


def let_go(pixel_id: int) -> None:
    """The end of `hold`, in silence: nobody is told that there is work."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE onboarding_pixel SET held_at = NULL, hold = '' WHERE id = %s", [pixel_id])
