"""What runs beside: broker, workers, beat, clocks, Graph, mail. It tells no address, which may hold a password."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.core import mail
from django.db import connection

from events.delivery.sweep import due_pixels
from events.doctor.finding import Finding
from partnerhub.lib import pulse
from partnerhub.lib.broker import ANSWER_SECONDS, CONNECT_SECONDS, QUEUES, make_app, queue_name
from partnerhub.lib.config import config
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import GraphError

# A beat ticks, and a worker looks, several times in so long, however the tuning is.
FEWEST_TICKS: Final = 6
SILENT_SECONDS: Final = 60.0
# Event times and token dates are judged by these clocks; Graph's Date has whole seconds.
CLOCK_SECONDS: Final = 2.0
GRAPH_CLOCK_SECONDS: Final = 5.0
GRAPH_SECONDS: Final = 10.0


def look_at_broker() -> Iterator[Finding]:
    """Whether it answers and has our queues."""
    settings = config()
    scheme = urlsplit(settings.broker_url.get_secret_value()).scheme
    names = [queue_name(settings, queue) for queue in QUEUES]
    if scheme == "pgmq":
        with connection.cursor() as cursor:
            for name in names:
                # Who may not look into the schema is told that there is no such table, too.
                cursor.execute("SELECT to_regclass(%s)", [f"pgmq.q_{name}"])
                if cursor.fetchone() == (None,):
                    yield Finding(
                        f"The queue {name} is not in the database.", "Run `manage.py broker prepare`."
                    )
        return
    app = make_app(settings, "worker", publishes_only=True)
    try:
        with app.connection_for_write() as line:
            line.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS + ANSWER_SECONDS)
            if scheme.startswith("redis"):
                channel: Any = line.default_channel
                channel.client.ping()
                return
            for name in names:
                # Its own channel: a queue that is missing ends it.
                channel = line.channel()
                with channel:
                    try:
                        channel.queue_declare(name, passive=True)
                    except line.channel_errors:
                        yield Finding(
                            f"The queue {name} is not at the broker.", "Start a worker, which makes it."
                        )
    except Exception as error:  # noqa: BLE001 - each broker's client has errors of its own
        # Not its text, which may hold the address.
        yield Finding(
            f"The broker does not answer ({type(error).__name__}). Events are delivered, and more slowly.",
            "Is it up, and BROKER_URL right, with its name and password?",
        )


def look_at_workers() -> Iterator[Finding]:
    """Whether one is there, and work is taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'partnerhub worker'"
        )
        (sessions,) = cursor.fetchone()
    if not sessions:
        yield Finding(
            "No worker is connected to the database: nothing is delivered.",
            "Start one: PROCESS=worker celery --app partnerhub worker.",
        )
    seconds = max(SILENT_SECONDS, FEWEST_TICKS * config().delivery_sweep_seconds)
    if pixels := due_pixels(limit=1_000, age_seconds=seconds):
        yield Finding(
            f"Work has waited for {seconds:g} s or longer that no worker is at. Pixels: {len(pixels)}.",
            "Are there enough workers (docs/monitoring.md)? Their logs say what stops them.",
        )


def look_at_beat() -> Iterator[Finding]:
    """Whether one is there, and ticks."""
    with connection.cursor() as cursor:
        ages = pulse.ages(cursor)
    seconds = max(SILENT_SECONDS, FEWEST_TICKS * config().delivery_sweep_seconds)
    start = "PROCESS=worker celery --app partnerhub beat"
    if not ages:
        yield Finding(
            "No beat is connected to the database: sweeps, daily tests and new partitions wait for it.",
            f"Start one: {start}.",
        )
    elif ages[0] > seconds:
        yield Finding(
            f"Beat has not ticked for {ages[0]:.0f} s.",
            "Its log says why: as a rule the broker is away to it.",
        )
    if len(ages) > 1:
        yield Finding(
            f"More than one beat is connected: {len(ages)}.", "Run one: two do no harm, and each thing twice."
        )


def look_at_clock() -> Iterator[Finding]:
    """Whether ours is PostgreSQL's."""
    with connection.cursor() as cursor:
        before = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        (theirs,) = cursor.fetchone()
        after = time.time()
    # It was read somewhere between the two.
    apart = max(before - theirs, theirs - after, 0.0)
    if apart > CLOCK_SECONDS:
        yield Finding(
            f"This host's clock and PostgreSQL's are {apart:.1f} s apart.",
            "Have both set by NTP: events are judged too old, or in the future, by them.",
        )


def look_at_graph() -> Iterator[Finding]:
    """Whether it answers, in the version that we speak, and at our time."""
    settings = config()
    try:
        client = GraphClient(base_url=settings.graph_api_base_url, version=settings.graph_api_version)
        before = time.time()
        probe = client.probe(deadline_seconds=GRAPH_SECONDS)
        after = time.time()
        client.close()
    except ValueError as error:
        yield Finding(str(error), "See docs/configuration.md.")
        return
    except GraphError as error:
        yield Finding(
            f"Graph does not answer from here. {error}",
            "Do name service, firewall and proxy let this host reach it on port 443?",
        )
        return
    if probe.version is None:
        yield Finding(
            "What answers at GRAPH_API_BASE_URL does not say which version of Graph it speaks.",
            "Something between here and Graph answers in its place: look at proxies, and at GRAPH_API_BASE_URL.",
        )
    elif probe.version != settings.graph_api_version:
        yield Finding(
            f"Graph answers in {probe.version}, not in GRAPH_API_VERSION {settings.graph_api_version}.",
            "Meta has withdrawn the version: update PartnerHub, or give one that Meta still speaks.",
        )
    if probe.date is not None:
        theirs = (probe.date if probe.date.tzinfo else probe.date.replace(tzinfo=UTC)).timestamp()
        apart = max(before - theirs - 1.0, theirs - after, 0.0)
        if apart > GRAPH_CLOCK_SECONDS:
            yield Finding(
                f"This host's clock and Graph's are {apart:.0f} s apart.",
                f"Have it set by NTP: here it is {datetime.fromtimestamp(after, UTC):%Y-%m-%d %H:%M:%S} UTC.",
            )


def look_at_mail() -> Iterator[Finding]:
    """Whether the server takes mail."""
    server = mail.get_connection(fail_silently=False)
    try:
        server.open()
        server.close()
    except (OSError, smtplib.SMTPException) as error:
        yield Finding(
            f"The mail server takes nothing from here ({type(error).__name__}): invitations and warnings stay unsent.",
            "Is EMAIL_URL right, with its name and password, and does the server let this host in?",
        )
