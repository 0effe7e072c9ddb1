"""What people can do to the events' side of a pixel: one function an act, each in one transaction."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from events.models import IngestToken, PixelLog
from onboarding.models import Pixel
from tenants.models import Person
from tenants.tokens import hash_token, new_token

# Recognisable in a leak scan, and by the log's redaction.
INGEST_TOKEN_PREFIX = "pht_"  # noqa: S105  (what every token begins with; public)


@transaction.atomic
def issue_ingest_token(*, pixel: Pixel, name: str, created_by: Person | None) -> tuple[IngestToken, str]:
    """A new ingest token of the pixel, and its text, which is shown once and kept as a hash.

    The pixel's log is opened with the first one: without a token nothing can come in.
    """
    PixelLog.objects.bulk_create(
        [PixelLog(pixel=pixel, advertiser_id=pixel.advertiser_id)], ignore_conflicts=True
    )
    text = new_token(INGEST_TOKEN_PREFIX)
    token = IngestToken.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        name=name,
        token_hash=hash_token(text),
        last_four=text[-4:],
        created_by=created_by,
    )
    return token, text


@transaction.atomic
def revoke_ingest_token(*, token: IngestToken) -> bool:
    """Whether this call revoked it. The doors refuse it within five seconds."""
    return bool(IngestToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))
