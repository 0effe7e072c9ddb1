"""docs/faults.md names tests that exist, for each row one or an open word, and the faults that `make soak` throws."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.soak.faults import FAULTS

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = (CHECKOUT / "docs" / "faults.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| fault ")]


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """The names of what a file defines."""
    tree = ast.parse((CHECKOUT / path).read_text())
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ) | frozenset(target_of(node) for node in ast.walk(tree) if isinstance(node, ast.Assign))


def target_of(node: ast.Assign) -> str:
    """What a test that is made and not written is called."""
    (target, *_) = node.targets
    return target.id if isinstance(target, ast.Name) else ""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_row_names_tests_that_exist_or_says_that_there_are_none(row: str) -> None:
    *_, played_by, _ = row.split("|")
    named = NAMED.findall(played_by)

    assert named or "not yet" in played_by
    # None that is misspelt past recognition.
    assert played_by.count("`tests/") == len(named)
    for path, name in named:
        assert name.startswith("test_")
        assert name in names_in(path), f"{path} has no {name}"


def test_there_are_rows() -> None:
    assert len(ROWS) >= 60


def test_the_page_lists_what_the_soak_throws() -> None:
    *_, soak = PAGE.split("## At random: `make soak`")
    (listed,) = re.findall(r"its end:\n\n(.*?)\.\n\n", soak, re.DOTALL)

    assert re.findall(r"`([^`]+)`", listed.replace("\n", " ")) == list(FAULTS)
