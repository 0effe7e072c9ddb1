"""The demo's mail: a small SMTP server that keeps what it is given and delivers nothing."""

import asyncio
import email
import email.policy
import time
from collections import deque
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_MESSAGES: Final = 500
MAX_MESSAGE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mail:
    """One message; `html` is empty where it has no such part."""

    id: int
    arrival: float
    sender: str
    recipients: tuple[str, ...]
    subject: str
    date: str
    text: str
    html: str


class Mailbox:
    """The last messages, oldest first in memory."""

    def __init__(self) -> None:
        self._mails: deque[Mail] = deque(maxlen=MAX_MESSAGES)
        self._last_id = 0

    def deliver(self, sender: str, recipients: list[str], content: bytes, now: float) -> Mail:
        """Keep one message."""
        message = email.message_from_bytes(content, policy=email.policy.default)
        self._last_id += 1
        mail = Mail(
            id=self._last_id,
            arrival=now,
            sender=str(message.get("From", sender)),
            recipients=tuple(recipients),
            subject=str(message.get("Subject", "")),
            date=str(message.get("Date", "")),
            text=_part(message, "plain"),
            html=_part(message, "html"),
        )
        self._mails.append(mail)
        return mail

    def to(self, recipient: str | None = None) -> list[Mail]:
        """The messages (to one address, whatever its case), newest first."""
        wanted = recipient.lower() if recipient else None
        return [
            mail
            for mail in reversed(self._mails)
            if wanted is None or wanted in map(str.lower, mail.recipients)
        ]

    def get(self, mail_id: int) -> Mail | None:
        """The message of that id, if it is still kept."""
        return next((mail for mail in self._mails if mail.id == mail_id), None)

    def clear(self) -> None:
        """Forget all messages."""
        self._mails.clear()


def _part(message: EmailMessage, subtype: str) -> str:
    part = message.get_body(preferencelist=(subtype,))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except LookupError:
        # A charset that Python has not heard of.
        return bytes(part.get_payload(decode=True) or b"").decode("utf-8", "replace")


class MailHandler:
    """aiosmtpd's hooks, which it finds by their names."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the message; any sender and any recipient will do."""
        content = envelope.content or b""
        raw = content.encode() if isinstance(content, str) else content
        self._mailbox.deliver(envelope.mail_from or "", list(envelope.rcpt_tos), raw, time.time())
        return "250 OK"


async def serve_mail(mailbox: Mailbox, listener: Any) -> asyncio.Server:
    """Listen on an open socket, within the running loop."""
    loop = asyncio.get_running_loop()
    handler = MailHandler(mailbox)

    def protocol() -> SMTP:
        return SMTP(
            handler,
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="PartnerHub sandbox",
            loop=loop,
        )

    return await loop.create_server(protocol, sock=listener)
