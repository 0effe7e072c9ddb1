"""PartnerHub's processes on one machine: which they are, how they start, and when they are up.

`make demo` and `make dev` both stand on `start_platform()`. It refuses a second start in the same checkout.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from partnerhub.dev import memory, postgres
from partnerhub.dev.environment import DATABASE, local_environment
from partnerhub.dev.ports import HOST, Ports, claim_ports
from partnerhub.dev.postgres import CHECKOUT, STATE, Cluster
from partnerhub.dev.supervisor import ProcessSpec, Supervisor, print_line
from partnerhub.lib.db_roles import ensure_roles

# More pages at once than two cores can render. Threads rather than processes: they share one Django.
WEB_THREADS = 8
# With more arenas, one for each thread, what one thread freed is of no use to the others.
MALLOC_ARENAS = "2"

RUN_LOCK = "run.lock"
MIGRATE_SECONDS = 120

# What a change of restarts the processes of `make dev`. The sandbox imports nothing of the product.
WATCHED = ("partnerhub", "tenants", "onboarding", "events")


class AlreadyRunning(Exception):
    """PartnerHub runs in this checkout already; the text is a sentence."""


class MigrationFailed(Exception):
    """The database could not be brought up to date; the text is what the command said."""


def python(*arguments: str) -> tuple[str, ...]:
    """A command line of this environment's Python."""
    return (sys.executable, *arguments)


def process_specs(ports: Ports, env: dict[str, str]) -> list[ProcessSpec]:
    """The five processes that make up PartnerHub and its stand-in for Meta."""
    # Celery warns of root at each start; on this machine the checkout's owner decides who runs it.
    env = {**env, "MALLOC_ARENA_MAX": MALLOC_ARENAS, "PYTHONWARNINGS": "ignore:You're running the worker"}
    celery = ("-m", "celery", "--app", "partnerhub", "--quiet")

    def spec(
        name: str, argv: Sequence[str], *, ready_url: str | None = None, ready_text: str | None = None
    ) -> ProcessSpec:
        # Named here as well as by the entry points: the environment that we were started in may name another.
        role = {"PROCESS": "worker" if name in {"worker", "beat"} else "web"}
        return ProcessSpec(
            name, python(*argv), env={**env, **role}, cwd=CHECKOUT, ready_url=ready_url, ready_text=ready_text
        )

    return [
        spec(
            "sandbox",
            (
                *("-m", "partnerhub.sandbox"),
                *("--port", str(ports["sandbox"]), "--smtp-port", str(ports["smtp"])),
            ),
            ready_url=f"{ports.url('sandbox')}/healthz",
        ),
        spec(
            "web",
            (
                *("-m", "gunicorn", "partnerhub.wsgi", "--bind", f"{HOST}:{ports['web']}"),
                *("--worker-class", "gthread", "--workers", "1", "--threads", str(WEB_THREADS)),
                # It would lie in the home folder, the same one for every checkout.
                "--no-control-socket",
            ),
            ready_url=f"{ports.url('web')}/healthz",
        ),
        spec(
            "collector",
            ("-m", "events.collector", "--port", str(ports["collector"])),
            ready_url=f"{ports.url('collector')}/healthz",
        ),
        spec(
            "worker",
            (*celery, "worker"),
            ready_text="ready.",
        ),
        spec(
            "beat",
            (*celery, "beat", "--schedule", str(STATE / "beat-schedule")),
            ready_text="beat: Starting",
        ),
    ]


@contextmanager
def step(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Says `name` and how long the block took, in a line, when it has succeeded."""
    begun = time.monotonic()
    yield
    say_step(name, time.monotonic() - begun, say)


def say_step(name: str, seconds: float, say: Callable[[str], None]) -> None:
    """The line of one step."""
    say(f"  {name:<44} {seconds:6.1f} s")


@dataclass(frozen=True, slots=True)
class Platform:
    """PartnerHub, running: five processes under a supervisor, on the embedded PostgreSQL."""

    cluster: Cluster = field(repr=False)
    ports: Ports
    env: dict[str, str] = field(repr=False)
    supervisor: Supervisor = field(repr=False)

    def memory_bytes(self) -> int:
        """The sum of the proportional set sizes of this process, those it supervises, and PostgreSQL's."""
        keeper = postgres.keeper_pid()
        roots = [os.getpid(), *self.supervisor.pids().values(), *([keeper] if keeper else [])]
        return memory.tree_bytes(roots)

    def manage(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs an operator's command, `manage.py …`; what it said, and its exit code, unchecked."""
        return run_manage(self.env, *arguments, input=input)


def run_manage(
    env: dict[str, str], *arguments: str, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `manage.py` as the tables' owner, with its output captured."""
    return subprocess.run(
        python("manage.py", *arguments),
        cwd=CHECKOUT,
        env={**os.environ, **env, "PROCESS": "operator"},
        input=input,
        capture_output=True,
        text=True,
        timeout=MIGRATE_SECONDS,
        check=False,
    )


@contextmanager
def running_database(state: Path = STATE) -> Iterator[Cluster]:
    """The embedded server with the four roles and the product's database, held for the block."""
    with postgres.ensure_running(state) as cluster:
        with cluster.admin() as admin:
            ensure_roles(admin, database=DATABASE)
        yield cluster


@contextmanager
def sole_run(state: Path = STATE) -> Iterator[None]:
    """Holds this checkout's run for the block. Raises AlreadyRunning where another process holds it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / RUN_LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning("PartnerHub is already running in this checkout: stop it first.") from None
        yield


@contextmanager
def start_platform(*, reload: bool = False, say: Callable[[str], None] = print_line) -> Iterator[Platform]:
    """PartnerHub up and ready, each step said in a line; everything is stopped at the block's end.

    For the main thread: it takes over the signals that end a program. With `reload`, a change of the code
    restarts the processes. Raises AlreadyRunning, PostgresError, PortsError, MigrationFailed,
    SupervisorError.
    """
    with sole_run():
        begun = time.monotonic()
        # Where `collectstatic` would put the files; from a checkout they are served as they lie.
        (STATE / "static").mkdir(exist_ok=True)
        with running_database() as cluster:
            say_step("PostgreSQL ready", time.monotonic() - begun, say)
            ports = claim_ports(STATE)
            env = local_environment(STATE, cluster, ports)
            if reload:
                env["DEBUG"] = "true"
            with step("database migrated", say):
                migrated = run_manage(env, "migrate", "--no-input")
                if migrated.returncode:
                    raise MigrationFailed(f"The migrations failed.\n{migrated.stdout}{migrated.stderr}")
            with step("broker prepared", say):
                prepared = run_manage(env, "broker", "prepare")
                if prepared.returncode:
                    raise MigrationFailed(f"The broker failed.\n{prepared.stdout}{prepared.stderr}")
            with Supervisor(say) as supervisor:
                supervisor.catch_signals()
                begun = time.monotonic()

                def on_ready(name: str) -> None:
                    say_step(f"{name} ready", time.monotonic() - begun, say)

                supervisor.start(process_specs(ports, env), on_ready)
                if reload:
                    threading.Thread(target=_reload_on_change, args=(supervisor,), daemon=True).start()
                yield Platform(cluster, ports, env, supervisor)


def _reload_on_change(supervisor: Supervisor) -> None:
    from watchfiles import PythonFilter, watch

    sandbox = CHECKOUT / "partnerhub" / "sandbox"
    dev = CHECKOUT / "partnerhub" / "dev"
    for changes in watch(*(CHECKOUT / name for name in WATCHED), watch_filter=PythonFilter()):
        paths = [Path(path) for _, path in changes]
        names = set()
        if any(path.is_relative_to(sandbox) for path in paths):
            names.add("sandbox")
        if any(not path.is_relative_to(sandbox) and not path.is_relative_to(dev) for path in paths):
            names.update({"web", "collector", "worker", "beat"})
        supervisor.restart(sorted(names))
