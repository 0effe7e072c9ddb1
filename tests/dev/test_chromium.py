"""Which browser the tests take, and what they say where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from partnerhub.dev import chromium
from partnerhub.dev.chromium import ChromiumError, ensure_chromium


def test_given_browser_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM_PATH", str(browser))

    assert ensure_chromium() == browser


def test_given_path_without_a_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM_PATH", str(tmp_path / "none"))

    with pytest.raises(ChromiumError, match=r"^CHROMIUM_PATH is .*/none, which is no program\.$"):
        ensure_chromium()


def test_machine_without_a_browser_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHROMIUM_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "_is_debian", lambda: False)

    with pytest.raises(ChromiumError, match="CHROMIUM_PATH"):
        ensure_chromium()
