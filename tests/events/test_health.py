"""A pixel's state: the worst that is true, and what to do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.health import BADGES, LATE_AFTER, WORDS, Facts, Health, judge

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GOOD = Facts(
    has_credential=True,
    credential_refused=False,
    last_test_passed=True,
    hold="",
    waiting=0,
    waiting_since=None,
    in_doubt=0,
)
LATE = replace(GOOD, waiting=1200, waiting_since=NOW - LATE_AFTER - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("facts", "state", "sentence"),
    [
        (GOOD, Health.WORKING, "Events are arriving at Meta."),
        (replace(GOOD, waiting=1, waiting_since=NOW), Health.WORKING, "1 event waits to be sent to Meta."),
        (
            replace(GOOD, last_test_passed=None),
            Health.UNTESTED,
            "Test the connection before you send events.",
        ),
        (
            replace(GOOD, has_credential=False),
            Health.NOT_CONNECTED,
            "Paste an access token to connect this pixel.",
        ),
        (LATE, Health.LATE, "1,200 events wait to be delivered longer than usual."),
        (
            replace(LATE, waiting_since=NOW - LATE_AFTER),
            Health.WORKING,
            "1,200 events wait to be sent to Meta.",
        ),
        (
            replace(GOOD, last_test_passed=False),
            Health.FAILING,
            "The last connection test failed. Open it to see what to do.",
        ),
        (
            replace(GOOD, credential_refused=True),
            Health.FAILING,
            "The last connection test failed. Open it to see what to do.",
        ),
        (
            replace(GOOD, hold="credential"),
            Health.HELD,
            "Meta refused the token. Events that come in wait safely. Connect it again to go on.",
        ),
        (
            replace(LATE, hold="permission"),
            Health.HELD,
            "Meta refused access to the pixel. 1,200 events wait safely. Give access again to go on.",
        ),
    ],
)
def test_a_state_has_one_sentence(facts: Facts, state: Health, sentence: str) -> None:
    verdict = judge(facts, now=NOW)

    assert (verdict.state, verdict.sentence) == (state, sentence)


def test_a_hold_outranks_a_failed_test_and_a_late_backlog() -> None:
    facts = replace(LATE, hold="credential", credential_refused=True, last_test_passed=False)

    assert judge(facts, now=NOW).state is Health.HELD


def test_states_are_ordered_from_worst_to_best() -> None:
    ranks = [
        verdict.rank
        for verdict in (judge(facts, now=NOW) for facts in (replace(GOOD, hold="credential"), LATE, GOOD))
    ]

    assert ranks == [0, 2, 5]


def test_every_state_has_a_word_and_a_badge() -> None:
    assert set(WORDS) == set(BADGES) == set(Health)


@given(
    st.builds(
        Facts,
        has_credential=st.booleans(),
        credential_refused=st.booleans(),
        last_test_passed=st.none() | st.booleans(),
        hold=st.sampled_from(["", "credential", "permission"]),
        waiting=st.integers(0, 2**63),
        waiting_since=st.none() | st.datetimes(timezones=st.just(UTC)),
        in_doubt=st.integers(0, 2**63),
    )
)
def test_any_facts_have_a_verdict(facts: Facts) -> None:
    verdict = judge(facts, now=NOW)

    assert verdict.sentence.endswith(".")
    assert verdict.word
    assert (verdict.state is Health.NOT_CONNECTED) is not facts.has_credential
