"""Testing a connection: asked for, run by a worker, its outcome kept; what dead workers left is mended."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from onboarding.guardian import CONFIRM_AFTER
from onboarding.ladder import Step, Subject, TestOutcome, climb
from onboarding.models import ConnectionTest, Credential, CredentialEvent, OnboardingSession, Option, Pixel
from onboarding.options.base import Opening
from onboarding.services.openings import opening_of_credential, opening_of_session
from onboarding.services.outages import is_refusal_doubted
from onboarding.services.pixels import release_pixel
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import FailureClass
from partnerhub.lib.vault import VaultError
from tenants.models import Person

RUN_TEST = "onboarding.run_connection_test"


class TestUnderWay(Exception):
    """A connection test of this pixel has not finished yet."""

    __test__ = False


class NoCredential(Exception):
    """The pixel has no token to test with."""


# A person who presses again after each remedy stays below it; a program in a loop does not.
TESTS_A_MINUTE: Final = 5
# A code of Events Manager's page is for the hour in which somebody looks at that page.
TEST_EVENT_CODE_LIFE: Final = timedelta(hours=24)
# Of the daily tests, so many are asked for at each tick (every minute): 10,000 pixels are spread over the day.
SCHEDULED_A_TICK: Final = 20


class TestTooSoon(Exception):
    """The pixel was tested TESTS_A_MINUTE times within the last minute."""

    __test__ = False


def request_connection_test(
    *,
    pixel: Pixel,
    requested_by: Person | None,
    test_event_code: str = "",
    trigger: ConnectionTest.Trigger = ConnectionTest.Trigger.PERSON,
) -> ConnectionTest:
    """A connection test that waits for a worker. Raises NoCredential, TestUnderWay, TestTooSoon.

    A code that is given is kept for TEST_EVENT_CODE_LIFE, for further tests by hand.
    """
    credential = Credential.objects.filter(pixel=pixel).exclude(state=Credential.State.RETIRED).first()
    if credential is None:
        raise NoCredential
    now = timezone.now()
    last_minute = ConnectionTest.objects.filter(pixel=pixel, created_at__gt=now - timedelta(minutes=1))
    if last_minute.count() >= TESTS_A_MINUTE:
        raise TestTooSoon
    try:
        with transaction.atomic():
            test = ConnectionTest.objects.create(
                advertiser_id=pixel.advertiser_id,
                pixel=pixel,
                meta_id=pixel.meta_id,
                credential=credential,
                test_event_code=test_event_code,
                requested_by=requested_by,
                trigger=trigger,
            )
    except IntegrityError as error:
        if "connection_test_one_at_a_time" in str(error):
            raise TestUnderWay from None
        raise
    if test_event_code:
        Pixel.objects.filter(pk=pixel.pk).update(
            test_event_code=test_event_code, test_event_code_until=now + TEST_EVENT_CODE_LIFE
        )
    hint_after_commit(RUN_TEST, test.pk)
    return test


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking for many tests: those that wait now, and the pixels that got none, each with why."""

    tests: list[ConnectionTest]
    left_out: list[tuple[Pixel, str]]


def request_connection_tests(
    *, pixels: Iterable[Pixel], requested_by: Person | None, trigger: ConnectionTest.Trigger
) -> Asked:
    """A test of each of the pixels that can be tested now. The workers take them one by one."""
    asked = Asked([], [])
    for pixel in pixels:
        try:
            test = request_connection_test(pixel=pixel, requested_by=requested_by, trigger=trigger)
        except NoCredential:
            asked.left_out.append((pixel, "It is not connected yet."))
        except TestUnderWay:
            asked.left_out.append((pixel, "A test of it is running."))
        except TestTooSoon:
            asked.left_out.append((pixel, "It was tested several times within a minute."))
        else:
            asked.tests.append(test)
    return asked


@transaction.atomic
def set_test_schedule(*, pixel: Pixel, every_hours: int) -> None:
    """How often the pixel's connection is tested by itself; 0: never."""
    Pixel.objects.filter(pk=pixel.pk).update(test_every_hours=every_hours)


def request_scheduled_tests() -> int:
    """Ask for the tests by the clock that are due, a few at a time, those never tested first. How many.

    Only of what is believed to work: a refused credential is mended by a person, who tests then. For workers.
    """
    now = timezone.now()
    latest = ConnectionTest.objects.filter(pixel=OuterRef("pk")).order_by("-id").values("created_at")[:1]
    works = Credential.objects.filter(
        pixel=OuterRef("pk"), state__in=[Credential.State.WORKING, Credential.State.UNTESTED]
    )
    due = (
        Pixel.objects.filter(Exists(works), test_every_hours__gt=0, held_at=None)
        .annotate(tested_at=Coalesce(Subquery(latest), F("created_at")))
        .filter(tested_at__lt=now - F("test_every_hours") * timedelta(hours=1))
        .order_by("tested_at", "pk")[:SCHEDULED_A_TICK]
    )
    count = 0
    for pixel in due:
        with tenant_scope(advertiser_id=pixel.advertiser_id):
            asked = request_connection_tests(
                pixels=[pixel], requested_by=None, trigger=ConnectionTest.Trigger.SCHEDULE
            )
        count += len(asked.tests)
    return count


# Longer than the ladder's four calls may take (onboarding.graph), so that only a dead worker's test is ended.
TEST_LOST_AFTER = timedelta(seconds=75)
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
    started_test: ConnectionTest = _with_all(ConnectionTest.objects).get(pk=test_id)
    return started_test


@transaction.atomic
def finish_connection_test(*, test: ConnectionTest, outcome: TestOutcome) -> bool:
    """Keep the outcome of a running test, and what it says of the credential and the pixel.

    A pass releases a held pixel. Refusals of the token or of access mark the credential; they hold no pixel,
    for deliveries find out by themselves. Whether it was kept: a test that was ended meanwhile stays as it is.
    """
    passed = outcome.failure_class == ""
    kept = ConnectionTest.objects.filter(pk=test.pk, state=ConnectionTest.State.RUNNING).update(
        state=ConnectionTest.State.PASSED if passed else ConnectionTest.State.FAILED,
        finished_at=timezone.now(),
        **dataclasses.asdict(outcome),
    )
    if not kept:
        return False
    if test.credential_id is not None:
        _mark_credential(test.credential_id, outcome, passed=passed)
    return True


def _mark_credential(credential_id: int, outcome: TestOutcome, *, passed: bool) -> None:
    """What the outcome says of the credential in use, and of its pixel; nothing of one that was retired."""
    now = timezone.now()
    credential = (
        Credential.objects.select_for_update(of=("self",))
        .filter(pk=credential_id)
        .exclude(state=Credential.State.RETIRED)
        .first()
    )
    if credential is None:
        return
    before = credential.state
    numbers: dict[str, Any] = {
        "failure_class": outcome.failure_class,
        "code": outcome.code,
        "subcode": outcome.subcode,
    }
    if passed:
        Credential.objects.filter(pk=credential.pk).update(
            state=Credential.State.WORKING, last_good_at=now, refused_at=None, **numbers
        )
        release_pixel(pixel_id=credential.pixel_id)
        kind = {
            Credential.State.UNTESTED: CredentialEvent.Kind.PROVEN,
            Credential.State.REFUSED: CredentialEvent.Kind.MENDED,
        }.get(Credential.State(before))
    elif outcome.failure_class in (FailureClass.CREDENTIAL, FailureClass.PERMISSION):
        if before == Credential.State.REFUSED or is_refusal_doubted(credential_id=credential.pk, **numbers):
            return
        # The guardian looks soon: before anybody is told, and in case that it passes.
        Credential.objects.filter(pk=credential.pk).update(
            state=Credential.State.REFUSED, refused_at=now, look_due_at=now + CONFIRM_AFTER, **numbers
        )
        kind = CredentialEvent.Kind.REFUSED
    else:
        return
    if kind is not None:
        CredentialEvent.objects.create(
            advertiser_id=credential.advertiser_id,
            pixel_id=credential.pixel_id,
            credential=credential,
            kind=kind,
            fbtrace_id=outcome.fbtrace_id,
            **numbers,
        )


def run_connection_test(*, test_id: int, client: GraphClient) -> None:
    """Climb the ladder of a waiting test and keep what came back. Safe to call twice.

    The network is spoken to between short transactions, in the scope of the test's own advertiser.
    """
    advertiser_id = ConnectionTest.objects.filter(pk=test_id).values_list("advertiser_id", flat=True).first()
    if advertiser_id is None:
        return
    with tenant_scope(advertiser_id=advertiser_id):
        test = start_connection_test(test_id=test_id)
        if test is None:
            return
        subject = _subject(test)
    _climb(test, subject, client)


def prove_session(*, session_id: int, client: GraphClient) -> TestOutcome:
    """Climb the ladder with what the session is about to connect its pixel with. What came of it.

    The test stands in the history whatever becomes of the session. Another that runs meanwhile is ended.
    """
    found = OnboardingSession.objects.filter(pk=session_id).values_list("advertiser_id", flat=True).first()
    if found is None:
        raise OnboardingSession.DoesNotExist
    with tenant_scope(advertiser_id=found):
        session = OnboardingSession.objects.select_related("pixel").get(pk=session_id)
        ConnectionTest.objects.filter(
            session=session, state__in=[ConnectionTest.State.WAITING, ConnectionTest.State.RUNNING]
        ).update(
            state=ConnectionTest.State.FAILED,
            finished_at=timezone.now(),
            failure_class=FailureClass.IN_DOUBT,
        )
        test = ConnectionTest.objects.create(
            advertiser_id=found,
            session=session,
            meta_id=str(session.facts.get("meta_id", "")),
            trigger=ConnectionTest.Trigger.SESSION,
            requested_by_id=session.created_by_id,
            state=ConnectionTest.State.RUNNING,
            started_at=timezone.now(),
        )
        test = _with_all(ConnectionTest.objects).get(pk=test.pk)
        subject = _subject(test)
    return _climb(test, subject, client)


def _with_all(tests: Any) -> Any:
    return tests.select_related(
        "advertiser__partner",
        "credential__pixel",
        "credential__secret",
        "session__advertiser",
        "session__candidate",
    )


def _subject(test: ConnectionTest) -> Subject:
    """What the ladder tests, secrets opened here and now: only this transaction may read them."""
    partner = test.advertiser.partner
    opened: Opening | VaultError
    of: Credential | OnboardingSession
    try:
        if test.credential is not None:
            of = test.credential
            opened = opening_of_credential(test.credential, partner)
        else:
            assert test.session is not None  # a constraint of the table
            of = test.session
            opened = opening_of_session(test.session, partner)
    except VaultError as error:
        opened = error
    return Subject(
        test_id=test.pk,
        option=Option(of.option),
        meta_id=test.meta_id,
        partner_agent=partner.partner_agent,
        open=functools.partial(_opened, opened),
        test_event_code=test.test_event_code,
    )


def _opened(opening: Opening | VaultError) -> Opening:
    if isinstance(opening, VaultError):
        raise opening
    return opening


def _climb(test: ConnectionTest, subject: Subject, client: GraphClient) -> TestOutcome:
    rungs: list[dict[str, Any]] = []

    def keep(step: Step) -> None:
        # Seen as it happens: whoever watches the page sees how far it is.
        rungs.append(step.as_json())
        with tenant_scope(advertiser_id=test.advertiser_id):
            ConnectionTest.objects.filter(pk=test.pk, state=ConnectionTest.State.RUNNING).update(rungs=rungs)

    climbed = climb(subject, client, keep)
    with tenant_scope(advertiser_id=test.advertiser_id):
        finish_connection_test(test=test, outcome=climbed.outcome)
    return climbed.outcome


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
