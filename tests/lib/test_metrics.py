"""The list of metrics, and what processes leave in the folder that they count in."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from partnerhub.lib import metrics, metrics_files
from partnerhub.lib.metrics import Counter, Family, Gauge, Histogram

CHECKOUT = Path(__file__).resolve().parents[2]
# Counts what its lines of input say, answers each with a line, and lives until it is killed.
COUNTING = """
import sys
from partnerhub.lib import metrics
metrics.begin("worker")
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Counting:
    """A process that counts."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COUNTING],
            cwd=CHECKOUT,
            env={**os.environ, "METRICS_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def counting(folder: Path, count: int) -> Iterator[list[Counting]]:
    processes = [Counting(folder) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            if process._process.poll() is None:
                process.kill()


def values(folder: Path, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics_files.collect(folder)
        for sample in family.samples
        if sample.name == name
    }


# The list.


@pytest.mark.parametrize("family", Family.all, ids=lambda family: family.name)
def test_names_are_as_prometheus_wants_them_and_labels_name_no_tenant(family: Family) -> None:
    assert re.fullmatch(r"partnerhub_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == isinstance(family, Counter)
    assert not re.search(r"_(ms|minutes|hours|kilobytes)$", family.name)
    assert family.help.endswith(".")
    assert len(family.labels) <= 1
    for label, allowed in family.labels.items():
        assert label in {
            "outcome",
            "reason",
            "found",
            "status",
            "process",
            "why",
            "then",
            "hold",
            "state",
            "days",
            "queue",
        }
        assert len(allowed) == len(set(allowed)) <= 26


def test_every_title_of_a_refusal_is_a_reason() -> None:
    titles: set[str] = set()
    for room in ("refusals", "payload"):
        for node in ast.walk(ast.parse((CHECKOUT / f"events/{room}.py").read_text())):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in {"Refusal", "_Fault"}:
                continue
            said = [word.value for word in node.keywords if word.arg == "title"] + node.args[3:4]
            titles |= {str(one.value) for one in said if isinstance(one, ast.Constant)}

    (reasons,) = metrics.DOOR_REFUSALS.labels.values()
    assert {title.lower().replace(" ", "_") for title in titles} == set(reasons) - {
        "invalid_parameter",
        "other",
    }


def test_no_name_stands_twice() -> None:
    names = [family.name for family in Family.all]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "family", [one for one in Family.all if isinstance(one, Histogram)], ids=lambda one: one.name
)
def test_buckets_go_up(family: Histogram) -> None:
    assert all(lower < upper for lower, upper in pairwise(family.buckets))


# Off.


def test_without_a_folder_nothing_is_counted_and_the_library_not_read() -> None:
    code = (
        "import sys\nfrom partnerhub.lib import metrics\nmetrics.begin('web')\n"
        "metrics.HINTS.add('sent')\nmetrics.DOOR_SECONDS.observe(1)\nmetrics.DELIVERY_SENDS.set(1)\n"
        "metrics.DELIVERY_SENDS.add(1)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('prometheus_client', 'opentelemetry')])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "METRICS_DIR"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"


# Several processes.


def test_processes_are_added_up_and_a_dead_ones_count_stays(tmp_path: Path) -> None:
    with counting(tmp_path, 2) as (first, second):
        first.do("metrics.HINTS.add('sent', by=3)")
        second.do("metrics.HINTS.add('sent', by=4)")
        both = values(tmp_path, "partnerhub_hints_total")
        living = metrics_files.living(tmp_path)["worker"]
        first.kill()
        after = values(tmp_path, "partnerhub_hints_total")
        second.do("metrics.HINTS.add('sent')")
        later = values(tmp_path, "partnerhub_hints_total")
        left = metrics_files.living(tmp_path)["worker"]

    assert both == {("sent",): 7, ("lost",): 0}
    assert (after[("sent",)], later[("sent",)]) == (7, 8)
    assert (living, left) == (2, 1)


def test_however_many_processes_end_their_files_do_not_pile_up(tmp_path: Path) -> None:
    for _ in range(4):
        with counting(tmp_path, 1) as (one,):
            one.do("metrics.HINTS.add('sent')")
            one.do("metrics.DOOR_SECONDS.observe(0.03)")
            one.do("metrics.DOOR_QUEUE_EVENTS.set(5)")
            one.do("metrics.LEDGER_FINDINGS.set(2)")
        seen = values(tmp_path, "partnerhub_hints_total")[("sent",)]

    assert seen == 4
    assert values(tmp_path, "partnerhub_door_seconds_count") == {(): 4}
    assert values(tmp_path, "partnerhub_door_seconds_bucket")[("0.05",)] == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "counter_grave.db",
        "exporter.turn",
        "gauge_mostrecent_grave.db",
        "histogram_grave.db",
    ]


def test_a_dead_processs_queue_is_forgotten_and_the_last_ledger_check_is_not(tmp_path: Path) -> None:
    with counting(tmp_path, 2) as (first, second):
        first.do("metrics.DOOR_QUEUE_EVENTS.set(5)")
        second.do("metrics.DOOR_QUEUE_EVENTS.set(7)")
        first.do("metrics.LEDGER_FINDINGS.set(3)")
        second.do("metrics.LEDGER_FINDINGS.set(1)")
        assert values(tmp_path, "partnerhub_door_queue_events") == {(): 12}
        second.kill()

        assert values(tmp_path, "partnerhub_door_queue_events") == {(): 5}
        assert values(tmp_path, "partnerhub_ledger_findings") == {(): 1}
        first.kill()

        assert values(tmp_path, "partnerhub_door_queue_events") == {}
        assert values(tmp_path, "partnerhub_ledger_findings") == {(): 1}


def test_a_fork_counts_in_a_file_of_its_own(tmp_path: Path) -> None:
    with counting(tmp_path, 1) as (one,):
        one.do("metrics.HINTS.add('sent')")
        one.do(
            "import os; pid = os.fork(); metrics.HINTS.add('sent'); pid or os._exit(0); os.waitpid(pid, 0)"
        )

        assert values(tmp_path, "partnerhub_hints_total")[("sent",)] == 3


def test_a_label_that_is_not_on_the_list_counts_as_other(tmp_path: Path) -> None:
    with counting(tmp_path, 1) as (one,):
        one.do("metrics.DOOR_REFUSALS.add('whatever_a_client_sent')")
        one.do("metrics.DOOR_REFUSALS.add('something_else')")

        counted = values(tmp_path, "partnerhub_door_refusals_total")

    assert counted.pop(("other",)) == 2
    assert set(counted.values()) == {0}


@pytest.mark.parametrize("until", ["list", "first file gone", "all files gone", "draft in place"])
def test_an_exporter_that_dies_while_it_folds_counts_nothing_twice(
    tmp_path: Path, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting(tmp_path, 2) as (first, second):
        first.do("metrics.HINTS.add('sent', by=3)")
        second.do("metrics.HINTS.add('sent', by=4)")
    with monkeypatch.context() as patched:
        patched.setattr(metrics_files, "_finish", lambda folder: None)
        metrics_files.bury(tmp_path)
    listed = sorted(file for file in tmp_path.glob("*.db"))
    if until == "first file gone":
        listed[0].unlink()
    elif until != "list":
        for file in listed:
            file.unlink()
    if until == "draft in place":
        (tmp_path / "counter_grave.db.draft").rename(tmp_path / "counter_grave.db")

    assert values(tmp_path, "partnerhub_hints_total")[("sent",)] == 7
    assert values(tmp_path, "partnerhub_hints_total")[("sent",)] == 7


def test_a_file_just_made_is_read_as_empty(tmp_path: Path) -> None:
    MmapedDict(str(tmp_path / "counter_grave.db")).close()

    assert metrics_files.collect(tmp_path) == []


def test_what_is_folded_are_the_kinds_of_files_that_outlive_a_process() -> None:
    kept = {f"{one.kind}_{one.mode}" if isinstance(one, Gauge) else one.kind for one in Family.all} - {
        "gauge",  # read at a scrape: no file
        "gauge_livesum",
    }

    assert kept == set(metrics_files.KEPT)
