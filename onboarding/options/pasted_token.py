"""A token that a person pastes: made in Events Manager, of another app than the partner's.

It is checked by what it can do, without a proof, for the secret is another app's ("Get Started", read 2026-11-24).
Graph does not tell its end: that is asked, and never guessed. Its own test event is what proves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from onboarding import graph
from onboarding.journey import Move
from onboarding.models import Option
from onboarding.options.base import (
    Dialog,
    Leftover,
    Opening,
    PartnerSide,
    SessionView,
    Standing,
    Step,
    failed,
    is_passing,
    refused,
)
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import CredentialRefused, GraphError
from partnerhub.lib.vault import Secret

# 190 without a subcode: "Cannot parse access token"; the dead ones have a subcode each.
_UNREADABLE: Final = (190, None)


class PastedToken:
    """The adapter."""

    option = Option.PASTED_TOKEN
    opening = Move.PASTE
    has_dialog = False
    needs_meta_id = True
    # Another app's token: only its own business can end it.
    undoing: str = ""
    proof_problems: Mapping[tuple[int | None, int | None], str] = {
        (100, 33): "token_of_another_pixel",
        _UNREADABLE: "token_incomplete",
    }

    def missing(self, partner: PartnerSide) -> list[str]:
        """Nothing: the token is the advertiser's."""
        return []

    def dialog(self, view: SessionView, *, rerequest: bool) -> Dialog:
        """There is none."""
        raise NotImplementedError

    def advance(self, view: SessionView, client: GraphClient) -> Step:
        """Whether it lives and is no person's. What Graph keeps to itself, the test event finds out."""
        if view.candidate is None:
            return refused("token_incomplete")
        try:
            if _is_a_persons(client, view.candidate):
                return refused("user_token")
        except CredentialRefused as error:
            return failed(error, "token_incomplete" if (error.code, error.subcode) == _UNREADABLE else "")
        except GraphError as error:
            if is_passing(error.failure_class):
                return failed(error)
        return Step(Move.TAKE)

    def look(self, opening: Opening, client: GraphClient) -> Standing:
        """Nothing: debug_token tells a token's own app alone."""
        return Standing()

    def refresh(self, opening: Opening, client: GraphClient) -> tuple[Secret, int] | None:
        """None: only the issuing app can."""
        return None

    def revoke(self, leftover: Leftover, client: GraphClient) -> bool:
        """Nothing: only the issuing app's business can."""
        return False


def _is_a_persons(client: GraphClient, token: Secret) -> bool:
    """Whether Graph treats the token as a person's. Raises CredentialRefused for a dead one.

    Asked for its client business, Graph refuses a person's token with 190 though it is alive (reported 2026); a
    system user's it answers, or refuses the field with 100.
    """
    client.get("me", token=token, params={"fields": "id"}, deadline_seconds=graph.DEADLINE_SECONDS)
    try:
        graph.client_business(client, token=token, app_secret=None)
    except CredentialRefused:
        return True
    except GraphError as error:
        if is_passing(error.failure_class):
            raise
    return False
