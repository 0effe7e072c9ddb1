"""Refusals: Graph's envelope, whatever the reason."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from events import refusals
from events.refusals import Refusal

# Each ready-made refusal: status, code, subcode, transient.
READY_MADE: dict[str, tuple[tuple[str, ...], int, int, int | None, bool]] = {
    "invalid_token": ((), 401, 190, None, False),
    "unknown_pixel": (("1000000000001",), 400, 100, 33, False),
    "unknown_path": ((), 404, 2500, None, False),
    "unknown_version": ((), 400, 2635, None, False),
    "wrong_method": ((), 405, 100, None, False),
    "body_too_large": ((), 413, 100, None, False),
    "body_too_slow": ((), 408, 100, None, True),
    "unsupported_encoding": (("br",), 415, 100, None, False),
    "broken_encoding": (("gzip",), 400, 100, None, False),
    "unsupported_media": (("text/html",), 415, 100, None, False),
    "unavailable": ((), 503, 2, None, True),
    "unstorable": ((), 400, 1, None, False),
}


def error_of(refusal: Refusal) -> dict[str, Any]:
    body = json.loads(refusal.envelope("Atrace"))
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    return error


def makers() -> dict[str, Callable[..., Refusal]]:
    return {
        name: function
        for name, function in inspect.getmembers(refusals, inspect.isfunction)
        if function.__module__ == refusals.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("name", makers())
def test_every_ready_made_refusal_has_graphs_shape(name: str) -> None:
    arguments, status, code, subcode, is_transient = READY_MADE[name]

    refusal = makers()[name](*arguments)

    error = error_of(refusal)
    assert refusal.status == status
    assert (error["code"], error.get("error_subcode"), error["is_transient"]) == (code, subcode, is_transient)
    assert error["message"] == f"(#{code}) {refusal.message}"
    assert error["type"] == (refusals.GRAPH_METHOD if subcode == 33 else refusals.OAUTH)
    assert error["error_user_msg"] == refusal.message
    assert error["error_user_title"]
    assert error["fbtrace_id"] == "Atrace"


def test_the_field_and_the_events_place_are_named_for_people_and_for_programs() -> None:
    refusal = Refusal("It is wrong.", field="custom_data.contents[2].id", index=7, subcode=2804019)

    error = error_of(refusal)
    assert error["message"] == "(#100) data[7].custom_data.contents[2].id: It is wrong."
    assert error["error_subcode"] == 2804019
    assert error["error_data"] == {"blame_field_specs": [["data", 7, "custom_data", "contents", 2, "id"]]}


@pytest.mark.parametrize(
    ("field", "index", "message", "blamed"),
    [
        (None, None, "Wrong.", None),
        (None, 0, "data[0]: Wrong.", None),
        ("data", None, "data: Wrong.", ["data"]),
        ("data[3].em", None, "data[3].em: Wrong.", ["data", 3, "em"]),
        ("a[b", 1, "data[1].a[b: Wrong.", ["data", 1, "a", "b"]),
    ],
)
def test_a_refusal_without_a_field_blames_none(
    field: str | None, index: int | None, message: str, blamed: list[Any] | None
) -> None:
    refusal = Refusal("Wrong.", field=field, index=index)

    assert refusal.message == str(refusal) == message
    assert error_of(refusal).get("error_data") == (blamed and {"blame_field_specs": [blamed]})


def test_a_long_encoding_of_a_client_is_cut() -> None:
    assert len(refusals.unsupported_encoding("x" * 10_000).message) < 150


def test_a_stranger_cannot_tell_a_missing_pixel_from_a_foreign_one() -> None:
    assert (
        "does not exist, cannot be loaded due to missing permissions" in refusals.unknown_pixel("1").message
    )
