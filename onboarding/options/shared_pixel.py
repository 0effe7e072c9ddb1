"""A pixel that is shared with the partner's business: sent to with the partner's own sending token.

The advertiser shares it in Business settings, and we find it among the partner's client pixels; or logs in, and we
share it by API ("Sharing Meta Pixel Between Businesses"). The partner's admin system user then gives it to the one
that sends. No secret of the advertiser's stays.
"""

from __future__ import annotations

import contextlib
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
    secret_of,
    standing_of,
    to_pick_from,
)
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import (
    BatchRefused,
    GraphError,
    PermissionRefused,
)
from partnerhub.lib.graph.limits import TASKS_SUBCODE
from partnerhub.lib.vault import Secret

TASKS: Final = ("UPLOAD", "ANALYZE")
# Of 100: there is no such pixel, or it is not shared.
NOT_THERE: Final = 33
# Of the log-in that shares by API.
SCOPES: Final = ("business_management", "ads_management")
# Of the sending token.
SENDING_SCOPES: Final = ("ads_management", "ads_read", "business_management")


class _NotReady(Exception):
    """The partner's own side does not do: its people mend it, and we go on by ourselves."""

    def __init__(self, error: GraphError | None = None) -> None:
        super().__init__()
        self.error = error


class SharedPixel:
    """The adapter."""

    option = Option.SHARED_PIXEL
    opening = Move.SHARE
    has_dialog = True
    needs_meta_id = True
    undoing = (
        "We take the pixel from the partner's system user. The sharing you can end in Business settings."
    )
    proof_problems: Mapping[tuple[int | None, int | None], str] = {}

    def missing(self, partner: PartnerSide) -> list[str]:
        """What the partner's set-up lacks. Its sending token we make where there is none."""
        lacks = {
            "the Meta app's ID": partner.app_id,
            "the Meta app's secret": partner.app_secret,
            "the business's ID": partner.business_id,
            "the sending system user": partner.sending_system_user_id,
            "the assigning system user's token": partner.assigning_token,
        }
        return [name for name, value in lacks.items() if not value]

    def dialog(self, view: SessionView, *, rerequest: bool) -> Dialog:
        """The plain log-in of a business admin, by which we may share the pixel."""
        return Dialog(dialog_params(view.partner, rerequest=rerequest, scope=",".join(SCOPES)))

    def advance(self, view: SessionView, client: GraphClient) -> Step:
        """Wait for the sharing, or share; then give the pixel to the system user that sends."""
        try:
            match view.facts["state"]:
                case State.EXCHANGING:
                    return self._find_own(view, client)
                case State.SHARING:
                    return self._look_for(view, client)
                case _:
                    return self._take(view, client)
        except NoSecret:
            return _not_ready(None)
        except _NotReady as fault:
            return _not_ready(fault.error)
        except GraphError as error:
            return failed(error)

    # By log-in.

    def _find_own(self, view: SessionView, client: GraphClient) -> Step:
        """The pixels of the businesses that the person is in."""
        if view.facts.get("grant") == "code":
            token = exchanged(view, client)
            if isinstance(token, Step):
                return token
            return Step(Move.GO_ON, grant=token, facts={"grant": "user_token"})
        if view.grant is None:
            return refused("log_in_ended")
        secret = secret_of(view.partner)
        answers = graph.answered_scopes(client, token=view.grant, app_secret=secret)
        if declined := sorted(scope for scope in SCOPES if answers.get(scope) != "granted"):
            return refused("declined_permission", declined=declined)
        businesses = graph.my_businesses(client, token=view.grant, app_secret=secret)
        if not businesses:
            return refused("no_business")
        found: list[FoundPixel] = []
        for business in businesses:
            try:
                found += graph.owned_pixels(client, business["id"], token=view.grant, app_secret=secret)
            except (PermissionRefused, BatchRefused):
                continue  # one that the person may not read: the others count
        return chosen(view, to_pick_from(found), {})

    def _share(self, view: SessionView, client: GraphClient, token: Secret) -> Step:
        try:
            is_pending = graph.share_pixel(
                client,
                _meta_id(view),
                business_id=view.partner.business_id,
                tasks=TASKS,
                token=token,
                app_secret=secret_of(view.partner),
            )
        except PermissionRefused as error:
            return failed(error, "not_an_admin")
        if is_pending:
            facts = {"grant": "", "is_confirmed": True}
            return Step(Move.SHARE, problem="sharing_pending", forget_grant=True, facts=facts)
        return Step(Move.GO_ON, forget_grant=True, facts={"grant": "", "is_shared_anew": True})

    # By hand.

    def _look_for(self, view: SessionView, client: GraphClient) -> Step:
        """Whether the pixel is among the partner's client pixels by now."""
        try:
            found = _named(
                graph.client_pixels(client, view.partner.business_id, **_assigning(view.partner)),
                _meta_id(view),
            )
            if found is None:
                is_pending = _named(
                    graph.pending_pixels(client, view.partner.business_id, **_assigning(view.partner)),
                    _meta_id(view),
                )
                return Step(Move.WAIT, problem="sharing_pending" if is_pending else "not_shared_yet")
        except GraphError as error:
            raise _as_partners(error) from None
        if found.permitted_tasks and found.permitted_tasks.isdisjoint({"UPLOAD", "EDIT"}):
            return Step(Move.WAIT, problem="missing_tasks")
        return Step(
            Move.FIND_ONE,
            facts={
                "pixel_name": found.name,
                "business_id": found.owner_id,
                "business_name": found.owner_name,
                # Whoever ends a sharing ends what was assigned by it: assigned again, it is there in any case.
                "is_shared_anew": True,
            },
        )

    # Both.

    def _take(self, view: SessionView, client: GraphClient) -> Step:
        if view.grant is not None:
            return self._share(view, client, view.grant)
        partner = view.partner
        user_id = partner.sending_system_user_id
        if not user_id:
            raise _NotReady
        if not view.facts.get("assigned") or view.facts.get("is_shared_anew"):
            try:
                graph.assign_user(
                    client,
                    _meta_id(view),
                    business_id=partner.business_id,
                    user_id=user_id,
                    tasks=TASKS,
                    **_assigning(partner),
                )
            except (PermissionRefused, BatchRefused) as error:
                if error.subcode in (NOT_THERE, TASKS_SUBCODE):
                    # Not there by now, or without these tasks: back to where we look for it.
                    problem = "not_shared_yet" if error.subcode == NOT_THERE else "missing_tasks"
                    return Step(Move.SHARE, problem=problem, error=error)
                raise _NotReady(error) from None
            except GraphError as error:
                raise _as_partners(error) from None
            return Step(
                Move.GO_ON, facts={"assigned": True, "is_shared_anew": False, "system_user_id": user_id}
            )
        if partner.sending_token is None:
            return self._make_token(partner, client)
        return Step(Move.TAKE, uses_sending_token=True)

    def _make_token(self, partner: PartnerSide, client: GraphClient) -> Step:
        """The sending token, made once for all shared pixels."""
        user_id, caller = partner.sending_system_user_id, _assigning(partner)
        try:
            graph.install_app(client, user_id, app_id=partner.app_id, **caller)
            granted = graph.system_user_token(
                client, user_id, app_id=partner.app_id, scopes=SENDING_SCOPES, **caller
            )
        except GraphError as error:
            raise _as_partners(error) from None
        return Step(
            Move.TAKE,
            uses_sending_token=True,
            sending_token=granted.token,
            sending_token_expires_in=granted.expires_in,
        )

    def look(self, opening: Opening, client: GraphClient) -> Standing:
        """What debug_token tells of the sending token; and whether the pixel is still shared with it."""
        standing = standing_of(opening.partner, opening.token, client)
        if standing.is_valid is False:
            return standing
        try:
            client.get(
                opening.meta_id,
                token=opening.token,
                params={"fields": "id"},
                app_secret=opening.partner.app_secret,
                deadline_seconds=graph.DEADLINE_SECONDS,
            )
        except PermissionRefused as error:
            return Standing(
                is_valid=standing.is_valid,
                app_id=standing.app_id,
                type=standing.type,
                expires_at=standing.expires_at,
                never_expires=standing.never_expires,
                data_access_expires_at=standing.data_access_expires_at,
                scopes=standing.scopes,
                error=error,
            )
        except BatchRefused:
            pass  # may send and not read: no news of the sharing
        return standing

    def refresh(self, opening: Opening, client: GraphClient) -> tuple[Secret, int] | None:
        """None: the token is the partner's, and is refreshed once for all, not pixel by pixel."""
        return None

    def revoke(self, leftover: Leftover, client: GraphClient) -> bool:
        """Take the pixel from the sending system user, and end the person's token; never the partner's."""
        partner, undid = leftover.partner, False
        if leftover.system_user_id and partner.assigning_token is not None:
            # A refusal: the sharing ended before, and there is nothing left to take.
            with contextlib.suppress(PermissionRefused, BatchRefused):
                graph.unassign_user(
                    client,
                    leftover.meta_id,
                    business_id=partner.business_id,
                    user_id=leftover.system_user_id,
                    token=partner.assigning_token,
                    app_secret=partner.app_secret,
                )
            undid = True
        if leftover.token is not None:
            graph.revoke_token(
                client, app_id=partner.app_id, app_secret=secret_of(partner), token=leftover.token
            )
            undid = True
        return undid


def _not_ready(error: GraphError | None) -> Step:
    return Step(Move.WAIT, problem="sending_user_not_ready", error=error)


def _as_partners(error: GraphError) -> Exception:
    """A refusal of the partner's own token as the partner's fault; what passes stays what it is."""
    return error if is_passing(error.failure_class) else _NotReady(error)


def _meta_id(view: SessionView) -> str:
    return str(view.facts.get("meta_id", ""))


def _assigning(partner: PartnerSide) -> dict[str, Secret]:
    """Who asks on the partner's side. Raises _NotReady where its set-up has nobody."""
    if partner.assigning_token is None or not partner.business_id:
        raise _NotReady
    return {"token": partner.assigning_token, "app_secret": secret_of(partner)}


def _named(pixels: list[FoundPixel], meta_id: str) -> FoundPixel | None:
    return next((pixel for pixel in pixels if pixel.id == meta_id), None)
