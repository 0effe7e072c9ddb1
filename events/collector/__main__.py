"""Start the collector: `python -m events.collector --port 8010`.

Port 0 takes a free one. The first line on standard output says where it listens, as JSON. SIGTERM or SIGINT:
it accepts no more, commits what it has taken, answers, and ends within ten seconds with exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
import uvloop

from events.collector.app import Door
from events.collector.body import Bodies
from events.collector.link import Link
from events.collector.protocol import DoorProtocol
from events.collector.tokens import Tokens
from events.collector.turned_away import TurnedAway
from events.collector.writer import Writer
from partnerhub.lib import metrics, tracing
from partnerhub.lib.config import ConfigurationError, config
from partnerhub.lib.hints import send_hint
from partnerhub.lib.logs import configure_logging

# Longer than load balancers keep an idle connection (60 s), or they would send into one that we just closed.
KEEP_ALIVE_SECONDS: Final = 75
# Ten seconds from the signal to the end, with room for the last commit.
GRACE_SECONDS: Final = 7
BACKLOG: Final = 4096
# The worker's task, by name: events.tasks, which cannot be read without Django.
DELIVER: Final = "events.deliver"
# A body of a thousand events is some thirty thousand objects, none of them in a cycle, and collecting at the
# usual 700 walks over them again and again: 16 % of the events a second, and half of the slowest answers.
YOUNG_OBJECTS: Final = 50_000


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process by the signal instead of with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield


def _hint(pixel_ids: Iterable[int]) -> None:
    for pixel_id in pixel_ids:
        send_hint(DELIVER, pixel_id)


async def serve(listener: socket.socket) -> None:
    """Serve until a signal comes."""
    settings = config()
    url = settings.database_url_door.get_secret_value()
    bodies = Bodies(size=settings.collector_queue_bytes, seconds=settings.collector_read_seconds)
    door = Door(
        tokens=Tokens(Link(url)),
        writer=Writer(
            Link(url),
            group_events=settings.collector_group_events,
            queue_events=settings.collector_queue_events,
            on_woken=_hint,
        ),
        bodies=bodies,
        answer_seconds=settings.collector_answer_seconds,
        turned_away=TurnedAway(Link(url)),
    )
    server = _Server(
        uvicorn.Config(
            door,
            http=DoorProtocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )

    def stop() -> None:
        server.should_exit = True
        bodies.hurry()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await server.serve(sockets=[listener])


def main() -> int:
    """Run the collector; the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m events.collector", description="The Graph-compatible door."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    # Whose database role hints are published as, where PostgreSQL is the broker.
    os.environ["PROCESS"] = "door"
    try:
        settings = config()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    # The role that the hints go out as, where PostgreSQL is the broker.
    os.environ["PROCESS"] = "door"
    configure_logging(level=settings.log_level, style=settings.log_format)
    try:
        metrics.begin("collector")
        tracing.begin("collector")
    except (OSError, tracing.TracingError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    metrics.DOOR_QUEUE_LIMIT.set(settings.collector_queue_events)
    try:
        # A family that the host has: 0.0.0.0 and names as well as ::.
        family, _, _, _, address = socket.getaddrinfo(
            arguments.host, arguments.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        sys.stderr.write(f"The collector cannot listen: {error.strerror}.\n")
        return 1
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    with listener:
        sys.stdout.write(json.dumps({"http": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        uvloop.run(serve(listener))
    tracing.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
