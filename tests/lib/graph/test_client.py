"""The client against a real socket: what it sends, what it believes, and when it stops."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import os
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from partnerhub.lib.graph import GraphAnswer, GraphClient, limits, transport
from partnerhub.lib.graph.errors import (
    CredentialRefused,
    FailureClass,
    GraphError,
    InDoubt,
    PermissionRefused,
    RateLimited,
    Unsent,
)
from partnerhub.lib.vault import Secret
from tests.support.raw_server import (
    Handler,
    RawConnection,
    RawServer,
    answering,
    answering_once,
    http_answer,
    self_signed,
)

CANARY = "EAAcanary0123456789wxyz"
TOKEN = Secret(CANARY)
FRAGMENTS = [b'{"event_name":"Purchase","custom_data":{"value":1.10}}', b'{"event_name":"Lead"}']
SUCCESS = {"events_received": 2, "messages": [], "fbtrace_id": "AstandIn1"}
ANSWER = http_answer(SUCCESS)


@contextmanager
def client_of(server: RawServer, tls: ssl.SSLContext | None = None) -> Iterator[GraphClient]:
    client = GraphClient(base_url=server.base_url, version="v25.0", tls=tls)
    try:
        yield client
    finally:
        client.close()


def send(
    client: GraphClient, *, deadline_seconds: float = 5.0, fragments: list[bytes] = FRAGMENTS
) -> GraphAnswer:
    return client.send_events(
        "1000000000001",
        token=TOKEN,
        fragments=fragments,
        partner_agent="datapartner",
        deadline_seconds=deadline_seconds,
    )


def outcome(handler: Handler, *, deadline_seconds: float = 5.0) -> GraphAnswer | GraphError:
    """What one request for events comes to."""
    with RawServer(handler) as server, client_of(server) as client:
        try:
            return send(client, deadline_seconds=deadline_seconds)
        except GraphError as error:
            return error


def test_the_request_is_the_stored_fragments_and_the_token_is_in_a_header() -> None:
    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        answer = client.send_events(
            "1000000000001",
            token=TOKEN,
            fragments=FRAGMENTS,
            partner_agent="datapartner",
            test_event_code="TEST123",
            deadline_seconds=5,
        )

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v25.0/1000000000001/events HTTP/1.1"
    assert f"Authorization: Bearer {CANARY}" in lines
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert body == (
        b'{"partner_agent":"datapartner","test_event_code":"TEST123","data":[' + b",".join(FRAGMENTS) + b"]}"
    )
    assert head.count(CANARY.encode()) == 1
    assert (answer.status, answer.events_received, answer.fbtrace_id) == (200, 2, "AstandIn1")
    assert answer.body == SUCCESS


def test_a_proof_goes_with_a_token_of_the_partners_own_app_only() -> None:
    app_secret = Secret("app-secret-0123456789")
    proof = hmac.new(b"app-secret-0123456789", CANARY.encode(), hashlib.sha256).hexdigest()

    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        send(client)
        client.get("me", token=TOKEN, deadline_seconds=5)
        client.send_events(
            "1",
            token=TOKEN,
            fragments=FRAGMENTS,
            partner_agent="x",
            app_secret=app_secret,
            deadline_seconds=5,
        )
        client.post(
            "1/assigned_users", token=TOKEN, body={"user": "2"}, app_secret=app_secret, deadline_seconds=5
        )
        client.get("me", token=TOKEN, params={"fields": "id,name"}, app_secret=app_secret, deadline_seconds=5)

    plain, plain_get, events, post, get = server.requests
    assert b"appsecret_proof" not in plain + plain_get
    assert plain_get.startswith(b"GET /v25.0/me HTTP/1.1\r\n")
    assert orjson.loads(events.partition(b"\r\n\r\n")[2])["appsecret_proof"] == proof
    assert orjson.loads(post.partition(b"\r\n\r\n")[2]) == {"user": "2", "appsecret_proof": proof}
    assert get.startswith(f"GET /v25.0/me?fields=id%2Cname&appsecret_proof={proof} HTTP/1.1\r\n".encode())
    for request in server.requests:
        assert CANARY.encode() not in request.split(b"\r\n")[0]
        assert b"app-secret" not in request


def test_calls_share_a_connection() -> None:
    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        for _ in range(5):
            send(client)

    assert (len(server.requests), server.connections) == (5, 1)


def test_sixteen_threads_get_a_connection_each_and_their_own_answers() -> None:
    def echo(connection: RawConnection) -> None:
        while (request := connection.read_request()) is not None:
            number = orjson.loads(request.partition(b"\r\n\r\n")[2])["data"][0]
            connection.send(http_answer({"events_received": number}))

    wrong: list[object] = []
    with RawServer(echo) as server, client_of(server) as client:

        def work(thread: int) -> None:
            for number in range(thread * 100, thread * 100 + 50):
                answer = send(client, fragments=[str(number).encode()])
                if answer.events_received != number:
                    wrong.append((number, answer.events_received))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert len(server.requests) == 16 * 50
    assert server.connections <= 16


@pytest.mark.parametrize("received", [1, 3, 0, "2", None, False, []])
def test_another_count_is_an_answer_as_it_came(received: object) -> None:
    answer = outcome(answering(http_answer(SUCCESS | {"events_received": received})))

    assert isinstance(answer, GraphAnswer)
    assert answer.events_received == received
    assert type(answer.events_received) is type(received)


def test_an_absent_count_is_an_answer() -> None:
    answer = outcome(answering(http_answer({"fbtrace_id": "A1"})))

    assert isinstance(answer, GraphAnswer)
    assert answer.events_received is None


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(b"<html><h1>502 Bad Gateway</h1></html>", "502 Bad Gateway"),
        http_answer(b"", "500 Internal Server Error"),
        http_answer(SUCCESS, "500 Internal Server Error"),
        http_answer({"message": "no envelope"}, "400 Bad Request"),
        http_answer(b"", "200 OK"),
        http_answer(b"true", "200 OK"),
        http_answer(b"[]", "200 OK"),
        http_answer(b"{}", "200 OK"),
        http_answer({"success": True}, "200 OK"),
        http_answer(b'{"events_received":2,', "200 OK"),
        http_answer(b'{"events_received":NaN}', "200 OK"),
        http_answer(b'{"events_received":2,"x":"\xff"}', "200 OK"),
        http_answer(b"[" * 100_000, "200 OK"),
        http_answer(b"Service Unavailable", "200 OK"),
        http_answer(SUCCESS | {"messages": ["Service Unavailable"]}, "200 OK"),
        http_answer({"error": "text"}, "400 Bad Request"),
        http_answer(SUCCESS | {"error": "text"}, "200 OK"),
        http_answer({"error": {"message": "no code"}}, "400 Bad Request"),
        http_answer({"error": {"code": True}}, "400 Bad Request"),
        http_answer(gzip.compress(orjson.dumps(SUCCESS)), headers={"Content-Encoding": "gzip"}),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        ANSWER.replace(b"Content-Length: ", b"Content-Length: 9000000000000"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFF\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
)
def test_what_is_no_answer_of_graphs_is_in_doubt(answer: bytes) -> None:
    error = outcome(answering_once(answer))

    assert isinstance(error, InDoubt)
    assert error.failure_class is FailureClass.IN_DOUBT


def test_a_page_of_html_is_not_repeated_in_the_error() -> None:
    error = outcome(answering_once(http_answer(b"<script>alert(1)</script>", "502 Bad Gateway")))

    assert isinstance(error, InDoubt)
    assert str(error) == "HTTP 502 came back without an answer of Graph's."
    assert error.status == 502


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "401 Unauthorized", "500 Oops", "503 Busy"])
def test_an_envelope_outranks_the_status(status: str) -> None:
    envelope = {"error": {"message": "Service Unavailable", "code": 190, "error_subcode": 460}}

    error = outcome(answering(http_answer(envelope, status)))

    assert isinstance(error, CredentialRefused)
    assert (error.code, error.subcode, error.status) == (190, 460, int(status[:3]))


def test_the_wait_that_a_header_asks_for_comes_with_the_error() -> None:
    cases = '{"8001":[{"type":"ads_management","call_count":100,"estimated_time_to_regain_access":19}]}'
    headers = {"X-Business-Use-Case-Usage": cases, "Retry-After": "60"}

    limited = outcome(answering(http_answer({"error": {"code": 80004}}, "400 Bad Request", headers)))
    unanswered = outcome(answering(http_answer(b"busy", "503 Busy", {"Retry-After": "7"})))

    assert isinstance(limited, RateLimited)
    assert limited.retry_after_seconds == 19 * 60
    assert isinstance(unanswered, InDoubt)
    assert unanswered.retry_after_seconds == 7


def test_a_refusal_that_came_before_the_body_was_read_counts() -> None:
    refusal = http_answer({"error": {"code": 100, "error_subcode": 33}}, "400 Bad Request")

    def refuse_early(connection: RawConnection) -> None:
        connection.sock.recv(1024)
        connection.send(refusal)
        # Closing with bytes unread resets the connection under the client's hands.
        connection.wait(0.2)

    with RawServer(refuse_early) as server, client_of(server) as client, pytest.raises(PermissionRefused):
        send(client, fragments=[b'"' + b"x" * 8_000_000 + b'"'])


def test_a_redirect_is_never_followed() -> None:
    with RawServer(answering(ANSWER)) as trap:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            moved = http_answer(b"", status, {"Location": f"{trap.base_url}/v25.0/1/events"})

            assert isinstance(outcome(answering_once(moved)), InDoubt)

        assert trap.connections == 0


def drip(data: bytes, pause: float = 0.05) -> Handler:
    def handle(connection: RawConnection) -> None:
        connection.read_request()
        for byte in data:
            connection.send(bytes((byte,)))
            connection.wait(pause)

    return handle


def silence(connection: RawConnection) -> None:
    connection.read_request()
    connection.wait(10)


def deaf(connection: RawConnection) -> None:
    """Accepts, and never reads."""
    connection.wait(10)


def endless(piece: bytes, start: bytes = b"") -> Handler:
    def handle(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(start)
        while not connection.is_stopping:
            connection.send(piece)

    return handle


@pytest.mark.parametrize(
    "handler",
    [
        silence,
        drip(b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 1000),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000, pause=0.02),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1000, pause=0.02),
    ],
    ids=["silent", "dripping headers", "dripping body", "dripping chunks"],
)
def test_one_deadline_ends_the_call_whatever_comes(handler: Handler) -> None:
    started = time.monotonic()

    error = outcome(handler, deadline_seconds=0.5)

    assert isinstance(error, InDoubt)
    assert str(error) == "Graph did not answer within 0.5 s."
    assert 0.45 < time.monotonic() - started < 1.0


def test_a_body_that_is_never_read_ends_at_the_deadline_in_doubt() -> None:
    with RawServer(deaf) as server, client_of(server) as client:
        started = time.monotonic()

        with pytest.raises(InDoubt):
            send(client, fragments=[b'"' + b"x" * 30_000_000 + b'"'], deadline_seconds=0.5)

        assert 0.45 < time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    "handler",
    [
        endless(b"X-More: " + b"x" * 60_000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"),
        endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        endless(b" " * 65536, b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
        endless(
            b"10000\r\n" + b" " * 65536 + b"\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
        endless(b"X: y\r\n" * 1000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
        endless(b" " * 65536, b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["headers", "continues", "1 GiB", "chunks", "trailers", "no length"],
)
def test_what_does_not_end_is_read_to_a_mebibyte(handler: Handler) -> None:
    sent = 0

    def count(connection: RawConnection) -> None:
        nonlocal sent
        inner = connection.send

        def counted(data: bytes) -> None:
            nonlocal sent
            inner(data)
            sent += len(data)

        connection.send = counted  # type: ignore[method-assign]  # to see how much the client took
        handler(connection)

    error = outcome(count, deadline_seconds=10)

    assert isinstance(error, InDoubt)
    # What the client read, and what both kernels hold on the way.
    assert sent < 12 * limits.ANSWER_BYTES


def test_a_gzip_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    peak = _peak_kib()

    error = outcome(answering_once(http_answer(bomb, headers={"Content-Encoding": "gzip"})))

    assert isinstance(error, InDoubt)
    assert _peak_kib() - peak < 20_000


def _peak_kib() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_refused_connection_is_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    client = GraphClient(base_url=f"http://127.0.0.1:{port}", version="v25.0")

    with pytest.raises(Unsent, match="ConnectionRefusedError") as caught:
        send(client)

    assert caught.value.failure_class is FailureClass.UNSENT


def test_an_unknown_host_is_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(Unsent, match="no address"):
        send(GraphClient(base_url="https://graph.invalid", version="v25.0"))


def test_a_look_up_that_hangs_is_unsent_in_time_and_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked: list[object] = []

    def hang(*args: object, **_: object) -> list[object]:
        asked.append(args)
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = GraphClient(base_url="https://graph.invalid", version="v25.0")
    started = time.monotonic()

    for _ in range(3):
        with pytest.raises(Unsent):
            send(client, deadline_seconds=0.2)

    release.set()
    assert time.monotonic() - started < 1.5
    assert len(asked) == 1


def test_an_address_that_does_not_answer_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(ANSWER)) as server:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            dead = gone.getsockname()
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", dead)]
        found += [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with client_of(server) as client:
            assert send(client).events_received == 2


def test_tls_is_verified(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)

    with RawServer(answering(ANSWER), tls=context) as server:
        with client_of(server, tls=trusting) as client:
            assert send(client).events_received == 2
            assert send(client).events_received == 2
        assert server.connections == 1
        with client_of(server) as client, pytest.raises(Unsent, match="SSLCertVerificationError"):
            send(client)

    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("name", "days"), [("127.0.0.9", 1), ("127.0.0.1", -1)], ids=["other host", "expired"]
)
def test_a_certificate_that_does_not_fit_is_unsent(tmp_path: Path, name: str, days: int) -> None:
    context, certificate = self_signed(tmp_path, name=name, days=days)
    trusting = ssl.create_default_context(cafile=certificate)

    with (
        RawServer(answering(ANSWER), tls=context) as server,
        client_of(server, tls=trusting) as client,
        pytest.raises(Unsent, match="SSLCertVerificationError"),
    ):
        send(client)

    assert server.requests == []


def test_a_tls_handshake_that_hangs_is_unsent_in_time() -> None:
    with RawServer(deaf) as server:
        client = GraphClient(base_url=f"https://127.0.0.1:{server.port}", version="v25.0")
        started = time.monotonic()

        with pytest.raises(Unsent):
            send(client, deadline_seconds=0.4)

        assert time.monotonic() - started < 1.0


def test_tls_that_drips_ends_at_the_deadline_and_is_not_read_as_plain(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)

    with (
        RawServer(drip(ANSWER, pause=0.05), tls=context) as server,
        client_of(server, tls=trusting) as client,
    ):
        started = time.monotonic()

        with pytest.raises(InDoubt, match=r"did not answer within 0\.5 s"):
            send(client, deadline_seconds=0.5)

        assert time.monotonic() - started < 1.0


def test_a_pooled_connection_that_was_closed_is_not_used() -> None:
    with RawServer(answering_once(ANSWER)) as server, client_of(server) as client:
        for _ in range(3):
            send(client)
            time.sleep(0.05)

    assert (len(server.requests), server.connections) == (3, 3)


def test_a_closed_connection_found_in_sending_is_tried_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where the close arrives between the look and the first byte.
    monkeypatch.setattr(transport._Connection, "is_usable", lambda _: True)

    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        send(client)
        socket.socket.shutdown(client._transport._idle[0].sock, socket.SHUT_RDWR)

        assert send(client).events_received == 2

    assert (len(server.requests), server.connections) == (2, 2)


def test_a_request_that_left_is_never_sent_again() -> None:
    answered = 0

    def answer_one_then_hang_up(connection: RawConnection) -> None:
        nonlocal answered
        connection.read_request()
        if answered == 0:
            answered += 1
            connection.send(ANSWER)
            connection.read_request()

    with RawServer(answer_one_then_hang_up) as server, client_of(server) as client:
        send(client)
        with pytest.raises(InDoubt):
            send(client)

    assert (len(server.requests), server.connections) == (2, 1)


def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    closing = http_answer(SUCCESS, headers={"Connection": "close"})

    with RawServer(answering(closing)) as server, client_of(server) as client:
        send(client)
        send(client)

    assert server.connections == 2


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        send(client)
        with pytest.raises(Unsent):
            send(client, deadline_seconds=-1)

    assert len(server.requests) == 1


def test_an_old_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        send(client)
        monkeypatch.setattr(transport, "IDLE_SECONDS", 0.0)
        send(client)

    assert server.connections == 2


def test_a_connection_that_is_out_of_step_is_not_used() -> None:
    doubled = answering(ANSWER + http_answer({"events_received": 666}))

    with RawServer(doubled) as server, client_of(server) as client:
        received = []
        for _ in range(3):
            received.append(send(client).events_received)
            time.sleep(0.05)

    assert received == [2, 2, 2]


def test_a_connection_with_an_answer_half_read_is_closed() -> None:
    with RawServer(drip(ANSWER, pause=0.02)) as server, client_of(server) as client:
        with pytest.raises(InDoubt):
            send(client, deadline_seconds=0.3)
        with pytest.raises(InDoubt):
            send(client, deadline_seconds=0.3)

    assert server.connections == 2


def test_a_connection_never_crosses_a_fork() -> None:
    with RawServer(answering(ANSWER)) as server, client_of(server) as client:
        send(client)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if send(client).events_received == 2 else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        send(client)

    assert os.waitstatus_to_exitcode(status) == 0
    # The child's call went over a connection of its own, and the parent's was left whole.
    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("token", ["EAA”pasted", "EAAone\nX-Evil: 1", "EAA two", "EAA\x00", "EAAü"])
def test_a_token_that_no_header_can_carry_is_a_refused_credential_and_not_shown(token: str) -> None:
    client = GraphClient(base_url="http://127.0.0.1:9", version="v25.0")

    with pytest.raises(CredentialRefused) as caught:
        client.get("me", token=Secret(token), deadline_seconds=1)

    assert token not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "path", ["", "/1", "1/", "../me", "1?access_token=x", "1#x", "1 x", "1\r\nX: y", "1%2f2", "ü"]
)
def test_a_path_cannot_become_another_address(path: str) -> None:
    client = GraphClient(base_url="http://127.0.0.1:9", version="v25.0")

    with pytest.raises(ValueError, match="path of Graph's"):
        client.get(path, token=TOKEN, deadline_seconds=1)
    with pytest.raises(ValueError, match="path of Graph's"):
        client.post(path, token=TOKEN, body={}, deadline_seconds=1)
    with pytest.raises(ValueError, match="path of Graph's"):
        client.send_events(path, token=TOKEN, fragments=[], partner_agent="x", deadline_seconds=1)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://graph.facebook.com",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "ftp://127.0.0.1",
        "graph.facebook.com",
        "https://",
        "https://user:pass@graph.facebook.com",
        "https://graph.facebook.com?access_token=x",
        "https://graph.facebook.com:port",
        "https://[::1",
        "",
    ],
)
def test_an_address_that_would_show_tokens_is_refused_with_a_sentence(base_url: str) -> None:
    with pytest.raises(ValueError, match="GRAPH_API_BASE_URL") as caught:
        GraphClient(base_url=base_url, version="v25.0")

    assert "pass" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://x.example/"]
)
def test_loopback_may_be_plain(base_url: str) -> None:
    assert GraphClient(base_url=base_url, version="v25.0").base_url == base_url.rstrip("/")


@pytest.mark.parametrize("version", ["v20.0", "25.0", "v25", "latest", ""])
def test_an_unknown_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="GRAPH_API_VERSION"):
        GraphClient(base_url="https://graph.facebook.com", version=version)


@pytest.mark.parametrize(
    "handler",
    [
        answering_once(
            http_answer({"error": {"code": 190, "message": f"Malformed access token {CANARY}"}}, "400 x")
        ),
        answering_once(
            http_answer({"error": {"code": 100, "error_user_msg": f"{CANARY} jo@example.com"}}, "400 x")
        ),
        answering_once(
            http_answer({"error": {"code": 1, "fbtrace_id": CANARY, "error_user_title": CANARY}}, "500 x")
        ),
        answering_once(
            http_answer({"error": {"code": 100, "error_data": {"blame_field_specs": [[CANARY]]}}}, "400 x")
        ),
        answering_once(f"HTTP/1.1 200 {CANARY}\r\n\r\n{CANARY}".encode()),
        answering_once(f"{CANARY} {CANARY}\r\n\r\n".encode()),
        answering_once(b""),
        silence,
    ],
)
def test_no_error_shows_the_token_or_the_events(handler: Handler) -> None:
    error = outcome(handler, deadline_seconds=0.5)

    assert isinstance(error, GraphError)
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert CANARY not in shown
    assert "jo@example.com" not in shown
    assert "Purchase" not in shown


def test_a_token_of_another_shape_is_hidden_in_metas_texts_too() -> None:
    answer = http_answer(
        {"error": {"code": 190, "message": "Malformed access token pasted-wrongly-123"}}, "400 x"
    )

    with (
        RawServer(answering(answer)) as server,
        client_of(server) as client,
        pytest.raises(CredentialRefused) as caught,
    ):
        client.get("me", token=Secret("pasted-wrongly-123"), deadline_seconds=5)

    assert str(caught.value) == "Malformed access token ***"
