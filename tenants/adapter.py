"""How allauth behaves here: its mails lead to the public address, and one that cannot be sent breaks no page."""

from __future__ import annotations

import smtplib
from typing import Any
from urllib.parse import urlsplit

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib import messages

log = structlog.get_logger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """allauth's defaults, but for its mails."""

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail of sign-in; tell the person where the mail server does not take it."""
        links = {name: _public(value) for name, value in context.items() if name.endswith("_url")}
        try:
            super().send_mail(template_prefix, email, context | links)
        except (smtplib.SMTPException, OSError) as error:
            log.warning("account mail not sent", template=template_prefix, error=type(error).__name__)
            messages.error(
                self.request, "Our mail to you could not be sent just now. Please try again in a few minutes."
            )


def _public(address: str) -> str:
    # allauth takes the request's Host, which may name another port.
    parts = urlsplit(address)
    return f"{settings.CONFIG.public_url}{parts.path}{f'?{parts.query}' if parts.query else ''}"
