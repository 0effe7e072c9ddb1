"""Where the master keys come from: exactly one place, and a sentence that shows no key where it cannot be used."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from partnerhub.lib.config import read_config
from partnerhub.lib.vault import (
    KeyService,
    KeyServiceAwayError,
    MasterKeys,
    Secret,
    Vault,
    VaultError,
    key_service,
    new_key_line,
    source,
)
from tests.support.collector import CollectorProcess
from tests.support.key_service import CHATTER, KeyServer, RemoteKeys

KEY = base64.b64encode(b"canary-of-the-master-key-7d1f03e").decode()
LINE = f"k1:{KEY}"
TOKEN = "EAAcanary00000000000000000000000000wxyz"
IDENTITY = "credential:0190c0de"
GIVE_ONE = "give one of VAULT_KEYS, VAULT_KEYS_FILE, VAULT_KEYS_COMMAND, VAULT_KEY_SERVICE."
ENVIRONMENT = {
    "SECRET_KEY": "of-the-tests-and-forty-characters-or-more",
    "DATABASE_URL_APP": "postgresql://app@db.example/hub",
    "DATABASE_URL_WORKER": "postgresql://worker@db.example/hub",
    "DATABASE_URL_DOOR": "postgres://door@db.example/hub",
    "PUBLIC_URL": "https://hub.example/",
    "COLLECTOR_URL": "https://events.hub.example",
}


def given(*, keys: str | None = None, command: str = "", service: str = "") -> KeyService:
    return key_service(keys=keys, command=command, service=service)


def refusal(*, keys: str | None = None, command: str = "", service: str = "") -> str:
    with pytest.raises(VaultError) as caught:
        given(keys=keys, command=command, service=service)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert CHATTER not in shown
    return str(caught.value)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A command of the test's own; its arguments are printed, in lines."""
    path = tmp_path / "print the keys"
    path.write_text('#!/bin/sh\nfor line in "$@"; do echo "$line"; done\n')
    path.chmod(0o700)
    return path


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer("far", "farther") as server:
        yield server


# Which of them.


def test_keys_are_taken_from_the_settings() -> None:
    assert repr(given(keys=LINE)) == "MasterKeys(k1)"


def test_keys_in_a_file_may_stand_in_lines(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{new_key_line('new')}\n{LINE}\n\n")

    held = read_config(ENVIRONMENT | {"VAULT_KEYS_FILE": str(tmp_path / "keys")}).vault_keys

    assert held is not None
    assert repr(given(keys=held.get_secret_value())) == "MasterKeys(new, k1)"


def test_none_is_a_sentence() -> None:
    assert refusal() == f"The master keys are not set: {GIVE_ONE}"


def test_an_empty_value_is_not_taken_for_none() -> None:
    assert refusal(keys="") == "There is no master key: VAULT_KEYS is empty."


@pytest.mark.parametrize(
    "places",
    [
        {"keys": LINE, "command": "true"},
        {"keys": LINE, "service": "a:b"},
        {"command": "true", "service": "a:b"},
        {"keys": "", "command": "true"},
    ],
)
def test_more_than_one_is_a_sentence(places: dict[str, str]) -> None:
    assert refusal(**places) == f"The master keys are set more than once: {GIVE_ONE}"


# A command.


def test_a_command_prints_the_keys_and_its_words_are_split_as_a_shell_splits_them(script: Path) -> None:
    keys = given(command=f"'{script}' '{new_key_line('new')}' {LINE}")

    assert repr(keys) == "MasterKeys(new, k1)"


def test_no_shell_reads_the_command(script: Path, tmp_path: Path) -> None:
    sentence = refusal(command=f"'{script}' $(touch {tmp_path}/made) > {tmp_path}/made")

    assert sentence.startswith("VAULT_KEYS_COMMAND, key 1: give it as name:base64")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("'unbalanced", "VAULT_KEYS_COMMAND: its quotes do not match."),
        ("  ", "VAULT_KEYS_COMMAND is empty."),
        (
            "/nowhere/keys --of hub",
            "VAULT_KEYS_COMMAND: /nowhere/keys cannot be started (No such file or directory).",
        ),
        ("/", "VAULT_KEYS_COMMAND: / cannot be started (Permission denied)."),
        ("true", "There is no master key: VAULT_KEYS_COMMAND is empty."),
        ("printf 'k1:%s' AAAA", "VAULT_KEYS_COMMAND: the key k1 has 3 bytes; 32 are needed."),
        (r"printf '\377'", "VAULT_KEYS_COMMAND: what it prints is not text."),
        (
            f"sh -c 'echo {LINE}; echo {LINE} >&2; exit 3'",
            "VAULT_KEYS_COMMAND ended with 3; run it by hand to see what it says.",
        ),
        (
            "sh -c 'kill -9 $$'",
            "VAULT_KEYS_COMMAND ended with -9; run it by hand to see what it says.",
        ),
    ],
)
def test_a_command_of_no_use_is_a_sentence_without_what_it_said(
    command: str, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert refusal(command=command) == sentence
    assert KEY not in "".join(capfd.readouterr())


def test_what_a_good_command_says_on_standard_error_is_shown_nowhere(
    capfd: pytest.CaptureFixture[str],
) -> None:
    given(command=f"sh -c 'echo {LINE} >&2; echo {LINE}'")

    assert capfd.readouterr() == ("", "")


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(source, "COMMAND_SECONDS", 0.5)

    # The child keeps the pipe open: whoever waits for its end would wait a minute.
    sentence = refusal(command=f"sh -c 'sleep 60 & echo $! > {tmp_path}/pid; wait'")

    assert sentence == "VAULT_KEYS_COMMAND did not end within 0.5 s."
    assert has_ended(int((tmp_path / "pid").read_text()))


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or a corpse that nobody has fetched, within some seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


# A key service that is plugged in.


def test_master_keys_are_a_key_service() -> None:
    service: KeyService = MasterKeys({"k1": b"k" * 32})

    assert service.unwrap(service.wrap(b"data", name="k1", context=b"c"), name="k1", context=b"c") == b"data"


def test_a_key_service_far_away_seals_and_opens(server: KeyServer) -> None:
    vault = Vault(RemoteKeys(server.url))

    sealed = vault.seal(Secret(TOKEN), identity=IDENTITY)

    assert vault.open(sealed, identity=IDENTITY).reveal() == TOKEN
    assert vault.key_name(sealed) == vault.primary == "far"
    with pytest.raises(VaultError, match=r"credential:other, under the master key far"):
        vault.open(sealed, identity="credential:other")


def test_a_key_service_names_another_primary_and_opens_the_former_ones(server: KeyServer) -> None:
    vault = Vault(RemoteKeys(server.url))
    before = vault.seal(Secret(TOKEN), identity=IDENTITY)

    server.primary = "farther"

    assert vault.key_name(vault.seal(Secret(TOKEN), identity=IDENTITY)) == "farther"
    assert vault.open(before, identity=IDENTITY).reveal() == TOKEN


def test_a_key_that_the_service_has_not_is_a_broken_secret_and_not_a_service_away(server: KeyServer) -> None:
    vault = Vault(RemoteKeys(server.url))
    sealed = vault.seal(Secret(TOKEN), identity=IDENTITY)
    del server.keys["far"]

    with pytest.raises(VaultError) as caught:
        vault.open(sealed, identity=IDENTITY)

    assert type(caught.value) is VaultError
    assert str(caught.value) == (
        "The secret of credential:0190c0de, under the master key far, cannot be opened."
        " The key service does not open it with far."
    )


@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_service_that_is_away_says_nothing_of_the_secret(server: KeyServer, status: int) -> None:
    vault = Vault(RemoteKeys(server.url))
    sealed = vault.seal(Secret(TOKEN), identity=IDENTITY)
    # With 200 it answers what is no JSON, at which the client breaks in its own way.
    server.status = status

    with pytest.raises(KeyServiceAwayError, match="credential:0190c0de, under the master key far") as opening:
        vault.open(sealed, identity=IDENTITY)
    with pytest.raises(KeyServiceAwayError, match="credential:0190c0de cannot be sealed now") as sealing:
        vault.seal(Secret(TOKEN), identity=IDENTITY)

    for caught in (opening, sealing):
        shown = "".join(traceback.format_exception(caught.value))
        assert TOKEN not in shown
        assert CHATTER not in shown


def test_a_service_that_was_ended_is_away(server: KeyServer) -> None:
    vault = Vault(RemoteKeys(server.url))
    sealed = vault.seal(Secret(TOKEN), identity=IDENTITY)
    server.stop()

    with pytest.raises(KeyServiceAwayError, match="does not answer"):
        vault.open(sealed, identity=IDENTITY)


@pytest.mark.parametrize(
    ("primary", "wrapped", "sentence"),
    [
        ("", b"w", "no name that a master key may have"),
        ("Not A Name", b"w", "no name that a master key may have"),
        (None, b"w", "no name that a master key may have"),
        ("k1", b"", "wrapped a key in 0 bytes"),
        ("k1", b"w" * 65_536, "wrapped a key in 65536 bytes"),
        ("k1", b"short", "altered, or sealed for another row"),
        ("k1", None, "failed with TypeError"),
    ],
)
def test_a_service_that_does_not_keep_to_the_interface_fails_at_the_start(
    primary: str, wrapped: bytes, sentence: str
) -> None:
    class Careless:
        def __init__(self) -> None:
            self.primary = primary

        def wrap(self, data_key: bytes, *, name: str, context: bytes) -> bytes:
            return wrapped

        def unwrap(self, wrapped: bytes, *, name: str, context: bytes) -> bytes:
            return b"another data key"

    with pytest.raises(VaultError, match=sentence):
        Vault(Careless()).probe()


def test_a_factory_is_named_by_module_and_name(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_SERVICE_URL", server.url)

    Vault(given(service="tests.support.key_service:from_environment")).probe()

    assert server.calls == ["primary", "wrap", "unwrap"]


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ("nowhere.keys:make", "ModuleNotFoundError"),
        ("tests.support.key_service:missing", "AttributeError"),
        ("tests.support.key_service", "AttributeError"),
        (":", "ValueError"),
        # The environment does not say where the service is.
        ("tests.support.key_service:from_environment", "KeyError"),
    ],
)
def test_a_factory_of_no_use_is_a_sentence(service: str, kind: str) -> None:
    assert refusal(service=service) == (
        f"VAULT_KEY_SERVICE: {service} cannot be used ({kind}); give it as module:factory."
    )


# New keys.


def test_a_new_key_can_be_used_as_it_is_printed() -> None:
    first, second = new_key_line("autumn-2026"), new_key_line("autumn-2026")

    assert MasterKeys.parse(first).primary == "autumn-2026"
    assert first != second


@pytest.mark.parametrize("name", ["", "Autumn", "with space", "a:b", "a,b", "x" * 33, "-x", "é"])
def test_a_key_that_could_not_be_read_again_is_not_made(name: str) -> None:
    with pytest.raises(VaultError, match="A key cannot be called"):
        new_key_line(name)


# Each process looks at its start.


def started(*words: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """The process, which is to end by itself, with these changes to the environment."""
    environment = {**os.environ, **changes}
    return subprocess.run(
        [sys.executable, *words],
        env={name: value for name, value in environment.items() if value is not None},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


PROCESSES = {
    "web": [
        *("-m", "gunicorn", "partnerhub.wsgi", "--bind", "127.0.0.1:0"),
        *("--worker-class", "gthread", "--no-control-socket"),
    ],
    "worker": ["-m", "celery", "--app", "partnerhub", "worker"],
    "beat": ["-m", "celery", "--app", "partnerhub", "beat", "--schedule", "/dev/null"],
    "operator": ["manage.py", "check"],
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (None, f"The master keys are not set: {GIVE_ONE}"),
        (f"k1:{KEY[:20]}", "VAULT_KEYS: the key k1 has 15 bytes; 32 are needed."),
    ],
)
def test_no_process_starts_without_usable_keys(process: str, keys: str | None, sentence: str) -> None:
    ended = started(
        *PROCESSES[process], PROCESS="operator" if process == "operator" else "worker", VAULT_KEYS=keys
    )

    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert f"PartnerHub cannot start:\n{sentence}\n" in said
    assert "Traceback" not in said
    assert KEY[:20] not in said


def test_no_process_starts_where_the_key_service_does_not_answer(server: KeyServer) -> None:
    server.stop()

    ended = started(
        *PROCESSES["operator"],
        VAULT_KEYS=None,
        VAULT_KEY_SERVICE="tests.support.key_service:from_environment",
        KEY_SERVICE_URL=server.url,
        PYTHONPATH=".",
    )

    assert ended.returncode == 1
    assert "PartnerHub cannot start:\nThe secret of the start-up probe cannot be sealed now." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_collector_starts_without_them_for_it_seals_and_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VAULT_KEYS")

    with CollectorProcess() as collector:
        assert requests.get(f"{collector.base_url}/healthz", timeout=5).status_code == 200


def test_a_process_runs_the_command_once(tmp_path: Path) -> None:
    script = tmp_path / "keys"
    script.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\necho {LINE}\n")
    script.chmod(0o700)

    ended = started(*PROCESSES["operator"], VAULT_KEYS=None, VAULT_KEYS_COMMAND=str(script))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs").read_text() == "run\n"
