"""Errors by number: the class of each row of Meta's tables, whatever the text, the language or the status."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.graph.errors import (
    FailureClass,
    GraphError,
    InDoubt,
    RateLimited,
    Usage,
    error_from,
    retry_after,
    usage_from,
)

NONE: dict[str, str] = {}


def error_of(envelope: dict[str, Any], headers: dict[str, str] = NONE) -> GraphError:
    return error_from(envelope, status=400, headers=headers, usage=usage_from(headers))


@pytest.mark.parametrize(
    ("failure_class", "numbers"),
    [
        ("transient", [(1, None), (2, None), (2, 5), (5000, None)]),
        ("rate_limited", [(4, None), (4, 1504022), (4, 1504039), (17, None), (17, 2446079), (32, None)]),
        ("rate_limited", [(341, None), (613, None), (613, 1487742), (613, 5044001)]),
        ("rate_limited", [(code, 2446079) for code in (80000, 80001, 80002, 80003, 80004, 80005, 80006)]),
        ("rate_limited", [(80008, None), (80009, None), (80014, None)]),
        ("credential", [(190, sub) for sub in (None, 458, 459, 460, 463, 464, 467, 492, 1)]),
        ("credential", [(102, None), (104, None), (452, None)]),
        (
            "permission",
            [(3, None), (10, None), (200, None), (270, None), (294, None), (299, None), (368, None)],
        ),
        ("permission", [(100, 33), (100, 34), (100, 2804117), (100, 2804118), (100, 2804132), (803, None)]),
        ("permission", [(12, None), (2635, None)]),
        ("too_old", [(100, 2804003)]),
        (
            "refused",
            [(1, 99), (506, None), (3962, None), (100, None), (100, 1), (100, 36009), (100, 1752129)],
        ),
        ("refused", [(100, sub) for sub in (2804001, 2804004, 2804009, 2804010, 2804016, 2804019, 2804023)]),
        ("refused", [(100, sub) for sub in (2804036, 2804043, 2804050, 2804063, 2804066, 2804069, 2804116)]),
        ("refused", [(100, sub) for sub in (2804079, 2804087, 2804007, 2804008, 2804017, 2804048, 2804998)]),
        ("refused", [(-1, 2804050), (-3, 2804998)]),
        ("too_old", [(-1, 2804003)]),
        ("transient", [(-1, None), (-3, 1609005)]),
    ],
)
def test_the_numbers_choose_the_class(failure_class: str, numbers: list[tuple[int, int | None]]) -> None:
    for code, subcode in numbers:
        error = error_of({"code": code, "error_subcode": subcode, "type": "OAuthException"})

        assert (code, subcode, str(error.failure_class)) == (code, subcode, failure_class)
        assert (error.code, error.subcode) == (code, subcode)


@given(
    code=st.integers(min_value=-(2**40), max_value=2**40), subcode=st.integers(min_value=0, max_value=2**40)
)
def test_only_known_numbers_disconnect_or_reject(code: int, subcode: int) -> None:
    known = {1, 3, 10, 12, 100, 102, 104, 190, 294, 368, 452, 506, 803, 2635, 3962, *range(200, 300)}

    failure_class = error_of({"code": code, "error_subcode": subcode}).failure_class

    if code not in known and code >= 0:
        assert failure_class in {FailureClass.TRANSIENT, FailureClass.RATE_LIMITED}


@pytest.mark.parametrize(
    "scope", [("app", 4), ("app", 17), ("app", 32), ("app", 341), ("pixel", 613), ("pixel", 80004)]
)
def test_a_limit_says_whose_it_is(scope: tuple[str, int]) -> None:
    error = error_of({"code": scope[1]})

    assert isinstance(error, RateLimited)
    assert error.scope == scope[0]


@pytest.mark.parametrize(
    "text",
    [
        "Error validating access token",
        "Jeton d’accès non valide",
        "Token de acesso inválido",
        "(#190) (#100) 2804003",
        "",
    ],
)
def test_no_text_changes_the_class(text: str) -> None:
    envelope = {
        "code": 100,
        "error_subcode": 33,
        "message": text,
        "error_user_msg": text,
        "is_transient": True,
    }

    assert error_of(envelope).failure_class is FailureClass.PERMISSION


def test_a_100_about_the_call_is_no_events_fault() -> None:
    about_the_call = error_of({"code": 100, "type": "GraphMethodException"})
    about_the_content = error_of({"code": 100, "type": "OAuthException"})
    with_a_number = error_of({"code": 100, "error_subcode": 2804050, "type": "GraphMethodException"})

    assert about_the_call.failure_class is FailureClass.PERMISSION
    assert about_the_content.failure_class is FailureClass.REFUSED
    assert with_a_number.failure_class is FailureClass.REFUSED


def test_numbers_as_text_are_numbers() -> None:
    error = error_of({"code": "190", "error_subcode": "460"})

    assert (error.failure_class, error.code, error.subcode) == (FailureClass.CREDENTIAL, 190, 460)


@pytest.mark.parametrize("code", [None, True, 1.5, "x", "", [], {}, 2**63, "9" * 30, "¹"])
def test_an_error_without_a_number_is_in_doubt(code: object) -> None:
    assert isinstance(error_of({"code": code}), InDoubt)


@pytest.mark.parametrize(
    "error_data",
    [
        {"blame_field_specs": [["custom_data", "currency"], ["data", 0]]},
        '{"blame_field_specs": [["custom_data", "currency"], ["data", 0]]}',
    ],
)
def test_blamed_fields_are_read_from_an_object_or_its_text(error_data: object) -> None:
    assert error_of({"code": 100, "error_data": error_data}).blame == ("custom_data.currency", "data.0")


@pytest.mark.parametrize(
    "error_data", [None, "text", "[" * 100_000, 1, [], {"blame_field_specs": "x"}, '{"a":1}']
)
def test_other_error_data_blames_nothing(error_data: object) -> None:
    assert error_of({"code": 100, "error_data": error_data}).blame == ()


def test_what_meta_says_to_the_person_and_to_support_is_kept() -> None:
    error = error_of(
        {
            "code": 100,
            "error_subcode": 2804050,
            "message": "Invalid parameter",
            "error_user_title": "Titre",
            "error_user_msg": "x" * 5000,
            "fbtrace_id": "A1",
        }
    )

    assert (str(error), error.user_title, error.user_msg) == ("Invalid parameter", "Titre", "x" * 500)
    assert (error.fbtrace_id, error.status) == ("A1", 400)


def test_the_trace_id_is_taken_from_the_header_where_the_body_has_none() -> None:
    assert error_of({"code": 1}, {"x-fb-trace-id": "A2"}).fbtrace_id == "A2"


APP = '{"call_count":28,"total_time":25,"total_cputime":26}'
ACCOUNT = '{"acc_id_util_pct":9.67,"reset_time_duration":120,"ads_api_access_tier":"x"}'
FULL_ACCOUNT = '{"acc_id_util_pct":100,"reset_time_duration":120}'
CASES = (
    '{"8001":[{"type":"ads_management","call_count":95,"total_cputime":20,"total_time":20,'
    '"estimated_time_to_regain_access":19}],"8002":[{"call_count":3,"estimated_time_to_regain_access":0}]}'
)
TIER = '{"8001":[{"call_count":0,"ads_api_access_tier":"standard_access"}]}'


@pytest.mark.parametrize(
    ("headers", "usage"),
    [
        ({}, None),
        ({"X-App-Usage": APP}, Usage(28.0, 0.0)),
        # The time of an account that is not full says nothing; it is in seconds.
        ({"X-Ad-Account-Usage": ACCOUNT}, Usage(9.67, 0.0)),
        ({"X-Ad-Account-Usage": FULL_ACCOUNT}, Usage(100.0, 120.0)),
        # Minutes.
        ({"X-Business-Use-Case-Usage": CASES}, Usage(95.0, 1140.0)),
        # The app's tier is told where nothing is used, too.
        ({"X-Business-Use-Case-Usage": TIER}, Usage(0.0, 0.0, "standard_access")),
        (
            {"X-App-Usage": APP, "X-Ad-Account-Usage": FULL_ACCOUNT, "X-Business-Use-Case-Usage": CASES},
            Usage(100.0, 1140.0),
        ),
    ],
)
def test_usage_is_the_fullest_and_the_longest(headers: dict[str, str], usage: Usage | None) -> None:
    assert usage_from(headers) == usage


@given(
    st.one_of(
        st.text(),
        st.sampled_from(["[1]", "1", "null", '{"a":1}', '{"a":[1,{"call_count":"NaN"}]}', "[" * 9999]),
    )
)
def test_any_usage_header_is_borne(text: str) -> None:
    names = ("X-App-Usage", "X-Ad-Account-Usage", "X-Business-Use-Case-Usage")

    usage = usage_from(dict.fromkeys(names, text))

    assert usage is None or 0 <= usage.regain_seconds < 1e12


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 10:02:00 GMT", "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 120.0),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:00 GMT", "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 10:02:00 GMT"}, None),
        ({"Retry-After": "30", "X-Business-Use-Case-Usage": CASES}, 1140.0),
        ({"Retry-After": "3000", "X-Business-Use-Case-Usage": CASES}, 3000.0),
    ],
)
def test_the_longest_wait_that_is_asked_for_counts(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, usage_from(headers)) == seconds
    assert error_of({"code": 80004}, headers).retry_after_seconds == seconds
