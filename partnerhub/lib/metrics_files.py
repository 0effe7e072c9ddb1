"""The files that processes count in, read by the exporter; those of ended processes are folded into one.

A sum must not go back when a process ends, or Prometheus takes it for a new beginning and counts all of it again. So
what an ended process counted is kept, in one file a kind however many have ended. Whoever dies in between leaves a
list that the next one works off: nothing is counted twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from partnerhub.lib.metrics import LOCK, PROCESSES

# In a file's name, in place of a process.
GRAVE: Final = "grave"
# Kinds of files whose amounts outlive their process; a gauge of the living dies with it.
KEPT: Final = ("counter", "histogram", "gauge_mostrecent")
# Two exporters on one folder take turns.
_TURN: Final = "exporter.turn"
# What is being folded: there from when the new files are complete until the old ones are gone.
_LIST: Final = "burial.json"


def collect(folder: Path) -> list[Any]:
    """prometheus-client's metrics of all processes, the ended ones among them."""
    with _turn(folder):
        bury(folder)
        return list(MultiProcessCollector(None, path=str(folder)).collect())


def living(folder: Path) -> Counter[str]:
    """How many processes of each kind live."""
    counts: Counter[str] = Counter(dict.fromkeys(PROCESSES, 0))
    counts.update(lock.name.partition("-")[0] for lock in folder.glob(f"*{LOCK}") if not _is_dead(lock))
    return counts


def bury(folder: Path) -> None:
    """Fold the files of ended processes into the grave's, and forget what they alone could tell."""
    _finish(folder)
    # The files first: a process has its lock before it has a file.
    files = sorted(folder.glob("*.db"))
    dead_locks = [lock for lock in folder.glob(f"*{LOCK}") if _is_dead(lock)]
    live = {lock.name.removesuffix(LOCK) for lock in folder.glob(f"*{LOCK}")} - {
        lock.name.removesuffix(LOCK) for lock in dead_locks
    }
    dead = [file for file in files if _owner(file) not in live | {GRAVE}]
    if not dead and not dead_locks:
        return
    drafts: list[str] = []
    for kind in KEPT:
        mine = [file for file in dead if file.name.startswith(f"{kind}_")]
        if mine:
            grave = folder / f"{kind}_{GRAVE}.db"
            draft = folder / f"{grave.name}.draft"
            draft.unlink(missing_ok=True)
            _fold([*([grave] if grave.exists() else []), *mine], draft, adds=not kind.startswith("gauge"))
            drafts.append(draft.name)
    listed = folder / f"{_LIST}.draft"
    listed.write_text(json.dumps({"drafts": drafts, "dead": [one.name for one in (*dead, *dead_locks)]}))
    listed.rename(folder / _LIST)
    _finish(folder)


def _finish(folder: Path) -> None:
    """Work the list off, from wherever it was left."""
    try:
        listed = json.loads((folder / _LIST).read_text())
    except FileNotFoundError:
        return
    for name in listed["dead"]:
        (folder / name).unlink(missing_ok=True)
    for name in listed["drafts"]:
        draft = folder / name
        if draft.exists():
            draft.rename(folder / name.removesuffix(".draft"))
    (folder / _LIST).unlink()


def _fold(files: Iterable[Path], target: Path, *, adds: bool) -> None:
    amounts: dict[str, tuple[float, float]] = {}
    for file in files:
        for key, amount, moment, _ in MmapedDict.read_all_values_from_file(str(file)):
            before = amounts.get(key)
            if before is None:
                amounts[key] = (amount, moment)
            elif adds:
                amounts[key] = (before[0] + amount, 0.0)
            elif moment >= before[1]:
                amounts[key] = (amount, moment)
    book = MmapedDict(str(target))
    for key, (amount, moment) in amounts.items():
        book.write_value(key, amount, moment)
    book.close()


def _owner(file: Path) -> str:
    return file.stem.rpartition("_")[2]


def _is_dead(lock: Path) -> bool:
    """Whether nobody holds the lock: its process has ended, in whichever container it ran."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    with (folder / _TURN).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
