"""Connecting with a pasted token, by the person or by a colleague with a link."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from onboarding.access import find_token_link
from onboarding.models import OnboardingSession, Option, SealedToken, TokenLink
from onboarding.services import sessions
from onboarding.services.sessions import SessionRefused
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.vault import Secret
from tenants.tokens import hash_token
from tests.onboarding.connecting import APP, PIXEL, SECOND_PIXEL, Shop, unreferenced_secrets

pytestmark = pytest.mark.django_db

PASTED = Option.PASTED_TOKEN


def begun(shop: Shop) -> Shop:
    """A session that waits for a token."""
    return shop.begin(PASTED, meta_id=PIXEL, pixel_name="Web shop", default_action_source="app")


def paste(shop: Shop, token: str, said_expiry: str = "unknown") -> Shop:
    """Paste the token, and let it be tested."""
    shop.act(sessions.submit_token, token=Secret(token), said_expiry=said_expiry)
    return shop.work()


def forwarded(shop: Shop) -> str:
    """The token of a link to the session."""
    _, token = shop.act(sessions.forward_link, person=shop.person)
    return str(token)


def use(shop: Shop, link: str, token: str) -> TokenLink:
    """A colleague without an account uses the link."""
    with shop.as_role("app"):
        return sessions.use_link(link_token=link, token=Secret(token), said_expiry="60_days")


def seen_by_link(shop: Shop, link: str) -> TokenLink | None:
    """What the link's page reads."""
    with shop.as_role("app"), tenant_scope(link_hash=hash_token(link)):
        return find_token_link(hash_token(link))


@pytest.mark.parametrize(
    ("said", "expiry", "days"),
    [("unknown", "unknown", None), ("never", "never", None), ("60_days", "dated", 60)],
)
def test_it_is_connected_with_the_end_that_was_said(
    shop: Shop, said: str, expiry: str, days: int | None
) -> None:
    paste(begun(shop), shop.meta.generate_token(PIXEL), said)

    assert shop.stands() == ("connected", "")
    credential = shop.credential()
    assert (credential.option, credential.state, credential.expiry) == (PASTED, "working", expiry)
    assert (credential.pixel.name, credential.pixel.default_action_source) == ("Web shop", "app")
    left = credential.expires_at - timezone.now() if credential.expires_at else None
    assert (round(left / timedelta(days=1)) if left else None) == days
    assert unreferenced_secrets() == []


def test_a_date_that_was_said_is_kept_as_it_is(shop: Shop) -> None:
    paste(begun(shop), shop.meta.generate_token(PIXEL), "2027-03-01")

    assert shop.credential().expires_at == datetime(2027, 3, 1, tzinfo=UTC)


def test_a_token_that_cannot_be_read_is_incomplete(shop: Shop) -> None:
    paste(begun(shop), "EAAcutOffInTheMiddle")

    assert shop.stands() == ("stuck", "token_incomplete")


def test_the_token_of_another_pixel_is_told_apart(shop: Shop) -> None:
    paste(begun(shop), shop.meta.generate_token(SECOND_PIXEL))

    assert shop.stands() == ("stuck", "token_of_another_pixel")


@pytest.mark.parametrize("app", ["555", APP])
def test_a_persons_token_is_told_apart(shop: Shop, app: str) -> None:
    shop.meta.set_app(APP, require_proof=False)
    shop.meta.put_token(
        "EAApersonstoken0123456789", app_id=app, type="USER", scopes=["ads_management"], pixels=[PIXEL]
    )

    paste(begun(shop), "EAApersonstoken0123456789")

    assert shop.stands() == ("stuck", "user_token")


def test_an_expired_token_is_said_by_metas_numbers(shop: Shop) -> None:
    token = shop.meta.generate_token(PIXEL)
    shop.meta.expire_token(token)

    paste(begun(shop), token)

    session = shop.session
    assert (session.state, session.problem, session.code, session.subcode) == ("stuck", "", 190, 463)


def test_the_next_token_takes_the_place_of_the_refused_one(shop: Shop) -> None:
    paste(begun(shop), "EAAcutOffInTheMiddle")

    paste(shop, shop.meta.generate_token(PIXEL))

    assert shop.stands() == ("connected", "")
    assert SealedToken.objects.count() == 1


def test_a_colleague_pastes_and_sees_that_it_was_accepted(shop: Shop) -> None:
    link = forwarded(begun(shop))
    assert shop.stands() == ("with_colleague", "")
    assert TokenLink.objects.get().token_hash == hash_token(link)

    use(shop, link, shop.meta.generate_token(PIXEL))
    seen = seen_by_link(shop, link)
    assert seen is not None
    assert (seen.state, seen.pixel_meta_id, seen.asked_by) == ("pasted", PIXEL, "Ada Example")
    shop.later().work()

    assert shop.stands() == ("connected", "")
    accepted = seen_by_link(shop, link)
    assert accepted is not None
    assert (accepted.state, accepted.secret_id) == ("accepted", None)
    assert shop.credential().expiry == "dated"
    assert unreferenced_secrets() == []


def test_a_colleagues_wrong_token_is_said_to_both(shop: Shop) -> None:
    link = forwarded(begun(shop))
    use(shop, link, shop.meta.generate_token(SECOND_PIXEL))
    shop.later().work()

    assert shop.stands() == ("stuck", "token_of_another_pixel")
    seen = seen_by_link(shop, link)
    assert seen is not None
    assert (seen.state, seen.problem) == ("refused", "token_of_another_pixel")
    # And another link leads on.
    use(shop, forwarded(shop), shop.meta.generate_token(PIXEL))
    shop.later().work()
    assert shop.stands() == ("connected", "")


def test_a_link_is_good_once(shop: Shop) -> None:
    link = forwarded(begun(shop))
    use(shop, link, shop.meta.generate_token(PIXEL))

    with pytest.raises(SessionRefused, match="link_used"):
        use(shop, link, shop.meta.generate_token(PIXEL))

    assert SealedToken.objects.count() == 1


def test_a_link_ends_after_seven_days_and_the_session_says_so(shop: Shop) -> None:
    link = forwarded(begun(shop))
    TokenLink.objects.update(expires_at=timezone.now())

    with pytest.raises(SessionRefused, match="link_expired"):
        use(shop, link, shop.meta.generate_token(PIXEL))
    shop.later().work()

    assert shop.stands() == ("stuck", "link_expired")
    assert SealedToken.objects.count() == 0


def test_a_withdrawn_link_opens_nothing(shop: Shop) -> None:
    link = forwarded(begun(shop))
    shop.act(sessions.recall_link)

    with pytest.raises(SessionRefused, match="link_expired"):
        use(shop, link, shop.meta.generate_token(PIXEL))
    assert shop.stands() == ("entering", "")


def test_a_new_link_withdraws_the_one_before(shop: Shop) -> None:
    first = forwarded(begun(shop))
    second = forwarded(shop)

    with pytest.raises(SessionRefused, match="link_expired"):
        use(shop, first, shop.meta.generate_token(PIXEL))
    use(shop, second, shop.meta.generate_token(PIXEL))


def test_who_pastes_after_all_withdraws_the_link(shop: Shop) -> None:
    link = forwarded(begun(shop))

    paste(shop, shop.meta.generate_token(PIXEL))

    assert shop.stands() == ("connected", "")
    with pytest.raises(SessionRefused, match="link_expired"):
        use(shop, link, shop.meta.generate_token(PIXEL))


def test_recalling_a_link_erases_what_was_pasted_and_not_yet_taken_up(shop: Shop) -> None:
    link = forwarded(begun(shop))
    use(shop, link, shop.meta.generate_token(PIXEL))

    shop.act(sessions.recall_link)

    assert SealedToken.objects.count() == 0
    assert shop.later().work().stands() == ("entering", "")


def test_a_made_up_link_is_none(shop: Shop) -> None:
    begun(shop)

    with pytest.raises(SessionRefused, match="link_expired"):
        use(shop, "made-up", "EAAtoken")
    assert seen_by_link(shop, "made-up") is None


def test_who_holds_a_link_reaches_no_other_row(shop: Shop, other_shop: Shop) -> None:
    link = forwarded(begun(shop))
    forwarded(begun(other_shop))

    with shop.as_role("app"), tenant_scope(link_hash=hash_token(link)):
        assert [row.session_id for row in TokenLink.objects.all()] == [shop.session_id]
        assert not OnboardingSession.objects.exists()
        assert not SealedToken.objects.exists()
