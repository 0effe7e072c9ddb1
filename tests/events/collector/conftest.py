"""A running door, a pixel to send to, and what its log holds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.db import connection

from tests.support.collector import CollectorProcess
from tests.support.factories import ConnectedPixel, make_connected_pixel

_numbers = itertools.count(1)


def make_event(event_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """A Purchase of now with an id of its own, as a shop's server sends it; None takes a field out."""
    event: dict[str, Any] = {
        "event_name": "Purchase",
        "event_time": int(time.time()),
        "event_id": event_id or f"order-{next(_numbers)}",
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {"em": "john_smith@gmail.com", "client_user_agent": "Mozilla/5.0"},
        "custom_data": {"value": 42.5, "currency": "EUR"},
    } | changes
    return {key: value for key, value in event.items() if value is not None}


class Client:
    """Posts to one pixel through one door, over one connection."""

    def __init__(self, base_url: str, target: ConnectedPixel) -> None:
        self.base_url = base_url
        self.target = target
        self.session = requests.Session()
        self.session.trust_env = False

    @property
    def url(self) -> str:
        return f"{self.base_url}/v26.0/{self.target.pixel.meta_id}/events"

    def send(self, *events: dict[str, Any], token: str | None = None, **options: Any) -> requests.Response:
        """Send events as JSON with the token in the body."""
        body = {"access_token": token or self.target.ingest_token, "data": list(events)}
        return self.session.post(options.pop("url", self.url), json=body, timeout=20, **options)

    def post(
        self, body: bytes, *, content_type: str = "application/json", **headers: str
    ) -> requests.Response:
        """Send these bytes, with the token in the query."""
        return self.session.post(
            self.url,
            params={"access_token": self.target.ingest_token},
            data=body,
            headers={"content-type": content_type, **{k.replace("_", "-"): v for k, v in headers.items()}},
            timeout=20,
        )


@pytest.fixture(scope="module")
def door(django_db_setup: None) -> Iterator[CollectorProcess]:
    """The collector, one for all tests of a module."""
    with CollectorProcess() as collector:
        yield collector


@pytest.fixture
def target(transactional_db: None) -> Iterator[ConnectedPixel]:
    """A pixel of its own, committed, for the door runs in another process."""
    yield make_connected_pixel()
    with connection.cursor() as cursor:
        # Not Django's tables: its flush leaves them.
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


@pytest.fixture
def client_of(door: CollectorProcess, target: ConnectedPixel) -> Client:
    """A client of the running door for the pixel."""
    return Client(door.base_url, target)
