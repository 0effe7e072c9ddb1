"""Notices: every one that a door can leave has words, and every word is used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from events import notices, payload


def emitted() -> set[str]:
    """The codes of all that is appended to `notices`, and of the one that is said of the whole request."""
    codes = {"replaced"}
    tree = ast.parse(Path(payload.__file__).read_text())
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "notices.append":
            texts = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
            codes |= {code for text in texts if (code := str(text).rpartition(":")[2]) and "." not in code}
    return codes


def test_every_notice_that_is_left_has_words_and_every_word_is_used() -> None:
    assert emitted() == set(notices.SENTENCES)


@pytest.mark.parametrize("code", sorted(notices.SENTENCES))
def test_a_notice_names_its_field_in_a_sentence(code: str) -> None:
    sentence = notices.describe(f"user_data.em:{code}")

    assert sentence.startswith("user_data.em ")
    assert sentence.endswith(".")


def test_a_notice_that_is_not_known_is_shown_as_it_is() -> None:
    assert notices.describe("user_data.em:from_tomorrow") == "user_data.em:from_tomorrow"
    assert notices.describe("") == ""
