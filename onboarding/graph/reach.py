"""How a pixel's door takes a token: the guardian's question, which sends no event."""

from __future__ import annotations

from onboarding.graph.sending import DEADLINE_SECONDS
from partnerhub.lib.graph import GraphClient, limits
from partnerhub.lib.graph.errors import BatchRefused, CredentialRefused, GraphError, PermissionRefused
from partnerhub.lib.vault import Secret


def reach_pixel(
    client: GraphClient, meta_id: str, *, token: Secret, app_secret: Secret | None, may_read: bool
) -> tuple[str, GraphError | None]:
    """How far the token reaches, in the words of onboarding.guardian.finding, and what it was refused with.

    `may_read`: the token is known to hold a permission to read; only then "no such object" speaks of the pixel.
    """
    try:
        client.get(
            meta_id,
            token=token,
            params={"fields": "id"},
            app_secret=app_secret,
            deadline_seconds=DEADLINE_SECONDS,
        )
    except CredentialRefused as error:
        return "refused", error
    except PermissionRefused as error:
        is_lost = may_read and error.subcode in limits.NO_ACCESS_SUBCODES
        return ("lost" if is_lost else "unreadable"), error
    except BatchRefused as error:
        return "unreadable", error
    except GraphError as error:
        return "untold", error
    return "readable", None
