"""Heads that drip, never end or lie, over raw sockets; and how the process starts."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from events.collector import protocol
from events.collector.protocol import HEAD_BYTES, DoorProtocol
from tests.support.collector import CHECKOUT, CollectorProcess


@pytest.fixture
def line(door: CollectorProcess) -> Any:
    """A connection to the door."""
    with socket.create_connection(("127.0.0.1", door.port), 10) as connection:
        yield connection


def everything_from(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    pieces = []
    try:
        while piece := connection.recv(65_536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"content-length: 5\r\ntransfer-encoding: chunked", id="two lengths"),
        pytest.param(b"content-length: 5\r\ncontent-length: 6", id="length twice"),
        pytest.param(b"content-length: -1", id="length below zero"),
        pytest.param(b"content-length : 5", id="space before the colon"),
    ],
)
def test_a_request_of_doubtful_length_is_refused_and_the_line_closed(
    head: bytes, line: socket.socket
) -> None:
    line.sendall(
        b"POST /v26.0/1/events HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\nhelloGET /healthz HTTP/1.1\r\n\r\n"
    )

    answer = everything_from(line)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"alive" not in answer


def test_requests_that_come_together_are_answered_in_order(line: socket.socket) -> None:
    first, second = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /nowhere HTTP/1.1\r\nhost: x\r\n"
    line.sendall(first + second + b"connection: close\r\n\r\n")

    answer = everything_from(line)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 404 ") == 1


def test_a_head_without_an_end_is_cut_off(line: socket.socket) -> None:
    line.sendall(b"POST /v26.0/1/events HTTP/1.1\r\n")
    filler = b"x-filler: " + b"y" * 1000 + b"\r\n"

    def send_on() -> None:
        for _ in range(100 * HEAD_BYTES // len(filler)):
            line.sendall(filler)

    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_on()


@pytest.mark.parametrize(
    "pieces", [[], [b"POST / HT"], [b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /heal"]]
)
def test_a_head_that_does_not_come_in_time_is_cut_off(
    pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def run() -> bytes:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        state = SimpleNamespace(connections=set(), tasks=set(), default_headers=[], total_requests=0)
        server = await asyncio.get_running_loop().create_server(
            lambda: DoorProtocol(config, state, {}),  # type: ignore[arg-type]
            "127.0.0.1",
            0,
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.05)
            async with asyncio.timeout(2):
                answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(run()).count(b"HTTP/1.1 204") == len(pieces[1:])


def test_a_wrong_environment_is_explained_without_secrets() -> None:
    environment = os.environ | {"DATABASE_URL_DOOR": "mysql://door:hunter2@db/x"}

    result = subprocess.run(
        [sys.executable, "-m", "events.collector", "--port", "0"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert result.returncode == 2
    assert result.stderr.startswith("DATABASE_URL_DOOR: ")
    assert "hunter2" not in result.stderr


def test_a_port_in_use_is_a_sentence(door: CollectorProcess) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "events.collector", "--port", str(door.port)],
        cwd=CHECKOUT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.startswith("The collector cannot listen: Address already in use")
