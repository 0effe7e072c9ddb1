"""Reading a pixel and sending it the test event, in words. No rows, no retries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from partnerhub.lib.graph import GraphAnswer, GraphClient
from partnerhub.lib.graph.errors import BatchRefused, PermissionRefused
from partnerhub.lib.vault import Secret

# A person is watching. Meta answers most calls in 600 ms ("Troubleshooting", read 2026-11-24).
DEADLINE_SECONDS = 15.0

# A custom event of its own name, so that no conversion is invented in the advertiser's statistics.
TEST_EVENT_NAME = "PartnerHubConnectionTest"


@dataclass(frozen=True, slots=True)
class PixelRead:
    """What a token could see of a pixel: `readable`, or `unknown` where the token may send but not read."""

    outcome: str
    name: str = ""


def read_pixel(
    client: GraphClient, meta_id: str, *, token: Secret, app_secret: Secret | None = None
) -> PixelRead:
    """The pixel's name, as far as the token may read it.

    A token for the Conversions API alone may lack every right to read ("Get Started", read 2026-11-24): that
    refusal proves nothing. Raises the other GraphErrors, a dead token (190) among them.
    """
    try:
        answer = client.get(
            meta_id,
            token=token,
            params={"fields": "id,name"},
            app_secret=app_secret,
            deadline_seconds=DEADLINE_SECONDS,
        )
    except (PermissionRefused, BatchRefused):
        return PixelRead("unknown")
    return PixelRead("readable", str(answer.body.get("name", ""))[:200])


def connection_test_event(*, test_id: int, at: int) -> dict[str, Any]:
    """The event that a connection test sends: nobody's data, and no conversion.

    `external_id` alone is enough to identify for Meta's purposes ("Best Practices", read 2026-11-24).
    """
    return {
        "event_name": TEST_EVENT_NAME,
        "event_time": at,
        "event_id": f"partnerhub-test-{test_id}",
        "action_source": "system_generated",
        "user_data": {"external_id": [f"partnerhub-test-{test_id}"]},
    }


def send_test_event(
    client: GraphClient,
    meta_id: str,
    *,
    token: Secret,
    fragment: bytes,
    partner_agent: str,
    test_event_code: str,
    app_secret: Secret | None = None,
) -> GraphAnswer:
    """Graph's answer to the one event. Raises GraphError."""
    return client.send_events(
        meta_id,
        token=token,
        fragments=[fragment],
        partner_agent=partner_agent,
        test_event_code=test_event_code or None,
        app_secret=app_secret,
        deadline_seconds=DEADLINE_SECONDS,
    )
