"""A credential tried against the stand-in: what is sent, what each answer means, and that the token stays out."""

from __future__ import annotations

import dataclasses
import json

import pytest

from onboarding import ladder, services
from onboarding.graph import send_test_event
from onboarding.ladder import Climb, Rung, Step, TestOutcome, climb
from onboarding.models import ConnectionTest, Pixel, SealedToken
from onboarding.services import proofs
from partnerhub.lib.graph import GraphClient
from tests.support.factories import make_credential, make_pixel
from tests.support.sandbox import SandboxClient

pytestmark = pytest.mark.django_db

CANARY = "EAAcanary0123456789abcdefZDZD"


@pytest.fixture
def pixel(meta: SandboxClient) -> Pixel:
    """A pixel with CANARY for its token, both known to the stand-in."""
    pixel = make_pixel()
    make_credential(pixel, token=CANARY)
    meta.put_pixel(pixel.meta_id, name="Shop at Meta")
    meta.put_token(CANARY, pixels=[pixel.meta_id])
    return pixel


def tried(pixel: Pixel, graph: GraphClient, code: str = "") -> TestOutcome:
    """What comes of a test of the pixel."""
    return climbed(pixel, graph, code)[0].outcome


def climbed(pixel: Pixel, graph: GraphClient, code: str = "") -> tuple[Climb, list[Step]]:
    """The ladder of a test of the pixel, and each of its steps."""
    waiting = services.request_connection_test(pixel=pixel, requested_by=None, test_event_code=code)
    test = services.start_connection_test(test_id=waiting.pk)
    assert test is not None
    steps: list[Step] = []
    return climb(proofs._subject(test), graph, steps.append), steps


def rungs(steps: list[Step]) -> list[tuple[str, str]]:
    """Each step's rung and result."""
    return [(str(step.rung), str(step.result)) for step in steps]


def test_the_test_event_is_no_conversion_and_nobodys(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient
) -> None:
    outcome = tried(pixel, graph)

    test = ConnectionTest.objects.get()
    [event] = outcome.request["body"]["data"]
    identity = f"partnerhub-test-{test.pk}"
    assert event.pop("event_time") > 0
    assert event == {
        "event_name": "PartnerHubConnectionTest",
        "event_id": identity,
        "action_source": "system_generated",
        "user_data": {"external_id": [identity]},
    }
    assert outcome.request["body"]["partner_agent"] == "datapartner"
    assert outcome.request["path"] == f"/v26.0/{pixel.meta_id}/events"
    [stored] = meta.stored(pixel.meta_id)
    assert (stored.event_id, stored.partner_agent, stored.copies) == (identity, "datapartner", 1)


def test_an_answer_that_counts_the_event_is_a_pass(pixel: Pixel, graph: GraphClient) -> None:
    outcome = tried(pixel, graph)

    assert (outcome.failure_class, outcome.http_status, outcome.events_received) == ("", 200, 1)
    assert outcome.fbtrace_id
    assert outcome.latency_ms is not None


def test_a_test_event_code_belongs_to_the_request(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient
) -> None:
    outcome = tried(pixel, graph, code="TEST12345")

    assert outcome.request["body"]["test_event_code"] == "TEST12345"
    assert "test_event_code" not in outcome.request["body"]["data"][0]
    assert [stored.test_event_code for stored in meta.stored(pixel.meta_id)] == ["TEST12345"]


def test_a_dead_token_is_found_by_reading_and_no_event_is_sent(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient
) -> None:
    meta.set_token_state(CANARY, "expired")

    outcome = tried(pixel, graph)

    assert (outcome.failure_class, outcome.code, outcome.subcode) == ("credential", 190, 463)
    assert (outcome.pixel_read, outcome.request) == ("refused", {})
    assert meta.stored(pixel.meta_id) == []


def test_a_token_of_another_pixel_is_a_matter_of_permission(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient
) -> None:
    meta.set_token_pixels(CANARY, [])

    assert tried(pixel, graph).failure_class == "permission"


def test_a_token_that_may_send_and_not_read_passes(pixel: Pixel, graph: GraphClient) -> None:
    outcome = tried(pixel, graph)

    assert (outcome.failure_class, outcome.pixel_read, outcome.pixel_name_at_meta) == ("", "unknown", "")


def test_a_token_that_does_not_open_is_not_sent(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient
) -> None:
    SealedToken.objects.update(sealed=b"not what the vault made")

    assert tried(pixel, graph) == TestOutcome(failure_class="sealed")
    assert meta.received_requests(pixel.meta_id) == []


@pytest.mark.parametrize("state", ["live", "expired", "revoked"])
def test_no_outcome_holds_the_token(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient, state: str
) -> None:
    meta.set_token_state(CANARY, state)

    outcome = tried(pixel, graph)

    assert CANARY not in json.dumps(dataclasses.asdict(outcome))


def test_each_rung_is_reported_as_it_is_done(pixel: Pixel, graph: GraphClient) -> None:
    _, steps = climbed(pixel, graph)

    assert [step.rung for step in steps] == list(Rung)
    assert rungs(steps)[0] == ("opens", "passed")
    assert rungs(steps)[-1] == ("counted", "passed")
    assert all(step.ms >= 0 for step in steps)


def test_the_ladder_ends_at_the_rung_that_gives_way(
    pixel: Pixel, meta: SandboxClient, graph: GraphClient
) -> None:
    meta.set_token_state(CANARY, "expired")

    _, steps = climbed(pixel, graph)

    assert rungs(steps)[-1][1] == "failed"
    assert Rung.COUNTED not in [step.rung for step in steps]


def test_a_running_tests_rungs_are_kept_one_by_one(
    pixel: Pixel, graph: GraphClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    send = send_test_event

    def look_first(*args: object, **kwargs: object) -> object:
        seen.append(len(ConnectionTest.objects.get().rungs))
        return send(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ladder, "send_test_event", look_first)
    waiting = services.request_connection_test(pixel=pixel, requested_by=None)

    services.run_connection_test(test_id=waiting.pk, client=graph)

    assert seen == [4]
    assert [rung["outcome"] for rung in ConnectionTest.objects.get().rungs][-1] == "passed"


def test_the_drawing_shows_what_was_not_reached(pixel: Pixel, graph: GraphClient) -> None:
    _, steps = climbed(pixel, graph)
    kept = [step.as_json() for step in steps]

    assert [rung.mark for rung in ladder.drawn(kept, is_running=False)] == ["done"] * 5
    assert [rung.mark for rung in ladder.drawn(kept[:2], is_running=True)] == [
        "done",
        "done",
        "current",
        "todo",
        "todo",
    ]
    assert [rung.mark for rung in ladder.drawn(kept[:2], is_running=False)][2:] == ["todo"] * 3
    kept[2]["outcome"] = "failed"
    assert [rung.mark for rung in ladder.drawn(kept[:3], is_running=False)][2] == "failed"
