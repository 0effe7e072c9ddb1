"""A stand-in Graph API, a connected pixel that it knows, and turns in this process as the worker's role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import connection

from events.delivery import engine
from events.delivery.claim import forget_partners
from events.delivery.engine import Turn, deliver_pixel
from events.delivery.outage import OUTAGE
from events.models import Backlog, Delivery, PixelLog
from events.selectors import OPEN_STATES
from onboarding.models import Pixel
from partnerhub.lib.graph import GraphClient
from tests.support.brokers import Broker, broker_names, prepared_broker
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.sandbox import SandboxProcess

TakeTurn = Callable[[Pixel], Turn]


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """One stand-in for all tests."""
    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """What other tests did to Graph and to partners is forgotten."""
    OUTAGE.forget()
    forget_partners()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    """The stand-in, which has forgotten all that was."""
    sandbox_process.client.reset()
    return sandbox_process


@pytest.fixture
def target(transactional_db: None, sandbox: SandboxProcess) -> Iterator[ConnectedPixel]:
    """A connected pixel, committed, that the stand-in knows."""
    connected = make_connected_pixel()
    introduce(sandbox, connected)
    yield connected
    forget_events()


@pytest.fixture(scope="module", params=broker_names())
def broker(
    request: pytest.FixtureRequest,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Broker]:
    """Each of the brokers at hand, with queues of its own for the tests of a module."""
    with django_db_blocker.unblock(), prepared_broker(request.param) as prepared:
        yield prepared


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The hints that the engine gave, in place of a broker."""
    given: list[tuple[str, int]] = []
    monkeypatch.setattr(engine, "send_hint", lambda task, pixel_id: given.append((task, pixel_id)))
    return given


@pytest.fixture
def take_turn(
    sandbox: SandboxProcess,
    hints: list[tuple[str, int]],
    as_role: Callable[[str], AbstractContextManager[None]],
) -> Iterator[TakeTurn]:
    """One turn of a pixel, with the worker's rights."""
    client = GraphClient(base_url=sandbox.base_url, version="v26.0")

    def take(pixel: Pixel) -> Turn:
        with as_role("worker"):
            return deliver_pixel(pixel.pk, client)

    yield take
    client.close()


def introduce(sandbox: SandboxProcess, connected: ConnectedPixel) -> None:
    """Tell the stand-in of the pixel and its token."""
    sandbox.client.put_pixel(connected.pixel.meta_id)
    sandbox.client.put_token(connected.access_token, pixels=[connected.pixel.meta_id])


def forget_events() -> None:
    """Empty the tables that are not Django's, which its flush leaves."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


def let_time_pass(pixel: Pixel) -> None:
    """What the pixel and its deliveries wait for has come; leases are over."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_pixellog SET due_at = now() WHERE pixel_id = %s", [pixel.pk])
        cursor.execute(
            "UPDATE events_delivery SET due_at = now() WHERE pixel_id = %s AND due_at IS NOT NULL", [pixel.pk]
        )
        cursor.execute(
            "UPDATE events_delivery SET lease_until = now() - interval '1 second'"
            " WHERE pixel_id = %s AND lease_until IS NOT NULL",
            [pixel.pk],
        )


def is_drained(pixel: Pixel) -> bool:
    """Whether every event of the pixel's log has come to its end."""
    if PixelLog.objects.get(pk=pixel.pk).unclaimed:
        return False
    if Backlog.objects.filter(pixel=pixel, drained_at=None).exists():
        return False
    return not Delivery.objects.filter(pixel=pixel, state__in=OPEN_STATES).exists()


def deliveries(pixel: Pixel) -> list[tuple[int, int, str]]:
    """The pixel's deliveries, as first offset, last offset, state."""
    found = Delivery.objects.filter(pixel=pixel).order_by("first_offset", "pk")
    return list(found.values_list("first_offset", "last_offset", "state"))
