"""A colour can be read in light and dark whatever it is, and a picture is what its bytes say."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.branding import (
    DARK_GROUND,
    LIGHT_GROUND,
    LOGO_BYTES,
    LOGO_PIXELS,
    READABLE,
    VISIBLE,
    NotAPicture,
    contrast,
    ink_on,
    read_picture,
    shades,
    stylesheet,
    stylesheet_digest,
)

TOKENS = Path(__file__).parents[2] / "static" / "css" / "tokens.css"
colours = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + b"\x80" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    b"\xff\xc0\x00\x0b\x08\x00\x20\x00\x40\x01\x01\x11\x00\xff\xd9"
)
LOSSY = b"RIFF\x1e\x00\x00\x00WEBPVP8 \x12\x00\x00\x00\x30\x01\x00\x9d\x01\x2a\x40\x00\x20\x00" + b"\x00" * 8
LOSSLESS = b"RIFF\x1e\x00\x00\x00WEBPVP8L\x12\x00\x00\x00\x2f\x3f\xc0\x07\x00" + b"\x00" * 8
EXTENDED = (
    b"RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x3f\x00\x00\x1f\x00\x00" + b"\x00" * 8
)


@given(colours)
def test_every_colour_can_be_read_in_both_schemes(colour: str) -> None:
    light, dark = shades(colour)

    assert (light.ground, dark.ground) == (LIGHT_GROUND, DARK_GROUND)
    for made in (light, dark):
        assert contrast(made.colour, made.ground) >= READABLE
        assert made.is_changed == (made.colour != colour)
        assert contrast(ink_on(made.colour), made.colour) >= READABLE


@given(colours, colours)
def test_contrast_is_symmetric_and_between_1_and_21(one: str, other: str) -> None:
    assert contrast(one, other) == contrast(other, one)
    assert 1 <= contrast(one, other) <= 21.0001


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_the_grounds_are_the_pages() -> None:
    [found] = re.findall(r"--surface: light-dark\((#\w+), (#\w+)\)", TOKENS.read_text())

    assert found == (LIGHT_GROUND, DARK_GROUND)


@given(colours)
def test_a_button_is_seen_and_its_word_can_be_read(colour: str) -> None:
    sheet = stylesheet(colour)

    def pair(name: str) -> tuple[str, ...]:
        found = re.search(rf"{name}: light-dark\((#\w+), (#\w+)\)", sheet)
        assert found is not None
        return found.groups()

    grounds, action, ink = (LIGHT_GROUND, DARK_GROUND), pair("--action"), pair("--on-action")
    for ground, button, word in zip(grounds, action, ink, strict=True):
        assert contrast(ground, button) >= VISIBLE
        assert contrast(button, word) >= READABLE
    for ground, text in zip(grounds, pair("--brand-text"), strict=True):
        assert contrast(ground, text) >= READABLE


def test_the_stylesheet_holds_colours_and_nothing_else() -> None:
    sheet = stylesheet("#ffee00")

    colour = r"#[0-9a-f]{6}"
    line = rf"    --[a-z-]+: (?:{colour}|light-dark\({colour}, {colour}\));\n"
    assert re.fullmatch(rf":root {{\n(?:{line})+}}\n", sheet)
    assert "--brand: #ffee00;" in sheet
    assert stylesheet("") == ""
    assert stylesheet_digest("#ffee00") != stylesheet_digest("#ffee01")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (png(64, 32), "image/png"),
        (JPEG, "image/jpeg"),
        (LOSSY, "image/webp"),
        (LOSSLESS, "image/webp"),
        (EXTENDED, "image/webp"),
    ],
)
def test_a_picture_is_known_by_its_bytes(content: bytes, content_type: str) -> None:
    picture = read_picture(content)

    assert (picture.content, picture.content_type, len(picture.digest)) == (content, content_type, 64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"GIF89a\x01\x00\x01\x00",
        b"<html>",
        png(4, 4)[:-4],
        png(4, 4) + b"<script>",
        JPEG[:12],
        LOSSY.replace(b"\x9d\x01\x2a", b"\x00\x00\x00"),
        EXTENDED[:20],
    ],
)
def test_what_is_no_such_picture_is_refused(content: bytes) -> None:
    with pytest.raises(NotAPicture, match="no PNG, JPEG or WebP"):
        read_picture(content)


def test_a_picture_that_is_too_heavy_or_too_large_is_refused() -> None:
    with pytest.raises(NotAPicture, match="100 kB or less"):
        read_picture(png(4, 4) + b"\x00" * LOGO_BYTES)
    with pytest.raises(NotAPicture, match="pixels"):
        read_picture(png(LOGO_PIXELS + 1, 1))
    with pytest.raises(NotAPicture, match="pixels"):
        read_picture(JPEG.replace(b"\x00\x20\x00\x40", b"\x00\x00\x00\x00"))


@given(
    st.binary(max_size=64),
    st.sampled_from([b"", JPEG[:4], LOSSY[:16], EXTENDED[:16], LOSSLESS[:16], png(1, 1)[:16]]),
)
def test_no_bytes_break_it(tail: bytes, head: bytes) -> None:
    try:
        read_picture(head + tail)
    except NotAPicture:
        return
