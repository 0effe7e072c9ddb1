"""What people do to a session, and what a worker's lease, the sweep and the end of it keep in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import Http404
from django.utils import timezone

from onboarding.journey import State
from onboarding.models import (
    ConnectionTest,
    Credential,
    OnboardingSession,
    Option,
    Pixel,
    Revocation,
    SealedToken,
)
from onboarding.selectors import what_disconnecting_does
from onboarding.services import seal_token, session_work, sessions
from onboarding.services.sessions import SessionRefused
from partnerhub.lib.vault import Secret
from tenants.models import AdvertiserMembership, Partner
from tenants.roles import AdvertiserRole, PartnerRole
from tests.onboarding.connecting import OTHER_PIXEL, PIXEL, SECOND_PIXEL, SHOP, Shop, unreferenced_secrets
from tests.support.factories import hold, join_advertiser, join_partner, make_person, opened

pytestmark = pytest.mark.django_db

FLB, PASTED = Option.LOGIN_FOR_BUSINESS, Option.PASTED_TOKEN


def at_meta(shop: Shop) -> str:
    """A session whose person has answered Meta's dialog; where the browser is sent."""
    url = shop.begin(FLB).open_dialog()
    return shop.meta.approve_dialog(url, person="3001", businesses=[SHOP], pixels=[PIXEL])


def connected(shop: Shop, meta_id: str = PIXEL) -> Pixel:
    """A pixel that is connected with a pasted token."""
    shop.begin(PASTED, meta_id=meta_id, pixel_name="Web shop")
    token = Secret(shop.meta.generate_token(meta_id))
    shop.act(sessions.submit_token, token=token, said_expiry="never")
    assert shop.work().stands() == ("connected", "")
    return shop.credential(meta_id).pixel


def row_of(session_id: int) -> dict[str, Any]:
    """All of a session's columns."""
    return dict(OnboardingSession.objects.filter(pk=session_id).values().get())


# The callback.


def test_a_callback_is_taken_once_and_the_second_shows_the_first_ones_result(shop: Shop) -> None:
    location = at_meta(shop)

    first = shop.come_back(location)
    again = shop.come_back(location)
    shop.work()
    after = shop.come_back(location)

    assert (first.state, again.state, after.state) == ("exchanging", "exchanging", "connected")
    assert first.pk == again.pk == after.pk
    assert len(shop.meta.calls("oauth_access_token")) == 1


@pytest.mark.parametrize("state", ["", "made-up", "0" * 43])
def test_a_forged_state_changes_nothing(shop: Shop, state: str) -> None:
    at_meta(shop)
    before = row_of(shop.session_id)

    with pytest.raises(SessionRefused, match="state_forged"):
        shop.come_back(f"http://localhost/?code=AQcode&state={state}")

    assert row_of(shop.session_id) == before


def test_another_persons_callback_is_refused_also_of_a_colleague_and_in_another_browser(
    shop: Shop, other_shop: Shop
) -> None:
    location = at_meta(shop)
    colleague, analyst = make_person(), make_person()
    join_advertiser(colleague, shop.advertiser, AdvertiserRole.ADMIN)
    join_advertiser(analyst, shop.advertiser, AdvertiserRole.ANALYST)
    before = row_of(shop.session_id)

    for person, browser in (
        (other_shop.person, shop.browser),
        (colleague, shop.browser),
        (analyst, shop.browser),
        (shop.person, "another browser"),
        (shop.person, ""),
    ):
        with pytest.raises(SessionRefused, match="state_forged"):
            shop.come_back(location, person, browser)

    assert row_of(shop.session_id) == before
    assert SealedToken.objects.count() == 0


def test_who_may_connect_no_more_cannot_come_back(shop: Shop) -> None:
    location = at_meta(shop)
    AdvertiserMembership.objects.filter(person=shop.person).update(role=AdvertiserRole.ANALYST)

    with pytest.raises(SessionRefused, match="state_forged"):
        shop.come_back(location)
    assert shop.stands() == ("at_meta", "")


def test_an_old_dialog_is_void_once_another_was_opened(shop: Shop) -> None:
    first = at_meta(shop)
    second = shop.meta.approve_dialog(shop.open_dialog(), person="3001", businesses=[SHOP], pixels=[PIXEL])

    with pytest.raises(SessionRefused, match="state_forged"):
        shop.come_back(first)
    assert shop.come_back(second).state == "exchanging"


def test_a_callback_that_comes_an_hour_later_is_too_late(shop: Shop) -> None:
    location = at_meta(shop)
    OnboardingSession.objects.update(dialog_opened_at=timezone.now() - timedelta(hours=1, seconds=1))

    with pytest.raises(SessionRefused, match="state_expired"):
        shop.come_back(location)
    assert shop.stands() == ("at_meta", "")


@pytest.mark.parametrize("answer", ["", "&error=server_error", "&code=" + "A" * 5_000])
def test_a_callback_without_a_code_is_said(shop: Shop, answer: str) -> None:
    state = parse_qs(urlsplit(shop.begin(FLB).open_dialog()).query)["state"][0]

    shop.come_back(f"http://localhost/?state={state}{answer}")

    assert shop.stands() == ("stuck", "callback_empty")
    assert SealedToken.objects.count() == 0


def test_a_callback_for_a_session_that_was_left_shows_where_it_is(shop: Shop) -> None:
    location = at_meta(shop)
    shop.act(sessions.leave_option)

    assert shop.come_back(location).state == "choosing"
    assert SealedToken.objects.count() == 0


# Options.


def test_an_option_that_the_partner_does_not_offer_is_refused(shop: Shop) -> None:
    Partner.objects.update(offers_login_for_business=False)

    with pytest.raises(SessionRefused):
        shop.begin(FLB)


def test_what_was_found_stays_when_the_option_is_left(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL, SECOND_PIXEL]).work()
    shop.act(sessions.pick, meta_id=SECOND_PIXEL)

    shop.act(sessions.leave_option)
    session = shop.session

    assert (session.state, session.option, session.candidate_id) == ("choosing", "", None)
    assert session.facts["meta_id"] == SECOND_PIXEL
    assert session.facts["pixel_name"] == "Blog"
    shop.act(sessions.choose_option, option=Option.SHARED_PIXEL)
    assert shop.stands() == ("sharing", "")
    shop.work()
    assert shop.live_tokens() == []


def test_sharing_and_pasting_need_the_pixels_number(shop: Shop) -> None:
    for option in (PASTED, Option.SHARED_PIXEL):
        with pytest.raises(SessionRefused, match="no_pixel"):
            shop.begin(option)


def test_the_pixel_under_repair_cannot_be_exchanged_for_another(shop: Shop) -> None:
    pixel = connected(shop)
    shop.begin(pixel=pixel)

    shop.act(sessions.choose_option, option=PASTED, meta_id=OTHER_PIXEL, pixel_name="Another")

    assert shop.session.facts["meta_id"] == PIXEL


# Ends.


def test_an_ended_session_refuses_every_act_and_keeps_no_secret(shop: Shop) -> None:
    location = at_meta(shop)
    shop.come_back(location)
    shop.act(sessions.abandon_session)
    before = row_of(shop.session_id)

    for act, arguments in (
        (sessions.choose_option, {"option": PASTED, "meta_id": PIXEL}),
        (sessions.open_dialog, {"browser": shop.browser, "person": shop.person}),
        (sessions.pick, {"meta_id": PIXEL}),
        (sessions.submit_token, {"token": Secret("EAAtoken"), "said_expiry": "never"}),
        (sessions.forward_link, {"person": shop.person}),
        (sessions.recall_link, {}),
        (sessions.look_now, {}),
        (sessions.leave_option, {}),
        (sessions.abandon_session, {}),
    ):
        with pytest.raises(SessionRefused):
            shop.act(act, **arguments)
    shop.work()

    assert row_of(shop.session_id) == before
    assert SealedToken.objects.count() == 0


def test_another_tenants_session_is_not_found(shop: Shop, other_shop: Shop) -> None:
    shop.begin(PASTED, meta_id=PIXEL)

    with pytest.raises(Http404):
        shop.act(sessions.abandon_session, by=other_shop.person)


def test_somebody_else_at_the_same_advertiser_goes_on_with_it(shop: Shop) -> None:
    shop.begin(PASTED, meta_id=PIXEL)
    owner = make_person()
    join_partner(owner, shop.partner, PartnerRole.OWNER)

    shop.act(
        sessions.submit_token,
        by=owner,
        token=Secret(shop.meta.generate_token(PIXEL)),
        said_expiry="never",
    )

    assert shop.work().stands() == ("connected", "")


# Repair.


def test_the_old_credential_stays_until_the_new_one_is_proven(shop: Shop) -> None:
    pixel = connected(shop)
    old = shop.credential()
    shop.begin(pixel=pixel)
    shop.act(sessions.choose_option, option=PASTED)

    shop.act(sessions.submit_token, token=Secret("EAAnonsense0123456789"), said_expiry="never")
    shop.work()
    assert shop.session.state == "stuck"
    assert shop.credential() == old
    shop.act(sessions.submit_token, token=Secret(shop.meta.generate_token(PIXEL)), said_expiry="never")
    assert shop.credential() == old
    shop.work()

    assert shop.credential() != old
    old.refresh_from_db()
    assert (old.state, old.secret_id) == ("retired", None)
    assert unreferenced_secrets() == []


def test_a_held_pixel_goes_on_when_its_new_token_is_proven(shop: Shop) -> None:
    pixel = connected(shop)
    hold(pixel)
    shop.begin(pixel=pixel)
    shop.act(sessions.choose_option, option=FLB)

    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    pixel.refresh_from_db()
    assert (shop.stands(), pixel.hold) == (("connected", ""), "")
    assert ConnectionTest.objects.filter(pixel=pixel, session=shop.session).exists()


def test_a_pixel_that_the_advertiser_has_is_not_made_twice(shop: Shop) -> None:
    pixel = connected(shop)

    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work()

    assert shop.stands() == ("connected", "")
    assert (shop.session.pixel, shop.credential().pixel) == (pixel, pixel)


def test_one_session_mends_a_pixel_at_a_time(shop: Shop) -> None:
    pixel = connected(shop)

    first = shop.begin(pixel=pixel).session_id

    assert shop.begin(pixel=pixel).session_id == first


def test_disconnecting_says_what_it_does_and_does_it(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    credential = shop.credential()
    repair = shop.begin(pixel=credential.pixel).session_id

    assert len(what_disconnecting_does(credential.pixel)) == 3
    shop.disconnect(credential.pixel)
    shop.work()

    assert not Credential.objects.exclude(state="retired").exists()
    assert OnboardingSession.objects.get(pk=repair).state == "abandoned"
    assert (shop.live_tokens(), SealedToken.objects.count()) == ([], 0)
    assert what_disconnecting_does(credential.pixel)[0].startswith("Sending stops")
    # And it can be connected anew.
    shop.begin(pixel=credential.pixel)
    shop.act(sessions.choose_option, option=FLB)
    shop.log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    assert shop.stands() == ("connected", "")


# Workers.


def test_a_leased_session_is_not_taken_twice_and_a_dead_workers_is_taken_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.begin(PASTED, meta_id=PIXEL)
    token = Secret(shop.meta.generate_token(PIXEL))
    shop.act(sessions.submit_token, token=token, said_expiry="never")

    def die(name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("onboarding.services.session_work.crash_point", die)
        with pytest.raises(KeyboardInterrupt):
            shop.work_once()
    assert not shop.work_once()
    OnboardingSession.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert shop.work().stands() == ("connected", "")


def test_what_was_obtained_for_a_session_that_moved_on_is_revoked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = at_meta(shop)
    shop.come_back(location)

    def leave_meanwhile(name: str) -> None:
        if name == "session_advanced":
            # As another process would: the worker is between its two transactions.
            with monkeypatch.context() as patch:
                patch.setattr("onboarding.services.session_work.crash_point", lambda name: None)
                sessions.leave_option(session=shop.session)

    with monkeypatch.context() as patch:
        patch.setattr("onboarding.services.session_work.crash_point", leave_meanwhile)
        shop.work_once()
    assert shop.stands() == ("choosing", "")
    assert len(shop.live_tokens()) == 1
    shop.work()

    assert shop.live_tokens() == []
    assert SealedToken.objects.count() == 0


def test_a_token_that_is_in_use_again_is_not_revoked(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    credential = shop.credential()
    same = seal_token(advertiser_id=shop.advertiser.pk, token=opened(credential))
    Revocation.objects.create(advertiser=shop.advertiser, option=FLB, secret=same)

    shop.work()

    assert Revocation.objects.latest("pk").state == "done"
    assert shop.live_tokens() == [credential.last_four]


def test_a_secret_that_does_not_open_is_said(shop: Shop) -> None:
    shop.begin(PASTED, meta_id=PIXEL)
    shop.act(sessions.submit_token, token=Secret("EAAtoken0123456789"), said_expiry="never")
    SealedToken.objects.update(sealed=b"nonsense")

    shop.work()

    session = shop.session
    assert (session.state, session.failure_class) == ("stuck", "sealed")


def test_the_sweep_hints_at_what_is_due_and_ends_what_nobody_touched(
    shop: Shop, hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: Any
) -> None:
    waiting = shop.begin(PASTED, meta_id=PIXEL).session_id
    shop.act(sessions.submit_token, token=Secret("EAAtoken0123456789"), said_expiry="never")
    left = shop.begin(PASTED, meta_id=SECOND_PIXEL).session_id
    old = shop.begin(PASTED, meta_id=OTHER_PIXEL).session_id
    OnboardingSession.objects.filter(pk=left).update(changed_at=timezone.now() - timedelta(days=6, hours=23))
    OnboardingSession.objects.filter(pk=old).update(changed_at=timezone.now() - timedelta(days=7, hours=1))

    hints.clear()
    with django_capture_on_commit_callbacks(execute=True), shop.as_role("worker"):
        session_work.sweep_sessions()

    assert hints == [("onboarding.run_session", waiting)]
    states = {pk: OnboardingSession.objects.get(pk=pk).state for pk in (left, old)}
    assert states == {left: State.ENTERING, old: State.ABANDONED}


def test_a_revocation_is_given_up_after_a_week_and_said(shop: Shop) -> None:
    shop.begin(FLB).log_in(businesses=[SHOP], pixels=[PIXEL]).work()
    credential = shop.credential()
    shop.meta.add_knob("html", endpoint="oauth_revoke")
    shop.disconnect(credential.pixel)
    shop.later().work()
    assert not credential.events.filter(kind="revoke_failed").exists()
    Revocation.objects.update(created_at=timezone.now() - timedelta(days=8))

    shop.later().work()

    assert Revocation.objects.get().state == "failed"
    assert credential.events.filter(kind="revoke_failed").count() == 1
    assert SealedToken.objects.count() == 0
