"""The last step of every log line: what is secret or personal is taken out, whoever put it in.

Secrets are kept out at their source; this catches what slips through, in values, texts and tracebacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

MASK = "***"
# Deeper than anything that we log; what is below is not shown.
DEPTH = 6

_SECRETS = re.compile(
    r"""
    \bEAA[A-Za-z0-9]{8,}                        # Meta's tokens
    | \bpht_[A-Za-z0-9_-]{8,}                   # our ingest tokens
    | (?<=Bearer\ )[^\s"',;]+
    | (?<=access_token=)[^&\s"']+
    | (?<=input_token=)[^&\s"']+
    | (?<=appsecret_proof=)[^&\s"']+
    | (?<=client_secret=)[^&\s"']+
    | (?<=/invitations/)[A-Za-z0-9_-]{20,}
    | (?<=://)[^/@\s:]+:[^/@\s]+(?=@)           # name and password in an address
    """,
    re.VERBOSE,
)
# Begun at a word's first sign only, or a long word would be gone through once for each of its signs.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)+")
_NAMES = re.compile(r"token|secret|password|authorization|cookie|appsecret_proof", re.IGNORECASE)
# Names that hold one of those words and no secret.
_HARMLESS = frozenset({"token_id", "lease_token", "token_hash"})


def redact_text(text: str) -> str:
    """The text without tokens, passwords and e-mail addresses."""
    return _EMAIL.sub(MASK, _SECRETS.sub(MASK, text))


def _redact(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return MASK
    if isinstance(value, Mapping):
        return {str(key): _redact_named(str(key), item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, depth - 1) for item in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return redact_text(str(value))


def _redact_named(name: str, value: Any, depth: int) -> Any:
    if _NAMES.search(name) and name not in _HARMLESS and isinstance(value, str | bytes):
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
