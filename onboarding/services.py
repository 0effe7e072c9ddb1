"""What can be done to pixels and credentials: one function an act, each in one transaction."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from onboarding.models import ConnectionTest, Credential, Pixel
from onboarding.trial import TestOutcome, try_credential
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import FailureClass
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


def request_connection_test(
    *, pixel: Pixel, requested_by: Person | None, test_event_code: str = ""
) -> ConnectionTest:
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


# Longer than both calls of a test may take (onboarding.graph), so that only a dead worker's test is ended.
TEST_LOST_AFTER = timedelta(seconds=60)
# A hint that was lost: said again at this age.
TEST_HINT_AGAIN_AFTER = timedelta(seconds=10)


@transaction.atomic
def start_connection_test(*, test_id: int) -> ConnectionTest | None:
    """The test, now running, with pixel, credential and partner; None where it was started before."""
    started = ConnectionTest.objects.filter(pk=test_id, state=ConnectionTest.State.WAITING).update(
        state=ConnectionTest.State.RUNNING, started_at=timezone.now()
    )
    if not started:
        return None
    return ConnectionTest.objects.select_related("pixel__advertiser__partner", "credential").get(pk=test_id)


@transaction.atomic
def finish_connection_test(*, test: ConnectionTest, outcome: TestOutcome) -> bool:
    """Keep the outcome of a running test, and what it says of the credential and the pixel.

    A pass releases a held pixel. Refusals of the token or of access mark the credential; they hold no pixel,
    for deliveries find out by themselves. Whether it was kept: a test that was ended meanwhile stays as it is.
    """
    now = timezone.now()
    passed = outcome.failure_class == ""
    kept = ConnectionTest.objects.filter(pk=test.pk, state=ConnectionTest.State.RUNNING).update(
        state=ConnectionTest.State.PASSED if passed else ConnectionTest.State.FAILED,
        finished_at=now,
        **dataclasses.asdict(outcome),
    )
    if not kept:
        return False
    in_use = Credential.objects.filter(pk=test.credential_id).exclude(state=Credential.State.RETIRED)
    if passed:
        if in_use.update(state=Credential.State.WORKING, last_good_at=now, refused_at=None):
            release_pixel(pixel_id=test.pixel_id)
    elif outcome.failure_class in (FailureClass.CREDENTIAL, FailureClass.PERMISSION):
        in_use.update(state=Credential.State.REFUSED, refused_at=now)
    return True


def run_connection_test(*, test_id: int, client: GraphClient) -> None:
    """Send the test event of a waiting test and keep what came back. Safe to call twice.

    The network is spoken to between two short transactions, in the scope of the test's own advertiser.
    """
    advertiser_id = ConnectionTest.objects.filter(pk=test_id).values_list("advertiser_id", flat=True).first()
    if advertiser_id is None:
        return
    with tenant_scope(advertiser_id=advertiser_id):
        test = start_connection_test(test_id=test_id)
        if test is None:
            return
    outcome = try_credential(test, client)
    with tenant_scope(advertiser_id=advertiser_id):
        finish_connection_test(test=test, outcome=outcome)


def sweep_connection_tests() -> None:
    """End tests whose worker died, so that a person can test again, and hint anew at those whose hint was lost."""
    now = timezone.now()
    lost = ConnectionTest.objects.filter(
        state=ConnectionTest.State.RUNNING, started_at__lt=now - TEST_LOST_AFTER
    )
    for test in lost.only("pk", "advertiser_id", "pixel_id", "credential_id", "state"):
        with tenant_scope(advertiser_id=test.advertiser_id):
            finish_connection_test(test=test, outcome=TestOutcome(failure_class=FailureClass.IN_DOUBT))
    waiting = ConnectionTest.objects.filter(
        state=ConnectionTest.State.WAITING, created_at__lt=now - TEST_HINT_AGAIN_AFTER
    )
    for test_id in waiting.values_list("pk", flat=True):
        hint_after_commit(RUN_TEST, test_id)
