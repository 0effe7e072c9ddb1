"""The settings, as far as they are unsafe where others can reach the installation; wrong ones stop a start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from events.doctor.finding import Finding
from partnerhub.lib.config import config

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
META: Final = "graph.facebook.com"


def look_at_settings() -> Iterator[Finding]:
    """What of them is unsafe."""
    settings = config()
    hosts = {"PUBLIC_URL": settings.public_url, "COLLECTOR_URL": settings.collector_url}
    for name, address in hosts.items():
        if not address.startswith("https://") and not _is_local(address):
            yield Finding(
                f"{name} does not begin with https://: passwords and tokens would travel in the open.",
                f"Put it behind TLS, and give its https:// address in {name}.",
            )
    if _is_local(settings.public_url):
        # On one machine: a stand-in for Meta, and pages of errors for whoever develops.
        return
    if settings.debug:
        yield Finding(
            "DEBUG is on: pages of errors show what is inside to whoever finds one.", "Unset DEBUG."
        )
    if urlsplit(settings.graph_api_base_url).hostname != META:
        yield Finding(
            "GRAPH_API_BASE_URL is not Meta's: events and tokens go elsewhere.",
            f"Unset it, or give https://{META}.",
        )


def _is_local(address: str) -> bool:
    return urlsplit(address).hostname in LOOPBACK
