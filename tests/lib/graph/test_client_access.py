"""The client's calls for access: secrets in a query only where Graph wants them there, deletion, lists by pages."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from partnerhub.lib.graph import GraphClient, client, limits
from partnerhub.lib.graph.errors import GraphError, InDoubt
from partnerhub.lib.vault import Secret
from tests.support.raw_server import Handler, RawConnection, RawServer, answering, http_answer

CANARY, APP_SECRET = "EAAcanary0123456789wxyz", "secret-canary-0123456789"
TOKEN = Secret(CANARY)


@contextmanager
def client_of(server: RawServer) -> Iterator[GraphClient]:
    made = GraphClient(base_url=server.base_url, version="v26.0")
    try:
        yield made
    finally:
        made.close()


def page(items: list[object], after: str | None, *, is_last: bool) -> bytes:
    """A page of a list; `next` is a foreign address that nobody may call."""
    paging: dict[str, object] = {"cursors": {"before": "b", "after": after}} if after else {}
    if not is_last:
        paging["next"] = f"http://192.0.2.1/?access_token={CANARY}"
    return http_answer({"data": items, "paging": paging})


def in_turn(*answers: bytes) -> Handler:
    """One answer a request; the last one for ever."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def handle(connection: RawConnection) -> None:
        while connection.read_request():
            connection.send(next(left))

    return handle


def test_a_code_is_exchanged_without_a_token_in_the_header() -> None:
    with RawServer(answering(http_answer({"access_token": "x"}))) as server, client_of(server) as graph:
        graph.get_with_secrets(
            "oauth/access_token",
            params={"client_id": "1", "client_secret": Secret(APP_SECRET), "code": Secret("AQ#c")},
            deadline_seconds=5,
        )

    (request,) = server.requests
    line = f"GET /v26.0/oauth/access_token?client_id=1&client_secret={APP_SECRET}&code=AQ%23c HTTP/1.1\r\n"
    assert request.startswith(line.encode())
    assert b"authorization" not in request.lower()


@pytest.mark.parametrize("path", ["me", "1/events", "oauth", "oauth/access_token/x", ""])
def test_secrets_go_into_no_other_paths_query(path: str) -> None:
    graph = GraphClient(base_url="http://127.0.0.1:9", version="v26.0")

    with pytest.raises(ValueError, match="do not belong"):
        graph.get_with_secrets(path, params={"input_token": TOKEN}, deadline_seconds=1)
    assert path not in limits.SECRET_IN_URL_PATHS


@pytest.mark.parametrize(
    "handler",
    [
        answering(http_answer({"error": {"code": 1, "message": f"no: {APP_SECRET} {CANARY}"}}, "400 x")),
        answering(http_answer({"error": {"code": 190, "message": f"no: {CANARY}"}}, "400 x")),
        answering(b"HTTP/1.1 500 x\r\ncontent-length: 2\r\n\r\n{}"),
    ],
)
def test_no_error_shows_a_secret_of_the_query(handler: Handler) -> None:
    with (
        RawServer(handler) as server,
        client_of(server) as graph,
        pytest.raises(GraphError) as caught,
    ):
        graph.get_with_secrets(
            "debug_token",
            params={"input_token": TOKEN, "access_token": Secret(f"1|{APP_SECRET}"), "x": Secret(APP_SECRET)},
            deadline_seconds=5,
        )

    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert CANARY not in shown
    assert APP_SECRET not in shown


def test_a_deletion_carries_its_parameters_in_the_query_and_the_token_in_a_header() -> None:
    with RawServer(answering(http_answer({"success": True}))) as server, client_of(server) as graph:
        graph.delete("1/assigned_users", token=TOKEN, params={"user": "2"}, deadline_seconds=5)

    (request,) = server.requests
    assert request.startswith(b"DELETE /v26.0/1/assigned_users?user=2 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {CANARY}".encode() in request
    assert b"content-length" not in request.lower()


def test_a_list_is_read_to_its_last_page_also_past_an_empty_one_and_next_is_never_called() -> None:
    pages = in_turn(
        page([{"id": "1"}, {"id": "2"}], "c1", is_last=False),
        page([], "c1", is_last=False),
        page([{"id": "3"}, "no object"], "c2", is_last=True),
    )

    with RawServer(pages) as server, client_of(server) as graph:
        found = list(graph.items("7/client_pixels", token=TOKEN, params={"limit": "2"}, deadline_seconds=5))

    assert found == [{"id": "1"}, {"id": "2"}, {"id": "3"}]
    lines = [request.split(b"\r\n")[0].decode() for request in server.requests]
    assert lines == [
        "GET /v26.0/7/client_pixels?limit=2 HTTP/1.1",
        "GET /v26.0/7/client_pixels?limit=2&after=c1 HTTP/1.1",
        "GET /v26.0/7/client_pixels?limit=2&after=c1 HTTP/1.1",
    ]


def test_a_list_without_end_comes_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGES_READ", 5)

    with RawServer(in_turn(page([{"id": "1"}], "c", is_last=False))) as server, client_of(server) as graph:
        assert len(list(graph.items("7/client_pixels", token=TOKEN, deadline_seconds=5))) == 5
    assert len(server.requests) == 5


def test_a_list_has_one_deadline_over_all_its_pages() -> None:
    with (
        RawServer(in_turn(page([{"id": "1"}], "c", is_last=False))) as server,
        client_of(server) as graph,
        pytest.raises(InDoubt),
    ):
        list(graph.items("7/client_pixels", token=TOKEN, deadline_seconds=0))
    assert server.requests == []


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": [], "paging": []}])
def test_what_is_no_list_holds_nothing(body: dict[str, object]) -> None:
    with RawServer(answering(http_answer(body))) as server, client_of(server) as graph:
        assert list(graph.items("7/client_pixels", token=TOKEN, deadline_seconds=5)) == []


@pytest.mark.parametrize(
    ("base_url", "dialog_url"),
    [
        ("https://graph.facebook.com", "https://www.facebook.com/v26.0/dialog/oauth"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v26.0/dialog/oauth"),
    ],
)
def test_the_dialog_is_at_facebook_or_at_the_stand_in(base_url: str, dialog_url: str) -> None:
    assert GraphClient(base_url=base_url, version="v26.0").dialog_url == dialog_url
