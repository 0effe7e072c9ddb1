"""Meta Business Extension: a log-in that installs a system user with the pixel, whose token we then take.

Open to apps that Meta has let in ("MBE Pixel and Conversions API Onboarding"). The dialog brings a person's token;
the one that sends is made from it by `POST /{business}/access_token` ("Get Asset IDs and Access Token", and
"Onboarding Integration" of 2026-06-08, which requires the proof).
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from onboarding import graph
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
    dialog_params,
    exchanged,
    facts_of,
    secret_of,
    standing_of,
)
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import BatchRefused, CredentialRefused, GraphError, PermissionRefused
from partnerhub.lib.vault import Secret

FBE_SCOPE: Final = "manage_business_extension"
# As facebook-for-woocommerce asks for (a1e17a89d, 2026-08-11), less what catalogs and Instagram want.
SCOPES: Final = (FBE_SCOPE, "ads_management", "ads_read", "pages_read_engagement")
# Without these nothing can be installed, or nothing sent.
REQUIRED: Final = frozenset({FBE_SCOPE, "ads_management"})
# A pixel needs neither; Meta asks for both, and uses them where a catalog or an ad account is made.
_CURRENCY, _TIME_ZONE = "EUR", "UTC"
# Lack of permission. Also where an existing user of the extension has to log in anew ("Set up Conversions API as a
# Platform"): Graph has no number of its own for that.
_DENIED: Final = frozenset({10, *range(200, 300)})


class BusinessExtension:
    """The adapter."""

    option = Option.BUSINESS_EXTENSION
    opening = Move.LOG_IN
    has_dialog = True
    needs_meta_id = False
    undoing = "We end the Business Extension's installation at Meta, and its token with it."
    proof_problems: Mapping[tuple[int | None, int | None], str] = {}

    def missing(self, partner: PartnerSide) -> list[str]:
        """What the partner's set-up lacks."""
        lacks = [] if partner.app_id else ["the Meta app's ID"]
        return lacks + ([] if partner.app_secret else ["the Meta app's secret"])

    def dialog(self, view: SessionView, *, rerequest: bool) -> Dialog:
        """The log-in with `extras`, under an id of ours that stays with this connection and no other."""
        ours = (
            str(view.facts.get("external_business_id") or "")
            or f"ph-{view.session_id}-{secrets.token_hex(6)}"
        )
        setup: dict[str, Any] = {
            "external_business_id": ours,
            "timezone": str(view.facts.get("time_zone") or _TIME_ZONE),
            "currency": _CURRENCY,
            "business_vertical": "ECOMMERCE",
            "channel": "DEFAULT",
        }
        if wanted := view.facts.get("meta_id"):
            setup["pixel_id"] = wanted
        extras = {
            "setup": setup,
            "business_config": {"business": {"name": view.advertiser_name}},
            "repeat": False,
        }
        params = dialog_params(
            view.partner,
            rerequest=rerequest,
            scope=",".join(SCOPES),
            display="page",
            extras=json.dumps(extras),
        )
        return Dialog(params, {"external_business_id": ours})

    def advance(self, view: SessionView, client: GraphClient) -> Step:
        """Code → the person's token → a longer one → what was installed → the system user's token."""
        try:
            if view.facts["state"] == State.TAKING:
                return self._take(view, client)
            match view.facts.get("grant"):
                case "code":
                    token = exchanged(view, client)
                    return token if isinstance(token, Step) else _keep(token, "user_token")
                case "user_token":
                    return self._lengthen(view, client)
                case _:
                    return self._find(view, client)
        except NoSecret:
            return refused("wrong_app_secret")
        except GraphError as error:
            # The person's token: it died, or may not do this.
            return failed(error, "" if error.failure_class == "credential" else "not_an_admin")

    def _lengthen(self, view: SessionView, client: GraphClient) -> Step:
        partner, token = view.partner, _grant(view)
        longer = graph.lengthen_token(
            client, app_id=partner.app_id, app_secret=secret_of(partner), token=token
        )
        return _keep(longer.token, "long_user_token")

    def _find(self, view: SessionView, client: GraphClient) -> Step:
        secret, token = secret_of(view.partner), _grant(view)
        answers = graph.answered_scopes(client, token=token, app_secret=secret)
        if FBE_SCOPE not in answers:
            # The dialog did not even ask: the app is not let in.
            return refused("fbe_not_allowed")
        if declined := sorted(scope for scope in REQUIRED if answers.get(scope) != "granted"):
            return refused("declined_permission", declined=declined)
        ours = str(view.facts.get("external_business_id", ""))
        install = graph.find_install(client, ours, token=token, app_secret=secret)
        if install is None or not install.business_id:
            return refused("no_business")
        if not install.pixel_id:
            return refused("no_pixel")
        wanted = view.facts.get("meta_id")
        if wanted and wanted != install.pixel_id:
            return refused("wrong_business")
        facts = {
            "meta_id": install.pixel_id,
            "is_picked": not wanted,
            "business_id": install.business_id,
            "scopes": sorted(scope for scope in SCOPES if answers.get(scope) == "granted"),
            **_names(client, install, token, secret),
        }
        return Step(Move.FIND_ONE, facts=facts)

    def _take(self, view: SessionView, client: GraphClient) -> Step:
        if view.candidate is not None:
            return self._look_at(view, client, view.candidate)
        secret, token = secret_of(view.partner), _grant(view)
        ours = str(view.facts.get("external_business_id", ""))
        try:
            made = graph.install_token(
                client,
                str(view.facts.get("business_id", "")),
                app_id=view.partner.app_id,
                scopes=view.facts.get("scopes") or SCOPES,
                external_business_id=ours,
                token=token,
                app_secret=secret,
            )
        except PermissionRefused as error:
            if error.code in _DENIED and not view.facts.get("asked_anew"):
                return failed(error, "fbe_reauthenticate", facts={"asked_anew": True})
            return failed(
                error, "wrong_app_secret" if (error.code, error.subcode) == (100, None) else "not_an_admin"
            )
        except BatchRefused as error:
            if (error.code, error.subcode) != (100, None):
                return failed(error)
            # "Could not retrieve Facebook Business Extension System User" (facebook-for-woocommerce#2148): an old
            # install is in the way, and the next log-in makes it anew once it is gone.
            graph.delete_install(client, ours, token=token, app_secret=secret)
            return failed(error, "stale_install")
        return Step(Move.GO_ON, candidate=made)

    def _look_at(self, view: SessionView, client: GraphClient, candidate: Secret) -> Step:
        """The token's own facts. The person's is given up: it has done its work."""
        standing = standing_of(view.partner, candidate, client)
        if standing.is_valid is False and standing.error is not None:
            return failed(standing.error)
        return Step(Move.TAKE, facts=facts_of(standing), forget_grant=True)

    def look(self, opening: Opening, client: GraphClient) -> Standing:
        """What debug_token tells."""
        return standing_of(opening.partner, opening.token, client)

    def refresh(self, opening: Opening, client: GraphClient) -> tuple[Secret, int] | None:
        """None: no page of Meta's says that an install's token is refreshed. Logging in again renews it."""
        return None

    def revoke(self, leftover: Leftover, client: GraphClient) -> bool:
        """End the install, where it is to end, and the token. Either is as good as done where Meta knows it no more."""
        if leftover.token is None:
            return False
        secret = secret_of(leftover.partner)
        if leftover.external_business_id:
            with contextlib.suppress(BatchRefused, CredentialRefused):
                graph.delete_install(
                    client, leftover.external_business_id, token=leftover.token, app_secret=secret
                )
        graph.revoke_token(client, app_id=leftover.partner.app_id, app_secret=secret, token=leftover.token)
        return True


def _grant(view: SessionView) -> Secret:
    if view.grant is None:
        raise CredentialRefused("There is no token of a person's.")
    return view.grant


def _keep(token: Secret, kind: str) -> Step:
    return Step(Move.GO_ON, grant=token, facts={"grant": kind})


def _names(client: GraphClient, install: graph.Install, token: Secret, secret: Secret) -> dict[str, str]:
    """The names of the pixel and of its business, where the token may read them: nothing depends on them."""
    names = {}
    try:
        names["pixel_name"] = graph.read_pixel(client, install.pixel_id, token=token, app_secret=secret).name
        names["business_name"] = graph.business_name(
            client, install.business_id, token=token, app_secret=secret
        )
    except GraphError as error:
        if is_passing(error.failure_class):
            raise
    return names
