"""How much the door takes in: `python -m tests.benchmarks.bench_door`.

Requests of one event and of a thousand, each answered after its commit, beside a bare uvicorn app that says
200 to the same bytes. Collector, PostgreSQL and this driver share the machine; the figures are worth no more
than their ratio to the bare app's of the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import uvloop

from tests.support.collector import CollectorProcess
from tests.support.environment import prepare_environment
from tests.support.load import Load, post, run_load

CHECKOUT = Path(__file__).resolve().parents[2]

REFUSALS = 20

BARE = """
import asyncio, socket, sys, uvicorn, uvloop
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    body = b'{"events_received":1,"messages":[],"fbtrace_id":"AAAAAAAAAAAAAAAAAAAAAA"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", access_log=False, log_level="error")
uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))
"""


def event(number: int) -> dict[str, Any]:
    """A Purchase as a shop's server sends it."""
    return {
        "event_name": "Purchase",
        "event_time": int(time.time()) - number % 3600,
        "event_id": f"bench-{number}",
        "action_source": "website",
        "event_source_url": "https://shop.example/checkout/thanks?step=4",
        "user_data": {
            "em": [f"customer{number}@shop.example"],
            "ph": ["+39 06 6988 1234"],
            "external_id": [f"c-{number}"],
            "client_ip_address": "2001:db8::7",
            "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36",
            "fbp": "fb.1.1789990000000.1234567890",
        },
        "custom_data": {
            "value": 42.5,
            "currency": "EUR",
            "order_id": f"o-{number}",
            "content_ids": ["sku-1"],
        },
    }


def made_requests(path: str, token: str, size: int, first: int, count: int) -> Iterator[bytes]:
    """So many requests of `size` events with ids of their own, made beforehand."""
    made = [
        post(
            path,
            json.dumps(
                {"access_token": token, "data": [event(first + size * place + one) for one in range(size)]},
                separators=(",", ":"),
            ).encode(),
        )
        for place in range(count)
    ]
    return iter(made)


def refused_cpu_ms(collector: CollectorProcess, path: str, token: str) -> Iterator[tuple[str, float]]:
    """What the collector refuses, and the milliseconds of its CPU that each takes."""
    url = f"{collector.base_url}{path}?access_token={token}"
    many = b'{"data":[' + b",".join([b"{}"] * 10_001) + b"]}"
    keys = b'{"data":[{' + b",".join(b'"k%d":1' % number for number in range(500_000)) + b"}]}"
    for name, body, headers in (
        ("10 MB with its length", b"x" * 10_000_000, {}),
        ("8 MB that inflate to 8 GB", _bomb(), {"content-encoding": "gzip"}),
        ("10,001 events", many, {}),
        ("a pile of 100,000 brackets", b"[" * 100_000, {}),
        ("half a million keys", keys, {}),
    ):
        before = _cpu_seconds(collector.pid)
        for _ in range(REFUSALS):
            answer = requests.post(
                url, data=body, headers={"content-type": "application/json"} | headers, timeout=60
            )
            if answer.status_code < 400:
                raise SystemExit(f"{name} was not refused.")
        yield name, 1000 * (_cpu_seconds(collector.pid) - before) / REFUSALS


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    piece = bytes(10_000_000)
    return b"".join([*(packer.compress(piece) for _ in range(800)), packer.flush()])


def _cpu_seconds(pid: int) -> float:
    # User and system time are the 14th and 15th field of proc(5)'s stat; the second ends with a bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(name: str, load: Load, size: int) -> None:
    """One line."""
    others = {status: count for status, count in load.statuses.items() if status != 200}
    sys.stdout.write(
        f"{name:34} {load.rate:9.0f} requests/s {load.rate * size:9.0f} events/s"
        f"   p50 {load.percentile(0.5):6.1f} ms   p99 {load.percentile(0.99):6.1f} ms   {others or ''}\n"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=1)
    arguments = parser.parse_args()
    prepare_environment()
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.support.factories import make_connected_pixel

    targets = [make_connected_pixel() for _ in range(arguments.pixels)]
    numbers = itertools.count(0, 10_000_000)

    def stream(size: int, count: int) -> Iterator[bytes]:
        streams = [
            made_requests(
                f"/v26.0/{target.pixel.meta_id}/events", target.ingest_token, size, next(numbers), count
            )
            for target in targets
        ]
        return (request for together in zip(*streams, strict=True) for request in together)

    shapes = (
        (1, arguments.connections, int(12_000 * arguments.seconds / len(targets))),
        (1000, 8, int(60 * arguments.seconds / len(targets)) + 1),
    )
    bare = subprocess.Popen([sys.executable, "-c", BARE], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert bare.stdout is not None
        bare_port = int(bare.stdout.readline())
        with CollectorProcess(LOG_LEVEL="WARNING") as collector:
            for size, connections, count in shapes:
                for name, port in (("bare uvicorn", bare_port), ("door", collector.port)):
                    load = uvloop.run(
                        run_load(
                            port, stream(size, count), connections=connections, seconds=arguments.seconds
                        )
                    )
                    report(f"{name}, {size} a request", load, size)
            for name, spent in refused_cpu_ms(
                collector, f"/v26.0/{targets[0].pixel.meta_id}/events", targets[0].ingest_token
            ):
                sys.stdout.write(f"refused: {name:30} {spent:6.1f} ms of CPU each\n")
            sys.stderr.write(collector.log)
    finally:
        bare.kill()
        bare.wait()


if __name__ == "__main__":
    os.chdir(CHECKOUT)
    main()
