"""Pixels: made once an advertiser, held where a person has to mend something, released by a proof."""

from __future__ import annotations

from django.db import IntegrityError, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from onboarding.guardian import CONFIRM_AFTER
from onboarding.models import Credential, CredentialEvent, Pixel
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.graph.errors import GraphError
from tenants.models import Advertiser

DELIVER = "events.deliver"


class PixelExists(Exception):
    """The advertiser already has a pixel with this ID."""


def add_pixel(
    *, advertiser: Advertiser, meta_id: str, name: str, default_action_source: str = "website"
) -> Pixel:
    """A new pixel of the advertiser. Raises PixelExists."""
    try:
        with transaction.atomic():
            return Pixel.objects.create(
                advertiser=advertiser, meta_id=meta_id, name=name, default_action_source=default_action_source
            )
    except IntegrityError as error:
        if "pixel_once_an_advertiser" in str(error):
            raise PixelExists from None
        raise


@transaction.atomic
def hold_pixel(*, credential_id: int, hold: Pixel.Hold, error: GraphError | None = None) -> bool:
    """Stop deliveries of the credential's pixel until a test passes. Whether this call stopped them.

    Nothing happens where the credential is in use no more: the refusal is the old one's. Events go on being
    taken in. `error` is Graph's refusal, kept with the credential as its first.
    """
    now = timezone.now()
    said = {
        "failure_class": str(error.failure_class) if error else "",
        "code": error.code if error else None,
        "subcode": error.subcode if error else None,
    }
    credential = (
        Credential.objects.select_for_update()
        .exclude(state=Credential.State.RETIRED)
        .filter(pk=credential_id)
        .only("pk", "pixel_id", "advertiser_id", "state")
        .first()
    )
    if credential is None:
        return False
    if credential.state != Credential.State.REFUSED:
        # The guardian looks soon: before anybody is told, and in case that it passes.
        Credential.objects.filter(pk=credential_id).update(
            state=Credential.State.REFUSED,
            refused_at=Coalesce("refused_at", models.Value(now)),
            look_due_at=now + CONFIRM_AFTER,
            **said,
        )
        CredentialEvent.objects.create(
            advertiser_id=credential.advertiser_id,
            pixel_id=credential.pixel_id,
            credential_id=credential_id,
            kind=CredentialEvent.Kind.REFUSED,
            fbtrace_id=(error.fbtrace_id or "") if error else "",
            **said,
        )
    held = Pixel.objects.filter(pk=credential.pixel_id, held_at=None).update(held_at=now, hold=hold)
    return bool(held)


@transaction.atomic
def release_pixel(*, pixel_id: int) -> bool:
    """Let deliveries of a held pixel go on, and hint that it has work. Whether it was held."""
    released = Pixel.objects.filter(pk=pixel_id).exclude(held_at=None).update(held_at=None, hold="")
    if released:
        hint_after_commit(DELIVER, pixel_id)
    return bool(released)
