"""The partner's looks: its colour in light and dark, and what a logo is by its bytes. Pure.

A colour is never refused for being too pale: each scheme gets the nearest one that can be read on its ground
(WCAG 2.2, 1.4.3: 4.5:1) as text, or seen there (1.4.11: 3:1) as a button. A picture is what its bytes say, whatever
its name or the browser's type; SVG, which can carry scripts, is none.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

# A logo is shown at 32 px; 100 kB is a photograph.
LOGO_BYTES: Final = 100 * 1024
LOGO_PIXELS: Final = 4_096
# --surface in static/css/tokens.css; a test holds them together.
LIGHT_GROUND: Final = "#ffffff"
DARK_GROUND: Final = "#15171c"
READABLE: Final = 4.5
VISIBLE: Final = 3.0
_STEPS: Final = 100


class NotAPicture(Exception):
    """The bytes are no PNG, JPEG or WebP that we show; the text says why."""


@dataclass(frozen=True, slots=True)
class Shade:
    """The colour on one ground: `colour` is as near to the wanted one as can be read there."""

    ground: str
    colour: str
    # Of the wanted colour, before anything was changed.
    wanted_contrast: float
    contrast: float

    @property
    def is_changed(self) -> bool:
        """Whether the wanted colour could not be read."""
        return self.wanted_contrast < READABLE


@dataclass(frozen=True, slots=True)
class Picture:
    """A logo's bytes, looked at."""

    content: bytes
    content_type: str
    digest: str


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    # WCAG 2.2, "relative luminance".
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two #rrggbb colours: 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _mixed(colour: str, goal: str, share: float) -> str:
    return "#" + "".join(
        f"{round(a + (b - a) * share):02x}" for a, b in zip(_channels(colour), _channels(goal), strict=True)
    )


def shade(wanted: str, ground: str, least: float = READABLE) -> Shade:
    """The colour nearest to `wanted`, towards black or white, that has the contrast on `ground`."""
    goal = "#000000" if _luminance(ground) > 0.5 else "#ffffff"
    before = contrast(wanted, ground)
    found = wanted
    for step in range(_STEPS + 1):
        found = _mixed(wanted, goal, step / _STEPS)
        if contrast(found, ground) >= least:
            break
    return Shade(ground, found, before, contrast(found, ground))


def shades(wanted: str) -> tuple[Shade, Shade]:
    """In light, in dark."""
    return shade(wanted, LIGHT_GROUND), shade(wanted, DARK_GROUND)


def ink_on(colour: str) -> str:
    """Black or white: one of them has 4.5:1 on any colour."""
    return max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, colour))


def stylesheet(wanted: str) -> str:
    """The colour as custom properties: what pages draw with, in light and in dark. `wanted` is #rrggbb or empty."""
    if not wanted:
        return ""
    text_light, text_dark = shades(wanted)
    light, dark = (shade(wanted, ground, VISIBLE) for ground in (LIGHT_GROUND, DARK_GROUND))
    hover = (_mixed(light.colour, "#000000", 0.15), _mixed(dark.colour, "#ffffff", 0.15))
    properties = {
        # As the partner gave it, for marks beside which nothing has to be read.
        "--brand": wanted,
        # Text and marks on the page's own ground.
        "--brand-text": f"light-dark({text_light.colour}, {text_dark.colour})",
        # The one main action of a page.
        "--action": f"light-dark({light.colour}, {dark.colour})",
        "--action-hover": f"light-dark({hover[0]}, {hover[1]})",
        "--on-action": f"light-dark({ink_on(light.colour)}, {ink_on(dark.colour)})",
    }
    body = "".join(f"    {name}: {value};\n" for name, value in properties.items())
    return f":root {{\n{body}}}\n"


def stylesheet_digest(wanted: str) -> str:
    """What the stylesheet's address carries, so that it may be kept for ever."""
    return hashlib.sha256(stylesheet(wanted).encode()).hexdigest()[:16]


def read_picture(content: bytes) -> Picture:
    """The logo. Raises NotAPicture with a sentence."""
    if len(content) > LOGO_BYTES:
        raise NotAPicture(f"The picture is too heavy; use one of {LOGO_BYTES // 1024} kB or less.")
    for content_type, size_of in (("image/png", _png), ("image/jpeg", _jpeg), ("image/webp", _webp)):
        if (size := size_of(content)) is not None:
            width, height = size
            if not (0 < width <= LOGO_PIXELS and 0 < height <= LOGO_PIXELS):
                raise NotAPicture(
                    f"The picture is {width} × {height} pixels; use one of {LOGO_PIXELS} or fewer."
                )
            return Picture(content, content_type, hashlib.sha256(content).hexdigest())
    raise NotAPicture("This is no PNG, JPEG or WebP picture. An SVG cannot be used: save it as PNG.")


def _png(content: bytes) -> tuple[int, int] | None:
    # Signature, then the IHDR chunk (13 bytes); the last chunk is IEND.
    if not content.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") or not content.endswith(
        b"IEND\xaeB`\x82"
    ):
        return None
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _jpeg(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        # Start of frame, but for the three of these that are none (ITU T.81, table B.1).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", content, at + 2)[0])
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    # RIFF container (RFC 9649): lossy, lossless or extended.
    if len(content) < 30 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(content[24:27], "little"),
            1 + int.from_bytes(content[27:30], "little"),
        )
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and content[20] == 0x2F:
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
