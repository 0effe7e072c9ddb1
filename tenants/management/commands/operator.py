"""`manage.py operator create`: who may enter the operator's pages."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction

from tenants.models import Person


class Command(BaseCommand):
    """Makes an operator."""

    help = "Makes a person who sees every tenant. The password is read from standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`create` and its options."""
        acts = parser.add_subparsers(dest="act", required=True)
        create = acts.add_parser("create", help="make an operator")
        create.add_argument("--email", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the operator, or nothing."""
        email = options["email"].strip().lower()
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"--email: {email} is no e-mail address.") from None
        password = sys.stdin.readline().rstrip("\n")
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        if Person.objects.filter(email=email).exists():
            raise CommandError(f"{email} has an account already.")
        with transaction.atomic():
            person = Person.objects.create_superuser(email, password)
            EmailAddress.objects.create(user=person, email=email, verified=True, primary=True)
        self.stdout.write(f"{email} is an operator.")
