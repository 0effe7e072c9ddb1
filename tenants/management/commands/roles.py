"""`manage.py roles prepare`: the four database roles and the database, as the settings' addresses name them."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from psycopg.conninfo import conninfo_to_dict

from partnerhub.lib.config import config
from partnerhub.lib.db_roles import RoleNames, ensure_roles


class Command(BaseCommand):
    """Run once before the first `migrate`; a second time it changes nothing."""

    help = (
        "Makes the four database roles and the database. DATABASE_URL_ADMIN names a superuser of the server."
    )
    # The database that Django would look at may not be there yet.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`prepare` alone."""
        parser.add_subparsers(dest="act", required=True).add_parser("prepare", help="make what is missing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Names and passwords come from the DATABASE_URL_… of the settings."""
        address = os.environ.get("DATABASE_URL_ADMIN")
        if not address:
            raise CommandError("DATABASE_URL_ADMIN is not set: the address of a superuser, on any database.")
        settings = config()
        if settings.database_url_owner is None:
            raise CommandError("DATABASE_URL_OWNER is not set.")
        urls = [
            settings.database_url_owner,
            settings.database_url_app,
            settings.database_url_worker,
            settings.database_url_door,
        ]
        parts = [conninfo_to_dict(url.get_secret_value()) for url in urls]
        names = RoleNames(*(str(part["user"]) for part in parts))
        passwords = {str(part["user"]): str(part["password"]) for part in parts if part.get("password")}
        database = str(parts[0]["dbname"])
        with psycopg.connect(address, autocommit=True) as admin:
            ensure_roles(admin, database=database, names=names, passwords=passwords)
        self.stdout.write(f"The roles {', '.join(names.all())} and the database {database} are ready.")
