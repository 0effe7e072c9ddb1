"""Match keys: Meta's own examples, its SDK where it agrees with the documentation, and what holds for any text."""

from __future__ import annotations

import re

import pytest
from facebook_business.adobjects.serverside.normalize import Normalize
from hypothesis import given
from hypothesis import strategies as st

from events import normalise
from events.normalise import HASHED_KEYS, sha256_hex

ANY_TEXT = st.text() | st.text(st.characters())


@pytest.mark.parametrize(
    ("key", "text", "digest"),
    [
        (
            "em",
            "John_Smith@gmail.com ",
            "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
        ),
        ("fn", "Mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
        ("fn", "Valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
        ("db", "1997-02-16", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
        ("country", "US", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ],
)
def test_metas_examples_have_metas_hashes(key: str, text: str, digest: str) -> None:
    normal = HASHED_KEYS[key](text)

    assert normal is not None
    assert sha256_hex(normal) == digest


@pytest.mark.parametrize("text", ["16505551212", "+1 (650) 555-1212", "001-650-555-1212", "(650) 555-1212"])
def test_metas_phone_number_has_metas_hash_however_it_is_written(text: str) -> None:
    normal = normalise.ph(text, default_country="US")

    assert normal == "16505551212"
    assert sha256_hex(normal) == "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"


@pytest.mark.parametrize(
    ("key", "text", "normal"),
    [
        ("em", " Dot.Ted+tag@Example.COM\n", "dot.ted+tag@example.com"),
        ("em", "no address", None),
        ("em", "a@b", None),
        ("em", "two@signs@example.com", None),
        ("fn", "O'Brien", "obrien"),
        ("fn", " Anne  Marie ", "anne marie"),
        ("fn", "정", "정"),
        ("fn", "É\tA", "é a"),
        ("ln", "¡!—", None),
        ("ge", "Female", "f"),
        ("ge", "M", "m"),
        ("ge", "x", None),
        ("db", "19970216", "19970216"),
        ("db", "1997/02/16", "19970216"),
        ("db", "16.02.1997", None),
        ("db", "1997-02-30", None),
        ("db", "18991231", None),
        ("ct", "São Paulo", "sãopaulo"),
        ("ct", "Zürich", "zürich"),
        ("ct", "北京", "北京"),
        ("ct", "St. Louis", "stlouis"),
        ("st", "CA", "ca"),
        ("st", "Île-de-France", "îledefrance"),
        ("zp", "94035-1234", "94035"),
        ("zp", "M1 1AE", "m11ae"),
        ("zp", "D-10115", "d10115"),
        ("country", "Germany", None),
        ("country", "d1", None),
        ("dobd", " 16 ", "16"),
        ("fi", "   ", None),
    ],
)
def test_a_key_is_normalised_as_meta_documents_it(key: str, text: str, normal: str | None) -> None:
    assert HASHED_KEYS[key](text) == normal


@pytest.mark.parametrize(
    ("text", "country", "normal"),
    [
        ("0171 1234567", "DE", "491711234567"),
        ("0171 1234567", None, None),
        ("+49 (0)171 1234567", None, "491711234567"),
        ("491711234567", "DE", "491711234567"),
        ("491711234567", None, "491711234567"),
        ("1-800-FLOWERS", "US", "18003569377"),
        ("12", "DE", None),
        ("none", "DE", None),
        ("", "DE", None),
        ("9" * 400, "DE", None),
        ("0171 1234567", "XX", None),
    ],
)
def test_a_phone_number_gets_its_country_or_is_no_number(
    text: str, country: str | None, normal: str | None
) -> None:
    assert normalise.ph(text, default_country=country) == normal


@given(ANY_TEXT, st.sampled_from(sorted(HASHED_KEYS)))
def test_any_text_becomes_a_stable_one_or_none(text: str, key: str) -> None:
    rule = HASHED_KEYS[key]

    normal = rule(text)

    if normal is not None:
        assert normal == normal.strip() != ""
        assert rule(normal) == normal
        assert re.fullmatch("[0-9a-f]{64}", sha256_hex(normal))


@given(
    ANY_TEXT | st.from_regex(r"\+?[0-9 ()-]{0,20}", fullmatch=True), st.sampled_from([None, "DE", "US", "x"])
)
def test_any_text_becomes_an_international_number_or_none(text: str, country: str | None) -> None:
    normal = normalise.ph(text, default_country=country)

    if normal is not None:
        assert re.fullmatch("[1-9][0-9]{6,14}", normal)
        assert normalise.ph(f"+{normal}", default_country=country) == normal


LETTERS = st.text("abcdefghijklmnopqrstuvwxyzäéßñ", min_size=1, max_size=30)


@given(st.builds("{}@{}.{}".format, LETTERS, LETTERS, LETTERS), st.sampled_from([str.upper, str.lower]))
def test_an_address_is_as_metas_sdk_has_it(address: str, case: type[str]) -> None:
    written = f" {case(address)} "

    assert normalise.em(written) == Normalize.normalize("em", written, hash_field=False)


@given(LETTERS, st.sampled_from(["fn", "ln", "ct", "st"]))
def test_a_word_is_as_metas_sdk_has_it(word: str, key: str) -> None:
    written = f" {word.title()} "

    assert HASHED_KEYS[key](written) == Normalize.normalize(key, written, hash_field=False)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ct", "San Francisco"),
        ("ct", "Stratford-upon-Avon"),
        ("st", "New York"),
        ("zp", "M1 1AE"),
        ("zp", "94035-1234"),
        ("country", " DE "),
        ("ge", "F"),
        ("db", "19970216"),
        ("dobd", "16"),
        ("doby", "1997"),
        ("em", "john_smith@gmail.com"),
    ],
)
def test_a_plain_case_is_as_metas_sdk_has_it(key: str, text: str) -> None:
    assert HASHED_KEYS[key](text) == Normalize.normalize(key, text, hash_field=False)


@given(st.from_regex(r"\+(1[2-9]|49[1-9]|44[1-9])[0-9]{8}", fullmatch=True))
def test_an_international_number_is_as_metas_sdk_has_it(number: str) -> None:
    assert normalise.ph(number, default_country=None) == Normalize.normalize("ph", number, hash_field=False)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("a" * 64, True),
        ("A" * 64, True),
        ("a" * 64 + ".AQICAQMC", True),
        ("a" * 63, False),
        ("g" * 64, False),
        ("a" * 64 + ".short", False),
    ],
)
def test_a_hash_is_64_hex_digits_with_or_without_metas_appendix(text: str, matches: bool) -> None:
    assert (normalise.HASHED.fullmatch(text) is not None) is matches
