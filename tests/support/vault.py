"""The test's own process with other master keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from partnerhub.lib.config import config
from tenants.secrets import vault


@contextmanager
def master_keys(*lines: str) -> Iterator[None]:
    """The vault under these keys, the first of them sealing."""
    with vault_settings(VAULT_KEYS=",".join(lines)):
        yield


@contextmanager
def vault_settings(**environment: str) -> Iterator[None]:
    """The vault as these variables, and no other ones of its own, make it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VAULT_KEYS", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        _forget()
        try:
            yield
        finally:
            patch.undo()
            _forget()


def _forget() -> None:
    config.cache_clear()
    vault.cache_clear()
