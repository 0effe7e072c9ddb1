"""Sign-in as it is here: what its mails say, and what it does not tell a stranger."""

from __future__ import annotations

import re
import smtplib

import pytest
from django.core import mail

from tests.support.factories import PASSWORD, make_person
from tests.support.site import Site, messages_of, text_of

ADDRESS = "anna@shop.example"
SIGN_UP = {"name": "Anna", "email": ADDRESS, "password1": "a long enough password"}


def test_a_person_signs_in_whatever_the_case_of_the_address(site: Site) -> None:
    make_person(ADDRESS)

    page = site.post("/accounts/login/", {"login": "Anna@SHOP.example", "password": PASSWORD})

    assert page.url == "/"


def test_a_sign_up_keeps_name_and_address_and_waits_for_the_mail(site: Site) -> None:
    page = site.post("/accounts/signup/", SIGN_UP | {"email": "Anna@Shop.example"})

    assert page.url == "/accounts/confirm-email/"
    [message] = mail.outbox
    assert message.to == [ADDRESS]
    assert message.subject == "Confirm your e-mail address"
    assert re.search(r"http://testserver/accounts/confirm-email/\S+/", str(message.body))
    # Not signed in before the address is confirmed.
    assert "Sign in" in text_of(site.get("/"))


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "at least 10 characters"),
        ("password1234", "too common"),
        ("anna@shop.example", "too similar"),
    ],
)
def test_a_weak_password_is_refused(site: Site, password: str, words: str) -> None:
    page = site.post("/accounts/signup/", SIGN_UP | {"password1": password})

    assert words in text_of(page)
    assert f'value="{password}"' not in page.content.decode().split('name="password1"', 1)[1]
    assert mail.outbox == []


def test_a_sign_up_does_not_tell_whether_an_address_has_an_account(site: Site) -> None:
    unknown = site.post("/accounts/signup/", SIGN_UP)
    make_person("other@shop.example")
    known = site.post("/accounts/signup/", SIGN_UP | {"email": "other@shop.example"})

    assert (unknown.status_code, unknown.url) == (known.status_code, known.url)
    assert [message.subject for message in mail.outbox] == [
        "Confirm your e-mail address",
        "You have an account already",
    ]


def test_a_reset_does_not_tell_whether_an_address_has_an_account(site: Site) -> None:
    make_person(ADDRESS)

    known = site.post("/accounts/password/reset/", {"email": ADDRESS})
    unknown = site.post("/accounts/password/reset/", {"email": "nobody@shop.example"})

    assert (known.status_code, known.url) == (unknown.status_code, unknown.url)
    assert [message.subject for message in mail.outbox] == [
        "Choose a new password",
        "You have no account with this address",
    ]


def test_a_wrong_password_and_an_unknown_address_are_told_the_same(site: Site) -> None:
    make_person(ADDRESS)

    wrong = site.post("/accounts/login/", {"login": ADDRESS, "password": "wrong"})
    unknown = site.post("/accounts/login/", {"login": "nobody@shop.example", "password": "wrong"})

    assert text_of(wrong) == text_of(unknown)
    assert wrong.status_code == unknown.status_code == 200


def test_links_in_mails_lead_to_the_public_address(site: Site) -> None:
    make_person(ADDRESS)

    site.post("/accounts/password/reset/", {"email": ADDRESS}, host="testserver:6666")

    assert "http://testserver/accounts/password/reset/key/" in str(mail.outbox[0].body)
    assert "6666" not in str(mail.outbox[0].body)


def test_a_new_password_by_mail_works_and_the_link_works_once(site: Site) -> None:
    make_person(ADDRESS)
    site.post("/accounts/password/reset/", {"email": ADDRESS})
    found = re.search(r"http://testserver(/\S+/)", str(mail.outbox[0].body))
    assert found
    form = site.get(site.get(found[1]).url)
    page = site.post(
        form.wsgi_request.path,
        {"password1": "another good password", "password2": "another good password"},
    )

    assert page.url == "/accounts/password/reset/key/done/"
    site.client.session.flush()
    page = site.post("/accounts/login/", {"login": ADDRESS, "password": "another good password"})
    assert page.url == "/"
    site.sign_in(None)
    again = site.get(found[1])
    assert again.status_code == 200
    assert "password1" not in again.content.decode()


def test_a_mail_server_that_is_away_breaks_no_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *args: object) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr("django.core.mail.EmailMultiAlternatives.send", refuse)

    page = site.post("/accounts/signup/", SIGN_UP)

    assert page.status_code == 302
    assert any("could not be sent just now" in message for message in messages_of(page))


def test_signing_in_gives_the_session_another_key(site: Site) -> None:
    make_person(ADDRESS)
    site.get("/accounts/login/")
    before = site.client.cookies.get("partnerhub_session")

    site.post("/accounts/login/", {"login": ADDRESS, "password": PASSWORD})

    after = site.client.cookies["partnerhub_session"]
    assert before is None or before.value != after.value
    assert after["httponly"]
    assert after["samesite"] == "Lax"


def test_another_password_ends_the_persons_other_sessions(site: Site) -> None:
    person = make_person(ADDRESS)
    elsewhere = Site(site._as_role).sign_in(person)
    site.sign_in(person)

    site.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": "another good password", "password2": "another good password"},
    )

    assert "You have no role" in text_of(site.get("/"))
    assert "You have no role" not in text_of(elsewhere.get("/"))


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_site(site: Site, target: str) -> None:
    make_person(ADDRESS)

    page = site.post("/accounts/login/", {"login": ADDRESS, "password": PASSWORD, "next": target})

    assert page.url == "/"


def test_guessing_is_slowed_down(site: Site) -> None:
    make_person(ADDRESS)

    for _ in range(6):
        page = site.post("/accounts/login/", {"login": ADDRESS, "password": "wrong"})
    assert "Too many failed login attempts" in text_of(page)

    page = site.post("/accounts/login/", {"login": ADDRESS, "password": PASSWORD})
    assert page.status_code == 200
