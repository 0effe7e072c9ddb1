"""Connecting a pixel that is shared with the partner, by hand or by a log-in; and noticing that it is no more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from onboarding.models import OnboardingSession, Option
from onboarding.options import ADAPTERS
from onboarding.services import sessions
from onboarding.services.openings import opening_of_credential
from tenants.models import PartnerCredential, Person
from tenants.roles import PartnerRole
from tests.onboarding.connecting import (
    ASSIGNER_TOKEN,
    BEN,
    BUSINESS,
    CARLA,
    OTHER_PIXEL,
    PIXEL,
    SECOND_PIXEL,
    SENDER,
    Shop,
    unreferenced_secrets,
)
from tests.support.factories import join_partner, make_person

pytestmark = pytest.mark.django_db

SHARED = Option.SHARED_PIXEL


def begun(shop: Shop, meta_id: str = PIXEL) -> Shop:
    """A session that looks for the pixel."""
    return shop.begin(SHARED, meta_id=meta_id, pixel_name="Web shop").work()


def connected(shop: Shop, meta_id: str = PIXEL) -> Shop:
    """A shared pixel that is connected."""
    begun(shop, meta_id)
    shop.meta.share_pixel(meta_id, BUSINESS)
    shop.later().work()
    assert shop.stands() == ("connected", "")
    return shop


def assigned(shop: Shop, meta_id: str = PIXEL) -> dict[str, list[str]]:
    """Who has the pixel at Meta, with which tasks."""
    found: dict[str, list[str]] = shop.meta.world()["pixels"][meta_id]["users"]
    return found


def test_the_pixel_is_found_once_it_is_shared_and_given_to_the_system_user_that_sends(shop: Shop) -> None:
    begun(shop)
    assert shop.stands() == ("sharing", "not_shared_yet")
    shop.meta.share_pixel(PIXEL, BUSINESS)
    shop.later().work()

    assert shop.stands() == ("connected", "")
    credential = shop.credential()
    assert (credential.option, credential.state, credential.secret_id) == (SHARED, "working", None)
    assert credential.partner_credential == PartnerCredential.objects.get(kind="sending_token")
    assert (credential.client_business_id, credential.system_user_id) == ("8001", SENDER)
    assert assigned(shop) == {SENDER: ["UPLOAD", "ANALYZE"]}
    assert unreferenced_secrets() == []


def test_one_sending_token_serves_all_shared_pixels(shop: Shop, other_shop: Shop) -> None:
    connected(shop)
    connected(other_shop, OTHER_PIXEL)

    sending = PartnerCredential.objects.get(kind="sending_token")
    assert shop.credential().partner_credential == sending
    assert other_shop.credential(OTHER_PIXEL).partner_credential == sending
    assert len(shop.meta.tokens(user_id=SENDER)) == 1


def test_where_only_expiring_tokens_are_made_its_end_is_kept(shop: Shop) -> None:
    shop.meta.set_business(BUSINESS, only_60_day_tokens=True)
    connected(shop)

    sending = PartnerCredential.objects.get(kind="sending_token")
    assert sending.expires_at is not None
    assert (sending.expiry, (sending.expires_at - timezone.now()).days) == ("dated", 59)
    assert shop.credential().expires_at == sending.expires_at


def test_it_is_found_behind_many_pages_one_of_them_empty(shop: Shop) -> None:
    shop.meta.set_settings(page_size=3)
    for number in range(10):
        shop.meta.set_pixel(f"60{number}", name=f"{number}", owner_business="8002")
        shop.meta.share_pixel(f"60{number}", BUSINESS)
    begun(shop)
    shop.meta.share_pixel(PIXEL, BUSINESS)
    shop.meta.add_knob("empty_page", endpoint="client_pixels", count=1)

    shop.later().work()

    assert shop.stands() == ("connected", "")


def test_without_business_where_meta_refuses_it(shop: Shop) -> None:
    shop.meta.set_settings(assigned_users_refuses_business=True)

    connected(shop)


def test_it_is_looked_for_ever_more_seldom(shop: Shop) -> None:
    begun(shop)
    waits = []
    for age in (timedelta(0), timedelta(minutes=5), timedelta(hours=1), timedelta(days=2)):
        OnboardingSession.objects.update(changed_at=timezone.now() - age)
        shop.later().work()
        due_at = shop.session.due_at
        assert due_at is not None
        waits.append(round((due_at - timezone.now()).total_seconds(), -1))

    assert waits == [0, 30, 360, 900]


def test_a_sharing_that_waits_for_the_partners_yes_is_said(shop: Shop) -> None:
    begun(shop)
    shop.meta.share_pixel(PIXEL, BUSINESS, pending=True)
    shop.later().work()
    assert shop.stands() == ("sharing", "sharing_pending")

    shop.meta.accept_sharing(PIXEL, BUSINESS)
    shop.later().work()

    assert shop.stands() == ("connected", "")


def test_a_sharing_without_the_right_to_upload_is_said_until_it_has_it(shop: Shop) -> None:
    begun(shop)
    shop.meta.share_pixel(PIXEL, BUSINESS, tasks=["ANALYZE"])
    shop.later().work()
    assert shop.stands() == ("sharing", "missing_tasks")

    shop.meta.share_pixel(PIXEL, BUSINESS)
    shop.later().work()

    assert shop.stands() == ("connected", "")


def test_what_the_partners_side_lacks_is_waited_for(shop: Shop) -> None:
    shop.meta.revoke_token(ASSIGNER_TOKEN)
    begun(shop)
    assert shop.stands() == ("sharing", "sending_user_not_ready")

    shop.meta.set_token_state(ASSIGNER_TOKEN, "live")
    shop.later().work()
    assert shop.stands() == ("sharing", "not_shared_yet")
    shop.meta.share_pixel(PIXEL, BUSINESS)
    shop.later().work()

    assert shop.stands() == ("connected", "")


def test_a_pixel_that_is_sent_to_for_another_advertiser_is_not_for_this_one(
    shop: Shop, other_shop: Shop
) -> None:
    connected(shop)

    begun(other_shop)

    assert other_shop.stands() == ("stuck", "pixel_elsewhere")
    assert not other_shop.advertiser.pixels.exists()
    assert assigned(shop) == {SENDER: ["UPLOAD", "ANALYZE"]}


def test_a_withdrawn_sharing_is_noticed(shop: Shop) -> None:
    credential = connected(shop).credential()
    opening = opening_of_credential(credential, shop.partner)
    before = ADAPTERS[SHARED].look(opening, shop.graph)

    shop.meta.withdraw_sharing(PIXEL, BUSINESS)
    after = ADAPTERS[SHARED].look(opening, shop.graph)

    assert (before.is_valid, before.error) == (True, None)
    assert after.is_valid
    assert after.error is not None
    assert after.error.failure_class == "permission"


def test_disconnecting_takes_the_pixel_from_the_system_user_and_leaves_the_token(shop: Shop) -> None:
    credential = connected(shop).credential()

    shop.disconnect(credential.pixel)
    shop.work()

    assert assigned(shop) == {}
    assert [token["state"] for token in shop.meta.tokens(user_id=SENDER)] == ["live"]
    assert credential.events.filter(kind="revoked").count() == 1


def test_abandoning_it_before_the_proof_takes_the_pixel_back(shop: Shop) -> None:
    begun(shop)
    shop.meta.share_pixel(PIXEL, BUSINESS)
    shop.meta.add_knob("error", endpoint="events", code=100, subcode=33, count=1)
    shop.later().work()
    assert shop.session.state == "stuck"
    assert assigned(shop) == {SENDER: ["UPLOAD", "ANALYZE"]}

    shop.act(sessions.abandon_session)
    shop.work()

    assert assigned(shop) == {}


def test_what_was_shared_anew_is_assigned_anew(shop: Shop) -> None:
    begun(shop)
    shop.meta.share_pixel(PIXEL, BUSINESS)
    shop.meta.add_knob("error", endpoint="events", code=100, subcode=33, count=1)
    shop.later().work()
    shop.meta.withdraw_sharing(PIXEL, BUSINESS)
    shop.meta.set_pixel(PIXEL, users={})
    shop.meta.share_pixel(PIXEL, BUSINESS)

    shop.act(sessions.choose_option, option=SHARED)
    shop.later().work()

    assert shop.stands() == ("connected", "")
    assert assigned(shop) == {SENDER: ["UPLOAD", "ANALYZE"]}


def vouched(shop: Shop) -> Person:
    """A manager of the partner's."""
    person = make_person()
    join_partner(person, shop.partner, PartnerRole.MANAGER)
    return person


def test_a_pixel_that_was_shared_before_is_connected_on_the_partners_word(shop: Shop) -> None:
    shop.meta.share_pixel(PIXEL, BUSINESS)
    begun(shop)
    assert shop.stands() == ("sharing", "sharing_unconfirmed")
    shop.later().work()
    assert shop.stands() == ("sharing", "sharing_unconfirmed")

    manager = vouched(shop)
    shop.act(sessions.confirm_sharing, by=manager, person=manager)
    shop.work()

    assert shop.stands() == ("connected", "")


def test_the_partners_word_is_for_one_pixel(shop: Shop) -> None:
    shop.meta.share_pixel(PIXEL, BUSINESS)
    begun(shop, SECOND_PIXEL)
    manager = vouched(shop)
    shop.act(sessions.confirm_sharing, by=manager, person=manager)

    shop.act(sessions.leave_option)
    shop.act(sessions.choose_option, option=SHARED, meta_id=PIXEL, pixel_name="Another")
    shop.work()

    assert shop.stands() == ("sharing", "sharing_unconfirmed")


def test_of_two_advertisers_that_wait_for_one_pixel_neither_gets_it_unasked(
    shop: Shop, other_shop: Shop
) -> None:
    begun(other_shop)
    begun(shop)
    shop.meta.share_pixel(PIXEL, BUSINESS)

    other_shop.later().work()
    shop.later().work()

    assert other_shop.stands() == ("sharing", "sharing_unconfirmed")
    assert shop.stands() == ("sharing", "sharing_unconfirmed")


# By a log-in.


def test_who_logs_in_shares_it_by_api(shop: Shop) -> None:
    begun(shop).log_in().work()

    assert shop.stands() == ("connected", "")
    assert shop.meta.world()["pixels"][PIXEL]["agencies"][BUSINESS]["permitted_tasks"] == [
        "UPLOAD",
        "ANALYZE",
    ]
    assert shop.live_tokens(type="USER") == []
    assert unreferenced_secrets() == []


def test_of_several_businesses_pixels_one_is_picked(shop: Shop) -> None:
    shop.meta.set_pixel("504", name="Second shop's", owner_business="8003")
    shop.begin(SHARED, meta_id="504")
    session = shop.session
    session.facts.pop("meta_id")
    session.save(update_fields=["facts"])
    shop.log_in(person=CARLA).work()
    assert shop.stands() == ("picking", "")
    assert [(one["id"], one["owner"]) for one in shop.session.facts["pixels"]] == [
        (OTHER_PIXEL, "Other shop"),
        ("504", "Second shop"),
    ]

    shop.act(sessions.pick, meta_id="504")
    shop.work()

    assert shop.stands() == ("connected", "")


def test_who_is_no_admin_cannot_share_it(shop: Shop) -> None:
    begun(shop).log_in(person=BEN).work()

    assert shop.stands() == ("stuck", "not_an_admin")


def test_another_business_than_the_pixels_is_said(shop: Shop) -> None:
    begun(shop, SECOND_PIXEL).log_in(person=CARLA).work()

    assert shop.stands() == ("stuck", "wrong_business")


def test_a_declined_permission_is_said(shop: Shop) -> None:
    begun(shop).log_in(decline=["business_management"]).work()

    assert shop.stands() == ("stuck", "declined_permission")


def test_a_sharing_by_api_that_the_partner_holds_is_waited_for(shop: Shop) -> None:
    shop.meta.set_business(BUSINESS, holds_sharing=True)
    begun(shop).log_in().work()
    assert shop.stands() == ("sharing", "sharing_pending")
    assert shop.live_tokens(type="USER") == []

    shop.meta.accept_sharing(PIXEL, BUSINESS)
    shop.later().work()

    assert shop.stands() == ("connected", "")
