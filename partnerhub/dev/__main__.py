"""`python -m partnerhub.dev`: the commands behind the Makefile's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from partnerhub.dev import postgres
from partnerhub.dev.chromium import ChromiumError, ensure_chromium
from partnerhub.dev.environment import local_environment
from partnerhub.dev.keeper import HOLDERS_LOCK
from partnerhub.dev.ports import PortsError, last_ports
from partnerhub.dev.postgres import CHECKOUT, STATE, PostgresError
from partnerhub.dev.processes import (
    AlreadyRunning,
    MigrationFailed,
    python,
    running_database,
    sole_run,
    start_platform,
)
from partnerhub.dev.supervisor import SupervisorError

USAGE = """usage: python -m partnerhub.dev COMMAND

  demo [--once]   play the main job from end to end, and stay up (--once: then stop)
  dev             run the processes, and reload them when the code changes
  test [ARG …]    run pytest
  manage ARG …    run manage.py on this checkout's database
  clean           stop this checkout's servers and remove .partnerhub"""


def develop() -> int:
    """PartnerHub's processes until Ctrl-C, restarted when their code changes."""
    try:
        with start_platform(reload=True) as platform:
            print(f"web {platform.ports.url('web')}   sandbox {platform.ports.url('sandbox')}", flush=True)
            platform.supervisor.wait_for_end()
    except KeyboardInterrupt:
        pass
    return 0


def manage(arguments: list[str]) -> int:
    """`manage.py` on this checkout's database, which runs at least as long as the command."""
    with running_database() as cluster:
        env = local_environment(STATE, cluster, last_ports(STATE))
        return subprocess.run(
            python("manage.py", *arguments),
            cwd=CHECKOUT,
            env={**os.environ, **env, "PROCESS": "operator"},
            check=False,
        ).returncode


def clean() -> int:
    """Stops this checkout's servers and removes what they left."""
    if not STATE.exists():
        return 0
    with sole_run():
        for lock in STATE.glob(f"*/{HOLDERS_LOCK}"):
            postgres.remove(name=lock.parent.name)
        shutil.rmtree(STATE)
    return 0


def test(arguments: list[str]) -> int:
    """Runs pytest with a browser at hand."""
    os.environ["CHROMIUM_PATH"] = str(ensure_chromium())
    return subprocess.run(python("-m", "pytest", *arguments), cwd=CHECKOUT, check=False).returncode


def main(arguments: list[str]) -> int:
    """The exit code of the command that `arguments` name; what stopped it is said in a sentence."""
    try:
        match arguments:
            case ["demo", *options] if options in ([], ["--once"]):
                from partnerhub.dev.demo.play import play

                return play(once=bool(options))
            case ["dev"]:
                return develop()
            case ["test", *rest]:
                return test(rest)
            case ["manage", *rest]:
                return manage(rest)
            case ["clean"]:
                return clean()
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except (
        AlreadyRunning,
        ChromiumError,
        MigrationFailed,
        PortsError,
        PostgresError,
        SupervisorError,
    ) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
