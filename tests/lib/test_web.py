"""The language of a reader, by what the browser asks for."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from partnerhub.lib.web import language_of


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("it", "it"),
        ("it-IT,it;q=0.9,en-US;q=0.8,en;q=0.7", "it"),
        ("IT-ch", "it"),
        ("en-GB,en;q=0.9,it;q=0.8", "en"),
        ("de-DE,de;q=0.9,it;q=0.5,en;q=0.4", "it"),
        ("de", "en"),
        ("it;q=0", "en"),
        ("en;q=0.1, it;q=0.2", "it"),
        ("*", "en"),
        ("italian!; drop", "en"),
        ("", "en"),
        ("it," * 10_000, "it"),
    ],
)
def test_the_browser_chooses_the_language(header: str, language: str) -> None:
    request = RequestFactory().get("/", headers={"Accept-Language": header})

    assert language_of(request) == language


def test_a_browser_without_a_wish_reads_english() -> None:
    assert language_of(RequestFactory().get("/")) == "en"
