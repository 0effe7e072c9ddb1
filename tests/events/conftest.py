"""A browser as the web's role, and committed events: the door writes the log over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from django.db import connection

from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.site import Site


@pytest.fixture
def site(as_role: Callable[[str], AbstractContextManager[None]]) -> Site:
    """A browser at the site."""
    return Site(as_role)


@pytest.fixture
def connected(transactional_db: None) -> Iterator[ConnectedPixel]:
    """A pixel that takes events in, committed; its events are gone afterwards, which Django's flush leaves."""
    yield make_connected_pixel()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")
