"""Failures in words: each names who must act and what to do, for a person who knows nothing of Graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.graph import limits
from partnerhub.lib.graph.dictionary import DICTIONARY
from partnerhub.lib.graph.errors import FailureClass, error_from
from partnerhub.lib.graph.remedies import explain, explain_problem


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
        (2635, None, "operator", "We speak a version that Meta has withdrawn"),
        (4, None, "wait", "Meta asks us to slow down"),
        (17, 2_446_079, "wait", "Meta asks us to slow down"),
        (80_004, 2_446_079, "wait", "Meta asks us to slow down"),
        (1, None, "wait", "Meta had a fault"),
        (2, None, "wait", "Meta had a fault"),
        (1, 99, "operator", "Meta refused the event"),
        (100, limits.TOO_OLD_SUBCODE, "advertiser", "The event is too old for Meta"),
        (100, 2_804_009, "advertiser", "The purchase has no value"),
        (100, 2_804_016, "operator", "Personal data was not hashed"),
        (100, 2_804_050, "advertiser", "The event does not say enough about the person"),
        (100, 2_804_117, "advertiser", "Your WhatsApp account does not belong to this pixel"),
        (100, 2_804_999, "operator", "Meta refused the event"),
        (100, None, "operator", "Meta refused the event"),
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


@pytest.mark.parametrize(
    "failure_class", [*FailureClass, "uncounted", "sealed", "clash", "erased", "given_up"]
)
def test_every_class_has_words_of_its_own(failure_class: str) -> None:
    explanation = explain(failure_class)

    assert explanation != explain("never heard of")
    assert explanation.what_to_do


@given(
    failure_class=st.one_of(st.text(), st.sampled_from(list(FailureClass))),
    code=st.one_of(st.none(), st.integers()),
    subcode=st.one_of(st.none(), st.integers()),
)
def test_anything_stored_has_words(failure_class: str, code: int | None, subcode: int | None) -> None:
    assert explain(failure_class, code, subcode).what_to_do


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [((424_242, None), "424242"), ((424_242, 7), "424242/7"), ((-1, 1_609_005), "-1/1609005")],
)
@pytest.mark.parametrize("language", ["en", "it"])
def test_an_unknown_code_is_owned_up_to_and_disconnects_nothing(
    language: str, numbers: tuple[int, int | None], shown: str
) -> None:
    error = error_from({"code": numbers[0], "error_subcode": numbers[1]}, status=400, headers={}, usage=None)

    explanation = explain(str(error.failure_class), error.code, error.subcode, language=language)

    assert explanation.key == "unknown"
    assert explanation.who_must_act == "operator"
    assert shown in explanation.what_happened
    assert {"en": "Nothing is disconnected by it", "it": "Nulla viene scollegato per questo"}[language] in (
        explanation.what_happened
    )


def test_a_class_that_nobody_knows_is_shown() -> None:
    assert "“never heard of”" in explain("never heard of").what_happened


def test_a_negative_code_is_read_by_its_subcode() -> None:
    assert explain("refused", -1, limits.TOO_BROAD_SUBCODE) == explain(
        "refused", 100, limits.TOO_BROAD_SUBCODE
    )


def test_an_unknown_subcode_falls_back_on_its_code() -> None:
    assert explain("credential", 190, 999_999).key == "credential"
    assert explain("refused", 100, 2_804_998).key == "refused"


def test_a_class_that_does_not_fit_the_numbers_does_not_hide_them() -> None:
    assert explain("in_doubt", 190, 463).key == "token_expired"


def test_words_come_in_the_readers_language() -> None:
    italian = explain("credential", 190, 463, language="it")

    assert italian.language == "it"
    assert italian.title == "Il token d'accesso è scaduto"
    assert italian.heading == "Che cosa puoi fare"
    assert italian.what_to_do[-1] == "Copia tutto il token e incollalo qui come nuovo token."
    assert italian.button_label == "Incolla un nuovo token"


def test_a_language_that_we_do_not_speak_is_english() -> None:
    assert explain("credential", language="de") == explain("credential", language="en")


@pytest.mark.parametrize(
    ("option", "key", "actor", "button"),
    [
        ("", "token_expired", "advertiser", "new_token"),
        ("pasted_token", "token_expired", "advertiser", "new_token"),
        ("business_extension", "log_in_ended", "advertiser", "reconnect"),
        ("login_for_business", "log_in_ended", "advertiser", "reconnect"),
        ("shared_pixel", "sending_token_dead", "partner", "wait"),
    ],
)
def test_a_dead_token_is_mended_by_the_option_that_it_came_by(
    option: str, key: str, actor: str, button: str
) -> None:
    found = explain("credential", 190, 463, option=option)

    assert (found.key, found.who_must_act, found.button) == (key, actor, button)


def test_nobody_without_a_token_of_theirs_is_asked_to_paste_one() -> None:
    for option in ("business_extension", "login_for_business", "shared_pixel"):
        for (code, subcode), keys in DICTIONARY.by_number().items():
            for failure_class in keys:
                assert explain(failure_class, code, subcode, option=option).button != "new_token"
        for failure_class in (*FailureClass, "sealed", "uncounted"):
            assert explain(failure_class, option=option).button != "new_token"


def test_a_problem_of_ours_has_its_words() -> None:
    problem = explain_problem("not_an_admin", language="it")

    assert (problem.key, problem.button, problem.who_must_act) == ("not_an_admin", "send_link", "advertiser")
    assert problem.title == "Non sei amministratore del business"


def test_a_problem_by_number_is_the_same_problem() -> None:
    assert explain_problem("code_used") == explain("refused", 100, limits.CODE_USED_SUBCODE)


def test_an_unknown_problem_is_owned_up_to() -> None:
    problem = explain_problem("gremlins")

    assert problem.key == "unknown"
    assert "gremlins" in problem.what_happened


def test_a_new_token_is_offered_where_it_helps_and_nowhere_else() -> None:
    numbers = ((190, 463), (190, 459), (368, None), (100, 33))

    offered = {pair for pair in numbers if explain("credential", *pair).wants_new_token}

    assert offered == {(190, 463), (100, 33)}
