"""The embedded PostgreSQL: where it lies, whom it runs as, who holds it, what it survives.

As root these tests also show that the server works under folders that are closed to its own user: pytest's
temporary folders have mode 0700.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from partnerhub.dev import keeper, postgres
from partnerhub.dev.postgres import CHECKOUT, Cluster, PostgresError
from tests.dev.test_supervisor import eventually, is_alive

HOLDER = """
import sys, time
from pathlib import Path
from partnerhub.dev import postgres
postgres.ensure_running(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    postgres.remove(tmp_path)


def postmaster_of(state: Path) -> int:
    keeper_pid = postgres.keeper_pid(state)
    (child,) = Path(f"/proc/{keeper_pid}/task/{keeper_pid}/children").read_text().split()
    return int(child)


def one(cluster: Cluster, query: str) -> object:
    with cluster.admin() as admin:
        row = admin.execute(query).fetchone()
    assert row is not None
    return row[0]


def capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (effective,) = [line.split()[1] for line in lines if line.startswith("CapEff:")]
    return int(effective, 16)


def test_server_listens_on_a_socket_that_only_its_user_reaches(state: Path) -> None:
    with postgres.ensure_running(state) as cluster:
        assert one(cluster, "SHOW listen_addresses") == ""
        assert one(cluster, "SHOW unix_socket_directories") == str(postgres.socket_folder(state / "postgres"))
        assert one(cluster, "SHOW data_directory") == str(state / "postgres" / "data")
    for folder in (state / "postgres", postgres.socket_folder(state / "postgres")):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_folder_that_was_open_to_others_is_closed(state: Path) -> None:
    sockets = state / "postgres" / "socket"
    sockets.mkdir(parents=True)
    sockets.chmod(0o777)

    with postgres.ensure_running(state):
        assert sockets.stat().st_mode & 0o777 == 0o700


def test_server_keeps_its_promises_about_what_is_written(state: Path) -> None:
    with postgres.ensure_running(state) as cluster:
        settings = {
            name: one(cluster, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "data_checksums")
        }

    assert settings == {"fsync": "on", "synchronous_commit": "on", "data_checksums": "on"}


def test_server_never_runs_as_root_and_keeps_one_capability_at_most(state: Path) -> None:
    with postgres.ensure_running(state):
        postmaster = postmaster_of(state)

        owner = (state / "postgres").stat()
        assert Path(f"/proc/{postmaster}").stat().st_uid == owner.st_uid != 0
        # CAP_DAC_OVERRIDE, number 1, where a folder above is closed to the server's user.
        closed = not keeper.is_reachable(state / "postgres", owner.st_uid, owner.st_gid)
        assert capabilities(postmaster) == (0b10 if closed else 0)


def test_folders_above_are_left_as_they_were(state: Path) -> None:
    before = [(path.stat().st_uid, path.stat().st_mode) for path in (state, *state.parents)]

    with postgres.ensure_running(state):
        pass

    assert [(path.stat().st_uid, path.stat().st_mode) for path in (state, *state.parents)] == before


def test_second_call_finds_the_server_that_runs(state: Path) -> None:
    with postgres.ensure_running(state):
        first = postmaster_of(state)

        with postgres.ensure_running(state):
            assert postmaster_of(state) == first


def test_server_stays_for_the_last_holder_and_goes_with_it(state: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with postgres.ensure_running(state):
        postmaster = postmaster_of(state)

    assert is_alive(postmaster)
    other.kill()
    other.wait()
    other.stdout.close()
    assert eventually(lambda: not is_alive(postmaster))


def test_rows_outlive_a_kill_of_everything(state: Path) -> None:
    with postgres.ensure_running(state) as cluster:
        with cluster.admin() as admin:
            admin.execute("CREATE TABLE kept AS SELECT 7 AS n")
        keeper_pid, postmaster = postgres.keeper_pid(state), postmaster_of(state)
        assert keeper_pid is not None
        os.kill(keeper_pid, signal.SIGKILL)
        os.kill(postmaster, signal.SIGKILL)
    # The number of a process that lives, as after a restart of the machine.
    stale = state / "postgres" / "data" / "postmaster.pid"
    stale.write_text(stale.read_text().replace(str(postmaster), "1", 1))

    with postgres.ensure_running(state) as cluster:
        assert one(cluster, "SELECT n FROM kept") == 7


def test_killed_server_is_started_again(state: Path) -> None:
    with postgres.ensure_running(state) as cluster:
        kept_by, first = postgres.keeper_pid(state), postmaster_of(state)

        os.kill(first, signal.SIGKILL)

        assert eventually(lambda: not is_alive(first))
        with postgres.ensure_running(state):
            assert one(cluster, "SELECT 1") == 1
        assert postgres.keeper_pid(state) == kept_by


def test_server_that_cannot_start_says_why(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres.SETTINGS, "shared_buffers", "a lot")

    with pytest.raises(PostgresError, match='invalid value for parameter "shared_buffers": "a lot"'):
        postgres.ensure_running(state)


def test_deep_checkout_has_its_socket_in_a_short_folder(state: Path) -> None:
    deep = state / ("d" * 60) / ("e" * 60)

    with postgres.ensure_running(deep) as cluster:
        sockets = Path(cluster.parameters["host"])
        assert one(cluster, "SELECT 1") == 1
        assert not sockets.is_relative_to(state)
        assert sockets.stat().st_mode & 0o777 == 0o700
    postgres.remove(deep)

    assert not sockets.exists()


def test_short_folder_of_somebody_else_is_refused(state: Path) -> None:
    deep = state / ("d" * 60) / ("e" * 60)
    sockets = postgres.socket_folder(deep / "postgres")
    sockets.symlink_to(state)

    with pytest.raises(PostgresError, match="belongs to another user"):
        postgres.ensure_running(deep)
    sockets.unlink()


def test_tests_refuse_an_address_that_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://[")

    with pytest.raises(PostgresError, match=r"^TEST_DATABASE_URL is no PostgreSQL address"):
        postgres.server_for_tests()


def test_tests_refuse_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", f"postgresql://postgres@/postgres?host={tmp_path}")

    with pytest.raises(PostgresError, match=r"^TEST_DATABASE_URL does not answer"):
        postgres.server_for_tests()


def test_tests_refuse_a_role_that_is_no_superuser(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.ensure_running(state) as cluster:
        with cluster.admin() as admin:
            admin.execute("CREATE ROLE ordinary LOGIN")
        monkeypatch.setenv("TEST_DATABASE_URL", cluster.url("ordinary", "postgres"))

        with pytest.raises(PostgresError, match="must name a superuser"):
            postgres.server_for_tests()


def test_given_server_is_reached_with_derived_passwords(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.ensure_running(state) as cluster:
        monkeypatch.setenv("TEST_DATABASE_URL", cluster.url("postgres", "postgres"))

        server = postgres.server_for_tests({"app": "some_app"})

        parts = psycopg.conninfo.conninfo_to_dict(server.url("some_app", "some_database"))
        assert (parts["user"], parts["dbname"], parts["host"]) == (
            "some_app",
            "some_database",
            cluster.parameters["host"],
        )
        assert len(str(parts["password"])) == 64
        assert "password" not in psycopg.conninfo.conninfo_to_dict(server.url("postgres", "postgres"))
