"""The last step of every log line: what is secret or personal is taken out, whoever put it in.

Secrets are kept out at their source; this catches what slips through, in values, texts and tracebacks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

MASK = "***"
# Deeper than anything that we log; what is below is not shown.
DEPTH = 6

# Each part is bounded or cannot match its own beginning, so that the time is linear in the text's length.
_SECRETS = re.compile(
    r"""
    (?-i:\bEAA[A-Za-z0-9]{8,})                  # Meta's tokens: not each hash that begins with eaa
    | \bpht_[A-Za-z0-9_-]{8,}                   # our ingest tokens
    | \b[0-9]{8,20}(?:\||%7C)[A-Za-z0-9_-]{16,} # an app's token: its id and its secret
    | (?<=bearer[ ])[^\s"',;]+
    | (?<=basic[ ])[A-Za-z0-9+/=]{8,}
    # Keys in a query, a form, JSON or a repr: access_token=x, "access_token": "x", 'access_token': 'x'.
    | (?<![A-Za-z])(?P<key>(?:
          access_token|input_token|fb_exchange_token|appsecret_proof|client_secret|app_secret|revoke_token
          |signed_request|password)(?:\\?["'])?\s{0,2}[=:]\s{0,2}(?:\\?["'])?)[^&\s"'\\,;}]+
    # A dialog's code and state; a code of Meta's errors and a state of ours are shorter.
    | (?<![A-Za-z_])(?P<grant>(?:code|state)(?:\\?["'])?\s{0,2}[=:]\s{0,2}(?:\\?["'])?)[A-Za-z0-9_.~%-]{24,}
    # Links that open something to whoever has them.
    | (?P<path>/(?:invitations|token|confirm-email|reset/key)/)[A-Za-z0-9_:-]{20,}
    | (?<=://)[^/@\s:]{1,200}:[^/@\s]{1,200}(?=@)   # name and password in an address
    """,
    re.VERBOSE | re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_NAMES = re.compile(r"token|secret|password|authorization|cookie|appsecret_proof", re.IGNORECASE)
# Names that hold one of those words and no secret.
_HARMLESS = frozenset({"token_id", "lease_token", "token_hash"})


def redact_text(text: str) -> str:
    """The text without tokens, passwords and e-mail addresses."""
    return _EMAIL.sub(
        MASK, _SECRETS.sub(lambda found: (found["key"] or found["grant"] or found["path"] or "") + MASK, text)
    )


def _redact(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return MASK
    if isinstance(value, Mapping):
        return {
            redact_text(str(key)): _redact_named(str(key), item, depth - 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, depth - 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    return redact_text(str(value))


def _redact_named(name: str, value: Any, depth: int) -> Any:
    is_number = value is None or isinstance(value, bool | int | float)
    if _NAMES.search(name) and name not in _HARMLESS and not is_number:
        return MASK
    return _redact(value, depth)


def redact_processor(
    logger: Any, method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """structlog's processor: the event with every value redacted. It comes right before the renderer."""
    return {
        name: value if name in ("timestamp", "level", "logger") else _redact_named(name, value, DEPTH)
        for name, value in event_dict.items()
    }


class RedactingFilter(logging.Filter):
    """The same for records of the standard library that do not go through structlog: put it on the handler.

    The record's text is made here and redacted, tracebacks too. Records are never dropped.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """True, with the record redacted in place."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = str(record.msg)
        record.msg, record.args = redact_text(text), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            # Formatters use the text where there is one.
            record.exc_text = redact_text(record.exc_text)
            record.exc_info = None
        if record.stack_info:
            record.stack_info = redact_text(record.stack_info)
        return True
