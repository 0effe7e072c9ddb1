"""A browser at the site, as the web's role."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.core.cache import cache

from tests.support.site import Site


@pytest.fixture
def site(as_role: Callable[[str], AbstractContextManager[None]]) -> Site:
    return Site(as_role)


@pytest.fixture(autouse=True)
def _unlimited() -> None:
    """The limits on guessing begin anew."""
    cache.clear()
