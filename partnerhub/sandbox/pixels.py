"""Endpoints of pixels: the node, with whom it is shared (`agencies`), who is assigned to it (`assigned_users`)."""

import time
from typing import Any, Final

from partnerhub.sandbox.calls import Answer, Call, Endpoint, pick, pick_all, required
from partnerhub.sandbox.frame import Refusal
from partnerhub.sandbox.nodes import Pixel, Sharing
from partnerhub.sandbox.store import Store
from partnerhub.sandbox.world import World, can_read

UNSUPPORTED_TASKS: Final = Refusal(
    100,
    "Invalid parameter",
    subcode=1752129,
    title="Unsupported tasks",
    user_message="This combination of tasks is not supported.",
)
AGENCY_TASKS: Final = frozenset({"ANALYZE", "UPLOAD", "ADVERTISE"})
# EDIT and AA_ANALYZE are for allow-listed agencies ("Sharing Meta Pixel Between Businesses").


class Pixels:
    """The node and its edges."""

    def __init__(self, world: World, store: Store) -> None:
        self._world, self._store = world, store

    def edges(self) -> dict[tuple[str, str, str], Endpoint]:
        """(node, verb, edge) → what answers."""
        return {
            ("pixel", "GET", ""): Endpoint("pixel", self.node),
            ("pixel", "GET", "agencies"): Endpoint("agencies", self.agencies),
            ("pixel", "POST", "agencies"): Endpoint("agencies", self.share),
            ("pixel", "DELETE", "agencies"): Endpoint("agencies", self.withdraw),
            ("pixel", "GET", "assigned_users"): Endpoint("assigned_users", self.assigned_users),
            ("pixel", "POST", "assigned_users"): Endpoint("assigned_users", self.assign),
            ("pixel", "DELETE", "assigned_users"): Endpoint("assigned_users", self.unassign),
        }

    def values(self, pixel: Pixel) -> dict[str, Any]:
        """A pixel's readable fields."""
        account = self._store.accounts.get(pixel.id)
        fired = pixel.last_fired_time or (account.last_arrival if account is not None else 0.0)
        return {
            "id": pixel.id,
            "name": pixel.name,
            "owner_business": {
                "id": pixel.owner_business_id,
                "name": self._world.business_name(pixel.owner_business_id),
            },
            "is_unavailable": pixel.is_unavailable,
            "last_fired_time": time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(fired)) if fired else None,
            "data_use_setting": pixel.data_use_setting,
        }

    def node(self, call: Call) -> Answer:
        """The pixel, for a token that reaches it and may read."""
        pixel = self._world.pixels[call.object_id]
        if not self._world.tasks_on(call.token, pixel):
            return call.missing()
        if not can_read(call.token):
            return Refusal(100, "(#100) Missing permissions")
        return pick(self.values(pixel), call.text("fields"), "AdsPixel")

    # Sharing.

    def agencies(self, call: Call) -> Answer:
        """The businesses that the pixel is shared with, for its owner."""
        pixel = self._world.pixels[call.object_id]
        refusal = self._owner_refusal(call, pixel)
        if refusal is not None:
            return refusal
        found = [
            {
                "id": business_id,
                "name": self._world.business_name(business_id),
                "permitted_tasks": list(sharing.permitted_tasks),
            }
            for business_id, sharing in pixel.agencies.items()
            if sharing.status == "APPROVE"
        ]
        return pick_all(found, call.text("fields"), "Business", ("id", "name", "permitted_tasks"))

    def share(self, call: Call) -> Answer:
        """Share the pixel with a business; where that one holds what it is offered, the offer waits."""
        pixel = self._world.pixels[call.object_id]
        refusal = self._owner_refusal(call, pixel)
        if refusal is not None:
            return refusal
        business_id, tasks = call.text("business"), call.tasks("permitted_tasks")
        if business_id is None:
            return required("business")
        if isinstance(tasks, Refusal):
            return tasks
        if business_id not in self._world.businesses or business_id == pixel.owner_business_id:
            return Refusal(100, "(#100) Param business must be a valid business id")
        if not AGENCY_TASKS.issuperset(tasks):
            return UNSUPPORTED_TASKS
        sharing = share(self._world, pixel, business_id, tuple(tasks))
        if sharing.status == "PENDING":
            return {"success": True, "pending_request_id": sharing.request_id}
        return {"success": True}

    def withdraw(self, call: Call) -> Answer:
        """End a sharing, from the owner's side or from the agency's own."""
        pixel = self._world.pixels[call.object_id]
        business_id = call.text("business")
        if business_id is None:
            return required("business")
        if not self._world.administers(call.token, business_id):
            refusal = self._owner_refusal(call, pixel)
            if refusal is not None:
                return refusal
        if pixel.agencies.pop(business_id, None) is None:
            return Refusal(100, "(#100) Param business must be a business that the pixel is shared with")
        return {"success": True}

    def _owner_refusal(self, call: Call, pixel: Pixel) -> Refusal | None:
        """Sharing is the owner's: a person or system user with full control, or one with the whole pixel."""
        is_owner = self._world.administers(call.token, pixel.owner_business_id) or (
            self._world.belongs_to(call.token, pixel.owner_business_id)
            and "EDIT" in self._world.tasks_on(call.token, pixel)
        )
        if not is_owner:
            reached = self._world.tasks_on(call.token, pixel)
            return Refusal(200, "(#200) Permissions error") if reached else call.missing()
        if "business_management" not in call.token.scopes:
            return Refusal(200, "(#200) Requires business_management permission to manage the object")
        return None

    # Assignment.

    def assigned_users(self, call: Call) -> Answer:
        """Which system users of a business have the pixel, with their tasks; `business` is required."""
        pixel = self._world.pixels[call.object_id]
        business_id = call.text("business")
        if business_id is None:
            return required("business")
        tasks = self._world.business_tasks(pixel, business_id)
        if not self._world.belongs_to(call.token, business_id) or not tasks:
            return call.missing()
        if not can_read(call.token):
            return Refusal(200, "(#200) Permissions error")
        found = [
            {"id": user.id, "name": user.name, "tasks": list(given), "permitted_tasks": sorted(tasks)}
            for user_id, given in pixel.users.items()
            if (user := self._world.system_users.get(user_id)) is not None and user.business_id == business_id
        ]
        return pick_all(found, call.text("fields"), "AssignedUser", ("id", "name", "tasks"))

    def assign(self, call: Call) -> Answer:
        """Give a system user tasks on the pixel, as far as its business has them."""
        pixel = self._world.pixels[call.object_id]
        refuses = self._world.settings.assigned_users_refuses_business
        if refuses and call.parameters.values.get("business") is not None:
            return Refusal(100, "(#100) Param business is not supported")
        user_id, tasks = call.text("user"), call.tasks("tasks")
        if user_id is None:
            return required("user")
        if isinstance(tasks, Refusal):
            return tasks
        business_id = self._managed_business(call, pixel, user_id)
        if isinstance(business_id, Refusal):
            return business_id
        if not self._world.business_tasks(pixel, business_id).issuperset(tasks):
            return UNSUPPORTED_TASKS
        pixel.users[user_id] = tuple(tasks)
        return {"success": True}

    def unassign(self, call: Call) -> Answer:
        """Take the pixel away from a system user."""
        pixel, user_id = self._world.pixels[call.object_id], call.text("user")
        if user_id is None:
            return required("user")
        business_id = self._managed_business(call, pixel, user_id)
        if isinstance(business_id, Refusal):
            return business_id
        pixel.users.pop(user_id, None)
        return {"success": True}

    def _managed_business(self, call: Call, pixel: Pixel, user_id: str) -> str | Refusal:
        """The system user's business, which the caller administers and which has the pixel."""
        user = self._world.system_users.get(user_id)
        if user is None:
            return Refusal(100, "(#100) Param user must be a valid user id")
        has_pixel = self._world.business_tasks(pixel, user.business_id)
        if not has_pixel or not self._world.belongs_to(call.token, user.business_id):
            return call.missing()
        may_manage = self._world.administers(call.token, user.business_id)
        if not may_manage or "business_management" not in call.token.scopes:
            return Refusal(200, "(#200) Permissions error")
        return user.business_id


def share(world: World, pixel: Pixel, business_id: str, tasks: tuple[str, ...]) -> Sharing:
    """Offer a pixel to a business; one that was accepted stays accepted, with the new tasks."""
    known = pixel.agencies.get(business_id)
    business = world.businesses.get(business_id)
    is_held = business is not None and business.holds_sharing
    if known is not None and known.status == "APPROVE":
        is_held = False
    sharing = Sharing(tasks, "PENDING" if is_held else "APPROVE", world.new_id() if is_held else "")
    pixel.agencies[business_id] = sharing
    return sharing
