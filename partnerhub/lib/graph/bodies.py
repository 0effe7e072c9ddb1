"""What stands in a request to `/events`, byte for byte: for the client that sends it, and for a dry run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import orjson


def events_body(
    fragments: Sequence[bytes],
    *,
    partner_agent: str,
    test_event_code: str | None = None,
    appsecret_proof: str | None = None,
) -> bytes:
    """The body for these events, each a JSON object as stored: they are joined, not decoded."""
    head: dict[str, str] = {"partner_agent": partner_agent}
    if test_event_code:
        head["test_event_code"] = test_event_code
    if appsecret_proof is not None:
        head["appsecret_proof"] = appsecret_proof
    return b"".join((orjson.dumps(head)[:-1], b',"data":[', b",".join(fragments), b"]}"))
