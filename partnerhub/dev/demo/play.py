"""The demo, from the first account to the last event delivered."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass

import requests

from partnerhub.dev.demo.connecting import Hub
from partnerhub.dev.demo.events import Account, Traffic
from partnerhub.dev.demo.meta import world
from partnerhub.dev.demo.setting_up import set_up
from partnerhub.dev.demo.story import SHOPS, Story
from partnerhub.dev.demo.telling import DemoFailed, step
from partnerhub.dev.postgres import STATE
from partnerhub.dev.processes import Platform, start_platform
from partnerhub.dev.stand_in import SandboxClient
from partnerhub.dev.visitor import LostVisitor

TRICKLE_SECONDS = 2.0
MEMORY_BUDGET_MIB = 800


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one demo came to."""

    account: Account
    connected: int
    drained: int


def play(*, once: bool) -> int:
    """Play the demo; the exit code. With `once` everything is stopped at the end."""
    begun = float(os.environ.get("DEMO_BEGUN_AT") or time.time())
    try:
        with start_platform() as platform:
            demo = Demo(platform)
            outcome = demo.run(begun)
            if not once:
                demo.stay_up()
    except (DemoFailed, LostVisitor) as failure:
        print(f"demo: {failure}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130 if once else 0
    if once:
        print(
            f"demo: {outcome.account.delivered + outcome.drained} events delivered,"
            f" {outcome.connected} pixels connected by {outcome.connected} options,"
            f" 1 dead token found and mended with {outcome.drained} events drained: ok",
            flush=True,
        )
    return 0


class Demo:
    """The story's teller."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._sandbox = SandboxClient(platform.ports.url("sandbox"))
        self._path = STATE / "demo.json"
        self._story = Story.load(self._path)
        self._hub = Hub(platform, self._sandbox, self._story)

    def run(self, begun: float) -> Outcome:
        """Play everything once. Raises DemoFailed."""
        redirect_uri = f"{self._platform.ports.url('web')}/connect/callback/"
        self._sandbox.set_world(world(self._story, redirect_uri=redirect_uri))
        told, first = self._story, SHOPS[0]
        if not told.is_told:
            self._first_act()
        else:
            # "Meta" forgot every token when it was stopped.
            set_up(self._hub, self._hub.sign_in(told.owner, told.owner_password), told)
            for shop in SHOPS:
                with step(f"{shop.name} connects anew: {shop.option}"):
                    self._hub.connect(self._hub.admin_of(shop), shop)
        told.save(self._path)
        with step("Test connection"):
            self._hub.test_connection(self._hub.admin_of(first), first)
        run = f"demo-{int(time.time()):x}-{secrets.token_hex(2)}"
        account = self._traffic.send_and_check(run, begun)
        drained = self._dead_token(run)
        self._tell(account)
        return Outcome(account, len(told.pixel_paths), drained)

    def _first_act(self) -> None:
        """Partner, owner, shops, pixels; saved as it goes."""
        told = self._story
        told.beginnings += 1
        told.advertiser_paths.clear()
        told.pixel_paths.clear()
        told.save(self._path)
        owner = self._hub.make_partner()
        set_up(self._hub, owner, told)
        for shop in SHOPS:
            with step(f"{shop.name} signs up"):
                admin = self._hub.make_shop(owner, shop)
            with step(f"{shop.name} connects: {shop.option}"):
                self._hub.connect(admin, shop)
            told.save(self._path)
            if shop is SHOPS[0]:
                told.ingest_token = self._hub.make_ingest_token(admin, shop)

    @property
    def _traffic(self) -> Traffic:
        return Traffic(
            self._platform.ports.url("collector"),
            self._sandbox,
            pixel=SHOPS[0].pixel,
            ingest_token=self._story.ingest_token,
        )

    def _dead_token(self, run: str) -> int:
        """A token dies: its pixel is paused, events wait; a new one is pasted, and they are delivered."""
        shop, told, traffic = SHOPS[0], self._story, self._traffic
        admin = self._hub.admin_of(shop)
        self._sandbox.revoke_token(told.access_token)
        with step("a token is revoked at Meta: found, paused"):
            events = traffic.send_waiting(run)
            page = admin.open(told.pixel_paths[shop.option])
            self._hub.await_page(admin, page, "Paused", "The pixel with the dead token was not paused")
        with step("a new token pasted, what waited delivered"):
            self._hub.connect(admin, shop)
            told.save(self._path)
            traffic.await_drained(events)
        return len(events)

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
            f"\n  PartnerHub    {self._platform.ports.url('web')}\n"
            f"  events door   {self._platform.ports.url('collector')}\n"
            f"  “Meta”        {self._platform.ports.url('sandbox')}  (what arrived, and the mail)\n\n"
            f"  partner staff {self._story.owner}  {self._story.owner_password}\n"
            f"  advertiser    {self._story.admin(SHOPS[0])}  {self._story.admin_password}\n\n"
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
            try:
                self._traffic.trickle(number)
            except (requests.RequestException, DemoFailed) as error:
                print(f"  trickle: {error}", file=sys.stderr, flush=True)
