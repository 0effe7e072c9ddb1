"""A shop's traffic, sent to the door as real clients do, and looked for at "Meta": each event there, once."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from partnerhub.dev.demo.story import PARTNER_AGENT
from partnerhub.dev.demo.telling import DemoFailed, progress, step, wait_for
from partnerhub.dev.shop import ShopEvent, traffic
from partnerhub.dev.stand_in import SandboxClient, StoredEvent

RAW_EVENTS = 200
SDK_EVENTS = 2_000
SDK_BATCH = 100
WAITING_EVENTS = 60
DAYS = 6
# Meta's platform guide prints this hash of an address.
GUIDE_EM = "8159ea0e33c51a774b83104ee562784f9b1836c852102046e4bd8385706fe7ca"
DELIVERY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Account:
    """What one run's events came to."""

    sent: int
    delivered: int
    batches: int
    median_seconds: float
    slowest_seconds: float


class Traffic:
    """One pixel's events: sent to the door with its ingest token, and looked for at Meta."""

    def __init__(self, door: str, sandbox: SandboxClient, *, pixel: str, ingest_token: str) -> None:
        self._door = door
        self._sandbox = sandbox
        self._pixel = pixel
        self._ingest_token = ingest_token
        self._version = FacebookAdsApi.API_VERSION

    def send_and_check(self, run: str, begun: float) -> Account:
        """Send the guide's payload, raw events and the SDK's; every one must be at Meta, once. Raises DemoFailed."""
        before = self._sandbox.account(self._pixel)
        sent_at: dict[str, float] = {}
        started = time.time()
        with step("the platform guide's two events sent"):
            self.post({"data": self._guide_events(), "partner_agent": "datapartner"})
        raw = list(traffic(RAW_EVENTS, run=f"{run}-raw", now=int(time.time()), days=DAYS))
        with step(f"{RAW_EVENTS} raw events sent"):
            for chunk in _chunks(raw, 50):
                at = time.time()
                self.post({"data": [event.raw() for event in chunk], "partner_agent": "another_platform"})
                sent_at |= {event.event_id: at for event in chunk}
        sdk = list(traffic(SDK_EVENTS, run=f"{run}-sdk", now=int(time.time()), days=DAYS))
        FacebookSession.GRAPH = self._door
        FacebookAdsApi.init(access_token=self._ingest_token, crash_log=False)
        with step(f"{SDK_EVENTS} events sent by Meta's SDK"):
            for number, chunk in enumerate(_chunks(sdk, SDK_BATCH), start=1):
                at = time.time()
                request = EventRequest(pixel_id=self._pixel, events=[event.sdk() for event in chunk])
                received = request.execute().events_received
                if received != len(chunk):
                    raise DemoFailed(f"The door counted {received} of {len(chunk)} events.")
                sent_at |= {event.event_id: at for event in chunk}
                progress(number * SDK_BATCH, SDK_EVENTS)
        events = raw + sdk
        expected = len(events) + 2
        with step("every event at Meta, once"):
            stored = self._await_stored(started, expected)
        arrived = {event.event_id: event for event in stored}
        self._check(events, arrived, stored, before)
        first = min(event.first_arrival for event in stored)
        print(f"  first delivered event {first - begun:.1f} s after the start", flush=True)
        waits = [arrived[event_id].first_arrival - at for event_id, at in sent_at.items()]
        batches = self._sandbox.account(self._pixel)["requests"] - before["requests"]
        return Account(expected, len(stored), batches, statistics.median(waits), max(waits))

    @staticmethod
    def _guide_events() -> list[dict[str, Any]]:
        """The payload of Meta's platform guide as it is printed, its time moved to now."""
        now = int(time.time())
        who = {"user_data": {"em": GUIDE_EM}}
        purchase = {"custom_data": {"currency": "USD", "value": "50"}}
        return [
            {"event_name": "PageView", "event_time": now, **who},
            {"event_name": "Purchase", "event_time": now, **who, **purchase},
        ]

    def post(self, body: dict[str, Any]) -> None:
        """One request to the door; its answer must count every event. Raises DemoFailed."""
        answer = requests.post(
            f"{self._door}/{self._version}/{self._pixel}/events",
            params={"access_token": self._ingest_token},
            json=body,
            timeout=10,
        )
        if answer.status_code != 200 or answer.json().get("events_received") != len(body["data"]):
            raise DemoFailed(f"The door answered {answer.status_code}: {answer.text[:300]}")

    def _await_stored(self, since: float, expected: int) -> list[StoredEvent]:
        """This run's events at Meta, all of them: connection tests and what trickled in are not among them."""

        def look() -> list[StoredEvent] | None:
            stored = [
                e
                for e in self._sandbox.stored(self._pixel, since=since)
                if e.event_name != "PartnerHubConnectionTest"
            ]
            return stored if len(stored) >= expected else None

        return wait_for(
            look, DELIVERY_SECONDS, f"Not every event arrived at Meta within {DELIVERY_SECONDS} s."
        )

    def _check(
        self,
        events: list[ShopEvent],
        arrived: dict[str | None, StoredEvent],
        stored: list[StoredEvent],
        before: dict[str, Any],
    ) -> None:
        missing = [event.event_id for event in events if event.event_id not in arrived]
        if missing:
            raise DemoFailed(f"{len(missing)} events did not arrive, {missing[0]} among them.")
        twice = [event.event_id for event in stored if event.copies != 1]
        if twice:
            raise DemoFailed(f"{len(twice)} events arrived more than once, {twice[0]} among them.")
        agents = {event.partner_agent for event in stored}
        if agents != {PARTNER_AGENT}:
            raise DemoFailed(f"Events arrived under {agents} instead of {PARTNER_AGENT}.")
        self._check_hashes({event.event_id: event for event in events})
        batches = self._sandbox.account(self._pixel)["requests"] - before["requests"]
        if batches * 10 > len(stored):
            raise DemoFailed(f"{len(stored)} events took {batches} requests to Meta: they were not batched.")

    def _check_hashes(self, events: dict[str, ShopEvent]) -> None:
        """Compare the personal data in the last requests with hashes worked out by the shop's own table."""
        compared = 0
        for request in self._sandbox.received_requests(self._pixel):
            for sent in json.loads(request["body"]).get("data", []):
                event = events.get(sent.get("event_id"))
                if event is None:
                    continue
                for key, wanted in event.who.hashes().items():
                    found = sent["user_data"].get(key)
                    if [wanted] != (found if isinstance(found, list) else [found]):
                        raise DemoFailed(f"{event.event_id}: user_data.{key} is not the hash it must be.")
                compared += 1
        if not compared:
            raise DemoFailed("No request with this run's events was found at Meta to compare hashes with.")
        print(f"  personal data of {compared} events compared with known hashes: all hashed", flush=True)

    def send_waiting(self, run: str) -> list[ShopEvent]:
        """Events whose pixel is paused, or about to be: taken in like any others."""
        events = list(traffic(WAITING_EVENTS, run=f"{run}-waiting", now=int(time.time()), days=1))
        for chunk in _chunks(events, 20):
            self.post({"data": [event.raw() for event in chunk]})
        return events

    def await_drained(self, events: list[ShopEvent]) -> None:
        """All of them at Meta, each once. Raises DemoFailed."""
        wanted: set[str | None] = {event.event_id for event in events}

        def look() -> dict[str | None, int] | None:
            copies: dict[str | None, int] = {
                e.event_id: e.copies for e in self._sandbox.stored(self._pixel) if e.event_id in wanted
            }
            return copies if copies.keys() == wanted else None

        copies = wait_for(
            look, DELIVERY_SECONDS, f"What waited was not delivered within {DELIVERY_SECONDS} s."
        )
        if twice := [event_id for event_id, count in copies.items() if count != 1]:
            raise DemoFailed(
                f"{len(twice)} events that waited arrived more than once, {twice[0]} among them."
            )

    def trickle(self, number: int) -> None:
        """One event of now. Raises DemoFailed, or what the connection raises."""
        now = int(time.time())
        [event] = traffic(1, run=f"live-{now:x}-{number}", now=now, days=0.001)
        self.post({"data": [event.raw()]})


def _chunks(events: list[ShopEvent], size: int) -> Iterator[list[ShopEvent]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]
