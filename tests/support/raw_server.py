"""A server of raw bytes on loopback: for what no decent server sends.

Each connection is handed to a function in a thread of its own. A request is read up to its Content-Length and kept.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handler = Callable[["RawConnection"], None]
# No test waits longer for bytes that do not come.
PATIENCE_SECONDS = 20


class RawConnection:
    """One accepted connection, as its handler sees it."""

    def __init__(self, server: RawServer, sock: socket.socket) -> None:
        self._server = server
        self.sock = sock

    def read_request(self) -> bytes | None:
        """The next whole request, also kept in `server.requests`; None where the client closed."""
        received = b""
        while b"\r\n\r\n" not in received:
            more = self.sock.recv(65536)
            if not more:
                return None
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            more = self.sock.recv(65536)
            if not more:
                return None
            body += more
        self._server.requests.append(head + b"\r\n\r\n" + body)
        return self._server.requests[-1]

    def send(self, data: bytes) -> None:
        """All of the bytes."""
        self.sock.sendall(data)

    def wait(self, seconds: float) -> None:
        """Do nothing for so long, or until the server stops."""
        self._server.stopping.wait(seconds)

    @property
    def is_stopping(self) -> bool:
        """Whether the test is over."""
        return self._server.stopping.is_set()


class RawServer:
    """`with RawServer(handler) as server:` listens at `server.port`."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def base_url(self) -> str:
        """What `GRAPH_API_BASE_URL` points at."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_SECONDS)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._open.append(sock)
            self._handler(RawConnection(self, sock))
        except OSError:
            pass  # the client hung up, which is its right
        finally:
            sock.close()

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        # Closing alone does not wake a thread that waits in accept().
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)


def http_answer(body: bytes | object, status: str = "200 OK", headers: dict[str, str] | None = None) -> bytes:
    """An answer's bytes; what is not bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join((*lines, "", "")).encode() + content


def answering(data: bytes) -> Handler:
    """Answers every request of a connection with the same bytes, and keeps it open."""

    def handle(connection: RawConnection) -> None:
        while connection.read_request() is not None:
            connection.send(data)

    return handle


def answering_once(data: bytes) -> Handler:
    """Answers one request with these bytes, and closes."""

    def handle(connection: RawConnection) -> None:
        if connection.read_request() is not None:
            connection.send(data)

    return handle


def self_signed(folder: Path, *, name: str = "127.0.0.1", days: int = 1) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context with a certificate of its own for an address, and that certificate's file.

    Negative `days`: it ran out so long ago.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = dt.datetime.now(dt.UTC)
    builder: Any = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    file = folder / "certificate.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = folder / "key.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return context, file
