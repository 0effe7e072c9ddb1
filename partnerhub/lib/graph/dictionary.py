"""The error dictionary: errors.toml, read and checked; and the page of the docs that is made from it.

What is wrong in the file stops the start: a missing translation, an empty text, a number that stands twice.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from partnerhub.lib.graph.errors import FailureClass

LANGUAGES: Final = ("en", "it")
DEFAULT_LANGUAGE: Final = "en"
# How we fail ourselves: Meta answered and counted nothing; an event_id stands for two events; a person had it
# erased, or gave it up; a token does not open with our keys; connecting a pixel came to a stop; nobody knows.
OWN_CLASSES: Final = ("uncounted", "clash", "erased", "given_up", "sealed", "onboarding", "unknown")
# The entry for whatever is in no other.
UNKNOWN: Final = "unknown"

_FILE = Path(__file__).with_name("errors.toml")
_PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
# "code", "code/subcode", "first-last" or "first-last/subcode".
_NUMBER = re.compile(r"^([0-9]+)(?:-([0-9]+))?(?:/([0-9]+))?$")

Number = Annotated[str, StringConstraints(pattern=_NUMBER.pattern)]
Text = Annotated[str, StringConstraints(min_length=1)]
Steps = tuple[Text, ...]
T = TypeVar("T")


class Actor(StrEnum):
    """Who must act."""

    ADVERTISER = "advertiser"
    PARTNER = "partner"
    OPERATOR = "operator"
    WAIT = "wait"
    NOBODY = "nobody"


class Button(StrEnum):
    """What is pressed next. At `fix_sender`, `wait` and `none` there is nothing to press."""

    NEW_TOKEN = "new_token"  # noqa: S105  # no password
    RECONNECT = "reconnect"
    OTHER_OPTION = "other_option"
    CHOOSE_PIXEL = "choose_pixel"
    SHARE_PIXEL = "share_pixel"
    SEND_LINK = "send_link"
    TEST_AGAIN = "test_again"
    TRY_AGAIN = "try_again"
    CHECK_APP = "check_app"
    APP_REVIEW = "app_review"
    FIX_SENDER = "fix_sender"
    CONTACT = "contact"
    WAIT = "wait"
    NONE = "none"


class InLanguages(BaseModel, Generic[T]):
    """The same in each language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: T
    it: T

    def said_in(self, language: str) -> T:
        """As a reader of that language wants it; in English where we do not speak it."""
        return self.it if language == "it" else self.en


class Words(BaseModel):
    """What an entry says in one language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    cause: Text
    steps: Steps = ()


class Entry(InLanguages[Words]):
    """One cause of failure. The fields are explained at the top of errors.toml."""

    failure_class: str = Field(alias="class")
    numbers: tuple[Number, ...] = ()
    actor: Actor
    button: Button
    remedy: Text | None = None
    instead: dict[str, str] = Field(default_factory=dict)
    source: Text

    @field_validator("failure_class")
    @classmethod
    def _class_exists(cls, value: str) -> str:
        if value not in (*FailureClass, *OWN_CLASSES):
            raise ValueError("there is no such class")
        return value

    def each_number(self) -> Iterator[tuple[int, int | None]]:
        """Every code and subcode that it speaks of; the subcode None stands for none and for any other."""
        for number in self.numbers:
            match = _NUMBER.match(number)
            assert match  # Number says so
            first, last, subcode = match.groups()
            for code in range(int(first), int(last or first) + 1):
                yield code, int(subcode) if subcode else None


class Dictionary(BaseModel):
    """All of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actors: dict[Actor, InLanguages[Text]]
    buttons: dict[Button, InLanguages[Text]]
    remedies: dict[str, InLanguages[Annotated[Steps, Field(min_length=1)]]]
    entries: dict[str, Entry]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        classes = (*FailureClass, UNKNOWN)
        remedies = {entry.remedy for entry in self.entries.values()}
        faults = [f"{actor} has no words" for actor in Actor if actor not in self.actors]
        faults += [f"{button} has no words" for button in Button if button not in self.buttons]
        faults += [f"no entry stands for {name}" for name in classes if name not in self.entries]
        faults += [f"no entry has the remedy {name}" for name in self.remedies if name not in remedies]
        seen: set[tuple[object, ...]] = set()
        for key, entry in self.entries.items():
            faults += [f"{key}: {fault}" for fault in self._faults_of(key, entry)]
            for number in entry.each_number():
                if (entry.failure_class, *number) in seen:
                    faults.append(f"{key}: {number} stands twice")
                seen.add((entry.failure_class, *number))
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _faults_of(self, key: str, entry: Entry) -> Iterator[str]:
        if entry.remedy is not None and entry.remedy not in self.remedies:
            yield f"there is no remedy {entry.remedy}"
            return
        if len({len(self.steps(entry, language)) for language in LANGUAGES}) > 1:
            yield "it has more steps in one language than in another"
        if not self.steps(entry, DEFAULT_LANGUAGE):
            yield "it has no steps"
        if key in (*FailureClass, *OWN_CLASSES) and key != entry.failure_class:
            yield f"it is named like a class and belongs to {entry.failure_class}"
        if entry.numbers and entry.failure_class in OWN_CLASSES:
            yield "Meta's numbers do not lead to this class"
        for other in entry.instead.values():
            if other not in self.entries:
                yield f"there is no {other} to stand in for it"

    def steps(self, entry: Entry, language: str) -> Steps:
        """What to do: the entry's own steps, then those of its remedy."""
        shared = self.remedies[entry.remedy].said_in(language) if entry.remedy else ()
        return (*entry.said_in(language).steps, *shared)

    def by_number(self) -> dict[tuple[int, int | None], dict[str, str]]:
        """Meta's numbers → failure class → key of the entry."""
        found: dict[tuple[int, int | None], dict[str, str]] = {}
        for key, entry in self.entries.items():
            for number in entry.each_number():
                found.setdefault(number, {})[entry.failure_class] = key
        return found


def read(text: str) -> Dictionary:
    """The dictionary that a text in TOML holds. Raises ValueError where it is not whole."""
    return Dictionary.model_validate(tomllib.loads(text))


DICTIONARY: Final = read(_FILE.read_text("utf-8"))


def page(dictionary: Dictionary) -> str:
    """docs/errors.md: every entry in every language, with a table of Meta's numbers."""
    lines = [_HEAD]
    numbered = {key: next(entry.each_number()) for key, entry in dictionary.entries.items() if entry.numbers}
    for key in sorted(numbered, key=lambda key: (numbered[key][0], numbered[key][1] or 0)):
        entry = dictionary.entries[key]
        lines.append(
            f"| {', '.join(entry.numbers)} | {entry.failure_class} | {entry.actor} | [{entry.en.title}](#{key}) |"
        )
    lines.append("\n## The entries\n")
    for key, entry in dictionary.entries.items():
        lines += _section(dictionary, key, entry)
    return "\n".join(lines).rstrip() + "\n"


_HEAD = """\
# Errors, and what to do about them

What a failure means, who must act, and what to do: the words that PartnerHub's pages use.
This page is made from `partnerhub/lib/graph/errors.toml`; change that file and run

```
.venv/bin/python -m partnerhub.lib.graph.dictionary --write-docs
```

A failure is looked up by Meta's code and subcode, then by the code alone, then by its class. What Meta answers with a
code that stands nowhere here is shown as [unknown](#unknown), with its code; it disconnects nothing. Where a pixel is
connected by another option than a pasted token, another entry may stand in. The words are Italian on the page of a
reader whose browser prefers it, and English otherwise.

Classes: `transient` is tried again; `rate_limited` after the wait that Meta names; `credential` and `permission` pause
the pixel until somebody acts; `refused` and `too_old` end the event; `unsent` never left; `in_doubt` may have arrived.
Our own are `uncounted`, `clash`, `erased`, `given_up`, `sealed`, `onboarding`, `unknown`.

## Meta's numbers

| Code or code/subcode | Class | Who must act | Entry |
| --- | --- | --- | --- |"""


def _section(dictionary: Dictionary, key: str, entry: Entry) -> Iterator[str]:
    yield f'<a id="{key}"></a>\n'
    yield f"### {entry.en.title}\n"
    facts = [f"`{key}`", *entry.numbers, f"class {entry.failure_class}", f"who: {entry.actor}"]
    yield f"{' · '.join(facts)} · next: {dictionary.buttons[entry.button].en}\n"
    for language in LANGUAGES:
        words = entry.said_in(language)
        actor = dictionary.actors[entry.actor].said_in(language)
        if language != DEFAULT_LANGUAGE:
            yield f"**{words.title}**\n"
        yield f"{words.cause}\n"
        yield f"{actor}:\n"
        yield from (
            f"{place}. {step}" for place, step in enumerate(dictionary.steps(entry, language), start=1)
        )
        yield ""
    if entry.instead:
        others = ", ".join(
            f"`{option}`: [{dictionary.entries[other].en.title}](#{other})"
            for option, other in entry.instead.items()
        )
        yield f"Instead, where the pixel is connected by {others}.\n"
    yield f"Source: {entry.source}.\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="The error dictionary.")
    parser.add_argument("--write-docs", action="store_true", required=True, help="write docs/errors.md")
    parser.parse_args()
    _PAGE.write_text(page(DICTIONARY), "utf-8")


if __name__ == "__main__":
    main()
