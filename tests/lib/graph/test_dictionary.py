"""The error dictionary: whole in both languages, and one with limits.py, with errors.py and with the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from onboarding.models import Option
from partnerhub.lib.graph import limits
from partnerhub.lib.graph.dictionary import DICTIONARY, LANGUAGES, Dictionary, page, read
from partnerhub.lib.graph.errors import FailureClass, error_from

ROOT = Path(__file__).parents[3]
FILE = ROOT / "partnerhub" / "lib" / "graph" / "errors.toml"
ENTRIES = DICTIONARY.entries
# What a shop's owner cannot be expected to know, in what happened and in the title.
JARGON = re.compile(
    r"system user|utente di sistema|OAuth|endpoint|HTTP|envelope|payload|subcode|exception|\bAPI\b|\bnull\b",
    re.IGNORECASE,
)
# Where only the context tells: a step of connecting, or another option than a pasted token.
PROBLEMS = {
    *("declined_permission", "wrong_business", "no_business", "no_pixel", "several_pixels", "not_an_admin"),
    *("graph_down", "code_used", "code_expired", "login_cancelled", "callback_empty"),
    *("state_forged", "state_used", "state_expired", "redirect_mismatch", "wrong_app_secret"),
    *("token_of_another_pixel", "token_expired", "token_incomplete", "user_token", "foreign_app"),
    *("link_used", "link_expired", "sharing_withdrawn", "not_shared_yet", "sharing_pending", "missing_tasks"),
    *("fbe_reauthenticate", "fbe_not_allowed", "flb_not_configured", "stale_install"),
    *("log_in_ended", "log_in_without_pixel", "partner_app_removed", "sending_token_dead"),
    *("sending_user_not_ready", "pixel_elsewhere", "sharing_unconfirmed"),
}


def named_in_limits() -> set[tuple[int, int | None]]:
    """Every code and subcode of limits.py, by the names of its constants."""
    codes: set[int] = set()
    for name in dir(limits):
        if name.endswith("_CODES"):
            codes |= getattr(limits, name)
        elif name.endswith("_CODE"):
            codes.add(getattr(limits, name))
    return {(code, None) for code in codes | set(limits.SUBCODES)} | {
        (code, subcode) for code, subcodes in limits.SUBCODES.items() for subcode in subcodes
    }


def test_every_number_of_limits_has_an_entry_and_every_entrys_number_is_in_limits() -> None:
    assert set(DICTIONARY.by_number()) == named_in_limits()


def test_every_named_subcode_is_a_subcode_of_100() -> None:
    named: set[int] = set()
    for name in dir(limits):
        if name.endswith("_SUBCODES") and name != "EVENT_SUBCODES":
            named |= getattr(limits, name)
        elif name.endswith("_SUBCODE"):
            named.add(getattr(limits, name))

    assert named == limits.SUBCODES[limits.INVALID_PARAMETER_CODE]


def test_an_entrys_class_is_what_graphs_answer_becomes() -> None:
    for (code, subcode), keys in DICTIONARY.by_number().items():
        classes = {
            str(error_from(envelope, status=400, headers={}, usage=None).failure_class)
            for kind in ("OAuthException", limits.NOT_THE_CONTENT_TYPE)
            for envelope in [{"code": code, "error_subcode": subcode, "type": kind}]
        }

        assert (code, subcode, set(keys)) == (code, subcode, classes)


def test_connecting_finds_all_its_problems() -> None:
    assert set(ENTRIES) >= PROBLEMS


@pytest.mark.parametrize("key", ENTRIES)
def test_the_words_are_plain_and_whole(key: str) -> None:
    entry = ENTRIES[key]

    assert entry.en != entry.it
    for language in LANGUAGES:
        words = entry.said_in(language)
        assert not words.title.endswith(".")
        assert words.cause.endswith(".")
        assert all(step.endswith(".") for step in DICTIONARY.steps(entry, language))
        assert all(text == " ".join(text.split()) for text in (words.title, words.cause, *words.steps))
        if entry.actor in ("advertiser", "wait"):
            assert not JARGON.search(words.title + words.cause)


def test_no_words_of_one_language_stand_in_the_other() -> None:
    said = {language: [entry.said_in(language) for entry in ENTRIES.values()] for language in LANGUAGES}

    for field in ("title", "cause"):
        assert not {getattr(words, field) for words in said["en"]} & {
            getattr(words, field) for words in said["it"]
        }
    for remedy in DICTIONARY.remedies.values():
        assert not set(remedy.en) & set(remedy.it)


def test_two_entries_never_have_one_title() -> None:
    for language in LANGUAGES:
        titles = [entry.said_in(language).title for entry in ENTRIES.values()]

        assert len(set(titles)) == len(titles)


def test_what_stands_in_for_another_is_named_by_an_auth_option() -> None:
    options = {option for entry in ENTRIES.values() for option in entry.instead}

    assert options == set(Option) - {Option.PASTED_TOKEN}


def test_what_stands_in_is_of_the_same_kind() -> None:
    """A token that is dead is not turned into a pixel that is not shared."""
    for entry in ENTRIES.values():
        for other in entry.instead.values():
            assert ENTRIES[other].failure_class in (entry.failure_class, "onboarding")


def test_keys_fit_where_they_are_stored() -> None:
    assert max(map(len, ENTRIES)) <= 40


def small() -> str:
    """The file with one entry for each failure class and for the unknown."""
    classes = [*FailureClass, "unknown"]
    named = FILE.read_text("utf-8").partition("[remedies.")[0]
    return (
        named
        + "[remedies]\n"
        + "".join(
            f'[entries.{name}]\nclass = "{name}"\nactor = "wait"\nbutton = "wait"\nsource = "ours"\n'
            f'en = {{ title = "T", cause = "C.", steps = ["S."] }}\n'
            f'it = {{ title = "TT", cause = "CC.", steps = ["SS."] }}\n'
            for name in classes
        )
    )


def test_a_small_dictionary_is_whole() -> None:
    assert isinstance(read(small()), Dictionary)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('it = { title = "TT", cause = "CC.", steps = ["SS."] }\n', "", "it\n  Field required"),
        ('title = "TT"', 'title = ""', "at least 1 character"),
        ('["SS."]', '["SS.", "TT."]', "more steps in one language"),
        ('["SS."]', '[""]', "at least 1 character"),
        ('steps = ["S."] }', "steps = [] }", "more steps in one language"),
        ('actor = "wait"', 'actor = "somebody"', "entries.transient.actor"),
        ('button = "wait"', 'button = "somewhere"', "entries.transient.button"),
        ('source = "ours"', 'source = ""', "at least 1 character"),
        ('source = "ours"', 'sauce = "ours"', "Extra inputs are not permitted"),
        ('class = "transient"', 'class = "bad luck"', "there is no such class"),
        ('class = "transient"', 'class = "refused"', "it is named like a class and belongs to refused"),
        ("[entries.transient]", "[entries.passing]", "no entry stands for transient"),
        ('source = "ours"', 'source = "ours"\nnumbers = ["1", "2/3", "2/3"]', "stands twice"),
        ('source = "ours"', 'source = "ours"\nnumbers = ["4-6", "5"]', "stands twice"),
        ('source = "ours"', 'source = "ours"\nnumbers = ["one"]', "should match pattern"),
        ('source = "ours"', 'source = "ours"\nremedy = "prayer"', "there is no remedy prayer"),
        ('source = "ours"', 'source = "ours"\ninstead = { a = "b" }', "there is no b to stand in for it"),
        ("[remedies]", '[remedies.prayer]\nen = ["A."]\nit = ["B."]', "no entry has the remedy prayer"),
        ('wait = { en = "Wait', 'weight = { en = "Wait', "actors.weight"),
        ("nobody = {", "# nobody = {", "nobody has no words"),
        ("contact = {", "# contact = {", "contact has no words"),
    ],
)
def test_a_fault_in_the_file_stops_the_start(before: str, after: str, fault: str) -> None:
    text = small()
    assert before in text

    with pytest.raises(ValidationError) as raised:
        read(text.replace(before, after, 1))

    assert fault in str(raised.value)


def test_numbers_of_metas_lead_to_no_class_of_ours() -> None:
    with pytest.raises(ValidationError, match="Meta's numbers do not lead to this class"):
        read(small().replace('class = "unknown"', 'class = "unknown"\nnumbers = ["7"]'))


def test_a_key_stands_once() -> None:
    with pytest.raises(ValueError, match="transient"):
        read(small() + '\n[entries.transient]\nclass = "transient"\n')


def test_the_page_of_the_docs_is_of_this_dictionary() -> None:
    written = (ROOT / "docs" / "errors.md").read_text("utf-8")

    assert written == page(DICTIONARY), "run .venv/bin/python -m partnerhub.lib.graph.dictionary --write-docs"


def test_the_page_names_every_entry_and_number_in_both_languages() -> None:
    text = page(DICTIONARY)

    for key, entry in ENTRIES.items():
        assert f'<a id="{key}"></a>' in text
        assert all(f"· {number} ·" in text for number in entry.numbers)
        for language in LANGUAGES:
            assert entry.said_in(language).title in text
            assert entry.said_in(language).cause in text


def test_the_command_says_what_it_can_do() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "partnerhub.lib.graph.dictionary"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert answer.returncode == 2
    assert "--write-docs" in answer.stderr
