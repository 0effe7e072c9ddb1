"""What the guardian's daily look at so many tokens costs: `make bench ARGS="--guardian 10000"`.

Half of them pasted (one call each), half of the partner's app (two calls). One thread, as a worker's role, against the
stand-in Graph API on the same machine: what Meta's own answers take comes on top, and waits, for the most part.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils import timezone

from onboarding.models import Credential, Option, Pixel, SealedToken
from onboarding.services.guardian import TICK_LOOKS, look_at_due
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.secrets import vault
from tests.support.environment import TestDatabase
from tests.support.factories import make_advertiser, make_partner
from tests.support.roles import logged_in_as
from tests.support.sandbox import SandboxProcess

# Of `make bench`: enough for a rate, and a few seconds.
FEW = 600
AN_ADVERTISER = 20
APP, APP_SECRET = "900100", "app-secret-of-the-tests"
BATCH = 500


@dataclass(frozen=True, slots=True)
class Looked:
    """What a pass over all of them took."""

    credentials: int
    calls: int
    seconds: float
    database_seconds: float
    cpu_seconds: float
    statements: int
    grown_mib: float

    def lines(self) -> Iterator[tuple[str, float, str]]:
        """Name, value, unit."""
        yield "guardian, tokens looked at", self.credentials / self.seconds, "tokens/s"
        yield "guardian, calls to Graph", self.calls / self.seconds, "calls/s"
        yield "guardian, database a token", 1000 * self.database_seconds / self.credentials, "ms"
        yield "guardian, CPU a token", 1000 * self.cpu_seconds / self.credentials, "ms"
        yield "guardian, statements a token", self.statements / self.credentials, "statements"


def make_tokens(sandbox: SandboxProcess, count: int) -> None:
    """So many pixels, each with a token that works at "Meta", every one of them due."""
    partner = make_partner(f"Fleet of {count}")
    sandbox.client.put_app(APP, secret=APP_SECRET)
    advertisers = [make_advertiser(partner) for _ in range(max(1, count // AN_ADVERTISER))]
    for start in range(0, count, BATCH):
        places = range(start, min(start + BATCH, count))
        pixels = Pixel.objects.bulk_create(
            Pixel(
                advertiser=advertisers[place % len(advertisers)], meta_id=str(3 * 10**12 + place), name="Shop"
            )
            for place in places
        )
        options = [Option.PASTED_TOKEN if place % 2 else Option.LOGIN_FOR_BUSINESS for place in places]
        tokens = [Secret(f"EAAbench{pixel.meta_id}") for pixel in pixels]
        secrets = SealedToken.objects.bulk_create(
            SealedToken(
                advertiser_id=pixel.advertiser_id,
                sealed=vault().seal(token, identity=f"token:{pixel.meta_id}"),
                vault_identity=f"token:{pixel.meta_id}",
                last_four=token.last_four,
            )
            for pixel, token in zip(pixels, tokens, strict=True)
        )
        Credential.objects.bulk_create(
            Credential(
                advertiser_id=pixel.advertiser_id,
                pixel=pixel,
                option=option,
                secret=secret,
                state="working",
                last_four=secret.last_four,
            )
            for pixel, option, secret in zip(pixels, options, secrets, strict=True)
        )
        sandbox.client.set_world(
            {
                "pixels": {pixel.meta_id: {"name": "Shop"} for pixel in pixels},
                "tokens": {
                    token.reveal(): {
                        "app_id": "700700" if option == Option.PASTED_TOKEN else APP,
                        "type": "SYSTEM_USER",
                        "scopes": ["ads_management", "ads_read"],
                        "pixels": [pixel.meta_id],
                    }
                    for pixel, option, token in zip(pixels, options, tokens, strict=True)
                },
            }
        )


def look_at_all(sandbox: SandboxProcess, database: TestDatabase, count: int) -> Looked:
    """A pass of ticks, one after the other, until nothing is due."""
    client = _Counting(base_url=sandbox.base_url, version="v26.0")
    with logged_in_as(database, "worker"), _database_time() as spent:
        before, cpu, begun = _memory_mib(), time.process_time(), time.perf_counter()
        # What is due by now, each once: a pass of ten thousand outlasts the wait of one that Graph did not answer.
        looked, now = 0, timezone.now()
        while found := look_at_due(client=client, limit=TICK_LOOKS, seconds=600, now=now):
            looked += found
        seconds = time.perf_counter() - begun
        cpu_seconds = time.process_time() - cpu
        grown = _memory_mib() - before
    client.close()
    # Others of this run may be due, too.
    if looked < count:
        raise SystemExit(f"{looked} of {count} were looked at.")
    return Looked(looked, client.calls, seconds, spent[0], cpu_seconds, int(spent[1]), grown)


class _Counting(GraphClient):
    """The real client, counting its calls."""

    calls = 0

    def get(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return super().get(*args, **options)

    def get_with_secrets(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return super().get_with_secrets(*args, **options)


@contextmanager
def _database_time() -> Iterator[list[float]]:
    """Seconds in statements, and how many there were."""
    spent = [0.0, 0.0]

    def run(execute: Callable[..., Any], statement: str, parameters: Any, many: bool, context: Any) -> Any:
        begun = time.perf_counter()
        try:
            return execute(statement, parameters, many, context)
        finally:
            spent[0] += time.perf_counter() - begun
            spent[1] += 1

    with connection.execute_wrapper(run):
        yield spent


def _memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_guardian(
    sandbox: SandboxProcess, database: TestDatabase, count: int = FEW
) -> Iterator[tuple[str, float, str]]:
    """The figures for `make bench`: name, value, unit."""
    make_tokens(sandbox, count)
    yield from look_at_all(sandbox, database, count).lines()


def report(database: TestDatabase, count: int, say: Callable[[str], None]) -> None:
    """Measure a pass over so many tokens, and say what it took."""
    with SandboxProcess() as sandbox:
        make_tokens(sandbox, count)
        looked = look_at_all(sandbox, database, count)
    say(
        f"{looked.credentials:,} tokens in {looked.seconds:,.0f} s, {looked.calls:,} calls;"
        f" {looked.database_seconds:,.0f} s in {looked.statements:,} statements,"
        f" {looked.cpu_seconds:,.0f} s of CPU; {looked.grown_mib:.1f} MiB more memory"
    )
    for name, value, unit in looked.lines():
        say(f"{name}: {value:,.2f} {unit}")
