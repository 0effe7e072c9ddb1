"""Traces from the door to Graph, of real processes, at a receiver of OpenTelemetry's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from partnerhub.lib import tracing
from tests.events.delivery.conftest import forget_events, introduce, is_drained
from tests.support.brokers import prepared_broker
from tests.support.collector import CollectorProcess
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import make_event
from tests.support.otlp import Receiver, Span
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
CANARY = "canary-4c1e@shop.example"
RECEIVED_AT = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def target(transactional_db: None, sandbox: SandboxProcess) -> Iterator[ConnectedPixel]:
    connected = make_connected_pixel()
    introduce(sandbox, connected)
    yield connected
    forget_events()


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    """The spans of this process."""
    exporter = InMemorySpanExporter()
    tracing.start_with(SimpleSpanProcessor(exporter), process="tests")
    yield exporter
    tracing.stop()


def send(
    door: CollectorProcess, target: ConnectedPixel, *events: dict[str, Any], **query: str
) -> requests.Response:
    return requests.post(
        f"{door.base_url}/v26.0/{target.pixel.meta_id}/events",
        params=query,
        data=json.dumps({"access_token": target.ingest_token, "data": events}),
        headers={"content-type": "application/json"},
        timeout=20,
    )


def one(spans: list[Span]) -> Span:
    (span,) = spans
    return span


# The whole road.


def test_a_delivery_is_followed_from_its_doors_to_graph(
    target: ConnectedPixel, sandbox: SandboxProcess
) -> None:
    with (
        Receiver() as receiver,
        prepared_broker("pgmq") as broker,
        CollectorProcess({**broker.environment, **receiver.environment}) as door,
    ):
        # Before there is a worker, so that one delivery holds both.
        answers = [send(door, target, make_event(), make_event(), probe=CANARY) for _ in range(2)]
        wait_until(lambda: len(receiver.named("commit")) == 2)
        with WorkerProcess(
            {**broker.environment, **receiver.environment}, GRAPH_API_BASE_URL=sandbox.base_url
        ):
            wait_until(lambda: is_drained(target.pixel))
            wait_until(lambda: bool(receiver.named("delivery")))

    doors, commits = receiver.named("door"), receiver.named("commit")
    delivery, sent = one(receiver.named("delivery")), one(receiver.named("send"))
    assert [answer.json()["fbtrace_id"] for answer in answers] == [
        span.attributes["partnerhub.request_id"] for span in doors
    ]
    assert {span.links for span in commits} == {(span.place,) for span in doors}
    assert {span.links for span in doors} == {(span.place,) for span in commits}
    # The first commit woke the pixel.
    assert one(receiver.named("hint")).parent_id == commits[0].span_id
    assert set(sent.links) == {span.place for span in commits}
    steps = {span.name: span for span in receiver.spans if span.parent_id == delivery.span_id}
    assert steps.keys() == {"claim", "mark", "send", "settle"}
    assert {span.trace_id for span in steps.values()} == {delivery.trace_id}
    assert sent.attributes["partnerhub.events"] == 4
    assert sent.attributes["partnerhub.outcome"] == "accepted"
    assert {span.service for span in doors} == {"partnerhub-collector"}
    assert delivery.service == "partnerhub-worker"
    for span in [*steps.values(), delivery]:
        assert span.attributes["partnerhub.pixel_id"] == target.pixel.pk
        assert span.attributes["partnerhub.delivery_id"] == delivery.attributes["partnerhub.delivery_id"]


def test_nothing_that_was_sent_is_in_a_trace(target: ConnectedPixel, sandbox: SandboxProcess) -> None:
    with (
        Receiver() as receiver,
        prepared_broker("pgmq") as broker,
        CollectorProcess({**broker.environment, **receiver.environment}) as door,
        WorkerProcess({**broker.environment, **receiver.environment}, GRAPH_API_BASE_URL=sandbox.base_url),
    ):
        event = make_event(
            user_data={"em": CANARY, "client_user_agent": CANARY}, event_source_url=f"https://{CANARY}/"
        )
        assert send(door, target, event, access_token=target.ingest_token, probe=CANARY).status_code == 200
        assert send(door, target, make_event(event_name=None, event_id=CANARY)).status_code == 400
        assert send(door, target, make_event(), access_token=CANARY).status_code == 400
        wait_until(lambda: is_drained(target.pixel) and len(receiver.named("door")) == 3)
        wait_until(lambda: bool(receiver.named("delivery")))

    refused = [span for span in receiver.named("door") if span.error]
    assert [(span.error, span.events, span.attributes["partnerhub.status"]) for span in refused] == [
        ("Refusal", 0, 400)
    ] * 2
    everything = b"".join(receiver.bodies)
    for secret in (CANARY, target.ingest_token, target.access_token, "access_token", "probe"):
        assert secret.encode() not in everything


def test_a_receiver_that_is_away_costs_no_event_and_no_time(target: ConnectedPixel) -> None:
    with CollectorProcess(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as door:
        assert [send(door, target, make_event()).status_code for _ in range(3)] == [200] * 3
        begun = time.monotonic()
        exit_code = door.stop()

    # Ten seconds are what the collector has from its signal to its end.
    assert (exit_code, time.monotonic() - begun < 10) == (0, True)


# Ids.


def test_attempts_of_a_delivery_share_a_trace_and_nothing_else_does() -> None:
    first, second, other = tracing.delivery_ids(5, 0), tracing.delivery_ids(5, 1), tracing.delivery_ids(6, 0)

    assert first.trace_id == second.trace_id != other.trace_id
    assert len({first.span_id, second.span_id, other.span_id}) == 3


def test_a_commit_is_found_by_its_pixel_and_its_moment() -> None:
    later = RECEIVED_AT.replace(microsecond=123457)

    assert tracing.commit_ids(1, RECEIVED_AT) == tracing.commit_ids(1, RECEIVED_AT.astimezone())
    assert (
        len(
            {
                tracing.commit_ids(1, RECEIVED_AT),
                tracing.commit_ids(2, RECEIVED_AT),
                tracing.commit_ids(1, later),
            }
        )
        == 3
    )
    assert tracing.commit_ids(1, RECEIVED_AT).trace_id < 2**128
    assert 0 < tracing.commit_ids(1, RECEIVED_AT).span_id < 2**64


def test_a_span_stands_at_the_place_that_was_asked_for_and_the_next_does_not(
    kept: InMemorySpanExporter,
) -> None:
    ids = tracing.delivery_ids(5, 0)
    with tracing.span("delivery", ids=ids), tracing.span("send"):
        pass

    sent, delivery = kept.get_finished_spans()
    assert delivery.context is not None
    assert sent.context is not None
    assert (delivery.context.trace_id, delivery.context.span_id) == (ids.trace_id, ids.span_id)
    assert sent.context.trace_id == ids.trace_id
    assert sent.context.span_id != ids.span_id


def test_of_an_exception_its_type_alone_is_kept(kept: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=CANARY), tracing.span("send"):
        raise ValueError(CANARY)

    (span,) = kept.get_finished_spans()
    assert (span.status.description, span.events) == ("ValueError", ())
    assert CANARY not in span.to_json()


# Off, or not possible.


def run(code: str, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_without_the_setting_nothing_of_it_is_imported() -> None:
    code = (
        "import sys\nfrom partnerhub.lib import tracing\ntracing.begin('web')\n"
        "with tracing.span('door', pixel_id=1) as span: assert span is None\n"
        "tracing.record('hint', started_ns=tracing.now_ns())\n"
        "assert tracing.here() is None and not tracing.is_on()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'google')])"
    )

    assert run(code) == "[]\n"


def test_with_the_setting_and_without_the_library_the_start_says_what_to_do() -> None:
    code = (
        "import sys\nsys.modules['opentelemetry'] = None\nfrom partnerhub.lib import tracing\n"
        "try: tracing.begin('web')\nexcept tracing.TracingError as error: print(error)"
    )

    said = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert said == (
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: install the extra `traces`,"
        " or unset it.\n"
    )
