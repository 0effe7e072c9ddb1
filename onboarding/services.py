"""What can be done to pixels and credentials: one function an act, each in one transaction."""

from __future__ import annotations

import uuid

from django.db import IntegrityError, transaction
from django.utils import timezone

from onboarding.models import ConnectionTest, Credential, Pixel
from partnerhub.lib.hints import hint_after_commit
from partnerhub.lib.vault import Secret
from tenants.models import Advertiser, Person
from tenants.secrets import vault

RUN_TEST = "onboarding.run_connection_test"
DELIVER = "events.deliver"


class PixelExists(Exception):
    """The advertiser already has a pixel with this ID."""


class TestUnderWay(Exception):
    """A connection test of this pixel has not finished yet."""

    __test__ = False


class NoCredential(Exception):
    """The pixel has no token to test with."""


def add_pixel(*, advertiser: Advertiser, meta_id: str, name: str, default_action_source: str = "website") -> Pixel:
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
def save_pasted_token(*, pixel: Pixel, token: Secret, created_by: Person | None) -> Credential:
    """The pasted token, sealed, in the place of the one before, whose secret is erased.

    It is untested: until a test passes, a held pixel stays held.
    """
    now = timezone.now()
    Credential.objects.filter(pixel=pixel).exclude(state=Credential.State.RETIRED).update(
        state=Credential.State.RETIRED, retired_at=now, sealed=b""
    )
    identity = f"credential:{uuid.uuid4()}"
    return Credential.objects.create(
        advertiser_id=pixel.advertiser_id,
        pixel=pixel,
        option=Credential.Option.PASTED_TOKEN,
        sealed=vault().seal(token, identity=identity),
        vault_identity=identity,
        last_four=token.last_four,
        created_by=created_by,
    )


def request_connection_test(*, pixel: Pixel, requested_by: Person | None, test_event_code: str = "") -> ConnectionTest:
    """A connection test that waits for a worker. Raises NoCredential, TestUnderWay."""
    credential = Credential.objects.filter(pixel=pixel).exclude(state=Credential.State.RETIRED).first()
    if credential is None:
        raise NoCredential
    try:
        with transaction.atomic():
            test = ConnectionTest.objects.create(
                advertiser_id=pixel.advertiser_id,
                pixel=pixel,
                credential=credential,
                test_event_code=test_event_code,
                requested_by=requested_by,
            )
    except IntegrityError as error:
        if "connection_test_one_at_a_time" in str(error):
            raise TestUnderWay from None
        raise
    hint_after_commit(RUN_TEST, test.pk)
    return test


@transaction.atomic
def hold_pixel(*, pixel_id: int, hold: Pixel.Hold) -> bool:
    """Stop deliveries of the pixel until a connection test passes. Whether this call stopped them.

    Its credential is marked as refused. Events go on being taken in.
    """
    now = timezone.now()
    held = Pixel.objects.filter(pk=pixel_id, held_at=None).update(held_at=now, hold=hold)
    Credential.objects.filter(pixel_id=pixel_id).exclude(state=Credential.State.RETIRED).update(
        state=Credential.State.REFUSED, refused_at=now
    )
    return bool(held)


@transaction.atomic
def release_pixel(*, pixel_id: int) -> bool:
    """Let deliveries of a held pixel go on, and hint that it has work. Whether it was held."""
    released = Pixel.objects.filter(pk=pixel_id).exclude(held_at=None).update(held_at=None, hold="")
    if released:
        hint_after_commit(DELIVER, pixel_id)
    return bool(released)
