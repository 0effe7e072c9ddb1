"""The browser of the browser tests: found, or installed where that is one command away."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


class ChromiumError(Exception):
    """There is no browser; the text is a sentence that says what to do."""


def ensure_chromium() -> Path:
    """The path of CHROMIUM_PATH's browser, or of one on the PATH.

    On Debian as root it is installed with apt where there is none. Raises ChromiumError elsewhere.
    """
    if given := os.environ.get("CHROMIUM_PATH"):
        if not os.access(given, os.X_OK):
            raise ChromiumError(f"CHROMIUM_PATH is {given}, which is no program.")
        return Path(given)
    found = _on_path()
    if found is None and _is_debian() and os.geteuid() == 0:
        print("installing Chromium with apt, once …", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (("update", "-q"), ("install", "-y", "-q", "--no-install-recommends", "chromium")):
            done = subprocess.run(
                ("apt-get", *command), env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ChromiumError(f"apt-get {command[0]} failed.\n{done.stderr or done.stdout}")
        found = _on_path()
    if found is None:
        raise ChromiumError(
            "The browser tests need Chromium: install it (on Debian: apt-get install chromium), or give the"
            " path of one as CHROMIUM_PATH."
        )
    return found


def _on_path() -> Path | None:
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    return None


def _is_debian() -> bool:
    """Debian itself: Ubuntu's package of that name only points at a snap, which tests cannot start."""
    try:
        return platform.freedesktop_os_release().get("ID") == "debian"
    except OSError:
        return False
