"""The ledger check after a test, with what the stand-in holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from events.ledger import AtMeta, Audit, Key, audit_ledger
from onboarding.models import Pixel
from tests.support.sandbox import SandboxClient


def audit(
    sandbox: SandboxClient,
    pixels: Iterable[Pixel],
    *,
    told: Mapping[int, Mapping[Key, int]] | None = None,
    overdue_seconds: float = 0.0,
) -> Audit:
    """The recount of the pixels, compared with the stand-in's store."""
    pixels = list(pixels)
    return audit_ledger(
        [pixel.pk for pixel in pixels],
        told=told,
        at_meta={pixel.pk: at_meta(sandbox, pixel) for pixel in pixels},
        overdue_seconds=overdue_seconds,
    )


def at_meta(sandbox: SandboxClient, pixel: Pixel) -> dict[Key, AtMeta]:
    """What the stand-in holds of the pixel."""
    return {
        (event.event_name, event.event_id or ""): AtMeta(event.copies, event.digest)
        for event in sandbox.stored(pixel.meta_id)
    }
