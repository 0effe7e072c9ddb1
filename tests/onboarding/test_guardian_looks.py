"""Looks at tokens against the stand-in: what is kept, what is held, what is mended, and what says nothing."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from onboarding.guardian import Finding
from onboarding.models import Credential, CredentialEvent, GraphOutage, Notice, Option, Pixel, Revocation
from onboarding.services.credentials import install_credential
from onboarding.services.guardian import Seen, look_at_credential, look_at_due
from onboarding.services.tokens import open_token, seal_token
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tests.support.environment import TestDatabase
from tests.support.factories import make_advertiser, make_credential, make_partner, make_person, make_pixel
from tests.support.roles import at_once, logged_in_as
from tests.support.sandbox import SandboxClient

pytestmark = pytest.mark.django_db

APP, SECRET = "900100", "app-secret-of-the-tests"
DAY = 86_400
Look = Callable[[Credential], Seen | None]


@pytest.fixture
def look(graph: GraphClient, as_role: Callable[[str], AbstractContextManager[None]]) -> Look:
    """A look at a credential, with the worker's rights."""

    def run(credential: Credential) -> Seen | None:
        Credential.objects.filter(pk=credential.pk).update(look_due_at=timezone.now())
        with as_role("worker"):
            seen = look_at_credential(
                credential_id=credential.pk, advertiser_id=credential.advertiser_id, client=graph
            )
        credential.refresh_from_db()
        credential.pixel.refresh_from_db()
        return seen

    return run


def pasted(meta: SandboxClient, pixel: Pixel | None = None) -> Credential:
    """A pasted token that works at Meta."""
    pixel = pixel or make_pixel()
    token = f"EAApasted{pixel.meta_id}"
    meta.put_pixel(pixel.meta_id)
    meta.put_token(token, pixels=[pixel.meta_id])
    return make_credential(pixel, token=token)


def of_our_app(
    meta: SandboxClient, *, expires_in: int = 0, scopes: tuple[str, ...] = ("ads_management", "ads_read")
) -> Credential:
    """A token of the partner's app, by Login for Business, that works at Meta."""
    pixel = make_pixel()
    token = f"EAAours{pixel.meta_id}"
    meta.put_app(APP, secret=SECRET)
    meta.put_pixel(pixel.meta_id)
    expires_at = int(time.time()) + expires_in if expires_in else 0
    meta.put_token(token, pixels=[pixel.meta_id], app_id=APP, scopes=scopes, expires_at=expires_at)
    return install_credential(
        pixel=pixel,
        option=Option.LOGIN_FOR_BUSINESS,
        secret=seal_token(advertiser_id=pixel.advertiser_id, token=Secret(token)),
        state=Credential.State.WORKING,
    )


def token_of(credential: Credential) -> str:
    assert credential.secret is not None
    return open_token(credential.secret).reveal()


def kinds(credential: Credential) -> list[str]:
    return list(
        CredentialEvent.objects.filter(pixel=credential.pixel).order_by("pk").values_list("kind", flat=True)
    )


def notices() -> list[tuple[str, int, bool]]:
    return list(Notice.objects.order_by("pk").values_list("kind", "days", "is_guess"))


def test_graph_tells_of_a_token_of_the_partners_app(meta: SandboxClient, look: Look) -> None:
    credential = of_our_app(meta, expires_in=50 * DAY)
    before = timezone.now()

    assert look(credential) is not None

    assert credential.expiry == "dated"
    assert credential.expires_at is not None
    assert abs((credential.expires_at - before).total_seconds() - 50 * DAY) < 60
    assert credential.scopes == ["ads_management", "ads_read"]
    assert (credential.issuing_app_id, credential.state) == (APP, "working")
    assert credential.looked_at is not None
    assert credential.last_good_at is not None
    assert before < credential.look_due_at <= timezone.now() + timedelta(days=1)
    # It asks, and sends nothing.
    assert [call["endpoint"] for call in meta.calls()] == ["pixel", "debug_token"]


def test_a_pasted_token_is_looked_at_by_what_it_can_do(meta: SandboxClient, look: Look) -> None:
    credential = pasted(meta)

    seen = look(credential)

    assert seen is not None
    assert (seen.finding, seen.reach) == (Finding.ALIVE, "unreadable")
    # Nobody told its end, and it is not guessed into the books.
    assert (credential.expiry, credential.expires_at, credential.state) == ("unknown", None, "untested")
    assert [call["endpoint"] for call in meta.calls()] == ["pixel"]


@pytest.mark.parametrize("make", [pasted, of_our_app])
def test_a_dead_token_pauses_its_pixel_and_is_told_once(
    meta: SandboxClient, look: Look, make: Callable[[SandboxClient], Credential]
) -> None:
    credential = make(meta)
    meta.set_token_state(token_of(credential), "password_changed")

    look(credential)
    look(credential)

    assert (credential.state, credential.code, credential.subcode) == ("refused", 190, 460)
    assert credential.pixel.hold == "credential"
    assert kinds(credential) == ["issued", "refused"]
    assert notices() == [("died", 0, False)]
    assert Notice.objects.get().about == credential.refused_at


@pytest.mark.parametrize("make", [pasted, of_our_app])
def test_a_token_that_lives_again_lets_its_pixel_go_on(
    meta: SandboxClient, look: Look, make: Callable[[SandboxClient], Credential]
) -> None:
    credential = make(meta)
    meta.set_token_state(token_of(credential), "checkpoint")
    look(credential)

    meta.set_token_state(token_of(credential), "live")
    look(credential)

    assert (credential.state, credential.refused_at, credential.code) == ("working", None, None)
    assert credential.pixel.hold == ""
    assert kinds(credential) == ["issued", "refused", "mended"]


@pytest.mark.parametrize("make", [pasted, of_our_app])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "code": 2},
        {"kind": "error", "code": 1, "status": 500},
        {"kind": "error", "code": 4},
        {"kind": "error", "code": 99_999},
        {"kind": "html"},
        {"kind": "cut"},
    ],
)
def test_what_passes_by_itself_says_nothing_of_a_token(
    meta: SandboxClient,
    look: Look,
    make: Callable[[SandboxClient], Credential],
    fault: dict[str, object],
) -> None:
    credential = make(meta)
    state = credential.state
    meta.add_knob(**fault, endpoint="*")  # type: ignore[arg-type]

    seen = look(credential)

    assert seen is not None
    assert seen.finding == Finding.UNTOLD
    assert (credential.state, credential.looked_at, credential.refused_at) == (state, None, None)
    assert credential.pixel.hold == ""
    assert notices() == []
    # And is looked at again soon.
    assert credential.look_due_at < timezone.now() + timedelta(minutes=11)


def test_a_wrong_app_secret_of_the_partner_says_nothing_of_a_token(meta: SandboxClient, look: Look) -> None:
    credential = of_our_app(meta)
    meta.put_app(APP, secret="another")

    look(credential)

    assert (credential.state, credential.pixel.hold) == ("working", "")


def test_a_token_that_lost_the_pixel_is_told_from_a_dead_one(meta: SandboxClient, look: Look) -> None:
    credential = of_our_app(meta)
    meta.set_token_pixels(token_of(credential), [])

    look(credential)
    look(credential)

    assert (credential.state, credential.failure_class, credential.subcode) == ("refused", "permission", 33)
    assert credential.pixel.hold == "permission"
    assert kinds(credential) == ["issued", "refused", "access_lost"]
    assert notices() == [("access_lost", 0, False)]

    meta.set_token_pixels(token_of(credential), [credential.pixel.meta_id])
    look(credential)

    assert (credential.state, credential.pixel.hold) == ("working", "")


def test_a_refused_delivery_is_not_mended_by_a_token_that_lives(meta: SandboxClient, look: Look) -> None:
    from onboarding.services import hold_pixel
    from partnerhub.lib.graph.errors import PermissionRefused

    credential = of_our_app(meta)
    refusal = PermissionRefused("No permission.", code=200)
    hold_pixel(credential_id=credential.pk, hold=Pixel.Hold.PERMISSION, error=refusal)

    look(credential)

    assert (credential.state, credential.pixel.hold) == ("refused", "permission")
    # The look was to see whether it passes; now people are told.
    assert notices() == [("died", 0, False)]


def test_a_token_without_a_permission_to_send_is_found_out(meta: SandboxClient, look: Look) -> None:
    credential = of_our_app(meta, scopes=("public_profile",))

    look(credential)

    assert (credential.state, credential.failure_class, credential.code) == ("refused", "permission", 200)
    assert credential.pixel.hold == "permission"


def test_the_answer_to_an_old_tokens_look_says_nothing_of_the_new_one(
    meta: SandboxClient, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = pasted(meta)
    meta.set_token_state(token_of(credential), "revoked")
    from onboarding.services import guardian

    asked = guardian.ask

    def ask_while_it_is_replaced(*args: object) -> Seen:
        seen = asked(*args)  # type: ignore[arg-type]
        make_credential(credential.pixel, token="EAAanother")
        return seen

    monkeypatch.setattr(guardian, "ask", ask_while_it_is_replaced)
    look(credential)

    assert (credential.state, credential.pixel.hold) == ("retired", "")
    # Nothing of it was written down.
    assert credential.looked_at is None
    assert notices() == []


# Reminders.


@pytest.mark.parametrize(
    ("age_days", "reminders"),
    [(45.5, []), (46.5, [("expiring", 14, True)]), (53.5, [("expiring", 7, True)]), (61, [])],
)
def test_an_unknown_end_is_reminded_of_as_if_it_were_60_days(
    meta: SandboxClient, look: Look, age_days: float, reminders: list[tuple[str, int, bool]]
) -> None:
    credential = pasted(meta)
    Credential.objects.update(created_at=timezone.now() - timedelta(days=age_days))

    look(credential)
    look(credential)

    assert notices() == reminders


# Refreshing.


def test_an_expiring_token_of_the_partners_app_is_refreshed_and_nobody_is_told(
    meta: SandboxClient, look: Look
) -> None:
    credential = of_our_app(meta, expires_in=20 * DAY)
    old = token_of(credential)
    person = make_person()
    Credential.objects.update(created_by=person)

    look(credential)

    new = Credential.objects.select_related("secret").exclude(state="retired").get()
    assert credential.state == "retired"
    assert new.created_by == person
    assert (new.state, new.option, new.expiry) == ("working", "login_for_business", "dated")
    assert new.expires_at is not None
    assert new.expires_at > timezone.now() + timedelta(days=59)
    assert token_of(new) != old
    assert kinds(credential) == ["issued", "retired", "issued", "refreshed"]
    # The old one is ended at Meta by a worker, which holds it until then.
    revocation = Revocation.objects.select_related("secret").get()
    assert revocation.secret is not None
    assert open_token(revocation.secret).reveal() == old
    assert notices() == []


def test_a_token_that_never_expires_is_never_refreshed(meta: SandboxClient, look: Look) -> None:
    credential = of_our_app(meta)

    look(credential)

    assert credential.expiry == "never"
    assert meta.calls("oauth_access_token") == []


def test_a_token_whose_refresh_fails_stays_and_people_are_told(meta: SandboxClient, look: Look) -> None:
    credential = of_our_app(meta, expires_in=6 * DAY)
    meta.add_knob("error", endpoint="oauth_access_token", code=2)

    look(credential)

    assert credential.state == "working"
    assert notices() == [("expiring", 7, False)]


def test_a_refreshed_token_that_proves_nothing_is_revoked_and_the_old_one_stays(
    meta: SandboxClient, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onboarding.services import guardian

    credential = of_our_app(meta, expires_in=20 * DAY)
    old, asked = token_of(credential), guardian.ask

    def ask(option: Option, opening: object, client: GraphClient) -> Seen:
        seen = asked(option, opening, client)  # type: ignore[arg-type]
        is_old = opening.token.reveal() == old  # type: ignore[attr-defined]
        return seen if is_old else Seen(Finding.DEAD, seen.standing)

    monkeypatch.setattr(guardian, "ask", ask)
    look(credential)

    assert credential.state == "working"
    assert token_of(credential) == old
    left = Revocation.objects.select_related("secret").get()
    assert left.secret is not None
    assert open_token(left.secret).reveal() != old


# The rounds.


def test_a_round_looks_at_what_is_due_and_no_more_than_its_share(
    meta: SandboxClient, graph: GraphClient, as_role: Callable[[str], AbstractContextManager[None]]
) -> None:
    advertiser = make_advertiser()
    for _ in range(4):
        pasted(meta, make_pixel(advertiser))
    Credential.objects.filter(pk=Credential.objects.latest("pk").pk).update(
        look_due_at=timezone.now() + timedelta(hours=1)
    )

    with as_role("worker"):
        assert look_at_due(client=graph, limit=2) == 2
        assert look_at_due(client=graph, limit=100) == 1
        assert look_at_due(client=graph, limit=100) == 0


def test_a_round_ends_where_graph_does_not_answer(
    meta: SandboxClient, graph: GraphClient, as_role: Callable[[str], AbstractContextManager[None]]
) -> None:
    advertiser = make_advertiser()
    for _ in range(8):
        pasted(meta, make_pixel(advertiser))
    meta.start_outage()

    with as_role("worker"):
        assert look_at_due(client=graph) == 5


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_look_once_and_owe_one_mail(
    meta: SandboxClient, graph: GraphClient, database: TestDatabase
) -> None:
    credential = pasted(meta)
    meta.set_token_state(token_of(credential), "expired")

    def run() -> Seen | None:
        return look_at_credential(
            credential_id=credential.pk, advertiser_id=credential.advertiser_id, client=graph
        )

    with logged_in_as(database, "worker"):
        results = at_once(run, run, run)

    assert sorted(type(result).__name__ for result in results) == ["NoneType", "NoneType", "Seen"]
    assert notices() == [("died", 0, False)]
    assert len(meta.calls("pixel")) == 1


# Graph's bad hour, as the guardian itself meets it.


def test_the_guardian_does_not_believe_a_bad_hour_and_clears_it_up_afterwards(
    meta: SandboxClient, graph: GraphClient, as_role: Callable[[str], AbstractContextManager[None]]
) -> None:
    partner = make_partner()
    credentials = [pasted(meta, make_pixel(make_advertiser(partner))) for _ in range(40)]
    bad_hour = meta.add_knob("error", endpoint="*", code=190)

    def round_() -> None:
        Credential.objects.update(look_due_at=timezone.now() - timedelta(seconds=1))
        with as_role("worker"):
            look_at_due(client=graph)

    round_()
    round_()

    outage = GraphOutage.objects.get()
    assert (outage.ended_at, outage.refused, outage.good) == (None, 20, 0)
    assert Pixel.objects.exclude(hold="").count() == 19
    # Those were told of at once: before the twentieth nobody could know.
    told = Notice.objects.count()

    meta.remove_knob(bad_hour)
    for _ in range(3):
        round_()

    assert Pixel.objects.exclude(hold="").count() == 0
    assert Credential.objects.filter(refused_at__isnull=False).count() == 0
    assert Notice.objects.count() == told <= 19
    assert len(credentials) == 40


def test_tests_of_the_connection_do_not_believe_a_bad_hour_either() -> None:
    from onboarding.ladder import TestOutcome
    from onboarding.services import finish_connection_test, request_connection_test, start_connection_test

    GraphOutage.objects.create(began_at=timezone.now(), refused=20, good=0, advertisers=20)
    credential = make_credential(make_pixel())
    waiting = request_connection_test(pixel=credential.pixel, requested_by=None)
    test = start_connection_test(test_id=waiting.pk)
    assert test is not None

    finish_connection_test(test=test, outcome=TestOutcome(failure_class="credential", code=190, subcode=460))

    credential.refresh_from_db()
    assert (credential.state, credential.code) == ("untested", 190)
    assert credential.refused_at is not None


# The operator's command.


def test_an_operator_looks_at_all_of_them_now(
    meta: SandboxClient, graph: GraphClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onboarding.management.commands import guardian

    monkeypatch.setattr(guardian, "graph_client", lambda: graph)
    dead, alive = pasted(meta), pasted(meta)
    meta.set_token_state(token_of(dead), "expired")
    Credential.objects.update(look_due_at=timezone.now() + timedelta(hours=1))

    def run(*arguments: str) -> str:
        out = io.StringIO()
        call_command("guardian", "look", *arguments, stdout=out)
        return out.getvalue()

    assert run() == "0 tokens looked at, and 0 of partners and shared pixels.\n"
    assert run("--all", "--limit", "1") == "1 looked at: 1 dead.\n"
    assert run("--all") == "2 looked at: 1 alive, 1 dead.\n"
    alive.pixel.refresh_from_db()
    dead.pixel.refresh_from_db()
    assert (alive.pixel.hold, dead.pixel.hold) == ("", "credential")


def test_the_clock_calls_the_guardian_and_the_mails() -> None:
    from partnerhub.lib.broker import celery_settings
    from partnerhub.lib.config import config

    schedule = celery_settings(config(), "worker", publishes_only=False)["beat_schedule"]

    assert schedule["guard tokens"]["task"] == "onboarding.guard"
    assert schedule["tell people of tokens"]["task"] == "events.tell_people"
