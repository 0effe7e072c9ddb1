"""Where master keys come from: the settings themselves, a command's output, or a key service that is plugged in.

A file is the settings' own affair (VAULT_KEYS_FILE, partnerhub.lib.config).
"""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import subprocess
from typing import Final

from partnerhub.lib.vault.keys import KeyService, MasterKeys, VaultError

# Gunicorn gives up on a web process that takes 30 s to start.
COMMAND_SECONDS: Final = 20
_GIVE_ONE: Final = "give one of VAULT_KEYS, VAULT_KEYS_FILE, VAULT_KEYS_COMMAND, VAULT_KEY_SERVICE"


def key_service(*, keys: str | None, command: str, service: str) -> KeyService:
    """The key service that the settings name. Runs the command, once.

    `keys` are the text of VAULT_KEYS or of its file, None where neither is set. Raises VaultError with a sentence,
    also where none of the three is given, or more than one.
    """
    given = [keys is not None, bool(command), bool(service)].count(True)
    if not given:
        raise VaultError(f"The master keys are not set: {_GIVE_ONE}.")
    if given > 1:
        raise VaultError(f"The master keys are set more than once: {_GIVE_ONE}.")
    if service:
        return _plugged(service)
    if command:
        return MasterKeys.parse(_output(command), source="VAULT_KEYS_COMMAND")
    return MasterKeys.parse(keys or "")


def _output(command: str) -> str:
    """What the command prints. What it says on standard error is not read: nobody knows what it holds."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise VaultError("VAULT_KEYS_COMMAND: its quotes do not match.") from None
    if not words:
        raise VaultError("VAULT_KEYS_COMMAND is empty.")
    try:
        process = subprocess.Popen(  # noqa: S603  (the operator's own command, in no shell)
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A group of its own: what the command starts ends with it.
            start_new_session=True,
        )
    except OSError as error:
        raise VaultError(f"VAULT_KEYS_COMMAND: {words[0]} cannot be started ({error.strerror}).") from None
    with process:
        try:
            output, _ = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise VaultError(f"VAULT_KEYS_COMMAND did not end within {COMMAND_SECONDS:g} s.") from None
    if process.returncode:
        raise VaultError(
            f"VAULT_KEYS_COMMAND ended with {process.returncode}; run it by hand to see what it says."
        )
    try:
        return output.decode()
    except UnicodeDecodeError:
        raise VaultError("VAULT_KEYS_COMMAND: what it prints is not text.") from None


def _plugged(service: str) -> KeyService:
    """What `module:factory` makes, called without arguments."""
    module, _, factory = service.partition(":")
    try:
        made: KeyService = getattr(importlib.import_module(module), factory)()
    except VaultError:
        raise
    except Exception as error:  # noqa: BLE001  (somebody's module may raise anything)
        # Its text may hold anything, a credential of the service, too.
        raise VaultError(
            f"VAULT_KEY_SERVICE: {service} cannot be used ({type(error).__name__}); give it as module:factory."
        ) from None
    return made
