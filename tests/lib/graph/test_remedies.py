"""Failures in words: each names who must act and what to do, for a person who knows nothing of Graph."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.graph import limits
from partnerhub.lib.graph.errors import FailureClass, error_from
from partnerhub.lib.graph.remedies import Explanation, explain

# What a shop's owner cannot be expected to know, in what happened and in the title.
JARGON = re.compile(
    r"system user|OAuth|endpoint|HTTP|envelope|payload|subcode|exception|\bAPI\b|null", re.IGNORECASE
)
NUMBERS = [
    (code, subcode)
    for code in sorted(
        {1, 2, 5000, *limits.REFUSED_CODES, *limits.APP_LIMIT_CODES, *limits.PIXEL_LIMIT_CODES}
        | limits.CREDENTIAL_CODES
        | limits.PERMISSION_CODES
    )
    for subcode in (None, 458, 459, 460, 463, 464, 467, 492, 99)
] + [(100, subcode) for subcode in (None, 33, 34, 1, *range(2_804_000, 2_804_140))]


def words(explanation: Explanation) -> str:
    return " ".join((explanation.title, explanation.what_happened, *explanation.what_to_do))


@pytest.mark.parametrize(
    ("code", "subcode", "actor", "title"),
    [
        (190, None, "advertiser", "Meta does not accept the access token"),
        (190, 458, "advertiser", "The app behind the token was removed"),
        (190, 459, "advertiser", "Meta wants to check your account"),
        (190, 460, "advertiser", "The password behind the token was changed"),
        (190, 463, "advertiser", "The access token has expired"),
        (190, 464, "advertiser", "Meta wants you to confirm your account"),
        (190, 467, "advertiser", "Meta does not accept the access token"),
        (190, 492, "advertiser", "The person behind the token lost their role"),
        (190, 999_999, "advertiser", "Meta does not accept the access token"),
        (102, None, "advertiser", "Meta does not accept the access token"),
        (104, None, "partner", "Our signature is wrong"),
        (100, 33, "advertiser", "The token cannot reach this pixel"),
        (100, 34, "advertiser", "The token cannot reach this pixel"),
        (803, None, "advertiser", "The token cannot reach this pixel"),
        (10, None, "advertiser", "The token may not send events to this pixel"),
        (200, None, "advertiser", "The token may not send events to this pixel"),
        (270, None, "partner", "The partner's app has limited access"),
        (3, None, "partner", "The app behind the token lacks a capability"),
        (368, None, "advertiser", "Meta has limited this account"),
        (2635, None, "partnerhub", "We speak a version that Meta has withdrawn"),
        (4, None, "meta", "Meta asks us to slow down"),
        (17, 2_446_079, "meta", "Meta asks us to slow down"),
        (80_004, 2_446_079, "meta", "Meta asks us to slow down"),
        (1, None, "meta", "Meta had a fault"),
        (2, None, "meta", "Meta had a fault"),
        (1, 99, "partnerhub", "Meta refused the event"),
        (100, limits.TOO_OLD_SUBCODE, "advertiser", "The event is too old for Meta"),
        (100, 2_804_009, "advertiser", "The purchase has no value"),
        (100, 2_804_016, "partnerhub", "Personal data was not hashed"),
        (100, 2_804_050, "advertiser", "The event does not say enough about the person"),
        (100, 2_804_117, "advertiser", "Your WhatsApp account does not belong to this pixel"),
        (100, 2_804_999, "partnerhub", "Meta refused the event"),
        (100, None, "partnerhub", "Meta refused the event"),
    ],
)
def test_an_error_of_graphs_has_its_words(code: int, subcode: int | None, actor: str, title: str) -> None:
    error = error_from({"code": code, "error_subcode": subcode}, status=400, headers={}, usage=None)

    explanation = explain(str(error.failure_class), error.code, error.subcode)

    assert (explanation.who_must_act, explanation.title) == (actor, title)


def test_a_missing_proof_is_the_partners_affair_and_no_events() -> None:
    envelope = {"code": 100, "type": "GraphMethodException", "message": "Invalid appsecret_proof"}

    error = error_from(envelope, status=400, headers={}, usage=None)

    assert explain(str(error.failure_class), error.code, error.subcode).who_must_act == "partner"


@pytest.mark.parametrize("failure_class", [*FailureClass, "uncounted", "sealed", "clash"])
def test_every_class_has_words_of_its_own(failure_class: str) -> None:
    explanation = explain(failure_class)

    assert explanation != explain("never heard of")
    assert explanation.what_to_do


def test_the_words_are_plain_and_whole() -> None:
    for code, subcode in NUMBERS:
        error = error_from({"code": code, "error_subcode": subcode}, status=400, headers={}, usage=None)

        explanation = explain(str(error.failure_class), code, subcode)

        assert not JARGON.search(explanation.title + explanation.what_happened), (code, subcode)
        assert "system user" not in words(explanation)
        assert explanation.what_happened.endswith(".")
        assert not explanation.title.endswith(".")
        assert explanation.what_to_do
        assert all(step.endswith(".") for step in explanation.what_to_do)


@given(
    failure_class=st.one_of(st.text(), st.sampled_from(list(FailureClass))),
    code=st.one_of(st.none(), st.integers()),
    subcode=st.one_of(st.none(), st.integers()),
)
def test_anything_stored_has_words(failure_class: str, code: int | None, subcode: int | None) -> None:
    assert explain(failure_class, code, subcode).what_to_do


def test_an_unknown_failure_is_owned_up_to() -> None:
    explanation = explain("never heard of", 424_242, None)

    assert explanation.title == "Meta gave an answer that we do not know"
    assert explanation.who_must_act == "partnerhub"


def test_a_new_token_is_offered_where_it_helps_and_nowhere_else() -> None:
    offered = {numbers for numbers in ((190, 463), (190, 459), (368, None), (100, 33)) if _explained(numbers)}

    assert offered == {(190, 463), (100, 33)}


def _explained(numbers: tuple[int, int | None]) -> bool:
    return explain("credential", *numbers).wants_new_token
