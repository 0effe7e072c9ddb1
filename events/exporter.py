"""What Prometheus scrapes: `python -m events.exporter`, one on each host whose processes count.

It shows what the host's processes counted in METRICS_DIR, and the gauges that stand in the database, which are the
same whichever host is asked. It listens on METRICS_ADDRESS: on loopback, or to whoever gives METRICS_TOKEN. Its role
is the workers'. The first line on standard output says where it listens, as JSON.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from partnerhub.lib import metrics
from partnerhub.lib.config import ConfigurationError, config

if TYPE_CHECKING:
    from events.readings import Readings

# Two Prometheis that scrape every 15 s, and a person who looks, cost the database one reading.
READ_EVERY_SECONDS: Final = 5.0
# Of a client that sends nothing, or takes nothing.
CLIENT_SECONDS: Final = 10

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Exporter:
    """A WSGI app: `/metrics`, and `/healthz` for a supervisor."""

    def __init__(self, folder: Path, *, token: str | None, read: Callable[[], Readings]) -> None:
        self._folder = folder
        self._token = token
        self._read = read
        self._lock = threading.Lock()
        self._readings: Readings = {}
        self._read_at = -READ_EVERY_SECONDS

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        status, content_type, body = self._answer(environ)
        start_response(
            f"{status.value} {status.phrase}",
            [("Content-Type", content_type), ("Content-Length", str(len(body)))],
        )
        return [body]

    def collect(self) -> Iterator[Any]:
        """prometheus-client's metrics, of the processes and of the database: it asks its collectors so."""
        from prometheus_client.core import GaugeMetricFamily

        from partnerhub.lib import metrics_files

        yield from metrics_files.collect(self._folder)
        living = metrics_files.living(self._folder)
        alive: Readings = {metrics.PROCESSES_ALIVE: {(name,): count for name, count in living.items()}}
        for family, amounts in (self._fresh() | alive).items():
            shown = GaugeMetricFamily(family.name, family.help, labels=list(family.labels))
            for values, amount in amounts.items():
                shown.add_metric(values, amount)
            yield shown

    def _answer(self, environ: Mapping[str, Any]) -> tuple[HTTPStatus, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if environ["REQUEST_METHOD"] != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, plain, b"GET alone\n"
        if environ["PATH_INFO"] == "/healthz":
            return HTTPStatus.OK, plain, b"alive\n"
        if environ["PATH_INFO"] != "/metrics":
            return HTTPStatus.NOT_FOUND, plain, b"it is /metrics\n"
        given = str(environ.get("HTTP_AUTHORIZATION", ""))
        if self._token is not None and not hmac.compare_digest(
            given.encode("latin-1", "replace"), f"Bearer {self._token}".encode()
        ):
            return HTTPStatus.UNAUTHORIZED, plain, b"a bearer token is asked\n"
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)

    def _fresh(self) -> Readings:
        with self._lock:
            if time.monotonic() - self._read_at >= READ_EVERY_SECONDS:
                self._readings = self._read()
                self._read_at = time.monotonic()
            return dict(self._readings)


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def main() -> int:
    """Run the exporter; the process's exit code."""
    # As the workers: a running process is never the tables' owner.
    os.environ["PROCESS"] = "worker"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "partnerhub.settings")
    try:
        settings = config()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not settings.metrics_dir:
        sys.stderr.write("METRICS_DIR is not set: no process counts, and there is nothing to show.\n")
        return 2
    from django import setup
    from django.conf import settings as django_settings
    from django.db import connections

    setup()
    # Not to be taken for a worker.
    django_settings.DATABASES["default"]["OPTIONS"]["application_name"] = "partnerhub exporter"
    from events import readings

    def read() -> Readings:
        # Each request has a thread of its own, and so a connection.
        try:
            return readings.read()
        finally:
            connections.close_all()

    host, port = settings.metrics_endpoint
    token = settings.metrics_token
    folder = Path(settings.metrics_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _Server.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = _Server((host, port), _Handler)
    except OSError as error:
        sys.stderr.write(f"The exporter cannot start: {error.strerror}.\n")
        return 1
    server.set_app(Exporter(folder, token=token.get_secret_value() if token else None, read=read))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    sys.stdout.write(json.dumps({"http": server.server_address[1]}) + "\n")
    sys.stdout.flush()
    with server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
