"""Mails about tokens: whom they reach, what they say, and that each is sent once."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.utils import timezone

from events import letters
from events.letters import Countdown, tell_people
from events.losses import first_losses, time_left
from onboarding.models import Credential, CredentialEvent, GraphOutage, Notice, Option, Pixel
from onboarding.services import hold_pixel
from onboarding.services.credentials import install_credential
from onboarding.services.notices import UNDER_WAY, owe_notice, owe_reminder
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph.errors import CredentialRefused, PermissionRefused
from partnerhub.lib.vault import Secret
from tenants.models import Advertiser, PartnerCredential, Person
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.secrets import vault
from tests.support.environment import TestDatabase
from tests.support.factories import (
    join_advertiser,
    join_partner,
    make_advertiser,
    make_connected_pixel,
    make_credential,
    make_person,
    make_pixel,
)
from tests.support.log import append_events, make_event
from tests.support.roles import at_once, logged_in_as

pytestmark = pytest.mark.django_db

CANARY = "EAAcanaryofthemails0123"
DAY = 86_400
Tell = Callable[..., int]


@pytest.fixture
def tell(as_role: Callable[[str], AbstractContextManager[None]]) -> Tell:
    """A round of mails, with the worker's rights; by default when all that is owed is due."""

    def run(now: datetime | None = None) -> int:
        with as_role("worker"):
            return tell_people(now=now or timezone.now() + timedelta(minutes=2))

    return run


@pytest.fixture
def admin() -> Person:
    return make_person("admin@shop.example")


@pytest.fixture
def credential(admin: Person) -> Credential:
    """A pasted token of an advertiser with an admin, an analyst, and its partner's people."""
    advertiser = make_advertiser(name="Wool & Co")
    join_advertiser(admin, advertiser, AdvertiserRole.ADMIN)
    join_advertiser(make_person("analyst@shop.example"), advertiser, AdvertiserRole.ANALYST)
    for role in PartnerRole:
        join_partner(make_person(f"{role}@hub.example"), advertiser.partner, role)
    return make_credential(make_pixel(advertiser), token=CANARY)


def kill(credential: Credential, subcode: int = 460) -> None:
    """What the guardian does when it finds the token dead."""
    error = CredentialRefused("Error validating access token", code=190, subcode=subcode)
    with tenant_scope(advertiser_id=credential.advertiser_id):
        hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.CREDENTIAL, error=error)
        credential.refresh_from_db()
        assert credential.refused_at is not None
        owe_notice(of=credential, kind=Notice.Kind.DIED, about=credential.refused_at)


def only_mail() -> EmailMultiAlternatives:
    [message] = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    return message


def bodies() -> list[str]:
    message = only_mail()
    return [str(message.body), str(message.alternatives[0][0])]


def test_a_dead_token_is_told_to_the_admins_once(credential: Credential, tell: Tell) -> None:
    kill(credential)

    assert (tell(), tell()) == (1, 0)

    message = only_mail()
    assert message.to == ["admin@shop.example"]
    assert message.subject.startswith("Web shop is paused: ")
    for body in bodies():
        assert credential.pixel.meta_id in body
        assert f"/pixels/{credential.pixel_id}/" in body
        assert "wait safely" in body
        assert CANARY not in body
    notice = Notice.objects.get()
    assert (notice.state, notice.recipients) == ("sent", 1)
    told = CredentialEvent.objects.get(kind="reminded")
    assert told.detail == {"about": "died", "days": 0, "recipients": 1}


def test_who_pasted_the_token_is_told_too_as_long_as_they_belong_there(
    credential: Credential, tell: Tell
) -> None:
    manager = Person.objects.get(email="manager@hub.example")
    Credential.objects.update(created_by=manager)
    kill(credential)
    credential.refresh_from_db()

    tell()

    assert only_mail().to == ["admin@shop.example", "manager@hub.example"]


def test_who_pasted_it_and_left_is_not_told(credential: Credential, tell: Tell) -> None:
    Credential.objects.update(created_by=make_person("gone@else.example"))
    kill(credential)

    tell()

    assert only_mail().to == ["admin@shop.example"]


def test_a_name_in_a_mail_is_escaped_in_html_and_plain_in_text(credential: Credential, tell: Tell) -> None:
    kill(credential)

    tell()

    text, html = bodies()
    assert "Wool & Co" in text
    assert "Wool &amp; Co" in html


def remind(credential: Credential, days_left: float) -> bool:
    Credential.objects.filter(pk=credential.pk).update(
        expiry="dated", expires_at=timezone.now() + timedelta(days=days_left)
    )
    credential.refresh_from_db()
    with tenant_scope(advertiser_id=credential.advertiser_id):
        return owe_reminder(of=credential, now=timezone.now())


@pytest.mark.parametrize(
    ("days_left", "days"), [(13.5, "14 days"), (6.5, "7 days"), (2.5, "3 days"), (0.9, "1 day")]
)
def test_a_token_that_ends_is_told_before(
    credential: Credential, tell: Tell, days_left: float, days: str
) -> None:
    assert remind(credential, days_left)

    tell()

    assert only_mail().subject == f"Web shop: the access token ends within {days}"
    assert "guess" not in bodies()[0]


def test_each_reminder_is_owed_once_and_the_next_one_is_another(credential: Credential, tell: Tell) -> None:
    ends = timezone.now() + timedelta(days=13)
    Credential.objects.update(expiry="dated", expires_at=ends)
    credential.refresh_from_db()

    for day in range(14):
        now = timezone.now() + timedelta(days=day)
        with tenant_scope(advertiser_id=credential.advertiser_id):
            owe_reminder(of=credential, now=now)
            owe_reminder(of=credential, now=now)
        tell(now)
        tell(now)

    assert [message.subject[-7:] for message in mail.outbox] == ["14 days", " 7 days", " 3 days", "n 1 day"]


def test_a_guessed_end_is_called_a_guess(credential: Credential, tell: Tell) -> None:
    Credential.objects.update(created_at=timezone.now() - timedelta(days=47))
    credential.refresh_from_db()
    with tenant_scope(advertiser_id=credential.advertiser_id):
        assert owe_reminder(of=credential, now=timezone.now())

    tell()

    assert only_mail().subject == "Web shop: the access token may end within 14 days"
    assert all("So this date is a guess." in " ".join(body.split()) for body in bodies())


def test_what_is_no_longer_true_is_not_told(credential: Credential, tell: Tell) -> None:
    kill(credential)
    make_credential(credential.pixel, token="EAAanother")
    other = make_credential(make_pixel(make_advertiser()), token="EAAthird")
    remind(other, 6.5)
    Credential.objects.filter(pk=other.pk).update(expires_at=timezone.now() + timedelta(days=59))

    assert tell() == 0

    assert mail.outbox == []
    assert set(Notice.objects.values_list("state", flat=True)) == {"dropped"}


def test_while_graph_is_suspected_no_death_is_told(credential: Credential, tell: Tell) -> None:
    kill(credential)
    outage = GraphOutage.objects.create(began_at=timezone.now(), refused=20, good=0, advertisers=20)

    assert tell() == 0
    assert Notice.objects.get().state == "waiting"

    # It passes, and with it the refusal.
    outage.ended_at = timezone.now()
    outage.save()
    Credential.objects.update(state="working", refused_at=None)
    assert tell(timezone.now() + timedelta(hours=1)) == 0
    assert Notice.objects.get().state == "dropped"


def test_a_withdrawn_sharing_names_who_it_is_no_longer_shared_with(
    credential: Credential, tell: Tell
) -> None:
    error = PermissionRefused("Unsupported get request.", code=100, subcode=33)
    with tenant_scope(advertiser_id=credential.advertiser_id):
        hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.PERMISSION, error=error)
        credential.refresh_from_db()
        assert credential.refused_at is not None
        owe_notice(of=credential, kind=Notice.Kind.ACCESS_LOST, about=credential.refused_at)

    tell()

    assert only_mail().subject.startswith("Web shop is no longer shared: ")


# The partner's token.


def test_a_partners_dead_token_is_one_mail_to_its_owners_and_managers(
    credential: Credential, tell: Tell
) -> None:
    partner = credential.advertiser.partner
    token = PartnerCredential(
        partner=partner, kind=PartnerCredential.Kind.SENDING_TOKEN, last_four="nder", state="refused"
    )
    token.sealed = vault().seal(Secret("EAAsender"), identity=token.vault_identity)
    token.refused_at = timezone.now()
    token.failure_class, token.code, token.subcode = "credential", 190, 463
    token.save()
    for name in ("One", "Two"):
        install_credential(
            pixel=make_pixel(make_advertiser(partner, name=name)),
            option=Option.SHARED_PIXEL,
            partner_credential=token,
        )
    with tenant_scope(partner_id=partner.pk):
        owe_notice(of=token, kind=Notice.Kind.DIED, about=token.refused_at)

    assert tell() == 1

    message = only_mail()
    assert sorted(message.to) == ["manager@hub.example", "owner@hub.example"]
    text = " ".join(bodies()[0].split())
    assert "It opens 2 shared pixels, which are paused together." in text
    assert f"/partners/{partner.pk}/credentials/" in text


# Once, whatever happens.


def test_a_mail_server_that_is_away_is_tried_again_and_given_up_in_the_end(
    credential: Credential, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(credential)
    away = [True] * 2

    def send(self: EmailMultiAlternatives, fail_silently: bool = False) -> int:
        if away:
            away.pop()
            raise smtplib.SMTPServerDisconnected
        mail.outbox.append(self)
        return 1

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    now = timezone.now() + timedelta(minutes=2)

    assert tell(now) == 0
    assert tell(now + timedelta(minutes=3)) == 0
    assert tell(now + timedelta(minutes=5)) == 0
    assert tell(now + timedelta(minutes=14)) == 1
    assert Notice.objects.get().attempts == 3

    other = make_credential(make_pixel(make_advertiser()), token="EAAother")
    join_advertiser(make_person(), other.advertiser, AdvertiserRole.ADMIN)
    kill(other)
    away.extend([True] * 9)
    for hour in range(10):
        tell(now + timedelta(hours=5 * hour))
    assert Notice.objects.latest("pk").state == "failed"


@pytest.mark.parametrize("point", ["before_mail", "after_mail"])
def test_a_worker_that_dies_around_the_mail_sends_none_twice(
    credential: Credential, tell: Tell, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    kill(credential)

    def crash(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(letters, "crash_point", crash)
    now = timezone.now() + timedelta(minutes=2)
    with pytest.raises(KeyboardInterrupt):
        tell(now)
    monkeypatch.undo()

    assert tell(now + UNDER_WAY / 2) == 0
    assert Notice.objects.get().state == "sending"
    assert tell(now + UNDER_WAY * 2) == 0
    assert Notice.objects.get().state == "doubt"
    assert len(mail.outbox) == (1 if point == "after_mail" else 0)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_send_one_mail(credential: Credential, database: TestDatabase) -> None:
    kill(credential)
    now = timezone.now() + timedelta(minutes=2)

    def run() -> int:
        return tell_people(now=now)

    with logged_in_as(database, "worker"):
        results = at_once(run, run, run)

    assert sorted(map(str, results)) == ["0", "0", "1"]
    assert len(mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_two_guardians_at_once_owe_one_notice(credential: Credential, database: TestDatabase) -> None:
    Credential.objects.update(expiry="dated", expires_at=timezone.now() + timedelta(days=6))
    credential = Credential.objects.select_related("advertiser").get()

    def owe() -> bool:
        with tenant_scope(advertiser_id=credential.advertiser_id):
            return owe_reminder(of=credential, now=timezone.now())

    with logged_in_as(database, "worker"):
        at_once(owe, owe, owe)

    assert Notice.objects.count() == 1


# The countdown.


@pytest.fixture
def logged(transactional_db: None) -> Iterator[Pixel]:
    """A pixel with a log, committed."""
    yield make_connected_pixel().pixel
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


def test_the_first_loss_is_the_oldest_event_that_waits_an_hour_before_metas_limit(logged: Pixel) -> None:
    now = int(timezone.now().timestamp())
    append_events(
        logged,
        [make_event(event_time=now - 60), make_event(event_time=now - 5 * DAY), make_event(event_time=now)],
    )

    losses = first_losses([logged.pk, logged.pk + 1])

    assert losses.keys() == {logged.pk}
    assert int(losses[logged.pk].timestamp()) == now - 5 * DAY + 7 * DAY - 3600
    with tenant_scope(advertiser_id=logged.advertiser_id):
        assert letters.countdown_of(logged.pk) == Countdown(3, losses[logged.pk])


def test_nothing_that_waits_is_no_countdown(logged: Pixel) -> None:
    assert first_losses([logged.pk]) == {}
    assert first_losses([]) == {}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (6 * DAY + 3 * 3600 + 59, "6 days 3 hours"),
        (DAY, "1 day"),
        (5 * 3600 + 20 * 60, "5 hours 20 minutes"),
        (20 * 3600 + 20 * 60, "20 hours"),
        (60, "1 minute"),
        (59, "no time"),
        (-5, "no time"),
    ],
)
def test_time_left_is_said_in_what_matters(seconds: int, words: str) -> None:
    now = timezone.now()

    assert time_left(now + timedelta(seconds=seconds), now=now) == words


def test_the_mails_sentence_counts(logged: Pixel) -> None:
    now = timezone.now()
    at = now + timedelta(days=2, minutes=1)

    assert "1 event waits safely" in Countdown(1, at).sentence(now)
    assert "1,200 events wait safely" in Countdown(1200, at).sentence(now)
    assert "in 2 days" in Countdown(1200, at).sentence(now)
    assert Advertiser.objects.count() == 1
