"""How much memory processes take: proportional set sizes, in which sharers divide a shared page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def descendants(roots: Iterable[int]) -> set[int]:
    """The pids of `roots` that live, and of all processes that descend from them."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # The name in the second field may hold spaces and brackets; it ends with the last bracket.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[int] = set()
    waiting = [pid for pid in roots if (PROC / str(pid)).exists()]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def proportional_bytes(pid: int) -> int:
    """The process's PSS in bytes; 0 where it has ended."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (OSError, ProcessLookupError):
        return 0
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def tree_bytes(roots: Iterable[int]) -> int:
    """The sum of the PSS of `roots` and their descendants, in bytes."""
    return sum(map(proportional_bytes, descendants(roots)))
