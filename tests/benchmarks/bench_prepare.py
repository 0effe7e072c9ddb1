"""What reading and preparing an event costs, without a door: `python -m tests.benchmarks.bench_prepare`.

A Purchase of about 1 KiB, with nine plain match keys or with hashed ones, in the forms that clients send.
Microseconds of CPU for one event, the best of several runs: all else on the machine only adds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import orjson

from events.parse import parse_submission
from events.payload import PixelRules, prepare_events

NOW = 1_790_000_000
RULES = PixelRules(default_action_source="website", default_country="US")
RUNS = 7
REPEATS = 1_000

PLAIN: dict[str, Any] = {
    "event_name": "Purchase",
    "event_time": NOW,
    "event_id": "order-7781",
    "action_source": "website",
    "event_source_url": "https://shop.example/thanks?order=7781&from=mail",
    "user_data": {
        "em": "John_Smith@gmail.com",
        "ph": "+1 650 555 1212",
        "fn": "Mary",
        "ln": "O'Brien",
        "db": "1997-02-16",
        "ct": "Menlo Park",
        "st": "CA",
        "zp": "94025-1234",
        "country": "US",
        "external_id": "4711",
        "client_ip_address": "2001:db8::7",
        "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "fbp": "fb.1.1789990000000.1234567890",
        "fbc": "fb.1.1789990000000.IwAR0abcdefghijklmnop",
    },
    "custom_data": {
        "value": 42.5,
        "currency": "EUR",
        "order_id": "7781",
        "content_type": "product",
        "contents": [{"id": f"sku-{number}", "quantity": 1, "item_price": 3.5} for number in range(6)],
    },
}


def main() -> None:
    """Measure, and print a table."""
    (prepared,) = _prepare([PLAIN])
    hashed = orjson.loads(prepared.fragment)
    _say(f"one event: {len(orjson.dumps(PLAIN))} bytes plain, {len(prepared.fragment)} bytes prepared")
    _row("prepare, nine plain match keys", lambda: _prepare([PLAIN]))
    _row("prepare, nine hashed match keys", lambda: _prepare([hashed]))
    for name, event in (("plain", PLAIN), ("hashed", hashed)):
        for size in (1, 1_000):
            body = orjson.dumps({"access_token": "t", "data": [event] * size})
            _row(f"read and prepare, JSON of {size}, {name}", _both(body, "application/json"), size)
    for size in (1, 1_000):
        form = urlencode({"data": json.dumps([json.dumps(hashed)] * size), "partner_agent": "shop"}).encode()
        _row(
            f"read and prepare, the Python SDK's form of {size}",
            _both(form, "application/x-www-form-urlencoded"),
            size,
        )


def _prepare(data: list[object]) -> list[Any]:
    return prepare_events(data, rules=RULES, now=NOW, make_id=str)


def _both(body: bytes, content_type: str) -> Callable[[], object]:
    return lambda: _prepare(parse_submission(body, content_type, b"access_token=t", None).data)


def _row(name: str, work: Callable[[], object], size: int = 1) -> None:
    times = max(1, REPEATS // size)
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - begun) / times / size)
    _say(f"{name:<52} {best * 1e6:6.1f} µs")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
