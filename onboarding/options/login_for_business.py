"""Facebook Login for Business: a log-in by a configuration, whose code is worth a system user's token at once.

The way open to partners that Meta has not let into the Business Extension ("Facebook Login for Business",
2026-06-30; "Conversions API Template", 2026-06-30). The token reaches the pixels that were ticked in Meta's window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from onboarding import graph
from onboarding.graph import FoundPixel
from onboarding.journey import Move, State
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
from onboarding.options.log_in import (
    NoSecret,
    chosen,
    dialog_params,
    exchanged,
    facts_of,
    secret_of,
    standing_of,
    to_pick_from,
)
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import GraphError
from partnerhub.lib.vault import Secret

SENDING_SCOPES: Final = frozenset({"ads_management", "ads_read"})
# Of so many pixels it is asked whether they were ticked before they are offered; a pick is asked about in any case.
CHECKED_PIXELS: Final = 12


class LoginForBusiness:
    """The adapter."""

    option = Option.LOGIN_FOR_BUSINESS
    opening = Move.LOG_IN
    has_dialog = True
    needs_meta_id = False
    undoing = "We end our token at Meta. Your business still lists the app under Integrations, where you can remove it."
    proof_problems: Mapping[tuple[int | None, int | None], str] = {}

    def missing(self, partner: PartnerSide) -> list[str]:
        """What the partner's set-up lacks."""
        lacks = {
            "the Meta app's ID": partner.app_id,
            "the Meta app's secret": partner.app_secret,
            "the configuration's ID": partner.login_config_id,
        }
        return [name for name, value in lacks.items() if not value]

    def dialog(self, view: SessionView, *, rerequest: bool) -> Dialog:
        """The log-in by configuration, which brings its own permissions and always asks for all of them."""
        return Dialog(
            dialog_params(
                view.partner,
                rerequest=False,
                config_id=view.partner.login_config_id,
                override_default_response_type="true",
            )
        )

    def advance(self, view: SessionView, client: GraphClient) -> Step:
        """Code → the system user's token → the pixels that it reaches."""
        try:
            if view.facts["state"] == State.TAKING:
                return self._check_pick(view, client)
            if view.candidate is None or view.facts.get("grant") == "code":
                token = exchanged(view, client)
                if isinstance(token, Step):
                    return token
                return Step(Move.GO_ON, candidate=token, forget_grant=True, facts={"grant": ""})
            return self._find(view, client, view.candidate)
        except NoSecret:
            return refused("wrong_app_secret")
        except GraphError as error:
            return failed(error)

    def _find(self, view: SessionView, client: GraphClient, token: Secret) -> Step:
        secret = secret_of(view.partner)
        standing = standing_of(view.partner, token, client)
        if standing.is_valid is False and standing.error is not None:
            return failed(standing.error)
        if standing.type != "SYSTEM_USER" or SENDING_SCOPES.isdisjoint(standing.scopes):
            # A configuration for people's tokens, or without the permissions: the partner's to mend.
            return refused("flb_not_configured")
        business_id, user_id = graph.client_business(client, token=token, app_secret=secret)
        if not business_id:
            return refused("no_business")
        facts = {
            **facts_of(standing),
            "business_id": business_id,
            "business_name": _name(client, business_id, token, secret),
            "client_business_id": business_id,
            "system_user_id": user_id,
        }
        found = {
            pixel.id: pixel
            for listed in (graph.owned_pixels, graph.client_pixels)
            for pixel in listed(client, business_id, token=token, app_secret=secret)
        }
        # The wanted one first: it must be among those that are asked about.
        wanted = str(view.facts.get("meta_id") or "")
        pixels = sorted(found.values(), key=lambda pixel: pixel.id != wanted)
        usable = {
            pixel.id: self._reaches(client, pixel, business_id, user_id, token, secret)
            for pixel in pixels[:CHECKED_PIXELS]
        }
        return chosen(view, to_pick_from(pixels, business_id=business_id, usable=usable), facts)

    def _reaches(
        self,
        client: GraphClient,
        pixel: FoundPixel,
        business_id: str,
        user_id: str,
        token: Secret,
        secret: Secret,
    ) -> bool:
        """Whether the pixel was ticked: listing is not permission. What cannot be read is not offered."""
        try:
            tasks = graph.assigned_tasks(
                client,
                pixel.id,
                business_id=business_id,
                user_id=user_id,
                token=token,
                app_secret=secret,
            )
        except GraphError as error:
            if is_passing(error.failure_class):
                raise
            return False
        return not tasks.isdisjoint({"UPLOAD", "EDIT"})

    def _check_pick(self, view: SessionView, client: GraphClient) -> Step:
        if view.candidate is None:
            return refused("log_in_ended")
        pixel = FoundPixel(str(view.facts.get("meta_id", "")))
        is_ticked = self._reaches(
            client,
            pixel,
            # Assigned in the business that logged in, whoever owns it.
            str(view.facts.get("client_business_id", "")),
            str(view.facts.get("system_user_id", "")),
            view.candidate,
            secret_of(view.partner),
        )
        return Step(Move.TAKE) if is_ticked else refused("log_in_without_pixel")

    def look(self, opening: Opening, client: GraphClient) -> Standing:
        """What debug_token tells."""
        return standing_of(opening.partner, opening.token, client)

    def refresh(self, opening: Opening, client: GraphClient) -> tuple[Secret, int] | None:
        """A new 60-day token in place of one. Not for one without an end, which would get one."""
        standing = self.look(opening, client)
        if standing.expires_at is None:
            return None
        granted = graph.refresh_token(
            client,
            app_id=opening.partner.app_id,
            app_secret=secret_of(opening.partner),
            token=opening.token,
        )
        return granted.token, granted.expires_in or graph.LONG_LIFE_SECONDS

    def revoke(self, leftover: Leftover, client: GraphClient) -> bool:
        """End the token."""
        if leftover.token is None:
            return False
        graph.revoke_token(
            client,
            app_id=leftover.partner.app_id,
            app_secret=secret_of(leftover.partner),
            token=leftover.token,
        )
        return True


def _name(client: GraphClient, business_id: str, token: Secret, secret: Secret) -> str:
    """The business's name, where the token may read it: nothing depends on it."""
    try:
        return graph.business_name(client, business_id, token=token, app_secret=secret)
    except GraphError as error:
        if is_passing(error.failure_class):
            raise
        return ""
