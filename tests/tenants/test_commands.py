"""The operator's commands."""

from __future__ import annotations

import io
import re

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.management import CommandError, call_command

from tenants.models import Invitation, Partner, Person
from tenants.secrets import vault
from tests.support.factories import make_person

OPTIONS = {
    "--name": "Datapartner",
    "--partner-agent": "datapartner",
    "--meta-app-id": "900100",
    "--owner-email": "Olga@Datapartner.example",
}


def create_partner(monkeypatch: pytest.MonkeyPatch, *more: str, typed: str = "", **changes: str) -> str:
    """What `partner create` prints."""
    options = OPTIONS | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    out = io.StringIO()
    call_command("partner", "create", *[word for pair in options.items() for word in pair], *more, stdout=out)
    return out.getvalue()


def test_a_partner_is_made_and_its_owner_invited(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = create_partner(monkeypatch)

    partner = Partner.objects.get()
    assert (partner.name, partner.partner_agent, partner.meta_app_id) == (
        "Datapartner",
        "datapartner",
        "900100",
    )
    invitation = Invitation.objects.get()
    assert (invitation.email, invitation.role, invitation.partner) == (
        "olga@datapartner.example",
        "owner",
        partner,
    )
    [message] = mail.outbox
    assert message.to == ["olga@datapartner.example"]
    link = re.search(r"http://testserver/invitations/\S+/", str(message.body))
    assert link
    assert link[0] not in printed


def test_the_link_is_printed_where_no_mail_can_be_sent(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *args: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.EmailMultiAlternatives.send", refuse)

    assert re.search(r"http://testserver/invitations/\S{43}/", create_partner(monkeypatch))


def test_the_apps_secret_comes_on_standard_input(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = create_partner(monkeypatch, "--app-secret-stdin", typed="app-secret-4711\n")

    credential = Partner.objects.get().credentials.get()
    opened = vault().open(bytes(credential.sealed), identity=credential.vault_identity)
    assert opened.reveal() == "app-secret-4711"
    assert "4711" not in printed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "DATAPARTNER"}, "There is a partner named DATAPARTNER already."),
        ({"name": "Other", "partner_agent": "two words"}, "--partner-agent: one word"),
        ({"name": "Other", "owner_email": "olga"}, "--owner-email: olga is no e-mail address."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(
    db: None, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], words: str
) -> None:
    create_partner(monkeypatch)
    mail.outbox.clear()

    with pytest.raises(CommandError, match=re.escape(words)):
        create_partner(monkeypatch, **changes)

    assert Partner.objects.count() == Invitation.objects.count() == 1
    assert mail.outbox == []


def test_a_secret_that_was_announced_must_come(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="nothing came on standard input"):
        create_partner(monkeypatch, "--app-secret-stdin")

    assert not Partner.objects.exists()


def test_an_operator_is_made_with_a_password_from_standard_input(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough password\n"))
    call_command("operator", "create", "--email", "Op@Hub.example", stdout=io.StringIO())

    person = Person.objects.get(email="op@hub.example")
    assert person.is_superuser
    assert person.check_password("a long enough password")
    assert EmailAddress.objects.get(user=person).verified


@pytest.mark.parametrize(
    ("email", "typed", "words"),
    [
        ("op@hub.example", "short\n", "too short"),
        ("op@hub.example", "", "too short"),
        ("known@hub.example", "a long enough password\n", "has an account already"),
        ("op", "a long enough password\n", "no e-mail address"),
    ],
)
def test_an_operator_is_not_made_where_something_is_wrong(
    db: None, monkeypatch: pytest.MonkeyPatch, email: str, typed: str, words: str
) -> None:
    make_person("known@hub.example")
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    with pytest.raises(CommandError, match=words):
        call_command("operator", "create", "--email", email)

    assert not Person.objects.filter(is_superuser=True).exists()
