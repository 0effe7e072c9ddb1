"""What the stand-in sends by itself and on demand, as a receiver of our own sees it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from tests.sandbox.access import (
    ANNA,
    APP,
    CONNECTION,
    FLB,
    SECRET,
    SHOP,
    SHOP_PIXEL,
    call,
    fbe_url,
    flb_url,
    log_in,
)
from tests.sandbox.cast import error_of
from tests.support.sandbox import SandboxClient, SandboxError

WAIT_SECONDS = 10


class Receiver:
    """An app's doors on a port of its own; `statuses` are its next answers, then always 200."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = dict(parse_qsl(urlsplit(self.path).query))
                is_right = query.get("hub.verify_token") == "verify-me"
                self._answer(200 if is_right else 403, query.get("hub.challenge", "") if is_right else "no")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.taken.append((self.path, dict(self.headers), body))
                receiver.came.set()
                self._answer(receiver.statuses.pop(0) if receiver.statuses else 200, "thanks")

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Silence."""

        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.came = threading.Event()
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def wait_for(self, number: int) -> None:
        """Until so many have come."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(self.taken) < number:
            self.came.clear()
            assert self.came.wait(max(0.0, deadline - time.monotonic())), f"{len(self.taken)} came"

    def changes(self) -> list[dict[str, Any]]:
        """Every change that the webhooks told of, in order of arrival."""
        bodies = [json.loads(body) for path, _, body in self.taken if path == "/hook"]
        return [change for body in bodies for entry in body["entry"] for change in entry["changes"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver(meta: SandboxClient) -> Iterator[Receiver]:
    """The app's doors, which the stand-in knows."""
    receiver = Receiver()
    meta.set_settings(webhook_retry_s=[0.0, 0.05])
    meta.set_app(
        APP,
        webhook_url=f"{receiver.url}/hook",
        verify_token="verify-me",
        deauthorize_url=f"{receiver.url}/gone",
        deletion_url=f"{receiver.url}/delete",
    )
    yield receiver
    meta.set_app(APP, webhook_url="", deauthorize_url="", deletion_url="")
    receiver.close()


def signature_of(body: bytes) -> str:
    return "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def test_install_in_the_dialog_sends_its_webhooks_signed(meta: SandboxClient, receiver: Receiver) -> None:
    log_in(meta, fbe_url(meta), pixels=[SHOP_PIXEL])
    receiver.wait_for(2)

    for _, headers, body in receiver.taken:
        assert headers["X-Hub-Signature-256"] == signature_of(body)
    told = {change["field"]: change["value"] for change in receiver.changes()}
    install = told["fbe_install"]
    assert (install["business_id"], install["business_manager_id"]) == (CONNECTION, SHOP)
    assert (install["pixel_id"], install["token_type"]) == (SHOP_PIXEL, "bearer")
    assert call(meta, "GET", "me", install["access_token"]).ok
    assert told["business_integration_install"] == {"business_manager_id": SHOP}
    first = next(json.loads(body) for _, _, body in receiver.taken if b"fbe_install" in body)
    assert (first["object"], first["entry"][0]["uid"]) == ("user", ANNA)
    assert install["access_token"] not in str(meta.webhooks())


def test_login_for_business_tells_its_configuration_then_an_update(
    meta: SandboxClient, receiver: Receiver
) -> None:
    for _ in range(2):
        log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL])
    receiver.wait_for(2)

    told = sorted(receiver.changes(), key=lambda change: str(change["field"]))
    assert told == [
        {
            "field": "business_integration_install",
            "value": {"business_manager_id": SHOP, "tp_config_id": FLB},
        },
        {"field": "business_integration_update", "value": {"business_manager_id": SHOP}},
    ]


def test_uninstalling_tells_without_token_and_assets(meta: SandboxClient, receiver: Receiver) -> None:
    anna = log_in(meta, fbe_url(meta), pixels=[SHOP_PIXEL])
    receiver.wait_for(2)
    receiver.taken.clear()

    call(meta, "DELETE", "fbe_business/fbe_installs", anna, fbe_external_business_id=CONNECTION)
    receiver.wait_for(2)

    told = {change["field"]: change["value"] for change in receiver.changes()}
    assert told["fbe_install"] == {"business_id": CONNECTION, "business_manager_id": SHOP}
    assert told["business_integration_uninstall"] == {"business_manager_id": SHOP}


def test_client_removes_the_integration(meta: SandboxClient, receiver: Receiver) -> None:
    token = log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL])
    receiver.wait_for(1)

    meta.uninstall(APP, SHOP)
    receiver.wait_for(2)

    assert receiver.changes()[-1]["field"] == "business_integration_uninstall"
    assert error_of(call(meta, "GET", "me", token)) == (401, 190, 458)


def test_webhook_is_sent_again_until_it_is_taken(meta: SandboxClient, receiver: Receiver) -> None:
    receiver.statuses += [500, 302]

    meta.send_webhook(APP, "business_integration_update", business_id=SHOP)
    receiver.wait_for(3)

    assert len({body for _, _, body in receiver.taken}) == 1
    delivery = meta.webhooks()[0]
    while delivery["state"] == "pending":
        delivery = meta.webhooks()[0]
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 302, 200]
    assert delivery["state"] == "delivered"


def test_webhook_is_dropped_in_the_end_and_sent_by_hand(meta: SandboxClient, receiver: Receiver) -> None:
    meta.set_settings(webhook_retry_s=[])
    receiver.statuses += [500]

    first = meta.send_webhook(APP, "business_integration_update", business_id=SHOP)[0]
    again = meta.retry_webhooks()

    assert [attempt["status"] for attempt in first["attempts"]] == [500]
    assert [item["state"] for item in again] == ["delivered"]
    assert len(receiver.taken) == 2


def test_webhook_comes_doubled_batched_old_and_badly_signed(meta: SandboxClient, receiver: Receiver) -> None:
    meta.send_webhook(APP, "business_integration_update", business_id=SHOP, copies=2)
    update = {"field": "business_integration_update", "business_id": SHOP}
    meta.send_webhook(APP, batch=[update, update | {"business_id": "8002"}], sent_at=1)
    meta.send_webhook(APP, "business_integration_update", business_id=SHOP, signature="wrong")
    meta.send_webhook(APP, "business_integration_update", business_id=SHOP, signature="none")

    first, second, batch, wrong, none = receiver.taken
    assert first[2] == second[2]
    told = json.loads(batch[2])
    assert [change["value"]["business_manager_id"] for change in told["entry"][0]["changes"]] == [
        SHOP,
        "8002",
    ]
    assert told["entry"][0]["time"] == 1
    assert wrong[1]["X-Hub-Signature-256"] not in ("", signature_of(wrong[2]))
    assert "X-Hub-Signature-256" not in none[1]


def test_webhook_of_an_install_can_be_sent_at_will(meta: SandboxClient, receiver: Receiver) -> None:
    meta.set_install("ph-old", app_id=APP, business_id=SHOP, person_id=ANNA, pixel_id=SHOP_PIXEL)

    meta.send_webhook(APP, "fbe_uninstall", external_business_id="ph-old")
    meta.send_webhook(APP, "fbe_install", value={"business_id": "ph-unknown", "access_token": "EAAx"})

    assert [change["value"]["business_id"] for change in receiver.changes()] == ["ph-old", "ph-unknown"]
    with pytest.raises(SandboxError, match="no such install"):
        meta.send_webhook(APP, "fbe_install", external_business_id="ph-nobody")
    with pytest.raises(SandboxError, match="field must be one of"):
        meta.send_webhook(APP, "leadgen")


def test_handshake_wants_its_challenge_back(meta: SandboxClient, receiver: Receiver) -> None:
    assert meta.verify_webhook(APP)["verified"] is True
    refused = meta.verify_webhook(APP, "another")
    assert (refused["verified"], refused["status"]) == (False, 403)


def read_signed(body: bytes, secret: str = SECRET) -> tuple[bool, dict[str, Any]]:
    """Whether the signature holds, and the payload."""
    signature, _, payload = parse_qs(body.decode())["signed_request"][0].partition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    expected = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).digest()
    return raw == expected, json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_deauthorising_ends_the_persons_tokens(meta: SandboxClient, receiver: Receiver) -> None:
    user, client = log_in(meta), log_in(meta, flb_url(meta), businesses=[SHOP], pixels=[SHOP_PIXEL])

    answer = meta.deauthorize(APP, ANNA)

    assert answer == {"status": 200, "body": "thanks"}
    _, headers, body = next(item for item in receiver.taken if item[0] == "/gone")
    holds, payload = read_signed(body)
    assert (holds, payload["user_id"], payload["algorithm"]) == (True, ANNA, "HMAC-SHA256")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert error_of(call(meta, "GET", "me", user)) == (401, 190, 458)
    assert call(meta, "GET", "me", client).ok


def test_signed_request_may_be_wrong(meta: SandboxClient, receiver: Receiver) -> None:
    meta.request_deletion(APP, ANNA)
    meta.request_deletion(APP, ANNA, signature="wrong")
    meta.request_deletion(APP, ANNA, algorithm="none", expires=1)

    right, wrong, odd = (read_signed(body) for _, _, body in receiver.taken)
    assert (right[0], wrong[0], odd[0]) == (True, False, True)
    assert (odd[1]["algorithm"], odd[1]["expires"]) == ("none", 1)


def test_nothing_leaves_this_machine(meta: SandboxClient) -> None:
    with pytest.raises(SandboxError, match="this machine only"):
        meta.set_app(APP, webhook_url="http://hub.example/hook")


def test_app_that_is_not_there_gets_a_nought(meta: SandboxClient, receiver: Receiver) -> None:
    meta.set_settings(webhook_retry_s=[])
    meta.set_app(APP, webhook_url="http://127.0.0.1:9/hook")

    delivery = meta.send_webhook(APP, "business_integration_update", business_id=SHOP)[0]

    assert [attempt["status"] for attempt in delivery["attempts"]] == [0]
