"""Waiting for deliveries to come to their end."""

from __future__ import annotations

from collections.abc import Iterable

from events.models import Backlog, Delivery, PixelLog
from onboarding.models import Pixel
from tests.support.worker import wait_until

DRAIN_SECONDS = 60.0
_OPEN = ["waiting", "claimed", "sending", "doubt"]


def is_drained(pixels: Iterable[Pixel]) -> bool:
    """Whether all that was taken in is accepted or rejected."""
    keys = [pixel.pk for pixel in pixels]
    unclaimed = any(log.unclaimed for log in PixelLog.objects.filter(pixel__in=keys))
    unclaimed = unclaimed or Backlog.objects.filter(pixel__in=keys, drained_at=None).exists()
    return not unclaimed and not Delivery.objects.filter(pixel__in=keys, state__in=_OPEN).exists()


def wait_until_drained(pixels: Iterable[Pixel], *, seconds: float = DRAIN_SECONDS) -> None:
    """Wait for it. Raises AssertionError where it does not come about in time."""
    pixels = list(pixels)
    wait_until(lambda: is_drained(pixels), seconds=seconds, what="the drain")
