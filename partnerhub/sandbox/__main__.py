"""Start the stand-in: `python -m partnerhub.sandbox --port 8090 --smtp-port 8025`.

Port 0 takes a free one. The first line on standard output says where it listens, as JSON, for a parent to
read; SIGTERM and SIGINT end the process at once and with exit code 0, whatever clients still wait for.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from partnerhub.sandbox.app import Sandbox
from partnerhub.sandbox.faults import TransportProtocol
from partnerhub.sandbox.mail import serve_mail

YOUNG_OBJECTS = 50_000
# A batch of a thousand events is some ten thousand short-lived objects; collecting at every 700 is wasted.


BACKLOG = 2048


class CannotListen(OSError):
    """An address that cannot be had; the text says which and why."""


class Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process by the signal instead of with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drop whoever still waits (a time-out that was asked for may last minutes), without a word."""
        logging.disable()
        await super().shutdown(sockets)


async def serve(http: socket.socket, smtp: socket.socket | None) -> None:
    """Serve until a signal comes."""
    sandbox = Sandbox()
    mail_server = await serve_mail(sandbox.mailbox, smtp) if smtp is not None else None
    server = Server(
        uvicorn.Config(
            sandbox,
            http=TransportProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=0,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    ports = {"http": http.getsockname()[1], "smtp": smtp.getsockname()[1] if smtp is not None else None}
    sys.stdout.write(json.dumps({"sandbox": "listening", "host": http.getsockname()[0], **ports}) + "\n")
    sys.stdout.flush()
    await server.serve(sockets=[http])
    if mail_server is not None:
        mail_server.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; the port may be 0. Raises CannotListen with a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from error
    return listener


def main() -> int:
    """Parse the arguments and serve; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m partnerhub.sandbox", description="A stand-in for Meta's Graph API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, required=True, help="HTTP port; 0 takes a free one")
    parser.add_argument(
        "--smtp-port", type=int, help="SMTP port; 0 takes a free one; without it no mail is taken"
    )
    arguments = parser.parse_args()
    try:
        http = listen(arguments.host, arguments.port)
        smtp = listen(arguments.host, arguments.smtp_port) if arguments.smtp_port is not None else None
    except CannotListen as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    uvloop.run(serve(http, smtp))
    return 0


if __name__ == "__main__":
    sys.exit(main())
