"""The mails about tokens: what happened, who must act, the button, and how long until the first event is lost.

What is owed, and to whom, says onboarding; how long the events can wait, only this app knows.
"""

from __future__ import annotations

import smtplib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models import F
from django.template.loader import render_to_string
from django.urls import reverse

from events.losses import first_losses, time_left
from events.models import Backlog, Delivery, PixelLog
from onboarding.models import Credential, Notice, Option
from onboarding.services.notices import (
    DueNotice,
    doubt_notice,
    due_notices,
    lost_notices,
    now_or,
    put_notice_back,
    recipients,
    settle_notice,
    take_notice,
)
from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph.remedies import Explanation, explain
from tenants.models import PartnerCredential, Person

logger = structlog.get_logger(__name__)

# Of one round, a minute apart: a mail takes a mail server up to some seconds.
MAILS_A_ROUND: Final = 50


@dataclass(frozen=True, slots=True)
class Countdown:
    """What waits, and when the first of it would be lost."""

    waiting: int = 0
    first_loss_at: datetime | None = None

    def sentence(self, now: datetime) -> str:
        """In words, for a mail: times are UTC."""
        if self.first_loss_at is None:
            return "Events that come in wait safely: Meta takes an event for seven days after it happened."
        waits = "1 event waits" if self.waiting == 1 else f"{self.waiting:,} events wait"
        return (
            f"{waits} safely. Meta takes an event for seven days after it happened: the first would be lost"
            f" in {time_left(self.first_loss_at, now=now)}, on {_moment(self.first_loss_at)}."
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail, before it is addressed."""

    heading: str
    paragraphs: tuple[str, ...]
    link: str
    action: str
    steps: tuple[str, ...] = ()
    steps_heading: str = ""

    @property
    def more(self) -> tuple[str, ...]:
        """The paragraphs after the first."""
        return self.paragraphs[1:]


def tell_people(*, now: datetime | None = None) -> int:
    """Send what is owed and due. How many mails went out. Any number at once: each is sent by one."""
    for lost in lost_notices(limit=MAILS_A_ROUND, now=now_or(now)):
        with lost.scope():
            doubt_notice(notice_id=lost.notice_id)
    return sum(_tell(due, now_or(now)) for due in due_notices(limit=MAILS_A_ROUND, now=now_or(now)))


def _tell(due: DueNotice, now: datetime) -> bool:
    with due.scope():
        notice = take_notice(notice_id=due.notice_id, now=now)
        if notice is None:
            return False
        people = recipients(notice)
        if notice.partner_credential is not None:
            shared = _shared_pixels(notice.partner_credential)
        else:
            shared = {}
            countdown = countdown_of(notice.credential.pixel_id) if notice.credential else Countdown()
    if notice.partner_credential is not None:
        countdown = _countdown_of_all(shared)
    # From here on it may have gone: whoever finds it so does not send it again.
    crash_point("before_mail")
    letter = write_letter(notice, countdown, shared_pixels=sum(map(len, shared.values())), now=now)
    is_sent = not people or _send(letter, people, notice)
    crash_point("after_mail")
    if not people:
        logger.warning("nobody to tell of a token", notice_id=notice.pk)
    with due.scope():
        if is_sent:
            settle_notice(notice=notice, told=len(people), now=now)
        else:
            put_notice_back(notice=notice, now=now)
    return is_sent and bool(people)


def countdown_of(pixel_id: int) -> Countdown:
    """What waits of a pixel, and until when. In the scope of its advertiser."""
    losses = first_losses([pixel_id])
    return Countdown(_waiting([pixel_id]), losses.get(pixel_id))


def _waiting(pixel_ids: Sequence[int]) -> int:
    logs = PixelLog.objects.filter(pixel__in=pixel_ids).values_list(F("head") - F("tail"), flat=True)
    piles = Backlog.objects.filter(pixel__in=pixel_ids, drained_at=None)
    deliveries = Delivery.objects.filter(
        pixel__in=pixel_ids,
        state__in=[Delivery.State.WAITING, Delivery.State.CLAIMED, Delivery.State.SENDING],
    )
    counts = (
        *logs,
        *piles.values_list(F("last_offset") - F("next_offset") + 1, flat=True),
        *deliveries.values_list(F("last_offset") - F("first_offset") + 1, flat=True),
    )
    return sum(map(int, counts))


def _shared_pixels(token: PartnerCredential) -> dict[int, list[int]]:
    """The pixels that the partner's token opens, by advertiser."""
    found: dict[int, list[int]] = defaultdict(list)
    rows = Credential.objects.filter(partner_credential=token).exclude(state=Credential.State.RETIRED)
    for advertiser_id, pixel_id in rows.values_list("advertiser_id", "pixel_id"):
        found[advertiser_id].append(pixel_id)
    return found


def _countdown_of_all(shared: dict[int, list[int]]) -> Countdown:
    """Of all the pixels together, each in the scope of its advertiser."""
    waiting = 0
    soonest: list[datetime] = []
    for advertiser_id, pixel_ids in shared.items():
        with tenant_scope(advertiser_id=advertiser_id):
            waiting += _waiting(pixel_ids)
            soonest += first_losses(pixel_ids).values()
    return Countdown(waiting, min(soonest, default=None))


def write_letter(notice: Notice, countdown: Countdown, *, shared_pixels: int = 0, now: datetime) -> Letter:
    """The mail that a notice asks for. Reads nothing, and holds no secret: four characters of a token are none."""
    if notice.partner_credential is not None:
        return _to_partner(notice, notice.partner_credential, countdown, shared_pixels, now)
    assert notice.credential is not None  # a constraint of the table
    return _to_advertiser(notice, notice.credential, countdown, now)


def _to_advertiser(notice: Notice, credential: Credential, countdown: Countdown, now: datetime) -> Letter:
    pixel = credential.pixel
    link = settings.CONFIG.public_url + reverse("events:pixel", args=[pixel.pk])
    name = f"{pixel.name} ({pixel.meta_id})"
    if notice.kind == Notice.Kind.EXPIRING:
        return Letter(
            heading=f"{pixel.name}: the access token {_ends(notice)}",
            paragraphs=(
                _end_sentence(notice, f"The token …{credential.last_four} that connects {name}"),
                "From then on events wait, and none is lost for seven days. Nothing stops now.",
                _renewal(credential),
            ),
            link=link,
            action="Renew it now",
        )
    explanation = _explain(credential, option=credential.option)
    what = "is no longer shared" if notice.kind == Notice.Kind.ACCESS_LOST else "is paused"
    return Letter(
        heading=f"{pixel.name} {what}: {_lower(explanation.title)}",
        paragraphs=(
            f"Meta has refused {name} since {_moment(notice.about)}. {explanation.what_happened}",
            countdown.sentence(now),
        ),
        link=link,
        action="Mend it now",
        steps=explanation.what_to_do,
        steps_heading=explanation.heading,
    )


def _to_partner(
    notice: Notice, token: PartnerCredential, countdown: Countdown, shared_pixels: int, now: datetime
) -> Letter:
    link = settings.CONFIG.public_url + reverse("onboarding:partner_credentials", args=[notice.partner_id])
    name = f"The {token.get_kind_display()} …{token.last_four} of {notice.partner}"
    opens = token.kind == PartnerCredential.Kind.SENDING_TOKEN
    pixels = "1 shared pixel" if shared_pixels == 1 else f"{shared_pixels:,} shared pixels"
    if notice.kind == Notice.Kind.EXPIRING:
        return Letter(
            heading=f"{notice.partner}: the {token.get_kind_display()} {_ends(notice)}",
            paragraphs=(
                _end_sentence(notice, name),
                f"It opens {pixels}: from then on their events wait."
                if opens
                else "From then on no pixel can be assigned.",
                "We could not renew it by ourselves. Make a new one for your system user in Business settings.",
            ),
            link=link,
            action="See your tokens",
        )
    # Its own people are told, so these are not the words that stand on an advertiser's page.
    reason = _explain(token, option="").title
    return Letter(
        heading=f"{notice.partner}: Meta refuses the {token.get_kind_display()}",
        paragraphs=(
            f"{name} has been refused since {_moment(notice.about)}: {_lower(reason)}.",
            f"It opens {pixels}, which are paused together. {countdown.sentence(now)}"
            if opens
            else "Until it is replaced no pixel can be assigned.",
            "Your advertisers are not told: there is nothing that they could do.",
        ),
        link=link,
        action="See your tokens",
        steps=(
            "In Meta Business settings, under System users, choose the system user.",
            "Generate a new token of your app, with ads_management, ads_read and business_management.",
            "Paste it in your set-up. What waits goes on by itself.",
        ),
        steps_heading="What you can do",
    )


def _explain(facts: Credential | PartnerCredential, *, option: str) -> Explanation:
    return explain(facts.failure_class, facts.code, facts.subcode, option=option)


def _renewal(credential: Credential) -> str:
    if credential.option == Option.PASTED_TOKEN:
        return (
            "Only the app that issued the token could renew it. Somebody with rights in your Business Manager"
            " makes a new one and pastes it; events flow on meanwhile."
        )
    return "Meta renews it only after another log-in: connect the pixel again; events flow on meanwhile."


def _ends(notice: Notice) -> str:
    days = "1 day" if notice.days == 1 else f"{notice.days} days"
    return f"may end within {days}" if notice.is_guess else f"ends within {days}"


def _end_sentence(notice: Notice, name: str) -> str:
    if notice.is_guess:
        return (
            f"{name} may end on {notice.about:%-d %B %Y}. Meta does not tell when, and nobody said: most tokens"
            " live for 60 days, counted from the day it was given to us. So this date is a guess."
        )
    return f"{name} ends on {_moment(notice.about)}."


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC"


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _send(letter: Letter, people: Sequence[Person], notice: Notice) -> bool:
    """Whether the mail server took it. Speaks SMTP: not inside a transaction."""
    context = {"letter": letter, "notice": notice}
    mail = EmailMultiAlternatives(
        subject=" ".join(letter.heading.split()),
        body=render_to_string("onboarding/email/token.txt", context),
        to=[person.email for person in people],
    )
    mail.attach_alternative(render_to_string("onboarding/email/token.html", context), "text/html")
    try:
        mail.send()
    except (smtplib.SMTPException, OSError) as error:
        logger.warning("mail of a token not sent", notice_id=notice.pk, error=type(error).__name__)
        return False
    return True
