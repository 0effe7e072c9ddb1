"""The environment of the local processes: this machine's addresses, and secrets made once for a checkout."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from partnerhub.dev.ports import HOST, Ports
from partnerhub.dev.postgres import Server
from partnerhub.lib.db_roles import DEFAULT_NAMES

DATABASE = "partnerhub"


def local_secrets(state: Path) -> dict[str, str]:
    """SECRET_KEY and VAULT_KEYS of this checkout, the same at every call, made at the first one.

    What is sealed in the database opens with these keys only: they go together, by `make clean`.
    """
    path = state / "env.json"
    if not path.exists():
        state.mkdir(parents=True, exist_ok=True)
        made = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "VAULT_KEYS": f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        }
        draft = state / f"env.json.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(made, indent=2) + "\n")
        try:
            # Unlike a rename it never replaces: of two that start at once, both use the first one's keys.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    found: dict[str, str] = json.loads(path.read_text())
    return found


def local_environment(state: Path, server: Server, ports: Ports) -> dict[str, str]:
    """Every variable that the product reads, for processes on this machine, with the sandbox as Meta."""
    return {
        **local_secrets(state),
        "DJANGO_SETTINGS_MODULE": "partnerhub.settings",
        "PUBLIC_URL": ports.url("web"),
        "COLLECTOR_URL": ports.url("collector"),
        "ALLOWED_HOSTS": f"localhost,{HOST}",
        "DATABASE_URL_OWNER": server.url(DEFAULT_NAMES.owner, DATABASE),
        "DATABASE_URL_APP": server.url(DEFAULT_NAMES.app, DATABASE),
        "DATABASE_URL_WORKER": server.url(DEFAULT_NAMES.worker, DATABASE),
        "DATABASE_URL_DOOR": server.url(DEFAULT_NAMES.door, DATABASE),
        "BROKER_URL": "pgmq://",
        "GRAPH_API_BASE_URL": ports.url("sandbox"),
        "EMAIL_URL": f"smtp://{HOST}:{ports['smtp']}",
        "DEFAULT_FROM_EMAIL": "PartnerHub <partnerhub@localhost>",
        "LOG_FORMAT": "console",
        # Lines appear when they are written, also through a pipe.
        "PYTHONUNBUFFERED": "1",
    }
