"""What App Review asks for by option, what the app has, and how near its calls are to the Full tier."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.call_counts import count_calls
from events.models import Attempt, Delivery
from onboarding.app_review import CALL_DAYS, NEEDS, Day, rows, tally
from onboarding.models import ConnectionTest, Credential, GraphCallCount, Option, Pixel
from onboarding.services import install_credential, seal_token
from partnerhub.lib.vault import Secret
from tests.support.factories import make_pixel

TODAY = date(2026, 11, 24)


def by_permission(ways: list[str], facts: dict[str, Any]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {row.need.permission: (row.standing.value, row.tokens) for row in rows(ways, facts)}


def test_each_option_has_its_permissions_and_a_pasted_token_none() -> None:
    assert set(by_permission(["shared_pixel"], {})) == {"ads_management", "ads_read", "business_management"}
    assert set(by_permission(["login_for_business"], {})) == {
        "ads_management",
        "ads_read",
        "business_management",
        "public_profile",
    }
    assert set(by_permission(["business_extension"], {})) == {
        "ads_management",
        "ads_read",
        "pages_read_engagement",
        "manage_business_extension",
        "public_profile",
    }
    assert by_permission(["pasted_token"], {}) == {}


def test_every_need_has_a_source_and_a_place_to_ask() -> None:
    assert all(need.why and need.where and need.source and need.ways for need in NEEDS)


def test_what_graph_does_not_tell_is_not_guessed() -> None:
    assert {standing for standing, _ in by_permission(["shared_pixel"], {}).values()} == {"untold"}


def test_a_permission_is_as_meta_lists_it_and_missing_where_it_does_not() -> None:
    facts = {
        "permissions": {"ads_management": "live", "ads_read": "pending", "business_management": "declined"},
        "sending_scopes": ["ads_read"],
        "assigning_scopes": ["ads_read", "business_management"],
    }

    assert by_permission(["login_for_business"], facts) == {
        "ads_management": ("has", ()),
        "ads_read": ("pending", ("assigning", "sending")),
        "business_management": ("declined", ("assigning",)),
        "public_profile": ("missing", ()),
    }


def test_the_tally_is_of_fifteen_days_and_the_share_of_the_newest_500() -> None:
    counts = [
        Day(TODAY - timedelta(days=20), 1_000, 0),
        Day(TODAY - timedelta(days=2), 400, 100),
        Day(TODAY - timedelta(days=1), 300, 60),
        Day(TODAY, 40, 10),
    ]

    found = tally(counts, today=TODAY)

    assert (len(found.days), found.days[0].day, found.days[-1].day) == (
        CALL_DAYS,
        TODAY - timedelta(days=14),
        TODAY,
    )
    assert (found.succeeded, found.recent, found.recent_failed) == (740, 910, 170)
    assert found.error_percent == pytest.approx(18.68, abs=0.01)
    assert (found.has_calls, found.has_few_errors) == (True, False)


def test_without_a_call_there_is_no_share() -> None:
    found = tally([], today=TODAY)

    assert (found.error_percent, found.has_calls, found.has_few_errors) == (None, False, False)


@given(
    st.dictionaries(st.integers(0, 40), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20)
)
def test_the_tally_never_counts_more_than_there_is(days: dict[int, tuple[int, int]]) -> None:
    counts = [Day(TODAY - timedelta(days=back), *made) for back, made in days.items()]

    found = tally(counts, today=TODAY)

    assert found.succeeded <= sum(count.succeeded for count in counts)
    assert 0 <= found.recent_failed <= found.recent <= sum(one.succeeded + one.failed for one in counts)
    assert found.recent >= min(500, sum(one.succeeded + one.failed for one in counts))


# The books that it is counted from.


def connected(option: Option) -> Pixel:
    """A pixel with a credential that has been in use for some days."""
    pixel = make_pixel()
    credential = install_credential(
        pixel=pixel,
        option=option,
        secret=seal_token(advertiser_id=pixel.advertiser_id, token=Secret("EAAtoken" + "x" * 20)),
    )
    long_ago = datetime.now(UTC) - timedelta(days=9)
    Credential.objects.filter(pk=credential.pk).update(created_at=long_ago)
    return pixel


def attempt(pixel: Pixel, outcome: str, started_at: datetime) -> None:
    own = {"advertiser_id": pixel.advertiser_id, "pixel": pixel}
    delivery = Delivery.objects.create(
        **own,
        first_offset=1,
        last_offset=1,
        first_received_at=started_at,
        last_received_at=started_at,
        state="accepted",
    )
    Attempt.objects.create(**own, delivery=delivery, outcome=outcome, started_at=started_at)


def counts() -> list[tuple[int, str, int, int]]:
    rows = GraphCallCount.objects.order_by("partner", "source")
    return list(rows.values_list("partner", "source", "succeeded", "failed"))


@pytest.mark.django_db
def test_deliveries_and_tests_of_the_partners_app_are_counted_and_twice_is_as_once(as_role: Any) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    ours, pasted = connected(Option.LOGIN_FOR_BUSINESS), connected(Option.PASTED_TOKEN)
    for outcome in ("accepted", "accepted", "refused", "doubt", "unsent", "sending"):
        attempt(ours, outcome, noon)
        attempt(pasted, outcome, noon)
    attempt(ours, "accepted", noon - timedelta(days=1))
    for pixel in (ours, pasted):
        rungs = [("opens", "passed"), ("reachable", "untold"), ("counted", "passed")]
        ConnectionTest.objects.create(
            advertiser=pixel.advertiser,
            pixel=pixel,
            meta_id=pixel.meta_id,
            credential=Credential.objects.get(pixel=pixel),
            state="passed",
            rungs=[{"rung": rung, "outcome": outcome} for rung, outcome in rungs],
        )
    ConnectionTest.objects.update(created_at=noon)

    with as_role("worker"):
        for _ in range(2):
            count_calls([noon.date()])

    partner = ours.advertiser.partner_id
    assert counts() == [(partner, "deliveries", 2, 2), (partner, "tests", 1, 1)]


@pytest.mark.django_db
def test_what_went_with_a_retired_token_of_the_app_is_counted_for_its_time() -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    pixel = connected(Option.LOGIN_FOR_BUSINESS)
    old = Credential.objects.get(pixel=pixel)
    install_credential(
        pixel=pixel,
        option=Option.PASTED_TOKEN,
        secret=seal_token(advertiser_id=pixel.advertiser_id, token=Secret("EAAother" + "x" * 20)),
    )
    Credential.objects.filter(pk=old.pk).update(retired_at=noon)
    Credential.objects.exclude(pk=old.pk).update(created_at=noon)
    attempt(pixel, "accepted", noon - timedelta(hours=1))
    attempt(pixel, "accepted", noon + timedelta(hours=1))

    count_calls([noon.date()])

    assert counts() == [(pixel.advertiser.partner_id, "deliveries", 1, 0)]
