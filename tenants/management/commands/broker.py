"""`manage.py broker prepare`: what the broker needs before any process uses it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand
from django.db import connection

from partnerhub.lib import postgres_queue
from partnerhub.lib.broker import QUEUES, queue_name
from partnerhub.lib.config import config
from partnerhub.lib.db import role_names


class Command(BaseCommand):
    """Prepares the broker."""

    help = (
        "Prepares the broker: in PostgreSQL, pgmq's tables, our queues and the roles' rights. May run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`prepare`."""
        acts = parser.add_subparsers(dest="act", required=True)
        acts.add_parser("prepare", help="make what is missing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing; a broker of its own makes its queues by itself."""
        settings = config()
        if urlsplit(settings.broker_url.get_secret_value()).scheme != "pgmq":
            self.stdout.write("This broker needs no preparation.")
            return
        roles = role_names()
        connection.ensure_connection()
        assert connection.connection is not None
        postgres_queue.prepare(
            connection.connection,
            queues=[queue_name(settings, queue) for queue in QUEUES],
            worker=roles.worker,
            publishers=[roles.app, roles.door],
        )
        self.stdout.write("The queues are ready.")
