"""`make demo`: the main job, played through the front doors, on real traffic.

A partner is made by the operator's command. Its owner signs up from the mail it got, and invites an advertiser,
whose admin signs up, enters a pixel with its token, and sees the test come back green. Then a shop's events come in
over HTTP, raw and from Meta's own SDK, and are looked for at "Meta", each once. Nothing here touches the database.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from partnerhub.dev.postgres import STATE
from partnerhub.dev.processes import Platform, start_platform
from partnerhub.dev.shop import ShopEvent, traffic
from partnerhub.dev.stand_in import SandboxClient, StoredEvent
from partnerhub.dev.visitor import LostVisitor, Page, Visitor

PARTNER_AGENT = "datapartner"
PARTNER_APP = "900100"
SHOP_APP = "700700"
PIXEL = "1000000000001"

RAW_EVENTS = 200
SDK_EVENTS = 2_000
SDK_BATCH = 100
DAYS = 6
# Meta's platform guide prints this hash of an address.
GUIDE_EM = "8159ea0e33c51a774b83104ee562784f9b1836c852102046e4bd8385706fe7ca"

TEST_SECONDS = 30
MAIL_SECONDS = 20
DELIVERY_SECONDS = 60
TRICKLE_SECONDS = 2.0
MEMORY_BUDGET_MIB = 800


T = TypeVar("T")


class DemoFailed(Exception):
    """Something that the demo promises did not happen; the text is a sentence."""


@dataclass(slots=True)
class Story:
    """What is remembered from one demo to the next: sign-ins, and where the pixel is. Kept at mode 0600."""

    owner_password: str
    admin_password: str
    # A first act that was interrupted is begun anew with people and names of its own.
    beginnings: int = 0
    pixel_path: str = ""
    access_token: str = ""
    ingest_token: str = ""

    @property
    def suffix(self) -> str:
        """What tells this beginning's names from an interrupted one's; nothing for the first."""
        return str(self.beginnings) if self.beginnings > 1 else ""

    @property
    def partner(self) -> str:
        """The partner's name."""
        return f"Datapartner {self.suffix}".strip()

    @property
    def owner(self) -> str:
        """The partner's owner."""
        return f"owner{self.suffix}@datapartner.example"

    @property
    def admin(self) -> str:
        """The advertiser's admin."""
        return f"admin{self.suffix}@shop.example"

    @classmethod
    def load(cls, path: Path) -> Story:
        """The story so far, or a new one with passwords made for this checkout."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        return cls(owner_password=secrets.token_urlsafe(12), admin_password=secrets.token_urlsafe(12))

    def save(self, path: Path) -> None:
        """Keep it for the next demo."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Account:
    """What one run's events came to."""

    sent: int
    delivered: int
    batches: int
    median_seconds: float
    slowest_seconds: float


def play(*, once: bool) -> int:
    """Play the demo; the exit code. With `once` everything is stopped at the end."""
    begun = float(os.environ.get("DEMO_BEGUN_AT") or time.time())
    try:
        with start_platform() as platform:
            demo = Demo(platform)
            account, tests = demo.run(begun)
            if not once:
                demo.stay_up()
    except (DemoFailed, LostVisitor) as failure:
        print(f"demo: {failure}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130 if once else 0
    if once:
        print(f"demo: {account.delivered} events delivered, {tests} connections tested: ok", flush=True)
    return 0


class Demo:
    """The story's teller."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._web = platform.ports.url("web")
        self._door = platform.ports.url("collector")
        self._sandbox = SandboxClient(platform.ports.url("sandbox"))
        self._path = STATE / "demo.json"
        self._story = Story.load(self._path)
        self._version = FacebookAdsApi.API_VERSION

    def run(self, begun: float) -> tuple[Account, int]:
        """Play everything once; the account of the events, and how many connections were tested."""
        self._set_up_meta()
        if self._story.ingest_token:
            with _step("advertiser signs in"):
                admin = self._sign_in(self._story.admin, self._story.admin_password)
        else:
            admin = self._first_act()
        with _step("Test connection"):
            self._test_connection(admin)
        run = f"demo-{int(time.time()):x}-{secrets.token_hex(2)}"
        account = self._send_and_check(run, begun)
        self._tell(account)
        return account, 1

    def _set_up_meta(self) -> None:
        story = self._story
        story.access_token = story.access_token or f"EAAB{secrets.token_hex(40)}"
        self._sandbox.put_app(PARTNER_APP, secret="the-partner-app-secret", name="Datapartner")
        self._sandbox.put_app(SHOP_APP, secret="the-shop-app-secret", name="Shop's own app")
        self._sandbox.put_pixel(PIXEL, name="Web shop")
        # A token as Events Manager makes it: it may send, and reads nothing.
        self._sandbox.put_token(story.access_token, app_id=SHOP_APP, pixels=[PIXEL])

    # The first act: partner, owner, advertiser, pixel.

    def _first_act(self) -> Visitor:
        story = self._story
        story.beginnings += 1
        story.save(self._path)
        with _step(f"partner {story.partner} made"):
            done = self._platform.manage(
                *("partner", "create", "--name", story.partner, "--partner-agent", PARTNER_AGENT),
                *("--meta-app-id", PARTNER_APP, "--owner-email", story.owner, "--app-secret-stdin"),
                input="the-partner-app-secret\n",
            )
            if done.returncode:
                raise DemoFailed(f"The partner could not be made: {done.stdout}{done.stderr}")
        with _step("its owner signs up and accepts"):
            owner, page = self._accept_invitation(story.owner, "Olivia Owner", story.owner_password)
        with _step("owner invites an advertiser"):
            page = owner.open(f"{page.path.rstrip('/')}/advertisers/invite/")
            owner.submit(page, "email", name="Shop Example", default_country="IT", email=story.admin)
        with _step("its admin signs up and accepts"):
            admin, page = self._accept_invitation(story.admin, "Adam Admin", story.admin_password)
        with _step("pixel and token entered"):
            page = admin.open(f"{page.path.rstrip('/')}/pixels/add/")
            page = admin.submit(
                page, "meta_id", meta_id=PIXEL, name="Web shop", access_token=story.access_token
            )
            self._await_green(admin, page)
            link = re.search(r'href="(/pixels/\d+/)"', page.html)
            if link is None:
                raise DemoFailed("The test's page does not lead back to the pixel.")
            story.pixel_path = link[1]
        with _step("ingest token made"):
            page = admin.open(story.pixel_path)
            page = admin.submit(page, "ingest-tokens", name="Shop server")
            token = re.search(r"pht_[A-Za-z0-9_-]{43}", page.html)
            if token is None:
                raise DemoFailed("The new ingest token is not shown.")
            story.ingest_token = token[0]
        story.save(self._path)
        return admin

    def _accept_invitation(self, email: str, name: str, password: str) -> tuple[Visitor, Page]:
        """Follow the mailed link, sign up, confirm the address by mail, accept; the person and where it landed."""
        visitor = Visitor(self._web)
        link = self._mailed_link(email, r"/invitations/[A-Za-z0-9_-]+/")
        page = visitor.open(link)
        sign_up = re.search(r'href="(/accounts/signup/[^"]*)"', page.html)
        if sign_up is None:
            raise DemoFailed(f"The invitation of {email} does not lead to the sign-up.")
        page = visitor.open(sign_up[1].replace("&amp;", "&"))
        visitor.submit(page, "password1", name=name, email=email, password1=password)
        page = visitor.open(self._mailed_link(email, r"/accounts/confirm-email/[^/\s]+/"))
        visitor.submit(page, page.path.rstrip("/"))
        page = visitor.open("/")
        if "/accounts/login/" in visitor.open(link).url:
            visitor = self._sign_in(email, password)
        page = visitor.submit(visitor.open(link), "accept")
        return visitor, page

    def _sign_in(self, email: str, password: str) -> Visitor:
        visitor = Visitor(self._web)
        page = visitor.submit(visitor.open("/accounts/login/"), "login", login=email, password=password)
        if "/accounts/login/" in page.url:
            raise DemoFailed(f"{email} cannot sign in: {page.text[:200]}")
        return visitor

    def _mailed_link(self, to: str, pattern: str) -> str:
        def look() -> str | None:
            for mail in self._sandbox.mail(to):
                if found := re.search(pattern, mail.text):
                    return found[0]
            return None

        return _await(look, MAIL_SECONDS, f"No mail with {pattern} came to {to}.")

    # Test connection.

    def _test_connection(self, admin: Visitor) -> None:
        page = admin.open(self._story.pixel_path)
        page = admin.submit(page, "test_event_code")
        self._await_green(admin, page)

    def _await_green(self, admin: Visitor, page: Page) -> None:
        """Reload the test's page, as a person without JavaScript does, until the outcome is there."""
        deadline = time.monotonic() + TEST_SECONDS
        while 'data-state="passed"' not in page.html:
            if 'data-state="failed"' in page.html:
                raise DemoFailed(f"The connection test failed: {page.text[:600]}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"The connection test has no outcome after {TEST_SECONDS} s.")
            time.sleep(0.1)
            page = admin.open(page.url)

    # Events.

    def _send_and_check(self, run: str, begun: float) -> Account:
        before = self._sandbox.account(PIXEL)
        sent_at: dict[str, float] = {}
        started = time.time()
        with _step("the platform guide's two events sent"):
            self._post({"data": self._guide_events(), "partner_agent": "datapartner"})
        raw = list(traffic(RAW_EVENTS, run=f"{run}-raw", now=int(time.time()), days=DAYS))
        with _step(f"{RAW_EVENTS} raw events sent"):
            for chunk in _chunks(raw, 50):
                at = time.time()
                self._post({"data": [event.raw() for event in chunk], "partner_agent": "another_platform"})
                sent_at |= {event.event_id: at for event in chunk}
        sdk = list(traffic(SDK_EVENTS, run=f"{run}-sdk", now=int(time.time()), days=DAYS))
        FacebookSession.GRAPH = self._door
        FacebookAdsApi.init(access_token=self._story.ingest_token, crash_log=False)
        with _step(f"{SDK_EVENTS} events sent by Meta's SDK"):
            for number, chunk in enumerate(_chunks(sdk, SDK_BATCH), start=1):
                at = time.time()
                request = EventRequest(pixel_id=PIXEL, events=[event.sdk() for event in chunk])
                received = request.execute().events_received
                if received != len(chunk):
                    raise DemoFailed(f"The door counted {received} of {len(chunk)} events.")
                sent_at |= {event.event_id: at for event in chunk}
                _progress(number * SDK_BATCH, SDK_EVENTS)
        events = raw + sdk
        expected = len(events) + 2
        with _step("every event at Meta, once"):
            stored = self._await_stored(started, expected)
        arrived = {event.event_id: event for event in stored}
        self._check(events, arrived, stored, before)
        first = min(event.first_arrival for event in stored)
        print(f"  first delivered event {first - begun:.1f} s after the start", flush=True)
        waits = [arrived[event_id].first_arrival - at for event_id, at in sent_at.items()]
        batches = self._sandbox.account(PIXEL)["requests"] - before["requests"]
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

    def _post(self, body: dict[str, Any]) -> None:
        answer = requests.post(
            f"{self._door}/{self._version}/{PIXEL}/events",
            params={"access_token": self._story.ingest_token},
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
                for e in self._sandbox.stored(PIXEL, since=since)
                if e.event_name != "PartnerHubConnectionTest"
            ]
            return stored if len(stored) >= expected else None

        return _await(look, DELIVERY_SECONDS, f"Not every event arrived at Meta within {DELIVERY_SECONDS} s.")

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
        batches = self._sandbox.account(PIXEL)["requests"] - before["requests"]
        if batches * 10 > len(stored):
            raise DemoFailed(f"{len(stored)} events took {batches} requests to Meta: they were not batched.")

    def _check_hashes(self, events: dict[str, ShopEvent]) -> None:
        """Compare the personal data in the last requests with hashes worked out by the shop's own table."""
        compared = 0
        for request in self._sandbox.received_requests(PIXEL):
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

    def _tell(self, account: Account) -> None:
        used = self._platform.memory_bytes() / 2**20
        print(
            f"\n  events in {account.sent}   batches {account.batches}   delivered {account.delivered}\n"
            f"  door to Graph: median {account.median_seconds * 1000:.0f} ms,"
            f" slowest {account.slowest_seconds * 1000:.0f} ms\n"
            f"  memory of all processes: {used:.0f} MiB",
            flush=True,
        )
        if used > MEMORY_BUDGET_MIB:
            raise DemoFailed(f"All processes together take {used:.0f} MiB; {MEMORY_BUDGET_MIB} is the most.")

    def stay_up(self) -> None:
        """Print where everything is, and let events trickle in until Ctrl-C."""
        print(
            f"\n  PartnerHub    {self._web}\n"
            f"  events door   {self._door}\n"
            f"  “Meta”        {self._platform.ports.url('sandbox')}  (what arrived, and the mail)\n\n"
            f"  partner staff {self._story.owner}  {self._story.owner_password}\n"
            f"  advertiser    {self._story.admin}  {self._story.admin_password}\n\n"
            "  Events keep trickling in. Ctrl-C stops everything.",
            flush=True,
        )
        stopped = threading.Event()
        threading.Thread(target=self._trickle, args=(stopped,), daemon=True).start()
        try:
            self._platform.supervisor.wait_for_end()
        finally:
            stopped.set()

    def _trickle(self, stopped: threading.Event) -> None:
        for number in range(1_000_000):
            if stopped.wait(TRICKLE_SECONDS):
                return
            now = int(time.time())
            [event] = traffic(1, run=f"live-{now:x}-{number}", now=now, days=0.001)
            try:
                self._post({"data": [event.raw()]})
            except (requests.RequestException, DemoFailed) as error:
                print(f"  trickle: {error}", file=sys.stderr, flush=True)


class _step:  # noqa: N801  (used as a statement: `with _step("…"):`)
    """Says what was done and how long it took, in a line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            print(f"  {self._name:<44} {time.monotonic() - self._begun:6.1f} s", flush=True)


def _await(look: Callable[[], T | None], seconds: float, otherwise: str) -> T:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise DemoFailed(otherwise)
        time.sleep(0.1)
    return found


def _chunks(events: list[ShopEvent], size: int) -> Iterator[list[ShopEvent]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


def _progress(done: int, whole: int) -> None:
    if sys.stdout.isatty():
        filled = 30 * done // whole
        print(f"\r  [{'█' * filled}{'·' * (30 - filled)}] {done}/{whole}", end="", flush=True)
        if done >= whole:
            print("\r" + " " * 60 + "\r", end="", flush=True)
    elif done == whole or done % (whole // 4) == 0:
        print(f"  … {done}/{whole}", flush=True)
