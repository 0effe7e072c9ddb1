"""Pixels, tokens and tests of the connection: what each act changes, and that a second one changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from onboarding import services
from onboarding.ladder import TestOutcome
from onboarding.models import ConnectionTest, Credential, Pixel, SealedToken
from partnerhub.lib.graph.errors import FailureClass
from partnerhub.lib.vault import Secret, VaultError
from tenants.secrets import vault
from tests.support.factories import hold, make_advertiser, make_credential, make_pixel, opened

pytestmark = pytest.mark.django_db

CANARY = "EAAcanary0123456789abcdefZDZD"


def running_test(pixel: Pixel) -> ConnectionTest:
    """A test that a worker has taken up."""
    waiting = services.request_connection_test(pixel=pixel, requested_by=None)
    running = services.start_connection_test(test_id=waiting.pk)
    assert running is not None
    return running


def tables_text() -> str:
    """All rows of all tables as text; binary columns are hexadecimal there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        rows = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608 - a name from the catalogue
            rows += [text for (text,) in cursor.fetchall()]
    return "\n".join(rows)


def test_an_advertiser_has_a_pixel_once() -> None:
    pixel = make_pixel()

    with pytest.raises(services.PixelExists):
        services.add_pixel(advertiser=pixel.advertiser, meta_id=pixel.meta_id, name="Again")

    other = services.add_pixel(advertiser=make_advertiser(), meta_id=pixel.meta_id, name="Another's")
    assert other.meta_id == pixel.meta_id


def test_a_pasted_token_is_kept_sealed_and_nowhere_else() -> None:
    credential = make_credential(make_pixel(), token=CANARY)

    kept = tables_text()

    assert (credential.state, credential.last_four) == ("untested", "ZDZD")
    assert CANARY not in kept
    assert CANARY.encode().hex() not in kept
    assert opened(credential) == Secret(CANARY)


def test_a_sealed_token_opens_in_no_other_row() -> None:
    mine, another = make_credential(make_pixel()).secret, make_credential(make_pixel()).secret
    assert mine is not None
    assert another is not None

    with pytest.raises(VaultError):
        vault().open(bytes(mine.sealed), identity=another.vault_identity)


def test_a_new_token_erases_the_old_secret() -> None:
    pixel = make_pixel()
    old = make_credential(pixel)

    new = make_credential(pixel, token=CANARY)

    old.refresh_from_db()
    assert (old.state, old.secret_id) == ("retired", None)
    assert SealedToken.objects.get().pk == new.secret_id
    assert old.retired_at is not None
    assert Credential.objects.exclude(state="retired").get() == new


def test_a_new_token_releases_no_held_pixel() -> None:
    pixel = make_pixel()
    make_credential(pixel)
    hold(pixel, Pixel.Hold.CREDENTIAL)

    make_credential(pixel, token=CANARY)

    pixel.refresh_from_db()
    assert pixel.hold == "credential"


def test_without_a_token_nothing_is_tested() -> None:
    with pytest.raises(services.NoCredential):
        services.request_connection_test(pixel=make_pixel(), requested_by=None)


def test_a_test_waits_for_a_worker_who_is_told_after_the_commit(
    hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    pixel = make_pixel()
    make_credential(pixel)

    with django_capture_on_commit_callbacks(execute=True):
        test = services.request_connection_test(pixel=pixel, requested_by=None, test_event_code="TEST1")
        assert hints == []

    assert (test.state, test.test_event_code) == ("waiting", "TEST1")
    assert hints == [("onboarding.run_connection_test", test.pk)]


def test_one_test_of_a_pixel_runs_at_a_time() -> None:
    pixel = make_pixel()
    make_credential(pixel)
    test = running_test(pixel)

    with pytest.raises(services.TestUnderWay):
        services.request_connection_test(pixel=pixel, requested_by=None)

    services.finish_connection_test(test=test, outcome=TestOutcome())
    assert services.request_connection_test(pixel=pixel, requested_by=None).state == "waiting"


def test_a_test_is_started_once() -> None:
    pixel = make_pixel()
    make_credential(pixel)
    test = running_test(pixel)

    assert services.start_connection_test(test_id=test.pk) is None
    assert services.start_connection_test(test_id=test.pk + 1) is None


def test_a_pass_proves_the_token_and_lets_a_held_pixel_go_on(
    hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    pixel = make_pixel()
    credential = make_credential(pixel)
    hold(pixel, Pixel.Hold.CREDENTIAL)
    test = running_test(pixel)

    with django_capture_on_commit_callbacks(execute=True):
        assert services.finish_connection_test(test=test, outcome=TestOutcome(events_received=1))

    pixel.refresh_from_db()
    credential.refresh_from_db()
    test.refresh_from_db()
    assert (pixel.held_at, pixel.hold) == (None, "")
    assert (credential.state, credential.refused_at) == ("working", None)
    assert credential.last_good_at is not None
    assert (test.state, test.events_received) == ("passed", 1)
    assert ("events.deliver", pixel.pk) in hints


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (FailureClass.CREDENTIAL, "refused"),
        (FailureClass.PERMISSION, "refused"),
        (FailureClass.TRANSIENT, "untested"),
        (FailureClass.RATE_LIMITED, "untested"),
        (FailureClass.IN_DOUBT, "untested"),
        (FailureClass.UNSENT, "untested"),
    ],
)
def test_only_a_refusal_speaks_against_the_token_and_none_holds_the_pixel(
    failure: FailureClass, state: str
) -> None:
    pixel = make_pixel()
    credential = make_credential(pixel)
    test = running_test(pixel)

    services.finish_connection_test(test=test, outcome=TestOutcome(failure_class=failure.value))

    credential.refresh_from_db()
    pixel.refresh_from_db()
    test.refresh_from_db()
    assert (test.state, credential.state, pixel.hold) == ("failed", state, "")


def test_the_old_tokens_pass_says_nothing_of_the_new_one() -> None:
    pixel = make_pixel()
    make_credential(pixel)
    hold(pixel, Pixel.Hold.CREDENTIAL)
    test = running_test(pixel)
    new = make_credential(pixel, token=CANARY)

    services.finish_connection_test(test=test, outcome=TestOutcome())

    new.refresh_from_db()
    pixel.refresh_from_db()
    assert (new.state, pixel.hold) == ("untested", "credential")


def test_an_outcome_is_kept_once() -> None:
    pixel = make_pixel()
    make_credential(pixel)
    test = running_test(pixel)
    services.finish_connection_test(test=test, outcome=TestOutcome(failure_class="in_doubt"))

    assert not services.finish_connection_test(test=test, outcome=TestOutcome())

    test.refresh_from_db()
    assert test.state == "failed"


def test_a_hold_is_set_once_and_released_once(
    hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    pixel = make_pixel()
    credential = make_credential(pixel)

    assert hold(pixel, Pixel.Hold.PERMISSION)
    assert not hold(pixel, Pixel.Hold.CREDENTIAL)
    pixel.refresh_from_db()
    credential.refresh_from_db()
    assert (pixel.hold, credential.state) == ("permission", "refused")

    with django_capture_on_commit_callbacks(execute=True):
        assert services.release_pixel(pixel_id=pixel.pk)
        assert not services.release_pixel(pixel_id=pixel.pk)
    assert hints == [("events.deliver", pixel.pk)]


def test_the_sweep_ends_the_test_of_a_dead_worker_and_no_other() -> None:
    tests = []
    for seconds in (76, 74):
        pixel = make_pixel()
        make_credential(pixel)
        tests.append(running_test(pixel))
        started = timezone.now() - timedelta(seconds=seconds)
        ConnectionTest.objects.filter(pk=tests[-1].pk).update(started_at=started)

    services.sweep_connection_tests()

    lost, alive = (ConnectionTest.objects.get(pk=test.pk) for test in tests)
    assert (lost.state, lost.failure_class) == ("failed", "in_doubt")
    assert alive.state == "running"
    # So a person can test again.
    assert lost.pixel is not None
    assert services.request_connection_test(pixel=lost.pixel, requested_by=None).state == "waiting"


def test_the_sweep_says_a_lost_hint_again(
    hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    tests = []
    for seconds in (11, 9):
        pixel = make_pixel()
        make_credential(pixel)
        tests.append(services.request_connection_test(pixel=pixel, requested_by=None))
        asked = timezone.now() - timedelta(seconds=seconds)
        ConnectionTest.objects.filter(pk=tests[-1].pk).update(created_at=asked)

    with django_capture_on_commit_callbacks(execute=True):
        services.sweep_connection_tests()

    assert hints == [("onboarding.run_connection_test", tests[0].pk)]
