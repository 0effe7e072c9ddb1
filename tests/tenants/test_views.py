"""Home, invitations and people, page by page, as the web's role."""

from __future__ import annotations

import re
import smtplib
from datetime import timedelta

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from tenants import services, views
from tenants.models import Advertiser, Invitation, Partner, Person
from tenants.roles import AdvertiserRole, PartnerRole
from tests.support.factories import (
    PASSWORD,
    join_advertiser,
    join_partner,
    make_advertiser,
    make_partner,
    make_person,
)
from tests.support.site import Site, messages_of, text_of

ADDRESS = "anna@shop.example"


def make_owner(partner: Partner) -> Person:
    """Somebody who owns the partner."""
    person = make_person(name="Olga Owner")
    join_partner(person, partner, PartnerRole.OWNER)
    return person


def make_admin(advertiser: Advertiser) -> Person:
    """Somebody who administers the advertiser."""
    person = make_person(name="Anna Admin")
    join_advertiser(person, advertiser, AdvertiserRole.ADMIN)
    return person


def invite(advertiser: Advertiser, email: str = ADDRESS) -> tuple[Invitation, str]:
    """An open invitation to administer the advertiser, and its link's path."""
    invitation, token = services.invite_person(
        email=email,
        role=AdvertiserRole.ADMIN,
        partner=advertiser.partner,
        advertiser=advertiser,
        invited_by=None,
    )
    return invitation, reverse("tenants:invitation", args=[token])


def mailed_path(number: int = -1) -> str:
    """The path of the link in a mail that was sent."""
    found = re.search(r"http://testserver(/\S+/)", str(mail.outbox[number].body))
    assert found
    return found[1]


# Home.


def test_home_tells_a_visitor_what_this_is(site: Site) -> None:
    page = site.get("/")

    assert page.status_code == 200
    assert "Sign in" in text_of(page)


def test_home_is_ones_only_partner(site: Site) -> None:
    partner = make_partner()

    page = site.sign_in(make_owner(partner)).get("/")

    assert page.url == f"/partners/{partner.pk}/"


def test_home_is_ones_only_advertiser(site: Site) -> None:
    advertiser = make_advertiser()

    page = site.sign_in(make_admin(advertiser)).get("/")

    assert page.url == f"/advertisers/{advertiser.pk}/"


def test_home_offers_a_choice_of_several(site: Site) -> None:
    partner, advertiser = make_partner("Datapartner"), make_advertiser(name="Velo Rad")
    person = make_owner(partner)
    join_advertiser(person, advertiser, AdvertiserRole.ANALYST)

    page = site.sign_in(person).get("/")

    assert page.status_code == 200
    assert f'href="/partners/{partner.pk}/"' in page.content.decode()
    assert f'href="/advertisers/{advertiser.pk}/"' in page.content.decode()


def test_home_tells_who_has_no_role_what_to_do(site: Site) -> None:
    person = make_person("new@shop.example")

    page = site.sign_in(person).get("/")

    assert "You have no role anywhere yet" in text_of(page)
    assert "invite new@shop.example" in text_of(page)


# An invitation's link.


def test_a_visitor_is_told_who_invites_to_what_and_how_to_accept(site: Site) -> None:
    _, path = invite(make_advertiser(make_partner("Datapartner"), name="Velo Rad"))

    page = site.get(path)

    assert page.status_code == 200
    for word in ("Datapartner", "Velo Rad", ADDRESS, "Admin"):
        assert word in text_of(page)
    assert '/accounts/signup/?email=anna%40shop.example"' in page.content.decode()
    assert 'name="accept"' not in page.content.decode()


def test_a_links_token_stays_in_its_path(site: Site) -> None:
    _, path = invite(make_advertiser())
    token = path.split("/")[2]

    for person in (None, make_person(ADDRESS), make_person()):
        page = site.sign_in(person).get(path)

        assert page["Referrer-Policy"] == "strict-origin"
        assert "no-store" in page["Cache-Control"]
        links = re.findall(r'(?:href|src)="([^"]*)"', page.content.decode())
        assert [link for link in links if token in link] == []


def test_who_was_invited_accepts(site: Site) -> None:
    advertiser = make_advertiser()
    _, path = invite(advertiser)
    person = make_person(ADDRESS)

    page = site.sign_in(person).get(path)
    assert 'name="accept"' in page.content.decode()
    assert not advertiser.memberships.exists()
    page = site.post(path)

    assert page.url == f"/advertisers/{advertiser.pk}/"
    assert advertiser.memberships.get().person == person
    assert messages_of(page) == [f"Welcome to {advertiser}."]
    assert site.get(page.url).status_code == 200


def test_a_colleague_accepts_a_role_at_the_partner(site: Site) -> None:
    partner = make_partner()
    _, token = services.invite_person(
        email=ADDRESS, role=PartnerRole.MANAGER, partner=partner, invited_by=make_owner(partner)
    )

    path = reverse("tenants:invitation", args=[token])

    assert f"You are invited to join {partner}" in text_of(site.get(path))
    page = site.sign_in(make_person(ADDRESS)).post(path)

    assert page.url == f"/partners/{partner.pk}/"
    assert partner.memberships.get(person__email=ADDRESS).role == "manager"


def test_who_is_signed_in_with_another_address_is_told_so(site: Site) -> None:
    advertiser = make_advertiser()
    _, path = invite(advertiser)
    person = make_person("friend@else.example")

    page = site.sign_in(person).get(path)
    assert "You are signed in as friend@else.example" in text_of(page)
    assert 'name="accept"' not in page.content.decode()

    page = site.post(path)
    assert page.status_code == 409
    assert f"sent to {ADDRESS}" in text_of(page)
    assert not advertiser.memberships.exists()


def test_an_address_that_is_not_verified_accepts_nothing(site: Site) -> None:
    advertiser = make_advertiser()
    _, path = invite(advertiser)
    person = make_person(ADDRESS)
    EmailAddress.objects.filter(user=person).update(verified=False)

    assert site.sign_in(person).post(path).status_code == 409
    assert not advertiser.memberships.exists()


def test_a_visitors_post_accepts_nothing(site: Site) -> None:
    advertiser = make_advertiser()
    _, path = invite(advertiser)

    assert site.post(path).status_code == 200
    assert not advertiser.memberships.exists()


@pytest.mark.parametrize("end", ["accepted", "revoked", "expired"])
def test_an_invitation_that_has_ended_says_so(site: Site, end: str) -> None:
    invitation, path = invite(make_advertiser())
    person = make_person(ADDRESS)
    words = {"accepted": "already used", "revoked": "was withdrawn", "expired": "has expired"}[end]
    if end == "accepted":
        site.sign_in(person).post(path)
    if end == "revoked":
        services.revoke_invitation(invitation=invitation)

    with time_machine.travel(timezone.now() + timedelta(days=8 if end == "expired" else 0), tick=False):
        page = site.sign_in(person).get(path)
        assert page.status_code == 200
        assert words in text_of(page)
        assert 'name="accept"' not in page.content.decode()

        page = site.post(path)
        assert page.status_code == 409
        assert words in text_of(page)


def test_an_unknown_link_is_missing_for_everybody_alike(site: Site) -> None:
    _, path = invite(make_advertiser())
    services.renew_invitation(invitation=Invitation.objects.get())
    unknown = reverse("tenants:invitation", args=["x" * 43])

    for person in (None, make_person(ADDRESS)):
        site.sign_in(person)
        old, never = site.get(path), site.get(unknown)
        assert (old.status_code, never.status_code) == (404, 404)
        assert "not known" in text_of(old)
        assert text_of(old) == text_of(never)


def test_signing_in_leads_back_to_the_invitation_once(site: Site) -> None:
    advertiser = make_advertiser()
    _, path = invite(advertiser)
    make_person(ADDRESS)
    site.get(path)

    page = site.post("/accounts/login/", {"login": ADDRESS, "password": PASSWORD})
    assert page.url == "/"
    assert site.get("/").url == path
    assert site.get("/").status_code == 200


@pytest.mark.parametrize("value", ["../../evil", "//evil.example", "https://evil.example/", ""])
def test_a_forged_cookie_leads_nowhere_else(site: Site, value: str) -> None:
    site.sign_in(make_person()).client.cookies[views.INVITATION_COOKIE] = value

    page = site.get("/")

    assert page.status_code == 200 or page.url.startswith(("/invitations/", "/"))
    assert not getattr(page, "url", "/").startswith("//")


def test_from_the_mail_to_the_advertisers_page(site: Site) -> None:
    """The whole way: invited, signed up, address confirmed, accepted."""
    advertiser = make_advertiser()
    _, path = invite(advertiser)

    site.get(path)
    page = site.get("/accounts/signup/?email=anna%40shop.example")
    assert 'value="anna@shop.example"' in page.content.decode()
    page = site.post(
        "/accounts/signup/", {"name": "Anna Admin", "email": ADDRESS, "password1": "a long enough password"}
    )
    assert page.url == "/accounts/confirm-email/"
    assert site.post(path).status_code == 200
    assert not advertiser.memberships.exists()

    page = site.post(mailed_path())
    assert page.url == "/"
    assert site.get("/").url == path
    assert site.post(path).url == f"/advertisers/{advertiser.pk}/"
    assert advertiser.memberships.get().person.name == "Anna Admin"


# Inviting an advertiser.


def test_a_partner_invites_an_advertiser(site: Site) -> None:
    partner = make_partner("Datapartner")
    owner = make_owner(partner)

    page = site.sign_in(owner).post(
        f"/partners/{partner.pk}/advertisers/invite/",
        {"name": "Velo Rad", "default_country": "it", "email": "Anna@Shop.example"},
    )

    assert page.url == f"/partners/{partner.pk}/"
    advertiser = partner.advertisers.get()
    assert (advertiser.name, advertiser.default_country) == ("Velo Rad", "IT")
    invitation = advertiser.invitations.get()
    assert (invitation.email, invitation.role, invitation.invited_by) == (ADDRESS, "admin", owner)
    assert [message.to for message in mail.outbox] == [[ADDRESS]]
    assert mail.outbox[0].subject == "Datapartner invites you to Velo Rad"
    assert site.sign_in(None).get(mailed_path()).status_code == 200
    assert messages_of(page) == [f"The invitation was sent to {ADDRESS}."]


def test_a_name_of_several_lines_is_put_on_one(site: Site) -> None:
    partner = make_partner("Datapartner")

    site.sign_in(make_owner(partner)).post(
        f"/partners/{partner.pk}/advertisers/invite/",
        {"name": " Velo\r\nBcc: all@shop.example ", "email": ADDRESS},
    )

    assert partner.advertisers.get().name == "Velo Bcc: all@shop.example"
    assert [message.recipients() for message in mail.outbox] == [[ADDRESS]]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "name", "This field is required."),
        ({"name": "velo rad"}, "name", "already has an advertiser of this name"),
        ({"name": "x" * 121}, "name", "at most 120 characters"),
        ({"default_country": "ITA"}, "default_country", "Use the country's two letters"),
        ({"email": "anna"}, "email", "Enter a valid email address."),
        ({"email": "anna@shop.example\nBcc: all@shop.example"}, "email", "Enter a valid email address."),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept(
    site: Site, changes: dict[str, object], field: str, words: str
) -> None:
    partner = make_partner()
    make_advertiser(partner, name="Velo Rad")
    data = {"name": "Möbelhaus Nord", "default_country": "de", "email": ADDRESS} | changes

    page = site.sign_in(make_owner(partner)).post(f"/partners/{partner.pk}/advertisers/invite/", data)

    assert page.status_code == 422
    assert words in " ".join(page.context["form"].errors[field])
    assert page.context["form"]["email"].value() == data["email"]
    assert partner.advertisers.count() == 1
    assert mail.outbox == []


def test_fields_that_a_form_does_not_have_change_nothing(site: Site) -> None:
    partner, other = make_partner(), make_partner()

    site.sign_in(make_owner(partner)).post(
        f"/partners/{partner.pk}/advertisers/invite/",
        {
            "name": "Velo Rad",
            "default_country": "",
            "email": ADDRESS,
            "partner": other.pk,
            "partner_id": other.pk,
            "role": "owner",
            "id": 1,
            "created_at": "2001-01-01",
        },
    )

    assert partner.advertisers.get().created_at.year > 2001
    assert partner.advertisers.get().invitations.get().role == "admin"
    assert other.advertisers.count() == 0


def test_a_mail_that_is_not_taken_is_said_and_can_be_resent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = make_partner()
    owner = make_owner(partner)

    def refuse(self: object, *args: object) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.EmailMultiAlternatives.send", refuse)
        page = site.sign_in(owner).post(
            f"/partners/{partner.pk}/advertisers/invite/", {"name": "Velo Rad", "email": ADDRESS}
        )

    assert messages_of(page) == [
        f"{ADDRESS} is invited, but the mail could not be sent. Resend it in a few minutes."
    ]
    invitation = partner.invitations.get()
    site.post(f"/invitations/{invitation.pk}/resend/")
    assert [message.to for message in mail.outbox] == [[ADDRESS]]


# People.


def test_people_lists_members_and_who_is_invited(site: Site) -> None:
    partner = make_partner()
    owner = make_owner(partner)
    services.invite_person(
        email="colleague@hub.example", role=PartnerRole.SUPPORT, partner=partner, invited_by=owner
    )

    words = text_of(site.sign_in(owner).get(f"/partners/{partner.pk}/people/"))

    for word in ("Olga Owner", owner.email, "colleague@hub.example", "Support"):
        assert word in words


def test_an_owner_invites_a_colleague(site: Site) -> None:
    partner = make_partner()

    page = site.sign_in(make_owner(partner)).post(
        f"/partners/{partner.pk}/people/", {"email": "colleague@hub.example", "role": "manager"}
    )

    assert page.url == f"/partners/{partner.pk}/people/"
    assert partner.invitations.get().role == "manager"
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("role", ["operator", "admin", "", "OWNER"])
def test_a_role_that_does_not_exist_there_is_not_offered(site: Site, role: str) -> None:
    partner = make_partner()

    page = site.sign_in(make_owner(partner)).post(
        f"/partners/{partner.pk}/people/", {"email": "colleague@hub.example", "role": role}
    )

    assert page.status_code == 422
    assert partner.invitations.count() == 0


def test_who_is_there_already_is_not_invited(site: Site) -> None:
    partner = make_partner()
    owner = make_owner(partner)

    page = site.sign_in(owner).post(
        f"/partners/{partner.pk}/people/", {"email": owner.email, "role": "owner"}
    )

    assert page.status_code == 422
    assert f"{owner.email} has a role here already." in text_of(page)
    assert mail.outbox == []


def test_an_analyst_sees_people_and_no_buttons(site: Site) -> None:
    advertiser = make_advertiser()
    make_admin(advertiser)
    invite(advertiser)
    analyst = make_person()
    join_advertiser(analyst, advertiser, AdvertiserRole.ANALYST)

    page = site.sign_in(analyst).get(f"/advertisers/{advertiser.pk}/people/")

    assert page.status_code == 200
    assert "Anna Admin" in text_of(page)
    main = page.content.decode().split("<main", 1)[1]
    assert "<form" not in main


def test_a_resent_invitation_has_another_link(site: Site) -> None:
    advertiser = make_advertiser()
    invitation, old = invite(advertiser)

    page = site.sign_in(make_admin(advertiser)).post(f"/invitations/{invitation.pk}/resend/")

    assert page.url == f"/advertisers/{advertiser.pk}/people/"
    site.sign_in(None)
    assert site.get(old).status_code == 404
    assert mailed_path() != old
    assert site.get(mailed_path()).status_code == 200


def test_a_withdrawn_invitation_leaves_the_list(site: Site) -> None:
    advertiser = make_advertiser()
    invitation, path = invite(advertiser)

    site.sign_in(make_admin(advertiser)).post(f"/invitations/{invitation.pk}/revoke/")

    assert site.get(f"/advertisers/{advertiser.pk}/people/").context["people"].invitations == []
    assert "was withdrawn" in text_of(site.sign_in(None).get(path))


def test_a_member_gets_another_role(site: Site) -> None:
    partner = make_partner()
    support = make_person()
    membership = join_partner(support, partner, PartnerRole.SUPPORT)

    page = site.sign_in(make_owner(partner)).post(f"/partner-members/{membership.pk}/", {"role": "manager"})

    membership.refresh_from_db()
    assert membership.role == "manager"
    assert messages_of(page) == [f"{support} is manager now."]


@pytest.mark.parametrize("role", ["", "admin", "root"])
def test_an_unknown_role_is_not_given(site: Site, role: str) -> None:
    partner = make_partner()
    membership = join_partner(make_person(), partner, PartnerRole.SUPPORT)

    page = site.sign_in(make_owner(partner)).post(f"/partner-members/{membership.pk}/", {"role": role})

    membership.refresh_from_db()
    assert membership.role == "support"
    assert messages_of(page) == ["Choose one of the roles."]


def test_a_removed_member_reaches_nothing_at_once(site: Site) -> None:
    advertiser = make_advertiser()
    analyst = make_person()
    membership = join_advertiser(analyst, advertiser, AdvertiserRole.ANALYST)

    site.sign_in(make_admin(advertiser)).post(f"/advertiser-members/{membership.pk}/", {"remove": "yes"})

    assert site.sign_in(analyst).get(f"/advertisers/{advertiser.pk}/").status_code == 404


@pytest.mark.parametrize("data", [{"remove": "yes"}, {"role": "support"}])
def test_the_last_owner_is_told_why_it_stays(site: Site, data: dict[str, object]) -> None:
    partner = make_partner()
    owner = make_owner(partner)

    page = site.sign_in(owner).post(f"/partner-members/{partner.memberships.get().pk}/", data)

    assert messages_of(page) == ["A partner keeps at least one owner."]
    assert partner.memberships.get().role == "owner"


def test_who_leaves_is_led_home(site: Site) -> None:
    partner = make_partner()
    make_owner(partner)
    leaver = make_owner(partner)

    page = site.sign_in(leaver).post(
        f"/partner-members/{partner.memberships.get(person=leaver).pk}/", {"remove": "yes"}
    )

    assert page.url == "/"
    assert messages_of(page) == [f"{leaver} no longer has a role at {partner}."]


def test_names_are_text_whatever_they_hold(site: Site) -> None:
    partner = make_partner('"><script>alert(1)</script>')
    owner = make_owner(partner)
    owner.name = "<img src=x onerror=alert(1)>"
    owner.save(update_fields=["name"])

    page = site.sign_in(owner).get(f"/partners/{partner.pk}/people/")

    assert "<script>alert" not in page.content.decode()
    assert "<img" not in page.content.decode()


def test_an_invitations_words_are_text_in_its_page_and_its_mail(site: Site) -> None:
    partner = make_partner('"><script>alert(1)</script>{{ 7 }}')

    site.sign_in(make_owner(partner)).post(
        f"/partners/{partner.pk}/advertisers/invite/", {"name": "<img src=x>{% now %}", "email": ADDRESS}
    )

    [message] = mail.outbox
    assert message.subject == f"{partner.name} invites you to <img src=x>{{% now %}}"
    assert isinstance(message, mail.EmailMultiAlternatives)
    html = str(message.alternatives[0][0])
    page = site.sign_in(None).get(mailed_path()).content.decode()
    for written in (html, page):
        assert "<script>alert" not in written
        assert "<img" not in written
        assert "&lt;img src=x&gt;{% now %}" in written
        assert "&amp;lt;" not in written


# How many queries a page takes does not depend on how much it shows.


def test_people_takes_as_many_queries_for_two_as_for_ten(site: Site) -> None:
    partner = make_partner()
    site.sign_in(make_owner(partner))

    counts = []
    for more in (1, 9):
        for _ in range(more):
            join_partner(make_person(), partner, PartnerRole.SUPPORT)
            number = partner.memberships.count()
            services.invite_person(
                email=f"c{number}@hub.example", role=PartnerRole.SUPPORT, partner=partner, invited_by=None
            )
        site.get(f"/partners/{partner.pk}/people/")
        counts.append(site.queries)

    assert counts[0] == counts[1] <= 20


def test_home_takes_as_many_queries_for_two_as_for_ten(site: Site) -> None:
    person = make_person()
    site.sign_in(person)

    counts = []
    for more in (2, 8):
        for _ in range(more):
            join_advertiser(person, make_advertiser(), AdvertiserRole.ANALYST)
        site.get("/")
        counts.append(site.queries)

    assert counts[0] == counts[1] <= 14
