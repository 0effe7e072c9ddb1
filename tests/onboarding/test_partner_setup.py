"""A partner's set-up: each step is checked with Graph, says what is wrong, and puts in force only what was proven."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from onboarding import setup_selectors
from onboarding.models import GraphCallCount, Option, SetupCheck, SetupSecret
from onboarding.services import partner_setup
from onboarding.setup import asking, steps
from onboarding.setup.words import PROBLEMS
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.models import Partner, PartnerCredential
from tenants.secrets import vault
from tenants.services import create_partner
from tests.support.factories import make_partner
from tests.support.sandbox import SandboxClient

pytestmark = pytest.mark.django_db

SECRET = "app-secret-of-the-tests"
ASSIGNING, SENDING = "EAAassigning0123456789canaryASGN", "EAAsending0123456789canarySEND"


@pytest.fixture(autouse=True)
def _hints(hints: list[tuple[object, ...]]) -> None:
    """No broker."""


@pytest.fixture
def world(meta: SandboxClient) -> SandboxClient:
    """A partner's app, business and system users at Meta."""
    meta.set_world(
        {
            "apps": {
                "900100": {
                    "secret": SECRET,
                    "name": "Demo Hub",
                    "business_id": "7001",
                    "permissions": {"ads_management": "live", "ads_read": "pending"},
                },
                "900200": {"secret": "another"},
            },
            "businesses": {
                "7001": {"name": "Hub Ltd", "verification_status": "verified"},
                "7002": {"name": "Another"},
            },
            "system_users": {
                "12100": {"name": "Hub admin", "business_id": "7001", "role": "ADMIN", "apps": ["900100"]},
                "12200": {
                    "name": "Hub sender",
                    "business_id": "7001",
                    "role": "EMPLOYEE",
                    "apps": ["900100"],
                },
            },
            "pixels": {"501": {"owner_business": "7001", "users": {"12200": ["UPLOAD", "ANALYZE"]}}},
            "tokens": {
                ASSIGNING: {
                    "app_id": "900100",
                    "user_id": "12100",
                    "scopes": ["business_management", "ads_management"],
                },
                SENDING: {"app_id": "900100", "user_id": "12200", "scopes": ["ads_management", "ads_read"]},
            },
        }
    )
    return meta


@pytest.fixture
def bare() -> Partner:
    """A partner of which nothing is set up."""
    return create_partner(name="Hub", partner_agent="hub", meta_app_id="", app_secret=None)


@pytest.fixture
def partner() -> Partner:
    """A partner with its app and its business."""
    partner = make_partner()
    Partner.objects.filter(pk=partner.pk).update(business_id="7001", own_pixel_id="501")
    return partner


def checked(partner: Partner, step: str, graph: GraphClient, *, secret: str = "", **more: Any) -> SetupCheck:
    """The step after a worker has asked Graph about it."""
    check = partner_setup.ask_check(
        partner=partner, step=step, person=None, secret=Secret(secret) if secret else None, **more
    )
    partner_setup.run_setup_check(check_id=check.pk, client=graph)
    check.refresh_from_db()
    partner.refresh_from_db()
    return check


def stored(partner: Partner) -> dict[str, str]:
    """The partner's secrets in force."""
    rows = PartnerCredential.objects.filter(partner=partner)
    return {row.kind: vault().open(bytes(row.sealed), identity=row.vault_identity).reveal() for row in rows}


# What passes.


def test_an_app_is_in_force_when_meta_knows_its_secret(
    bare: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    check = checked(bare, "app", graph, secret=SECRET, wanted={"meta_app_id": "900100"})

    assert (check.state, check.facts) == ("passed", {"name": "Demo Hub"})
    assert bare.meta_app_id == "900100"
    assert stored(bare) == {"app_secret": SECRET}
    assert not SetupSecret.objects.exists()


def test_the_system_users_are_known_by_their_tokens(
    partner: Partner,
    world: SandboxClient,
    graph: GraphClient,
    hints: list[tuple[object, ...]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    assigning = checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})
    with django_capture_on_commit_callbacks(execute=True):
        sending = checked(partner, "sending", graph, secret=SENDING, wanted={})

    assert (assigning.state, sending.state) == ("passed", "passed")
    assert assigning.facts["verification_status"] == "verified"
    assert (partner.assigning_system_user_id, partner.sending_system_user_id) == ("12100", "12200")
    assert stored(partner) == {
        "app_secret": SECRET,
        "assigning_token": ASSIGNING,
        "sending_token": SENDING,
    }
    token = PartnerCredential.objects.get(kind="sending_token")
    assert (token.state, token.last_four, token.expiry) == ("working", "SEND", "never")
    assert ("onboarding.look_at_partner", partner.pk) in hints


def test_the_sending_token_is_made_by_the_assigning_one(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})

    check = checked(partner, "sending", graph, wanted={"how": "make", "sending_system_user_id": "12200"})

    assert (check.state, check.facts["made"]) == ("passed", True)
    assert partner.sending_system_user_id == "12200"
    [made] = [one for one in world.tokens(user_id="12200") if one["last_four"] != "SEND"]
    assert made["last_four"] == stored(partner)["sending_token"][-4:]


def test_no_made_token_is_left_over(partner: Partner, world: SandboxClient, graph: GraphClient) -> None:
    checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})
    make = {"how": "make", "sending_system_user_id": "12200"}

    def alive() -> list[str]:
        tokens = world.tokens(user_id="12200")
        return sorted(one["last_four"] for one in tokens if one["state"] == "live")

    checked(partner, "sending", graph, wanted=make)
    first = stored(partner)["sending_token"][-4:]
    assert alive() == sorted(["SEND", first])

    # Checked again it is the same; asked for anew it takes the place of the one before, which ends at Meta.
    assert checked(partner, "sending", graph).facts["made"] is True
    assert alive() == sorted(["SEND", first])
    checked(partner, "sending", graph, wanted=make)
    second = stored(partner)["sending_token"][-4:]
    assert alive() == sorted(["SEND", second])
    checked(partner, "sending", graph, secret=SENDING, wanted={})
    assert alive() == ["SEND"]

    # What was pasted is not ours to end.
    checked(partner, "sending", graph, wanted=make)
    assert alive() == sorted(["SEND", stored(partner)["sending_token"][-4:]])


def test_a_made_token_that_proves_nothing_is_ended(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})
    world.add_knob("error", endpoint="debug_token", code=2, count=1)

    check = checked(partner, "sending", graph, wanted={"how": "make", "sending_system_user_id": "12200"})

    assert check.state == "failed"
    assert [one["last_four"] for one in world.tokens(user_id="12200") if one["state"] == "live"] == ["SEND"]


def test_the_last_step_sends_one_event_to_the_own_pixel_with_the_own_system_user(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    checked(partner, "sending", graph, secret=SENDING, wanted={})

    check = checked(partner, "own_pixel", graph, wanted={"test_event_code": "TEST5"})

    assert check.state == "passed"
    [request] = world.received_requests("501")
    body = json.loads(request["body"])
    assert (body["partner_agent"], body["test_event_code"]) == ("datapartner", "TEST5")
    [event] = body["data"]
    assert event["event_name"] == "PartnerHubConnectionTest"
    again = checked(partner, "own_pixel", graph)
    assert again.state == "passed"
    assert again.wanted == {"test_event_code": "TEST5"}


def test_what_app_review_needs_is_read(partner: Partner, world: SandboxClient, graph: GraphClient) -> None:
    checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})
    checked(partner, "sending", graph, secret=SENDING, wanted={})

    check = checked(partner, "review", graph)

    assert check.state == "passed"
    assert check.facts == {
        "permissions": {"ads_management": "live", "ads_read": "pending"},
        "assigning_scopes": ["business_management", "ads_management"],
        "sending_scopes": ["ads_management", "ads_read"],
        "verification_status": "verified",
        "tier": "standard_access",
    }


# What is wrong.


@pytest.mark.parametrize(
    ("app_id", "secret"), [("900100", "not-the-secret"), ("999999", SECRET), ("900200", SECRET)]
)
def test_an_app_and_a_secret_that_do_not_fit_change_nothing(
    partner: Partner, world: SandboxClient, graph: GraphClient, app_id: str, secret: str
) -> None:
    check = checked(partner, "app", graph, secret=secret, wanted={"meta_app_id": app_id})

    assert (check.state, check.problem) == ("failed", "app_mismatch")
    assert (partner.meta_app_id, stored(partner)) == ("900100", {"app_secret": SECRET})
    assert not SetupSecret.objects.exists()


@pytest.mark.parametrize(
    ("step", "token", "problem"),
    [
        ("assigning", {"app_id": "900200", "user_id": "12100"}, "foreign_token"),
        ("assigning", {"type": "USER", "user_id": "3001"}, "not_system_user"),
        ("assigning", {"user_id": "12100", "scopes": ["ads_read"]}, "missing_scope"),
        ("assigning", {"user_id": "12100", "state": "revoked"}, "token_dead"),
        ("assigning", {"user_id": "12200", "scopes": ["business_management"]}, "not_admin"),
        ("sending", {"user_id": "12200", "scopes": ["public_profile"]}, "missing_scope"),
        ("sending", {"user_id": "12200", "state": "expired"}, "token_dead"),
    ],
)
def test_a_wrong_token_is_told_from_others_and_the_one_in_force_stays(
    partner: Partner,
    world: SandboxClient,
    graph: GraphClient,
    step: str,
    token: dict[str, Any],
    problem: str,
) -> None:
    good = {"assigning": ASSIGNING, "sending": SENDING}[step]
    checked(partner, step, graph, secret=good, wanted={})
    before = stored(partner)
    usual = {"app_id": "900100", "scopes": ["business_management", "ads_management"]}
    world.set_world({"tokens": {"EAAwrong0123456789": {**usual, **token}}})

    check = checked(partner, step, graph, secret="EAAwrong0123456789", wanted={})

    assert (check.state, check.problem) == ("failed", problem)
    assert stored(partner) == before
    assert not SetupSecret.objects.exists()
    fault = setup_selectors.fault_of(check, "en")
    assert fault is not None
    assert fault.words.steps
    assert "{" not in fault.words.title + fault.words.cause + "".join(fault.words.steps)


def test_a_system_user_of_another_business_is_refused(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    check = checked(partner, "assigning", graph, secret=ASSIGNING, wanted={}, business_id="7002")

    assert (check.state, check.problem) == ("failed", "wrong_business")


@pytest.mark.parametrize(
    ("roles", "problem"), [({"12100": "EMPLOYEE"}, "not_admin"), ({"1": "ADMIN"}, "not_of_business")]
)
def test_who_assigns_is_an_admin_of_the_business(
    partner: Partner,
    world: SandboxClient,
    graph: GraphClient,
    monkeypatch: pytest.MonkeyPatch,
    roles: dict[str, str],
    problem: str,
) -> None:
    monkeypatch.setattr("onboarding.graph.partner.system_user_roles", lambda *args, **options: roles)

    check = checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})

    assert (check.state, check.problem) == ("failed", problem)
    fault = setup_selectors.fault_of(check, "en")
    assert fault is not None
    assert "{" not in fault.words.cause


def test_a_pixel_that_the_system_user_does_not_reach_is_said(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    checked(partner, "sending", graph, secret=SENDING, wanted={})

    check = checked(partner, "own_pixel", graph, wanted={}, own_pixel_id="502502")

    assert (check.state, check.problem, check.code, check.subcode) == ("failed", "own_pixel", 100, 33)
    assert check.fbtrace_id


@pytest.mark.parametrize(
    ("step", "problem"),
    [("own_pixel", "sending_first"), ("sending", "assigning_first"), ("review", "app_first")],
)
def test_a_step_that_needs_another_one_first_says_which(
    bare: Partner, partner: Partner, graph: GraphClient, step: str, problem: str
) -> None:
    whose = bare if step == "review" else partner

    check = checked(whose, step, graph, wanted={"how": "make", "sending_system_user_id": "12200"})

    assert (check.state, check.problem) == ("failed", problem)


def test_a_passing_fault_keeps_what_was_typed_for_the_next_check(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    outage = world.start_outage()
    check = checked(partner, "sending", graph, secret=SENDING, wanted={})
    assert (check.state, check.problem, check.failure_class) == ("failed", "", "in_doubt")
    assert setup_selectors.waiting_last_four(partner, "sending") == "SEND"
    fault = setup_selectors.fault_of(check, "en")
    assert fault is not None
    assert fault.is_passing

    world.remove_knob(outage)
    check = checked(partner, "sending", graph)

    assert check.state == "passed"
    assert stored(partner)["sending_token"] == SENDING


def test_each_problem_has_words() -> None:
    source = inspect.getsource(asking) + inspect.getsource(partner_setup)
    for problem in PROBLEMS:
        assert f'"{problem}"' in source, problem


# By the clock, and twice.


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_a_check_that_is_asked_anew_meanwhile_is_not_settled_by_the_old_answer(
    partner: Partner, world: SandboxClient, graph: GraphClient, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    check = partner_setup.ask_check(
        partner=partner, step="sending", person=None, wanted={}, secret=Secret(SENDING)
    )
    real = asking.ask

    def asked_meanwhile(*given: Any) -> Any:
        finding = real(*given)
        partner_setup.ask_check(
            partner=partner, step="sending", person=None, wanted={}, secret=Secret("x" * 30)
        )
        # By then another worker may be at it.
        SetupCheck.objects.update(state=state)
        return finding

    monkeypatch.setattr(partner_setup, "ask", asked_meanwhile)

    assert partner_setup.run_setup_check(check_id=check.pk, client=graph) is False

    check.refresh_from_db()
    assert check.state == state
    assert "sending_token" not in stored(partner)
    assert SetupSecret.objects.get().last_four == "xxxx"


def test_a_doubled_hint_does_nothing(partner: Partner, world: SandboxClient, graph: GraphClient) -> None:
    check = checked(partner, "sending", graph, secret=SENDING, wanted={})

    assert partner_setup.run_setup_check(check_id=check.pk, client=graph) is False
    assert partner_setup.run_setup_check(check_id=check.pk + 1, client=graph) is False


def test_what_lost_hints_and_dead_workers_left_is_mended(
    partner: Partner, hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: Any
) -> None:
    waiting = partner_setup.ask_check(partner=partner, step="sending", person=None, wanted={})
    dead = partner_setup.ask_check(partner=partner, step="app", person=None, wanted={})
    SetupCheck.objects.filter(pk=dead.pk).update(state="running")
    hints.clear()

    with django_capture_on_commit_callbacks(execute=True):
        partner_setup.sweep_setup_checks(timezone.now() + timedelta(minutes=3))

    dead.refresh_from_db()
    assert (dead.state, dead.problem) == ("failed", "interrupted")
    assert hints == [("onboarding.check_setup", waiting.pk)]


def test_the_calls_of_the_checks_are_counted(
    partner: Partner, world: SandboxClient, graph: GraphClient
) -> None:
    checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})
    checked(partner, "app", graph, secret="not-the-secret", wanted={"meta_app_id": "900100"})

    [(source, good, bad)] = GraphCallCount.objects.values_list("source", "succeeded", "failed")
    assert (source, good, bad) == ("set_up", 3, 1)


def test_the_worker_does_it_in_its_own_role(
    partner: Partner, world: SandboxClient, graph: GraphClient, as_role: Any
) -> None:
    check = partner_setup.ask_check(
        partner=partner, step="sending", person=None, wanted={}, secret=Secret(SENDING)
    )

    with as_role("worker"):
        assert partner_setup.run_setup_check(check_id=check.pk, client=graph)

    assert stored(partner)["sending_token"] == SENDING


def test_no_secret_stands_in_a_table(partner: Partner, world: SandboxClient, graph: GraphClient) -> None:
    partner_setup.ask_check(partner=partner, step="sending", person=None, wanted={}, secret=Secret(SENDING))
    checked(partner, "assigning", graph, secret=ASSIGNING, wanted={})
    with connection.cursor() as cursor:
        for table in ("onboarding_setupcheck", "onboarding_setupsecret", "tenants_partnercredential"):
            cursor.execute(f"SELECT t::text FROM {table} t")  # noqa: S608 - names from here
            for (row,) in cursor.fetchall():
                for token in (SENDING, ASSIGNING):
                    assert token not in row
                    assert token.encode().hex() not in row


# Which steps there are.


def test_the_ways_are_the_options() -> None:
    assert {way.value for way in steps.Way} == set(Option.values)
    assert [step.key for step in steps.STEPS] == [step for step in SetupCheck.Step.values if step != "review"]


@pytest.mark.parametrize(
    ("ways", "keys"),
    [
        (["pasted_token"], ["options", "agent", "branding"]),
        (
            ["shared_pixel"],
            ["options", "agent", "app", "assigning", "sending", "branding", "own_pixel"],
        ),
        (
            ["login_for_business", "pasted_token"],
            ["options", "agent", "app", "assigning", "sending", "login", "branding", "own_pixel"],
        ),
    ],
)
def test_a_step_that_no_offered_way_needs_is_not_asked(ways: list[str], keys: list[str]) -> None:
    assert [step.key for step in steps.needed(ways)] == keys


def test_the_way_goes_to_what_is_still_open() -> None:
    begun = steps.progress(["pasted_token"], {"options": "passed", "agent": "failed"})

    assert (begun.done, begun.is_done, begun.next_key) == (1, False, "agent")
    assert (begun.after("options"), begun.after("agent"), begun.after("branding")) == (
        "agent",
        "branding",
        "agent",
    )
    done = steps.progress(["pasted_token"], dict.fromkeys(["options", "agent", "branding"], "passed"))
    assert (done.is_done, done.after("branding")) == (True, "")
