"""`python -m partnerhub.dev`: the commands behind the Makefile's."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from partnerhub.dev import postgres
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


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m partnerhub.dev")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="play the main job from end to end, and stay up")
    demo.add_argument("--once", action="store_true", help="stop when it is played")
    commands.add_parser("dev", help="run the processes, with reload")
    commands.add_parser("clean", help="stop the servers and remove .partnerhub")
    operator = commands.add_parser("manage", help="run manage.py on the local database")
    operator.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "demo":
                from partnerhub.dev.demo import play

                return play(once=options.once)
            case "dev":
                return develop()
            case "manage":
                return manage(options.arguments)
            case _:
                return clean()
    except (AlreadyRunning, MigrationFailed, PortsError, PostgresError, SupervisorError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
