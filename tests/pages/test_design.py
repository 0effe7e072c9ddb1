"""What every page keeps to: the content policy, the contrast of the colours, and components that say what they take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
# A mail is no page of ours: its styles can only be inline.
PAGES = [path for path in sorted(TEMPLATES.rglob("*.html")) if path != TEMPLATES / "cotton" / "mail.html"]
COMPONENTS = sorted((TEMPLATES / "cotton").glob("*.html"))
CSS = sorted((ROOT / "static" / "css").glob("*.css"))

TEXT = 4.5
CONTROL = 3.0
GROUNDS = ("canvas", "surface", "sunken", "raised")
STATES = ("working", "waiting", "late", "failing", "paused", "neutral")
PAIRS = [
    *[(text, ground, TEXT) for text in ("ink", "ink-soft", "ink-faint", "accent") for ground in GROUNDS],
    *[(state, f"{state}-ground", TEXT) for state in STATES],
    *[(f"{state}-mark", f"{state}-ground", CONTROL) for state in STATES],
    *[(f"{state}-mark", "surface", CONTROL) for state in STATES],
    ("failing", "surface", TEXT),
    ("ink", "accent-mark-soft", TEXT),
    ("on-action", "action", TEXT),
    ("on-action", "action-hover", TEXT),
    ("on-danger", "danger", TEXT),
    ("on-danger", "danger-hover", TEXT),
    ("accent-strong", "accent-ground", TEXT),
    ("accent-mark", "surface", CONTROL),
    ("line-control", "surface", CONTROL),
    ("line-control", "canvas", CONTROL),
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_template_asks_for_what_the_content_policy_forbids(page: Path) -> None:
    source = page.read_text()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|hx-on|javascript:|<script(?![^>]*\bsrc=)", source)


@pytest.mark.parametrize("component", COMPONENTS, ids=name)
def test_a_component_says_what_it_takes(component: Path) -> None:
    source = component.read_text()

    assert source.startswith("{% comment %}\n")
    described = source[: source.index("{% endcomment %}")]
    declared = re.findall(r"[\s:]([a-z_]+)=", source[source.index("<c-vars") : source.index("/>")])
    undescribed = [word for word in declared if not re.search(rf"\b{word.replace('_', '.')}\b", described)]
    assert undescribed in ([], ["class"])


@pytest.mark.parametrize("sheet", [sheet for sheet in CSS if sheet.name != "tokens.css"], ids=name)
def test_every_token_that_is_used_is_decided(sheet: Path) -> None:
    local = {"tone", "tone-ground", "tone-mark"}

    assert set(re.findall(r"var\(--([a-z0-9-]+)", sheet.read_text())) <= tokens().keys() | local


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground", "least"), PAIRS)
def test_what_is_read_stands_out_from_its_ground(text: str, ground: str, least: float, theme: str) -> None:
    assert contrast(colour(text, theme), colour(ground, theme)) >= least


def tokens() -> dict[str, str]:
    source = (ROOT / "static" / "css" / "tokens.css").read_text()
    return dict(re.findall(r"--([a-z0-9-]+):\s*([^;]+);", source))


def colour(token: str, theme: str) -> str:
    value = tokens()[token]
    if other := re.fullmatch(r"var\(--([a-z-]+)\)", value):
        return colour(other[1], theme)
    found = re.findall(r"#[0-9a-f]{6}", value)
    return str(found[-1] if theme == "dark" else found[0])


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(hexadecimal: str) -> float:
    shares = [int(hexadecimal[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
