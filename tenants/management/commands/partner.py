"""`manage.py partner create`: the operator makes a partner and invites its owner."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from partnerhub.lib.vault import Secret
from tenants.mail import invitation_link, send_invitation
from tenants.roles import PartnerRole
from tenants.services import create_partner, invite_person


class Command(BaseCommand):
    """Acts as the owner of the tables, so row-level security does not bind it."""

    help = "Makes a partner, and mails its owner an invitation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`create` and its options. A secret is read from standard input: command lines are seen by all."""
        acts = parser.add_subparsers(dest="act", required=True)
        create = acts.add_parser("create", help="make a partner")
        create.add_argument("--name", required=True)
        create.add_argument("--partner-agent", required=True, help="what Meta knows the platform by")
        create.add_argument("--meta-app-id", default="", help="else the partner's own set-up asks for it")
        create.add_argument("--business-id", default="", help="the partner's Business Manager id")
        create.add_argument("--owner-email", required=True, help="gets the invitation")
        create.add_argument(
            "--app-secret-stdin", action="store_true", help="read the Meta app's secret from standard input"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the partner, or nothing."""
        email = options["owner_email"].strip().lower()
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"--owner-email: {email} is no e-mail address.") from None
        secret = sys.stdin.readline().strip() if options["app_secret_stdin"] else ""
        if options["app_secret_stdin"] and not secret:
            raise CommandError("--app-secret-stdin: nothing came on standard input.")
        try:
            with transaction.atomic():
                partner = create_partner(
                    name=options["name"],
                    partner_agent=options["partner_agent"],
                    meta_app_id=options["meta_app_id"],
                    business_id=options["business_id"],
                    app_secret=Secret(secret) if secret else None,
                )
                invitation, token = invite_person(
                    email=email, role=PartnerRole.OWNER, partner=partner, invited_by=None
                )
        except IntegrityError as error:
            if "partner_name_unique" in str(error):
                raise CommandError(f"There is a partner named {options['name']} already.") from None
            if "partner_agent_is_one_word" in str(error):
                raise CommandError(
                    "--partner-agent: one word of letters, digits, dots, dashes and underscores."
                ) from None
            raise
        self.stdout.write(f"Partner {partner.pk}, {partner.name}, is made.")
        if send_invitation(invitation, token):
            self.stdout.write(f"{email} was mailed an invitation.")
        else:
            self.stdout.write(f"The mail to {email} could not be sent. Give this link to nobody else:")
            self.stdout.write(invitation_link(token))
