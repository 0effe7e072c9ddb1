"""A key service far away, as a cloud's is: a server that holds the master keys, and the client that is plugged in.

The client is what docs/vault.md tells to write. `VAULT_KEY_SERVICE=tests.support.key_service:from_environment` plugs
it in; KEY_SERVICE_URL says where the server is.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from partnerhub.lib.vault import KeyServiceAwayError, VaultError

ANSWER_SECONDS = 2.0
# What the server says in its errors, and what the product may never repeat.
CHATTER = "internal-detail-of-the-key-service"


class RemoteKeys:
    """The client: three calls, a time-out, and the two kinds of failure told apart."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def primary(self) -> str:
        return str(self._call("primary", {})["name"])

    def wrap(self, data_key: bytes, *, name: str, context: bytes) -> bytes:
        return self._bytes("wrap", data_key, name, context)

    def unwrap(self, wrapped: bytes, *, name: str, context: bytes) -> bytes:
        return self._bytes("unwrap", wrapped, name, context)

    def _bytes(self, act: str, value: bytes, name: str, context: bytes) -> bytes:
        body = {"value": _text(value), "name": name, "context": _text(context)}
        return base64.b64decode(self._call(act, body)["value"])

    def _call(self, act: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            answer = requests.post(f"{self._url}/{act}", json=body, timeout=ANSWER_SECONDS)
        except requests.RequestException:
            raise KeyServiceAwayError("The key service does not answer.") from None
        if answer.status_code == 400:
            raise VaultError(f"The key service does not open it with {body.get('name')}.")
        if not answer.ok:
            raise KeyServiceAwayError(f"The key service answered {answer.status_code}.")
        told: dict[str, Any] = answer.json()
        return told


def from_environment() -> RemoteKeys:
    """The factory that VAULT_KEY_SERVICE names."""
    return RemoteKeys(os.environ["KEY_SERVICE_URL"])


class KeyServer:
    """`with KeyServer() as server:` holds the keys `names`, the first of them primary."""

    def __init__(self, *names: str) -> None:
        self.keys = {name: AESGCM(os.urandom(32)) for name in names or ("far",)}
        self.primary = next(iter(self.keys))
        # Instead of an answer: a status, or text that is no JSON.
        self.status: int | None = None
        self.calls: list[str] = []
        held = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                act = self.path.strip("/")
                held.calls.append(act)
                status, told = held._answer(act, body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(told.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, act: str, body: dict[str, str]) -> tuple[int, str]:
        if self.status is not None:
            return self.status, CHATTER
        if act == "primary":
            return 200, json.dumps({"name": self.primary})
        value, context = base64.b64decode(body["value"]), base64.b64decode(body["context"])
        try:
            key = self.keys[body["name"]]
            made = (
                b"n" * 12 + key.encrypt(b"n" * 12, value, context)
                if act == "wrap"
                else key.decrypt(value[:12], value[12:], context)
            )
        except (KeyError, InvalidTag):
            return 400, CHATTER
        return 200, json.dumps({"value": _text(made)})

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self.stop()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
