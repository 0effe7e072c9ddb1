"""Trying a credential: what a connection test sends to Meta, and what it makes of the answer. No rows are written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from onboarding.graph import connection_test_event, read_pixel, send_test_event
from onboarding.models import ConnectionTest
from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.graph.errors import FailureClass, GraphError
from partnerhub.lib.vault import Secret, VaultError
from tenants.secrets import vault

# Meta answered 200 and did not count the one event: no class of refusal, and no proof either.
UNCOUNTED = "uncounted"
# The sealed token cannot be opened with the keys at hand: nothing was sent.
SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What came of a test; `failure_class` is empty when Meta answered 200 and counted the one event."""

    __test__ = False

    failure_class: str = ""
    pixel_read: str = ""
    pixel_name_at_meta: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    http_status: int | None = None
    events_received: int | None = None
    fbtrace_id: str = ""
    latency_ms: int | None = None
    code: int | None = None
    subcode: int | None = None


def try_credential(test: ConnectionTest, client: GraphClient) -> TestOutcome:
    """Read the pixel, as far as the token may; then send one test event, which alone proves the connection.

    Takes up to two calls' deadlines. `test` comes with its credential's secrets and its partner.
    """
    try:
        token = _token(test)
    except VaultError:
        return TestOutcome(failure_class=SEALED)
    outcome = TestOutcome()
    try:
        seen = read_pixel(client, test.meta_id, token=token)
        outcome = replace(outcome, pixel_read=seen.outcome, pixel_name_at_meta=seen.name)
    except GraphError as error:
        if error.failure_class == FailureClass.CREDENTIAL:
            return _refused(replace(outcome, pixel_read="refused"), error)
        # A passing fault of a read: the test event decides.
        outcome = replace(outcome, pixel_read="unknown")
    event = connection_test_event(test_id=test.pk, at=int(time.time()))
    partner_agent = test.advertiser.partner.partner_agent
    outcome = replace(
        outcome, request=_request(client, test.meta_id, event, partner_agent, test, token.last_four)
    )
    started = time.monotonic()
    try:
        answer = send_test_event(
            client,
            test.meta_id,
            token=token,
            fragment=orjson.dumps(event),
            partner_agent=partner_agent,
            test_event_code=test.test_event_code,
        )
    except GraphError as error:
        latency_ms = round((time.monotonic() - started) * 1000)
        return replace(_refused(outcome, error), latency_ms=latency_ms)
    return _answered(outcome, answer)


def _token(test: ConnectionTest) -> Secret:
    credential = test.credential
    if credential is None or credential.secret is None:
        raise VaultError("There is no token.")
    return vault().open(bytes(credential.secret.sealed), identity=credential.secret.vault_identity)


def _answered(outcome: TestOutcome, answer: GraphAnswer) -> TestOutcome:
    received = answer.events_received if isinstance(answer.events_received, int) else None
    return replace(
        outcome,
        failure_class="" if received == 1 else UNCOUNTED,
        answer=answer.body,
        http_status=answer.status,
        events_received=received,
        fbtrace_id=answer.fbtrace_id or "",
        latency_ms=answer.elapsed_ms,
    )


def _refused(outcome: TestOutcome, error: GraphError) -> TestOutcome:
    envelope = {
        "message": str(error),
        "code": error.code,
        "error_subcode": error.subcode,
        "error_user_title": error.user_title,
        "error_user_msg": error.user_msg,
        "fbtrace_id": error.fbtrace_id,
    }
    said = {key: value for key, value in envelope.items() if value is not None}
    return replace(
        outcome,
        failure_class=str(error.failure_class),
        answer={"error": said} if error.code is not None else None,
        http_status=error.status,
        fbtrace_id=error.fbtrace_id or "",
        code=error.code,
        subcode=error.subcode,
    )


def _request(
    client: GraphClient,
    meta_id: str,
    event: dict[str, Any],
    partner_agent: str,
    test: ConnectionTest,
    last_four: str,
) -> dict[str, Any]:
    body: dict[str, Any] = {"partner_agent": partner_agent, "data": [event]}
    if test.test_event_code:
        body["test_event_code"] = test.test_event_code
    return {
        "method": "POST",
        "path": f"/{client.version}/{meta_id}/events",
        "headers": {"Authorization": f"Bearer …{last_four}"},
        "body": body,
    }
