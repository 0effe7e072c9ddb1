"""Turns of a pixel against the stand-in, in this process."""

from __future__ import annotations

import pytest

from events.delivery.claim import Idle
from events.delivery.engine import deliver_pixel
from events.models import Attempt, Delivery, PixelLog
from partnerhub.lib.graph import GraphClient
from tests.support.factories import ConnectedPixel
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess


@pytest.fixture
def client(sandbox: SandboxProcess) -> GraphClient:
    return GraphClient(base_url=sandbox.base_url, version="v26.0")


def test_a_turn_sends_what_the_log_holds_and_puts_the_pixel_to_sleep(
    target: ConnectedPixel, sandbox: SandboxProcess, client: GraphClient
) -> None:
    ids = append_count(target.pixel, 1500)

    turn = deliver_pixel(target.pixel.pk, client)

    assert (turn.deliveries, turn.idle) == (2, Idle.ASLEEP)
    assert [event.event_id for event in sandbox.client.stored(target.pixel.meta_id)] == ids
    assert list(Delivery.objects.order_by("pk").values_list("first_offset", "last_offset", "state")) == [
        (0, 999, "accepted"),
        (1000, 1499, "accepted"),
    ]
    assert list(Attempt.objects.values_list("outcome", "http_status")) == [("accepted", 200)] * 2
    log = PixelLog.objects.get(pk=target.pixel.pk)
    assert (log.tail, log.head, log.awake) == (1500, 1500, False)
