"""Sums of memory: whole trees of processes, and every page once."""

from __future__ import annotations

import os
import subprocess
import sys

from partnerhub.dev.memory import descendants, proportional_bytes, tree_bytes

MEBIBYTE = 2**20
CHILD = "block = bytearray(32 * 2**20); print('up', flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_tree_holds_children_of_children_and_what_they_use() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()

    pids = descendants([parent.pid])
    used = tree_bytes([parent.pid])
    parent.communicate("\n")

    assert parent.pid in pids
    assert len(pids) == 2
    assert 32 * MEBIBYTE < used < 72 * MEBIBYTE


def test_process_that_has_ended_uses_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert descendants([ended.pid]) == set()
    assert proportional_bytes(ended.pid) == 0


def test_this_process_is_its_own_root() -> None:
    assert os.getpid() in descendants([os.getpid()])
