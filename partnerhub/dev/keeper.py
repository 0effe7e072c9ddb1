"""The keeper of one embedded PostgreSQL: makes it, runs it, ends it when nobody holds it any more.

Run by path as a process of its own (`python -I -S keeper.py …`), with the standard library alone, so that
it stays small and so that it never forks a process that has threads. It refuses to run two servers on one
folder, and to change the owner or mode of anything but that folder and its socket folder.

Three locks in the cluster's folder, all kept by the kernel, so that no SIGKILL leaves a stale one:

- `holders.lock`: everyone who uses the server holds it shared. The keeper waits for it exclusively: it gets
  it when the last user is gone, however that user went, and then stops the server.
- `keeper.lock`: held by the one keeper.
- `server.lock`: inherited by the server and all its children. Who gets it knows that none of them is left,
  and may remove PostgreSQL's own lock files, whose number may belong to another process by now.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import pwd
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

HOLDERS_LOCK = "holders.lock"
KEEPER_LOCK = "keeper.lock"
SERVER_LOCK = "server.lock"
LOG = "server.log"

# A fast shutdown writes a checkpoint: at most `max_wal_size` of pages, seconds on a slow disk. After that an
# immediate one; the next start then recovers from the write-ahead log.
FAST_STOP_SECONDS = 10.0

# Between a server that was killed and the next one; without it, one that cannot live would take a whole core.
RESTART_SECONDS = 0.5

# How long processes of an earlier server may take to notice that it is gone.
ORPHANS_SECONDS = 20.0

# From <linux/prctl.h>, <linux/securebits.h>, <linux/capability.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

# Loaded before the first fork: a child of a process with threads had better not.
_libc = ctypes.CDLL(None, use_errno=True)


def lock(path: Path, *, within_seconds: float = 0) -> int | None:
    """The descriptor that holds `path` exclusively; None when another still holds it after that time."""
    deadline = time.monotonic() + within_seconds
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.05)
        else:
            return descriptor


def is_locked(path: Path) -> bool:
    """Whether some process holds `path` exclusively. Asking disturbs nobody else who asks."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _check(result: int, call: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


def _prctl(option: int, *arguments: int) -> None:
    # All five at their full width: the kernel refuses some options whose unused arguments are not 0.
    longs = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *longs), f"prctl({option})")


def _end_with_parent(parent: int) -> None:
    """Has the kernel interrupt this process (a server's fast shutdown) when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        os._exit(1)


def _become(uid: int, gid: int, *, pass_folders: bool) -> None:
    """Gives up root for `uid`, for good.

    With `pass_folders` one capability outlives that and the coming `exec`: CAP_DAC_OVERRIDE, so that a server
    in a checkout under /root (mode 0700) reaches its own files. Not the smaller CAP_DAC_READ_SEARCH:
    containers start without it, and it does not execute what was installed under a umask of 077.
    SECBIT_NO_SETUID_FIXUP does what PR_SET_KEEPCAPS does, and besides lets access(2), by which PostgreSQL's
    programs look for each other, count the capability.
    """
    if pass_folders:
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if pass_folders:
        bit = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        # Effective, permitted, inheritable: the low 32 capabilities, then the high ones.
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        _check(_libc.capset(header, data), "capset")
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def is_reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether `uid` may search every folder above `path`, and search or execute `path` itself."""
    for part in (path, *path.parents):
        status = part.stat()
        if status.st_uid == uid:
            allowed = status.st_mode & stat.S_IXUSR
        elif status.st_gid == gid:
            allowed = status.st_mode & stat.S_IXGRP
        else:
            allowed = status.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


class Keeper:
    """One cluster's folder and the server in it."""

    def __init__(self, folder: Path, binaries: Path, socket_folder: Path, settings: list[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket_folder = socket_folder
        self.binaries = binaries
        self.settings = settings
        self.log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.stopping = False
        self.identity = self._identity()

    def say(self, text: str) -> None:
        os.write(self.log, f"keeper: {text}\n".encode())

    def _identity(self) -> tuple[int, int] | None:
        """The uid and gid to run as where we are root, which PostgreSQL refuses to be; else None.

        The folder's owner, where that is an ordinary user, so that `sudo make demo` in an ordinary checkout
        leaves it usable without; else `nobody`.
        """
        if os.geteuid() != 0:
            return None
        status = self.folder.stat()
        if status.st_uid != 0:
            return status.st_uid, status.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def prepare(self) -> None:
        """Gives the folders to the server's user and makes the cluster, once."""
        for folder in (self.folder, self.socket_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            if self.identity is not None:
                os.chown(folder, *self.identity)
        if self.identity is not None:
            for name in (HOLDERS_LOCK, KEEPER_LOCK, SERVER_LOCK, LOG):
                with contextlib.suppress(FileNotFoundError):
                    os.chown(self.folder / name, *self.identity)
        if self.data.exists():
            return
        # Made aside and renamed: a kill in the middle leaves no half cluster that looks like a whole one.
        half = self.folder / "data.new"
        self._run_and_wait(["/bin/rm", "-rf", str(half)])
        self._run_and_wait(
            [
                str(self.binaries / "initdb"),
                f"--pgdata={half}",
                "--username=postgres",
                # The socket lies in a folder that only its owner may enter: that is the lock.
                "--auth=trust",
                "--encoding=UTF8",
                # The same order of text on every machine, whatever locales it has.
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ]
        )
        half.rename(self.data)

    def _run_and_wait(self, command: list[str]) -> None:
        child = self._start(command, [])
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise SystemExit(f"{command[0]} failed with status {os.waitstatus_to_exitcode(status)}")

    def _start(self, command: list[str], descriptors: list[int]) -> int:
        """The pid of `command`, run as the server's user, ending with us, with `descriptors` left open."""
        parent = os.getpid()
        pass_folders = self.identity is not None and not (
            is_reachable(self.folder, *self.identity)
            and is_reachable(self.socket_folder, *self.identity)
            and is_reachable(self.binaries / "postgres", *self.identity)
        )
        child = os.fork()
        if child:
            return child
        try:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(self.log, 1)
            os.dup2(self.log, 2)
            os.chdir(self.folder)
            os.umask(0o077)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if self.identity is not None:
                _become(*self.identity, pass_folders=pass_folders)
            # After the change of user, which clears it.
            _end_with_parent(parent)
            # Nothing from the caller's environment: PGPORT or PGOPTIONS would steer the server.
            os.execve(command[0], command, {"PATH": os.defpath, "LC_ALL": "C"})
        except BaseException as error:  # noqa: BLE001  (nothing may return into the parent's code)
            os.write(2, f"keeper: cannot run {command[0]}: {error}\n".encode())
        os._exit(127)

    def _start_server(self) -> int:
        held = lock(self.folder / SERVER_LOCK, within_seconds=ORPHANS_SECONDS)
        if held is None:
            raise TimeoutError("processes of an earlier server still run in this folder")
        # No process of an earlier server is left: what names one is stale.
        for stale in (self.data / "postmaster.pid", *self.socket_folder.iterdir()):
            stale.unlink(missing_ok=True)
        arguments = [f"--{setting}" for setting in self.settings]
        child = self._start([str(self.binaries / "postgres"), "-D", str(self.data), *arguments], [held])
        os.close(held)
        return child

    def run(self) -> int:
        """Runs the server until nobody holds it or we are told to stop; the exit code."""
        awaited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        server = self._start_server()
        waiter: threading.Thread | None = None
        while True:
            if waiter is None:
                waiter = threading.Thread(target=self._await_last_holder, daemon=True)
                waiter.start()
            received = signal.sigwait(awaited)
            if received != signal.SIGCHLD:
                self.stop(server)
                return 0
            ended, status = os.waitpid(server, os.WNOHANG)
            if ended == 0:
                continue
            self.say(f"the server ended with exit code {os.waitstatus_to_exitcode(status)}")
            if not self._was_killed():
                return 1
            time.sleep(RESTART_SECONDS)
            server = self._start_server()

    def _was_killed(self) -> bool:
        """Whether the server that ended had been up: it removes its postmaster.pid when it ends by itself."""
        try:
            return "ready" in (self.data / "postmaster.pid").read_text()
        except FileNotFoundError:
            return False

    def _await_last_holder(self) -> None:
        # Never given back: who comes now waits for it, until we have stopped the server and ended.
        descriptor = os.open(self.folder / HOLDERS_LOCK, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGUSR1)

    def stop(self, server: int) -> None:
        """Ends the server: fast (SIGINT), then at once (SIGQUIT)."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGINT)
        deadline = time.monotonic() + FAST_STOP_SECONDS
        while os.waitpid(server, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                self.say("the server did not stop in time; it is ended and will recover at its next start")
                os.kill(server, signal.SIGQUIT)
                os.waitpid(server, 0)
                return
            time.sleep(0.02)


def main(arguments: list[str]) -> int:
    """The exit code of a keeper's whole life; the reasons for one that is not 0 stand in the log."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--socket-folder", type=Path, required=True)
    parser.add_argument("settings", nargs="*", help="the server's settings, each NAME=VALUE")
    options = parser.parse_args(arguments)
    held = lock(options.folder / KEEPER_LOCK, within_seconds=0.2)
    if held is None:
        # Another keeper was quicker. Whoever started us waits for the server, not for us.
        return 0
    os.ftruncate(held, 0)
    os.write(held, f"{os.getpid()}\n".encode())
    keeper = Keeper(options.folder, options.binaries, options.socket_folder, options.settings)
    os.dup2(keeper.log, 2)
    try:
        keeper.prepare()
        return keeper.run()
    except OSError as error:
        keeper.say(f"cannot run the server: {error}")
        return 1


def _main() -> NoReturn:
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    _main()
