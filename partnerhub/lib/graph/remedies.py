"""What a failure means to a person: what happened, who must act, what to do. Pure.

Written for a shop's owner who has never heard of a system user; the words stand in errors.toml. They are chosen by
Meta's numbers and our failure classes. Meta's own texts are localised by others' rules and are shown beside this,
not instead of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from partnerhub.lib.graph.dictionary import DEFAULT_LANGUAGE, DICTIONARY, LANGUAGES, UNKNOWN, Actor, Button
from partnerhub.lib.graph.errors import documented_code

_BY_NUMBER = DICTIONARY.by_number()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure in words."""

    key: str
    # Of all the words in here.
    language: str
    title: str
    what_happened: str
    who_must_act: Actor
    # Above the steps: "What you can do".
    heading: str
    what_to_do: tuple[str, ...]
    button: Button
    button_label: str

    @property
    def wants_new_token(self) -> bool:
        """Whether a new token is to be pasted next."""
        return self.button is Button.NEW_TOKEN


def explain(
    failure_class: str,
    code: int | None = None,
    subcode: int | None = None,
    *,
    language: str = DEFAULT_LANGUAGE,
    option: str = "",
) -> Explanation:
    """The words for a failure: by its numbers, else by its class, else honest words for an unknown one.

    `option` is the auth option by which the pixel is connected: a log-in is mended by another log-in, and a
    shared pixel by its partner. Without it the words are those for a pasted token.
    """
    return _explanation(
        _key_of(failure_class, code, subcode), _shown(failure_class, code, subcode), language, option
    )


def explain_problem(key: str, *, language: str = DEFAULT_LANGUAGE) -> Explanation:
    """The words for a problem of ours, by its key in errors.toml; an unknown one is owned up to."""
    return _explanation(key if key in DICTIONARY.entries else UNKNOWN, key, language, option="")


def _key_of(failure_class: str, code: int | None, subcode: int | None) -> str:
    if code is None:
        return failure_class if failure_class in DICTIONARY.entries else UNKNOWN
    code = documented_code(code, subcode)
    for numbers in ((code, subcode), (code, None)):
        if found := _BY_NUMBER.get(numbers):
            # Two entries may share a number: a 100 speaks of what is sent, or of the call.
            return found.get(failure_class) or next(iter(found.values()))
    return UNKNOWN


def _shown(failure_class: str, code: int | None, subcode: int | None) -> str:
    if code is None:
        return failure_class
    return f"{code}" if subcode is None else f"{code}/{subcode}"


def _explanation(key: str, shown: str, language: str, option: str) -> Explanation:
    key = DICTIONARY.entries[key].instead.get(option, key)
    entry = DICTIONARY.entries[key]
    words = entry.said_in(language)
    return Explanation(
        key=key,
        language=language if language in LANGUAGES else DEFAULT_LANGUAGE,
        title=words.title,
        what_happened=words.cause.replace("{code}", shown),
        who_must_act=entry.actor,
        heading=DICTIONARY.actors[entry.actor].said_in(language),
        what_to_do=DICTIONARY.steps(entry, language),
        button=entry.button,
        button_label=DICTIONARY.buttons[entry.button].said_in(language),
    )
