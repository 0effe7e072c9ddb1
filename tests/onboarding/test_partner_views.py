"""The pages of a partner's set-up, as the web's role: typed, checked, seen by whom they concern."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from onboarding.models import GraphCallCount, SetupCheck, SetupSecret
from onboarding.services import partner_setup
from onboarding.setup import steps
from partnerhub.lib.graph import GraphClient
from tenants.models import Logo, Partner, PartnerCredential, Person
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.services import create_partner
from tests.onboarding.test_partner_setup import SECRET, SENDING, world
from tests.support.factories import join_advertiser, join_partner, make_advertiser, make_partner, make_person
from tests.support.sandbox import SandboxClient
from tests.support.site import Site, messages_of, text_of
from tests.tenants.test_branding import png

__all__ = ["world"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]


@pytest.fixture
def partner() -> Partner:
    return make_partner()


@pytest.fixture
def owner(partner: Partner) -> Person:
    person = make_person()
    join_partner(person, partner, PartnerRole.OWNER)
    return person


def step_path(partner: Partner, step: str) -> str:
    return f"/partners/{partner.pk}/set-up/{step}/"


def post(site: Site, partner: Partner, step: str, **data: object) -> Any:
    return site.post(step_path(partner, step), data)


def test_the_set_up_goes_on_where_it_was_left(site: Site, partner: Partner, owner: Person) -> None:
    site.sign_in(owner)
    assert site.get(f"/partners/{partner.pk}/set-up/").url == step_path(partner, "options")

    page = post(site, partner, "options", offers_pasted_token="on")

    assert page.url == step_path(partner, "agent")
    page = post(site, partner, "agent", partner_agent="hub")
    assert page.url == step_path(partner, "branding")
    page = post(site, partner, "branding", name=partner.name)
    assert page.url == step_path(partner, "branding")
    assert "All is set up" in text_of(site.get(page.url))


def test_only_what_the_offered_ways_need_is_asked(site: Site, partner: Partner, owner: Person) -> None:
    site.sign_in(owner)
    post(site, partner, "options", offers_shared_pixel="on", offers_login_for_business="on")

    page = site.get(step_path(partner, "app")).content.decode()

    for step in steps.STEPS:
        assert f'href="{step_path(partner, step.key)}"' in page
    post(site, partner, "options", offers_pasted_token="on")
    page = site.get(step_path(partner, "options")).content.decode()
    assert step_path(partner, "login") not in page
    assert "No way that you offer needs this step" in text_of(site.get(step_path(partner, "login")))


def test_one_way_at_least_is_offered(site: Site, partner: Partner, owner: Person) -> None:
    page = post(site.sign_in(owner), partner, "options")

    assert page.status_code == 422
    assert "Switch on one way at least" in text_of(page)


def test_a_secret_waits_for_metas_word_and_is_shown_by_its_last_four(
    site: Site, partner: Partner, owner: Person, hints: list[tuple[object, ...]]
) -> None:
    site.sign_in(owner)

    page = post(site, partner, "sending", how="paste", sending_token=f"Bearer {SENDING}\n")

    check = SetupCheck.objects.get(step="sending")
    assert page.url == step_path(partner, "sending")
    assert hints == [("onboarding.check_setup", check.pk)]
    assert SetupSecret.objects.values_list("last_four", flat=True).get() == "SEND"
    assert not PartnerCredential.objects.filter(kind="sending_token").exists()
    shown = site.get(page.url)
    assert "Asking Meta with the secret …SEND" in text_of(shown)
    assert SENDING not in shown.content.decode()


def test_a_page_under_way_asks_again_and_a_finished_one_is_loaded_whole(
    site: Site, partner: Partner, owner: Person, world: SandboxClient, graph: GraphClient
) -> None:
    site.sign_in(owner)
    path = step_path(partner, "app")
    post(site, partner, "app", meta_app_id="900100", app_secret="", app_mode="live")

    fragment = site.get(path, **{"HX-Request": "true"})
    assert f'hx-get="{path}"' in fragment.content.decode()
    assert "<html" not in fragment.content.decode()

    partner_setup.run_setup_check(check_id=SetupCheck.objects.get().pk, client=graph)
    assert site.get(path, **{"HX-Request": "true"})["HX-Refresh"] == "true"
    page = site.get(path)
    assert "Meta knows this app as “Demo Hub”." in text_of(page)
    assert "hx-get" not in page.content.decode()


def test_a_failure_says_what_is_wrong_and_can_be_checked_again(
    site: Site,
    partner: Partner,
    owner: Person,
    world: SandboxClient,
    graph: GraphClient,
    hints: list[tuple[object, ...]],
) -> None:
    site.sign_in(owner)
    post(site, partner, "app", meta_app_id="900200", app_secret="wrong-secret", app_mode="")
    check = SetupCheck.objects.get()
    partner_setup.run_setup_check(check_id=check.pk, client=graph)
    hints.clear()

    page = site.get(step_path(partner, "app"))

    assert 'value="900200"' in page.content.decode()
    assert "wrong-secret" not in page.content.decode()
    assert "The app ID and the app secret do not belong together" in text_of(page)
    assert site.post(f"{step_path(partner, 'app')}check/").url == step_path(partner, "app")
    assert hints == [("onboarding.check_setup", check.pk)]


@pytest.mark.parametrize(
    ("step", "data", "field"),
    [
        ("app", {"meta_app_id": "12x", "app_mode": ""}, "digits only"),
        ("app", {"meta_app_id": "900200", "app_mode": ""}, "Another app has another secret"),
        ("app", {"meta_app_id": "900100", "app_secret": "two words", "app_mode": ""}, "one word"),
        ("assigning", {"business_id": "7001"}, "This field is required"),
        (
            "assigning",
            {"business_id": "7001", "assigning_token": "kurz"},
            "does not look like an access token",
        ),
        ("sending", {"how": "paste"}, "Paste the token"),
        ("sending", {"how": "make"}, "Enter whose token is to be made"),
        ("agent", {"partner_agent": "two words"}, "One word"),
        ("login", {"login_config_id": ""}, "This field is required"),
        ("own_pixel", {"own_pixel_id": "https://x/?pixel_id=1234567"}, "That is a link"),
        ("branding", {"name": "Hub", "brand_colour": "red"}, "A colour has the form"),
    ],
)
def test_bad_input_is_said_at_its_field_and_changes_nothing(
    site: Site, partner: Partner, owner: Person, step: str, data: dict[str, str], field: str
) -> None:
    before = Partner.objects.filter(pk=partner.pk).values().get()

    page = post(site.sign_in(owner), partner, step, **data)

    assert page.status_code == 422
    assert field in text_of(page)
    assert Partner.objects.filter(pk=partner.pk).values().get() == before
    assert not SetupCheck.objects.exists()


def test_an_empty_secret_keeps_the_stored_one(site: Site, partner: Partner, owner: Person) -> None:
    site.sign_in(owner)

    page = post(site, partner, "app", meta_app_id=" 900 100 ", app_secret="", app_mode="live")

    assert page.status_code == 302
    assert not SetupSecret.objects.exists()
    assert "…ests is stored; empty keeps it" in site.get(step_path(partner, "app")).content.decode()
    assert SECRET not in site.get(step_path(partner, "app")).content.decode()


def test_a_logo_and_a_colour_are_on_the_pages_of_the_partners_advertisers(
    site: Site, partner: Partner, owner: Person
) -> None:
    logo = SimpleUploadedFile("any.svg", png(40, 20), content_type="image/svg+xml")
    advertiser = make_advertiser(partner)
    clerk = make_person()
    join_advertiser(clerk, advertiser, AdvertiserRole.ANALYST)

    page = post(site.sign_in(owner), partner, "branding", name="Hub", brand_colour="#FFEE00", logo=logo)

    assert page.status_code == 302
    assert Logo.objects.get().content_type == "image/png"
    home = site.sign_in(clerk).get(f"/advertisers/{advertiser.pk}/").content.decode()
    [css] = [part.split('"')[0] for part in home.split('href="') if "/brand/" in part.split('"')[0]]
    [src] = [part.split('"')[0] for part in home.split('src="') if "/logo/" in part.split('"')[0]]
    sheet, picture = site.get(css), site.get(src)
    assert "--brand: #ffee00;" in sheet.content.decode()
    assert sheet["Content-Type"] == "text/css; charset=utf-8"
    assert (picture.content, picture["Content-Type"]) == (png(40, 20), "image/png")
    assert picture["Cache-Control"] == sheet["Cache-Control"] == "private, max-age=31536000, immutable"
    assert site.get(css.replace(".css", "0.css")).status_code == 404

    post(site.sign_in(owner), partner, "branding", name="Hub", remove_logo="on")

    assert not Logo.objects.exists()
    home = site.sign_in(clerk).get(f"/advertisers/{advertiser.pk}/").content.decode()
    assert "/brand/" not in home
    assert "/logo/" not in home


def test_an_svg_is_no_logo_whatever_it_calls_itself(site: Site, partner: Partner, owner: Person) -> None:
    logo = SimpleUploadedFile("logo.png", b"<svg onload='alert(1)'/>", content_type="image/png")

    page = post(site.sign_in(owner), partner, "branding", name="Hub", logo=logo)

    assert page.status_code == 422
    assert "An SVG cannot be used" in text_of(page)
    assert not Logo.objects.exists()


def test_another_partners_name_is_taken(site: Site, partner: Partner, owner: Person) -> None:
    other = make_partner()

    page = post(site.sign_in(owner), partner, "branding", name=other.name.upper())

    assert page.status_code == 422
    assert "Another partner has this name" in text_of(page)


def test_the_colour_is_shown_as_it_can_be_read(site: Site, partner: Partner, owner: Person) -> None:
    Partner.objects.filter(pk=partner.pk).update(brand_colour="#ffee00")

    words = text_of(site.sign_in(owner).get(step_path(partner, "branding")))

    assert "#ffee00 itself has 1.2 : 1 there, and could not be read" in words


def test_a_manager_sees_and_cannot_change(site: Site, partner: Partner) -> None:
    manager = make_person()
    join_partner(manager, partner, PartnerRole.MANAGER)
    site.sign_in(manager)

    page = site.get(step_path(partner, "agent"))

    assert "An owner of" in text_of(page)
    assert "<form" not in page.content.decode().partition('id="main"')[2]
    assert (
        partner.webhook_verify_token
        not in site.get(f"/partners/{partner.pk}/set-up/app-review/").content.decode()
    )


@pytest.mark.parametrize("step", ["review", "nonsense"])
def test_what_is_no_step_is_not_found(site: Site, partner: Partner, owner: Person, step: str) -> None:
    site.sign_in(owner)

    assert site.get(step_path(partner, step)).status_code == 404
    assert site.post(f"{step_path(partner, step)}check/").status_code == 404


def test_a_step_of_which_graph_tells_nothing_is_not_checked(
    site: Site, partner: Partner, owner: Person
) -> None:
    assert site.sign_in(owner).post(f"{step_path(partner, 'agent')}check/").status_code == 404


def test_the_home_nags_its_owner_until_it_is_done(site: Site, partner: Partner, owner: Person) -> None:
    support = make_person()
    join_partner(support, partner, PartnerRole.SUPPORT)
    home = f"/partners/{partner.pk}/"

    assert "0 of 3 steps are done" in text_of(site.sign_in(owner).get(home))
    assert "steps are done" not in text_of(site.sign_in(support).get(home))

    for step in ("options", "agent", "branding"):
        SetupCheck.objects.create(partner=partner, step=step, state="passed")
    assert "steps are done" not in text_of(site.sign_in(owner).get(home))


def test_app_review_shows_needs_calls_and_addresses(
    site: Site, partner: Partner, owner: Person, world: SandboxClient, graph: GraphClient
) -> None:
    site.sign_in(owner)
    post(site, partner, "options", offers_shared_pixel="on")
    GraphCallCount.objects.create(
        partner=partner, day=timezone.now().date(), source="deliveries", succeeded=480, failed=20
    )
    path = f"/partners/{partner.pk}/set-up/app-review/"
    assert "Not read from Meta yet" in text_of(site.get(path))

    site.post(path)
    assert "Reading from Meta" in text_of(site.get(path))
    partner_setup.run_setup_check(check_id=SetupCheck.objects.get(step="review").pk, client=graph)
    page = site.get(path)

    words = text_of(page)
    assert "ads_management" in words
    assert "Granted" in words
    assert "In review" in words
    assert "manage_business_extension" not in words
    # With the one call of reading.
    assert "481 of 500" in words
    assert "4.0 % below 15 %" in words
    for name in ("webhook", "deauthorise", "data-deletion"):
        assert f"/meta/{partner.callback_key}/{name}/" in words
    assert "/connect/callback/" in words
    assert partner.webhook_verify_token in words


def test_the_secret_is_on_no_page_and_in_no_log(
    site: Site,
    partner: Partner,
    owner: Person,
    world: SandboxClient,
    graph: GraphClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    site.sign_in(owner)
    post(site, partner, "sending", how="paste", sending_token=SENDING)
    pages = [site.get(step_path(partner, "sending"))]
    partner_setup.run_setup_check(check_id=SetupCheck.objects.get().pk, client=graph)
    pages.append(site.get(step_path(partner, "sending")))
    pages.append(post(site, partner, "sending", how="other", sending_token=SENDING))

    assert [page.status_code for page in pages] == [200, 200, 422]
    for page in pages:
        assert SENDING not in page.content.decode()
        assert messages_of(page) == []
    assert SENDING not in caplog.text
    assert all(SENDING not in repr(vars(record)) for record in caplog.records)


def test_a_partner_can_begin_without_an_app(site: Site) -> None:
    partner = create_partner(name="Bare", partner_agent="bare")
    person = make_person()
    join_partner(person, partner, PartnerRole.OWNER)

    assert site.sign_in(person).get(step_path(partner, "app")).status_code == 200
