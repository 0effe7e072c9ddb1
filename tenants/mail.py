"""The mails of the tenants' acts, sent after the commit. Who asked is told of a failure, and can resend."""

from __future__ import annotations

import smtplib

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from tenants.models import Invitation

log = structlog.get_logger(__name__)


def invitation_link(token: str) -> str:
    """The address that an invitation's mail carries."""
    return f"{settings.CONFIG.public_url}{reverse('tenants:invitation', args=[token])}"


def send_invitation(invitation: Invitation, token: str) -> bool:
    """Whether the mail server took the invitation's mail. Speaks SMTP: not inside a transaction."""
    context = {"invitation": invitation, "link": invitation_link(token)}
    mail = EmailMultiAlternatives(
        subject=" ".join(invitation.headline.split()),
        body=render_to_string("tenants/email/invitation.txt", context),
        to=[invitation.email],
    )
    mail.attach_alternative(render_to_string("tenants/email/invitation.html", context), "text/html")
    try:
        mail.send()
    except (smtplib.SMTPException, OSError) as error:
        log.warning("invitation mail not sent", invitation_id=invitation.pk, error=type(error).__name__)
        return False
    return True
