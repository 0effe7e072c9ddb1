"""A webhook is kept without its tokens, and each of its changes means one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.callback_content import STALE_AFTER, News, changes, moment_of, news_of

CANARY = "EAAcanary0123456789"
AT = 1_790_000_000
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def webhook(field: str, value: dict[str, Any], *, kind: str = "application", at: int = AT) -> dict[str, Any]:
    change = {"field": field, "value": value}
    return {"object": kind, "entry": [{"id": "900100", "time": at, "changes": [change]}]}


def install(**value: Any) -> dict[str, Any]:
    return webhook("fbe_install", {"business_id": "ph-1", **value}, kind="user")


def news(body: dict[str, Any]) -> News | None:
    [change] = changes(body)
    return news_of(change.body)


def test_tokens_are_not_kept_and_are_known_to_have_been_there() -> None:
    [change] = changes(
        install(
            access_token=CANARY,
            merchant_access_token=CANARY,
            token_type="bearer",
            pixel_id="501",
            nested={"access_token": CANARY},
        )
    )

    assert change.body["value"] == {"business_id": "ph-1", "pixel_id": "501"}
    assert change.body["had_token"] is True
    assert CANARY not in str(change.body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            webhook("business_integration_uninstall", {"business_manager_id": "8001"}),
            News(moment_of(AT), business_id="8001", is_removal=True),
        ),
        (
            webhook("business_integration_update", {"business_manager_id": 8001}),
            News(moment_of(AT), business_id="8001"),
        ),
        (
            webhook("business_integration_install", {"business_manager_id": "8001", "tp_config_id": "5"}),
            News(moment_of(AT), business_id="8001"),
        ),
        (
            install(access_token=CANARY, pixel_id="501", business_manager_id="8001"),
            News(moment_of(AT), business_id="8001", external_business_id="ph-1"),
        ),
        (install(token_type="bearer"), News(moment_of(AT), external_business_id="ph-1", is_removal=True)),
        (
            webhook("fbe_uninstall", {"business_id": "ph-1"}),
            News(moment_of(AT), external_business_id="ph-1", is_removal=True),
        ),
        (webhook("feed", {"business_id": "ph-1"}), None),
    ],
)
def test_each_change_means_one_thing(body: dict[str, Any], expected: News | None) -> None:
    assert news(body) == expected


def test_a_doubled_change_has_the_same_digest_and_another_time_another() -> None:
    [first], [again], [later] = (
        list(changes(webhook("business_integration_update", {"business_manager_id": "1"}, at=at)))
        for at in (AT, AT, AT + 1)
    )

    assert first.digest == again.digest != later.digest


def test_several_changes_of_one_post_are_several() -> None:
    body = webhook("business_integration_install", {"business_manager_id": "1"})
    body["entry"][0]["changes"] *= 1_001

    assert len(list(changes(body))) == 1_000


@given(json_values)
def test_no_body_breaks_it(body: Any) -> None:
    for change in [*changes(body), *changes({"object": "user", "entry": [{"changes": [body]}]})]:
        news_of(change.body)


@given(st.text(max_size=5), json_values, json_values)
def test_no_change_breaks_it(field: str, value: Any, at: Any) -> None:
    body = {"entry": [{"id": at, "time": at, "changes": [{"field": f"fbe_{field}", "value": value}]}]}

    for change in changes(body):
        news_of(change.body)


def test_what_is_older_than_metas_retries_is_stale() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)

    assert News(now - STALE_AFTER - timedelta(seconds=1)).is_stale(now)
    assert not News(now - STALE_AFTER).is_stale(now)
    assert not News(None).is_stale(now)
