"""The pages of tokens: whose is dying, what happened to a pixel's, and until when its events can wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from onboarding.models import Credential, CredentialEvent, GraphOutage, Option, Pixel
from onboarding.services import hold_pixel
from onboarding.services.credentials import install_credential
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph.errors import CredentialRefused
from partnerhub.lib.vault import Secret
from tenants.models import Advertiser, Partner, PartnerCredential, Person
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.secrets import vault
from tests.support.factories import (
    join_advertiser,
    join_partner,
    make_advertiser,
    make_connected_pixel,
    make_credential,
    make_partner,
    make_person,
    make_pixel,
)
from tests.support.log import append_events, make_event
from tests.support.site import Site, text_of

pytestmark = pytest.mark.django_db

CANARY = "EAAcanaryofthepages0123"
DAY = 86_400


@pytest.fixture
def partner() -> Partner:
    return make_partner()


@pytest.fixture
def owner(partner: Partner) -> Person:
    person = make_person()
    join_partner(person, partner, PartnerRole.OWNER)
    return person


def pixel_of(advertiser: Advertiser, name: str, **facts: object) -> Pixel:
    """A pixel with a pasted token of which this is known."""
    pixel = make_pixel(advertiser)
    Pixel.objects.filter(pk=pixel.pk).update(name=name)
    credential = make_credential(pixel, token=CANARY)
    Credential.objects.filter(pk=credential.pk).update(**{"state": "working", **facts})
    pixel.refresh_from_db()
    return pixel


def in_days(days: float) -> dict[str, object]:
    return {"expiry": "dated", "expires_at": timezone.now() + timedelta(days=days)}


def refuse(pixel: Pixel) -> None:
    credential = Credential.objects.exclude(state="retired").get(pixel=pixel)
    error = CredentialRefused("Error validating access token", code=190, subcode=460, fbtrace_id="A1")
    with tenant_scope(advertiser_id=pixel.advertiser_id):
        hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.CREDENTIAL, error=error)


def test_the_fleets_tokens_come_with_the_least_time_first(
    site: Site, partner: Partner, owner: Person
) -> None:
    shop, other = make_advertiser(partner, name="Alpha"), make_advertiser(partner, name="Beta")
    pixel_of(shop, "Never ends", expiry="never")
    pixel_of(shop, "Ends later", **in_days(40))
    pixel_of(other, "Ends soon", **in_days(5))
    pixel_of(other, "Guessed", created_at=timezone.now() - timedelta(days=50))
    refuse(pixel_of(shop, "Refused", **in_days(50)))
    make_credential(make_pixel(make_advertiser()), token=CANARY)

    page = site.sign_in(owner).get(f"/partners/{partner.pk}/credentials/")
    words = text_of(page)

    names = ["Refused", "Ends soon", "Guessed", "Ends later", "Never ends"]
    assert [row.credential.pixel.name for row in page.context["page"].rows] == names
    assert [row.state for row in page.context["page"].rows] == [
        "failing",
        "late",
        "late",
        "working",
        "working",
    ]
    assert "Meta refuses 1" in words
    assert "a guess" in words
    assert "Alpha" in words
    assert "Beta" in words
    assert CANARY not in page.content.decode()
    chart = page.context["page"].chart
    assert (len(chart.bars), chart.total, chart.bars[5].count) == (60, 4, 1)


def test_the_dying_ones_alone(site: Site, partner: Partner, owner: Person) -> None:
    shop = make_advertiser(partner)
    pixel_of(shop, "Ends later", **in_days(40))
    pixel_of(shop, "Ends soon", **in_days(5))
    # Taken for 60 days, and older than that: the guess was wrong.
    pixel_of(shop, "Guessed wrong", created_at=timezone.now() - timedelta(days=70))

    page = site.sign_in(owner).get(f"/partners/{partner.pk}/credentials/?show=dying")

    assert [row.credential.pixel.name for row in page.context["page"].rows] == ["Ends soon"]


def test_an_advertiser_sees_its_own_tokens(site: Site, partner: Partner) -> None:
    shop = make_advertiser(partner)
    admin = make_person()
    join_advertiser(admin, shop, AdvertiserRole.ADMIN)
    pixel_of(shop, "Mine", **in_days(5))
    pixel_of(make_advertiser(partner), "Another's", **in_days(5))

    words = text_of(site.sign_in(admin).get(f"/advertisers/{shop.pk}/credentials/"))

    assert "Mine" in words
    assert "Another's" not in words
    assert "1 ends within 14 days" in words


@pytest.mark.parametrize(
    "query", ["", "?show=dying", "?from=100", "?from=x", "?from=-1", "?from=99999999999"]
)
def test_nothing_yet_and_no_match_each_say_so(
    site: Site, partner: Partner, owner: Person, query: str
) -> None:
    assert "No token yet" in text_of(site.sign_in(owner).get(f"/partners/{partner.pk}/credentials/{query}"))

    pixel_of(make_advertiser(partner), "Fine", expiry="never")
    page = site.get(f"/partners/{partner.pk}/credentials/{query}")
    assert page.status_code == 200
    assert ("None is dying" in text_of(page)) == (query in ("?show=dying", "?from=100"))


def test_the_partners_own_tokens_stand_on_its_page_without_what_is_sealed(
    site: Site, partner: Partner, owner: Person
) -> None:
    token = PartnerCredential(partner=partner, kind=PartnerCredential.Kind.SENDING_TOKEN, last_four="nder")
    token.sealed = vault().seal(Secret(CANARY), identity=token.vault_identity)
    token.state = "refused"
    token.refused_at = timezone.now()
    token.save()
    shared = make_pixel(make_advertiser(partner))
    install_credential(pixel=shared, option=Option.SHARED_PIXEL, partner_credential=token, state="working")

    page = site.sign_in(owner).get(f"/partners/{partner.pk}/credentials/")
    words = text_of(page)

    assert f"/partners/{partner.pk}/set-up/" in page.content.decode()
    assert "Sending system user's token …nder" in words
    assert "Refused by Meta" in words
    assert "with the partner's" in words
    assert "App secret" not in words


def test_a_page_of_a_hundred_tokens_takes_no_more_queries_than_one_of_one(
    site: Site, partner: Partner, owner: Person
) -> None:
    shop = make_advertiser(partner)
    pixel_of(shop, "First", **in_days(5))
    site.sign_in(owner).get(f"/partners/{partner.pk}/credentials/")
    few = site.queries
    for number in range(120):
        pixel_of(shop, f"Pixel {number}", **in_days(20))

    page = site.get(f"/partners/{partner.pk}/credentials/")

    assert site.queries == few
    assert len(page.context["page"].rows) == 100
    assert page.context["page"].older == 100
    assert len(site.get(f"/partners/{partner.pk}/credentials/?from=100").context["page"].rows) == 21


# The pixel's own page.


@pytest.fixture
def logged(transactional_db: None) -> Iterator[Pixel]:
    """A connected pixel with events that wait, committed."""
    connected = make_connected_pixel()
    now = int(timezone.now().timestamp())
    append_events(connected.pixel, [make_event(event_time=now - 5 * DAY), make_event(event_time=now)])
    yield connected.pixel
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


def admin_of(pixel: Pixel) -> Person:
    person = make_person(name="Ada Admin")
    join_advertiser(person, pixel.advertiser, AdvertiserRole.ADMIN)
    join_partner(person, pixel.advertiser.partner, PartnerRole.OWNER)
    return person


def test_a_pixel_tells_its_tokens_story(site: Site) -> None:
    person = make_person(name="Ada Admin")
    pixel = make_pixel()
    join_advertiser(person, pixel.advertiser, AdvertiserRole.ADMIN)
    make_credential(pixel, token=CANARY)
    CredentialEvent.objects.update(person=person)
    refuse(pixel)
    credential = Credential.objects.exclude(state="retired").get(pixel=pixel)
    CredentialEvent.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        credential=credential,
        kind="reminded",
        detail={"about": "died", "days": 0, "recipients": 2},
    )

    page = site.sign_in(person).get(f"/pixels/{pixel.pk}/")
    story = page.context["story"]
    words = text_of(page)

    assert [line.title for line in story.lines] == ["People were told", "Refused by Meta", "Connected"]
    assert "(190/460)" in words
    assert "2 people: Meta refuses it." in words
    assert "By Ada Admin. By pasted system-user token, token …0123." in words
    assert CANARY not in page.content.decode()


def test_a_held_pixel_counts_down_to_its_first_loss_wherever_it_is_shown(site: Site, logged: Pixel) -> None:
    refuse(logged)
    site.sign_in(admin_of(logged))
    sentence = "2 events wait: the first would be lost in 1 day 22 hours"

    assert sentence in text_of(site.get(f"/pixels/{logged.pk}/"))
    assert sentence in text_of(site.get(f"/advertisers/{logged.advertiser_id}/"))
    fleet = text_of(site.get(f"/partners/{logged.advertiser.partner_id}/"))
    assert "first loss in 1 day 22 hours" in fleet


def test_a_held_pixel_without_events_has_time(site: Site) -> None:
    pixel = make_connected_pixel().pixel
    refuse(pixel)

    words = text_of(site.sign_in(admin_of(pixel)).get(f"/pixels/{pixel.pk}/"))

    assert "none waits yet" in words


def test_a_pixel_that_is_not_held_counts_nothing_down(site: Site, logged: Pixel) -> None:
    words = text_of(site.sign_in(admin_of(logged)).get(f"/pixels/{logged.pk}/"))

    assert "would be lost" not in words


# The operator's page.


def test_an_operator_sees_the_bad_hours(site: Site) -> None:
    operator = make_person()
    Person.objects.filter(pk=operator.pk).update(is_superuser=True, is_staff=True)
    operator.refresh_from_db()
    now = timezone.now()
    site.sign_in(operator)
    assert "None in the last 30 days" in text_of(site.get("/operator/graph/"))

    GraphOutage.objects.create(
        began_at=now - timedelta(hours=2),
        ended_at=now - timedelta(hours=1),
        refused=812,
        good=3,
        advertisers=99,
        outcome="passed",
    )
    GraphOutage.objects.create(began_at=now, refused=20, good=0, advertisers=20)
    make_credential(make_pixel())
    Credential.objects.update(refused_at=now)

    words = text_of(site.get("/operator/graph/"))

    assert "Going on" in words
    assert "812" in words
    assert "1 token refused and not believed to be" in words
