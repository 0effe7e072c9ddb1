"""Each log line says whose it is: a request's, a pixel's, a delivery's, a task's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.http import HttpResponse
from django.test import RequestFactory
from structlog.contextvars import clear_contextvars, get_contextvars

from events.collector.app import Door
from events.collector.body import Bodies
from events.collector.tokens import Grant
from events.payload import PixelRules
from partnerhub.lib.consumer import IdTask
from partnerhub.lib.web import RequestIdMiddleware
from tests.events.delivery.conftest import forget_events, introduce, is_drained
from tests.support.brokers import prepared_broker
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until


@pytest.fixture(autouse=True)
def _no_ids() -> Iterator[None]:
    clear_contextvars()
    yield
    clear_contextvars()


@pytest.fixture
def targets(transactional_db: None) -> Iterator[list[ConnectedPixel]]:
    yield [make_connected_pixel() for _ in range(2)]
    forget_events()


def test_all_lines_of_a_delivery_carry_its_ids(targets: list[ConnectedPixel]) -> None:
    with SandboxProcess() as sandbox, prepared_broker("pgmq") as broker:
        for target in targets:
            introduce(sandbox, target)
            append_count(target.pixel, 2)
        # Graph counts another number: a warning beside the delivery's own line.
        sandbox.client.add_knob("received", events_received=7)
        with WorkerProcess(
            broker.environment, GRAPH_API_BASE_URL=sandbox.base_url, LOG_FORMAT="json", LOG_LEVEL="DEBUG"
        ) as worker:
            wait_until(lambda: all(is_drained(target.pixel) for target in targets))
            wait_until(lambda: worker.log.count("delivery settled") == len(targets))
            lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]

    of_deliveries = [line for line in lines if line["logger"].startswith("events.delivery.")]
    spoken = [
        line
        for line in of_deliveries
        if line["event"] not in {"this worker looks by itself", "partitions made"}
    ]
    assert {line["event"] for line in spoken} == {"delivery settled", "Graph counted other than we sent"}
    assert len(spoken) == 2 * len(targets)
    by_delivery: dict[int, set[int]] = {}
    for line in spoken:
        by_delivery.setdefault(line["delivery_id"], set()).add(line["pixel_id"])
    assert sorted(by_delivery.values(), key=min) == [{target.pixel.pk} for target in targets]


def test_a_task_binds_its_ids_for_as_long_as_it_runs() -> None:
    app = Celery("tests", task_cls=IdTask, set_as_current=False)
    seen: dict[str, Any] = {}

    @app.task(name="tests.look")
    def look(pixel_id: int) -> None:
        seen.update(get_contextvars())

    look(5)

    assert seen == {"task": "tests.look", "request_id": None, "pixel_id": 5}
    assert get_contextvars() == {}


def test_a_page_binds_its_request_and_the_keys_of_its_address() -> None:
    seen: dict[str, Any] = {}

    def page(request: Any) -> HttpResponse:
        middleware.process_view(request, None, (), {"pixel_id": 5, "token": "secret", "key_id": "secret"})
        seen.update(get_contextvars())
        return HttpResponse()

    middleware = RequestIdMiddleware(page)
    answer = middleware(RequestFactory().get("/pixels/5/"))

    assert seen == {"request_id": answer["X-Request-Id"], "pixel_id": 5}


def test_a_request_at_the_door_binds_the_id_that_it_is_answered_with_and_its_pixel() -> None:
    seen: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []

    class Tokens:
        async def find(self, token: str) -> Grant:
            return Grant(5, 1, "123", PixelRules("website", None))

    class Writer:
        is_taking = True

        async def append(self, batch: Any, *, seconds: float) -> Any:
            seen.append(get_contextvars())
            raise RuntimeError

    door = Door(
        tokens=Tokens(),  # type: ignore[arg-type]
        writer=Writer(),  # type: ignore[arg-type]
        bodies=Bodies(size=10_000, seconds=5),
        answer_seconds=5,
    )
    event = {"event_name": "PageView", "event_time": 1_795_000_000, "user_data": {"external_id": "a"}}
    door._clock = lambda: 1_795_000_060.0
    body = json.dumps({"access_token": "pht_x", "data": [event]}).encode()

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            answers.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        scope = {
            "type": "http",
            "path": "/v26.0/123/events",
            "method": "POST",
            "headers": headers,
            "query_string": b"",
        }
        await asyncio.gather(*(asyncio.create_task(door(dict(scope), receive, send)) for _ in range(2)))

    asyncio.run(ask())

    said = [json.loads(message["body"])["error"]["fbtrace_id"] for message in answers if "body" in message]
    assert seen == [{"request_id": request_id, "pixel_id": 5} for request_id in said]
    assert len(set(said)) == 2
