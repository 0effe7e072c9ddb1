"""Redaction: no log line shows a token, a password or an address, however it got there."""

from __future__ import annotations

import io
import json
import logging
import time
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from partnerhub.lib.logs import configure_logging
from partnerhub.lib.redact import MASK, RedactingFilter, redact_processor, redact_text
from partnerhub.lib.vault import Secret

# The shapes of real ones, made up.
META_TOKEN = "EAAGm0PX4ZCpsBAKZCZBqXoZA3ZBZCZAkZBZCb7Ys0123456789abcdefGHIJKLMNOPqrstuvwxyzZDZD"
INGEST_TOKEN = "pht_Zk3v-9_xQ2mN7bTfR5yLw8"
PROOF = "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"
APP_TOKEN = "900100900100900|aBcDeFgHiJkLmNoPqRsTuVwXyZ0"
SECRETS = [META_TOKEN, INGEST_TOKEN, APP_TOKEN, "jo.doe+shop@example.co.uk"]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"token {META_TOKEN} refused", "token *** refused"),
        (f"{META_TOKEN}", "***"),
        (f"x={INGEST_TOKEN}&y=1", "x=***&y=1"),
        (
            f"GET /v25.0/me?access_token=abc.def&fields=id {PROOF}",
            f"GET /v25.0/me?access_token=***&fields=id {PROOF}",
        ),
        (f"/me?appsecret_proof={PROOF}&a=1", "/me?appsecret_proof=***&a=1"),
        ("/debug_token?input_token=abc&x=1", "/debug_token?input_token=***&x=1"),
        ("client_secret=s3cr3t fb_exchange_token=t", "client_secret=*** fb_exchange_token=***"),
        ('{"access_token": "abc", "a": 1}', '{"access_token": "***", "a": 1}'),
        ("connect password=hunter2 host=x", "connect password=*** host=x"),
        ('{"access_token":"abc"}', '{"access_token":"***"}'),
        (r'"{\"access_token\":\"abc\"}"', r'"{\"access_token\":\"***\"}"'),
        ("{'access_token': 'abc', 'a': 1}", "{'access_token': '***', 'a': 1}"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer abc'}", "{'authorization': 'bearer ***'}"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic ***"),
        (f"app {APP_TOKEN}", "app ***"),
        (f"access_token={APP_TOKEN.replace('|', '%7C')}", "access_token=***"),
        ("from jo.doe+shop@example.co.uk to you", "from *** to you"),
        ("?email=jo%40example.com&x=1", "?email=***&x=1"),
        ("jürgen@bücher.example", "***"),
        ("postgresql://app:hunter2@localhost:5432/db", "postgresql://***@localhost:5432/db"),
        ("amqp://ph:p%40ss@127.0.0.1/ph", "amqp://***@127.0.0.1/ph"),
        ("GET /invitations/abcdefghijklmnopqrstuv/", "GET /invitations/***/"),
        ("Not Found: /token/abcdefghijklmnopqrstuv/", "Not Found: /token/***/"),
        ("/accounts/confirm-email/MQ:1vNabc:abcdefghijklmnop_-qrstuv/", "/accounts/confirm-email/***/"),
        (
            "/accounts/password/reset/key/1-cxyz12-0123456789abcdef0123456789abcdef/",
            "/accounts/password/reset/key/***/",
        ),
        (f"GET /back?code=AQB{PROOF}&state=x", "GET /back?code=***&state=x"),
        (f"/back?state={PROOF}#_=_", "/back?state=***#_=_"),
        (f"{{'state': '{PROOF}', 'code': 100}}", "{'state': '***', 'code': 100}"),
        ("signed_request=abc.def", "signed_request=***"),
        # What helps and is nobody's.
        ("code=190 subcode=463 state=login_for_business", None),
        ("pixel 1000000000001 got 100/33, trace AstandIn000000000000001", None),
        ("lease 0190c0de-0000-7000-8000-000000000001 ended", None),
        ("EAA EAAshort pht_ a@b 12|34", None),
        ("basic bearer", None),
        ("sha256 eaa1b2c3d4e5f60718293a4b5c6d7e8f", None),
    ],
)
def test_texts_keep_what_helps_and_lose_what_is_secret(text: str, redacted: str | None) -> None:
    assert redact_text(text) == (text if redacted is None else redacted)


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_token_is_found_in_any_surroundings(before: str, after: str) -> None:
    text = redact_text(f"{before} {META_TOKEN} {after}")

    assert META_TOKEN not in text


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize(
    "piece", ["a", "@", "a@", "a.", "EAA", "://a:", "access_token=", "1|", "'", "%40", "a@a."]
)
def test_time_is_linear_in_the_texts_length(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    started = time.process_time()

    redact_text(text)

    assert time.process_time() - started < 1.0


def processed(**event: Any) -> dict[str, Any]:
    return dict(redact_processor(None, "info", event))


def test_values_are_redacted_by_what_they_are_called() -> None:
    event = processed(
        event="refused",
        access_token="opaque",
        Authorization="opaque",
        password="opaque",
        tokens=["opaque"],
        secret={"nested": "opaque"},
        cookie=b"opaque",
        lease_token="0190c0de",
        token_id=7,
        token_count=3,
        pixel_id=5,
    )

    assert "opaque" not in repr(event)
    assert event == {
        "event": "refused",
        "access_token": MASK,
        "Authorization": MASK,
        "password": MASK,
        "tokens": MASK,
        "secret": MASK,
        "cookie": MASK,
        "lease_token": "0190c0de",
        "token_id": 7,
        "token_count": 3,
        "pixel_id": 5,
    }


def test_values_are_redacted_wherever_they_are() -> None:
    class Thing:
        def __str__(self) -> str:
            return META_TOKEN

    deep: object = META_TOKEN
    for _ in range(20):
        deep = [deep]

    event = processed(
        event=f"call with {META_TOKEN}",
        row={"a": [{"b": (META_TOKEN, "jo@example.com")}], META_TOKEN: 1},
        thing=Thing(),
        error=ValueError(META_TOKEN),
        raw=META_TOKEN.encode(),
        held=Secret(META_TOKEN),
        deep=deep,
    )

    assert META_TOKEN not in repr(event)
    assert "jo@example.com" not in repr(event)


def test_what_holds_itself_comes_to_an_end() -> None:
    ring: list[object] = [META_TOKEN]
    ring.append(ring)

    assert META_TOKEN not in repr(processed(ring=ring))


@pytest.fixture
def log() -> Any:
    """The real configuration, writing into a text; what was configured before comes back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    structlog.reset_defaults()
    configure_logging(level="DEBUG", style="json")
    stream = io.StringIO()
    root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    yield stream
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_the_configured_logs_show_no_secret_by_any_road(log: io.StringIO) -> None:
    for secret in SECRETS:
        structlog.get_logger("a").info(f"event {secret}", value=secret, nested={"x": [secret]})
        logging.getLogger("b").warning("old style %s", secret, extra={"other": secret})
        try:
            raise ValueError(secret) from KeyError(secret)
        except ValueError:
            structlog.get_logger("c").exception("failed")
            logging.getLogger("d").exception("failed %s", secret)

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 4 * len(SECRETS)
    assert sum("ValueError: ***" in line.get("exception", "") for line in lines) == 2 * len(SECRETS)
    for secret in SECRETS:
        assert secret not in log.getvalue()


def test_the_filter_redacts_a_plain_handlers_records() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("tests.lib.plain")
    logger.propagate = False
    logger.setLevel("INFO")
    logger.handlers[:] = [handler]

    logger.info("token %s, %d%% done, access_token=%s", META_TOKEN, 7, "opaque")
    logger.info("broken %d", META_TOKEN)
    logger.info(Secret(META_TOKEN))
    try:
        raise ValueError(META_TOKEN)
    except ValueError:
        logger.exception("failed", stack_info=True)

    shown = stream.getvalue()
    assert META_TOKEN not in shown
    assert shown.splitlines()[:3] == ["token ***, 7% done, access_token=***", "broken %d", "***"]
    assert "ValueError: ***" in shown
