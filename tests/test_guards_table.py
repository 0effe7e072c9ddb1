"""The table of `make guards` is true of the code as it is; whether each guard is held, `make guards` shows."""

from __future__ import annotations

import re

import pytest

from partnerhub.dev.postgres import CHECKOUT
from tests.guards.guard import Guard, GuardMoved, without
from tests.guards.run import NAME_WIDTH, Run, outcomes_of
from tests.guards.table import GUARDS

by_name = pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)


@by_name
def test_a_guards_text_stands_once_in_its_file_and_what_is_left_is_code(guard: Guard) -> None:
    changed = without(guard, CHECKOUT)

    assert changed != (CHECKOUT / guard.path).read_text()
    compile(changed, guard.path, "exec")


@by_name
def test_a_guards_tests_are_there(guard: Guard) -> None:
    assert guard.tests
    for test in guard.tests:
        path, _, name = test.partition("::")
        function = re.escape(name.partition("[")[0])
        assert re.search(rf"^def {function}\(", (CHECKOUT / path).read_text(), re.MULTILINE), test


def test_each_guard_has_a_name_of_its_own_and_a_sentence() -> None:
    names = [guard.name for guard in GUARDS]

    assert len(names) == len(set(names))
    assert max(map(len, names)) < NAME_WIDTH
    assert [guard.name for guard in GUARDS if not re.fullmatch(r"[A-Z].*\.", guard.protects)] == []


def test_a_text_that_moved_is_said() -> None:
    gone = Guard("gone", "Nothing.", "tests/guards/__init__.py", "no such text", "", ())

    with pytest.raises(GuardMoved, match=r"gone: its text stands 0 times in tests/guards/__init__\.py"):
        without(gone, CHECKOUT)


def test_what_pytest_says_is_read_by_test_and_case() -> None:
    said = """
PASSED tests/a.py::test_one[x]
FAILED tests/a.py::test_one[y] - AssertionError: assert 1 - 2
ERROR tests/a.py::test_two - psycopg.errors.SyntaxError
PASSED tests/a.py::test_one_more
FAILED to open a thing
1 failed, 2 passed, 1 error in 0.10s
"""
    run = Run(outcomes_of(said), True, 0.1, said)

    assert run.of("tests/a.py::test_one") == {"PASSED", "FAILED"}
    assert run.of("tests/a.py::test_one[x]") == {"PASSED"}
    assert run.of("tests/a.py::test_two") == {"ERROR"}
    assert run.of("tests/a.py::test_three") == set()
