"""A real worker over a real broker: hints lead to deliveries."""

from __future__ import annotations

from django.core.management import call_command

from events.models import PixelLog
from onboarding.services import DELIVER
from partnerhub.lib.hints import send_hint
from tests.support.factories import ConnectedPixel
from tests.support.log import append_count
from tests.support.sandbox import SandboxProcess
from tests.support.worker import WorkerProcess, wait_until


def test_a_hint_has_the_pixel_delivered(target: ConnectedPixel, sandbox: SandboxProcess) -> None:
    call_command("broker", "prepare")
    with WorkerProcess(GRAPH_API_BASE_URL=sandbox.base_url, DELIVERY_IDLE_SECONDS="600"):
        ids = append_count(target.pixel, 3)
        send_hint(DELIVER, target.pixel.pk)

        wait_until(lambda: len(sandbox.client.stored(target.pixel.meta_id)) == 3)
        assert [event.event_id for event in sandbox.client.stored(target.pixel.meta_id)] == ids
        wait_until(lambda: not PixelLog.objects.get(pk=target.pixel.pk).awake)
