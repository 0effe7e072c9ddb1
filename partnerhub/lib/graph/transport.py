"""One HTTP exchange with one host: pooled connections, one deadline, and the exact word on what left.

Holds sockets and bytes, and knows nothing of Graph. It stands on the standard library's `http.client` parser
and `ssl`, below requests and urllib3: what those add (retries, redirects, decoding, proxies, a pool by host,
log lines with the URL) is what this room must refuse or must do by itself. Measured on two busy cores, in
turns, the medians of three: 0.08 ms of CPU a small call and 5,900 calls/s from 16 threads of one process,
where urllib3's pool with a watchdog thread for the deadlines took 0.19 ms and made 3,200.

A socket's time-out starts anew with each byte, so a server that drips would hold a thread for ever. Here each
wait gets what is left of the call's deadline, and no more; that needs no second thread. Nothing is shared
across a fork and nothing is locked: a connection knows the process that made it, and the pool is a deque.
"""

from __future__ import annotations

import http.client
import io
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast, final

from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.graph import limits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# As many idle connections are kept as a process has threads that send.
POOLED_CONNECTIONS = 32
# An idle connection that the other side is about to close can swallow a request, whose outcome is in doubt
# then. A new handshake costs less than a doubt, so a connection is not used again after so long.
IDLE_SECONDS = 20.0
# Beside the answer's body: its status line and headers. Graph's take 2 KiB.
HEAD_BYTES = 64 * 1024


class Silence(StrEnum):
    """Why there is no answer to what was sent."""

    TIMEOUT = "timeout"
    BROKEN = "broken"
    GARBLED = "garbled"
    TOO_LARGE = "too_large"


class NothingLeft(Exception):
    """No byte of the request's body left: the other side cannot have acted on it. Names the cause's kind."""


class NoAnswer(Exception):
    """The request left, at least in part, and no whole answer came back."""

    def __init__(self, silence: Silence, kind: str) -> None:
        super().__init__(kind)
        self.silence = silence


class _TooLarge(Exception):
    """The answer has more bytes than this room reads."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, its body as it came."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@final
class _Timed(io.RawIOBase):
    """A socket for one call: each wait ends with the call's deadline, and what is read is counted."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline
        self._room = HEAD_BYTES + limits.ANSWER_BYTES

    def _wait_no_longer(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def send(self, data: memoryview) -> int:
        self._wait_no_longer()
        return self._socket.send(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._wait_no_longer()
        received = self._socket.recv_into(buffer)
        self._room -= received
        if self._room < 0:
            raise _TooLarge
        return received

    def makefile(self, mode: str) -> io.BufferedReader:
        # All that http.client asks of a socket; closing the file leaves the socket open for the next call.
        return io.BufferedReader(self)


@final
class _Connection:
    """An open connection and the process that opened it."""

    __slots__ = ("idle_since", "pid", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pid = os.getpid()
        self.idle_since = 0.0

    def is_usable(self) -> bool:
        """Whether a request may go out on it: ours, fresh, and not closed by the other side."""
        if self.pid != os.getpid() or time.monotonic() - self.idle_since > IDLE_SECONDS:
            return False
        # Readable while nothing was asked: closed, or out of step.
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        # In a forked child this closes the child's copy only; TLS says no good-bye on it either.
        self.sock.close()


@final
class _Lookup:
    """One look-up of the host's addresses, which nothing can interrupt; all who need it wait for the same."""

    def __init__(self, host: str, port: int) -> None:
        self.pid = os.getpid()
        self.done = threading.Event()
        self.addresses: list[tuple[int, int, int, tuple[object, ...]]] = []
        threading.Thread(target=self._run, args=(host, port), name="graph-lookup", daemon=True).start()

    def _run(self, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.addresses = [(family, kind, proto, address) for family, kind, proto, _, address in found]
        except (OSError, UnicodeError):
            pass  # no addresses: said by whoever waited
        finally:
            self.done.set()


@final
class Transport:
    """Exchanges with one host. Thread-safe, and safe across forks."""

    def __init__(self, *, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        shown = f"[{host}]" if ":" in host else host
        self._host_header = f"{shown}:{port}" if port != (443 if tls else 80) else shown
        self._idle: deque[_Connection] = deque()
        self._lookup: _Lookup | None = None

    def exchange(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Answer:
        """The answer to one request, by `deadline` (time.monotonic()).

        `target` and `headers` are printable ASCII: the caller sees to it. Raises NothingLeft or NoAnswer. The
        request goes out once; twice only where a pooled connection turned out closed and no body byte left.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host_header}", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join((*lines, "", "")).encode("ascii")
        while (pooled := self._take()) is not None:
            try:
                return self._use(pooled, method, head, body, deadline)
            except NothingLeft:
                continue
        return self._use(self._connect(deadline), method, head, body, deadline)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _Connection | None:
        """The connection used last, where it can be used again."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.close()

    def _use(self, connection: _Connection, method: str, head: bytes, body: bytes, deadline: float) -> Answer:
        is_reusable = False
        try:
            timed = _Timed(connection.sock, deadline)
            _send(timed, head, body)
            # All is on its way, and nothing has come back.
            crash_point("mid_send")
            answer, is_reusable = _receive(timed, method)
            return answer
        finally:
            if is_reusable and len(self._idle) < POOLED_CONNECTIONS:
                connection.idle_since = time.monotonic()
                self._idle.append(connection)
            else:
                connection.close()

    def _connect(self, deadline: float) -> _Connection:
        """A new connection, TLS included. Raises NothingLeft."""
        failure = "no address"
        for family, kind, proto, address in self._addresses(deadline):
            try:
                sock = socket.socket(family, kind, proto)
            except OSError as error:
                failure = type(error).__name__
                continue
            try:
                sock.settimeout(_step(deadline))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    sock.settimeout(_step(deadline))
                    sock = self._tls.wrap_socket(sock, server_hostname=self._host)
                return _Connection(sock)
            except OSError as error:  # certificates too
                failure = type(error).__name__
                sock.close()
        raise NothingLeft(failure)

    def _addresses(self, deadline: float) -> list[tuple[int, int, int, tuple[object, ...]]]:
        lookup = self._lookup
        if lookup is None or lookup.done.is_set() or lookup.pid != os.getpid():
            # Two threads may both come here: then there are two look-ups, and no harm.
            lookup = self._lookup = _Lookup(self._host, self._port)
        try:
            lookup.done.wait(_step(deadline))
        except TimeoutError:
            return []
        return lookup.addresses


def _step(deadline: float) -> float:
    """How long one step of connecting may take. Raises TimeoutError where no time is left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(limits.CONNECT_SECONDS, left)


def _send(timed: _Timed, head: bytes, body: bytes) -> None:
    """Hand the request to the kernel. Raises NothingLeft or NoAnswer.

    Where the other side stops reading in the middle, it may have said why: that is left to be read.
    """
    request = memoryview(head + body)
    sent = 0
    try:
        while sent < len(request):
            sent += timed.send(request[sent:])
    except OSError as error:
        kind = type(error).__name__
        if sent <= len(head) and sent < len(request):
            raise NothingLeft(kind) from None
        if isinstance(error, TimeoutError):
            raise NoAnswer(Silence.TIMEOUT, kind) from None


def _receive(timed: _Timed, method: str) -> tuple[Answer, bool]:
    """The answer, and whether the connection can carry another request. Raises NoAnswer."""
    # The parser takes anything that has makefile().
    response = http.client.HTTPResponse(cast(socket.socket, timed), method=method)
    try:
        response.begin()
        content = response.read(limits.ANSWER_BYTES + 1)
        if len(content) > limits.ANSWER_BYTES:
            raise _TooLarge
        if response.length:
            raise http.client.IncompleteRead(b"")
        # A message of headers is no Mapping by name, and all that is asked of it is get().
        answer = Answer(response.status, cast(Mapping[str, str], response.msg), content)
        return answer, response.isclosed() and not response.will_close
    except _TooLarge:
        raise NoAnswer(Silence.TOO_LARGE, "TooLarge") from None
    except TimeoutError as error:
        raise NoAnswer(Silence.TIMEOUT, type(error).__name__) from None
    except OSError as error:
        raise NoAnswer(Silence.BROKEN, type(error).__name__) from None
    except (http.client.RemoteDisconnected, http.client.IncompleteRead) as error:
        raise NoAnswer(Silence.BROKEN, type(error).__name__) from None
    except (http.client.HTTPException, ValueError) as error:
        raise NoAnswer(Silence.GARBLED, type(error).__name__) from None
    finally:
        response.close()
