"""Random tokens that travel in links and headers and are kept as hashes. Pure, but for the randomness."""

from __future__ import annotations

import hashlib
import secrets

# By which whoever finds one in a log, or a scanner of repositories, knows what it is.
API_KEY_PREFIX = "phk_"
# 256 bits: guessing is hopeless, so a plain hash (no salt, no stretching) keeps it safe at rest.
TOKEN_BYTES = 32


def new_token(prefix: str = "") -> str:
    """A fresh token of 43 URL-safe characters behind its prefix."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """What is kept of a token: its SHA-256, as 64 hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()
