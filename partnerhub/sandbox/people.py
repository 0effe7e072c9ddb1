"""Endpoints of whoever holds the token: `/me`, its permissions and businesses, and the app itself."""

from typing import Any, Final

from partnerhub.sandbox.calls import Answer, Call, Endpoint, pick, pick_all
from partnerhub.sandbox.frame import Refusal
from partnerhub.sandbox.integrations import decline_scope, forget_person
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World

BUSINESS_FIELDS: Final = ("id", "name", "verification_status")


class People:
    """The edges of people, system users as `/me`, and apps."""

    def __init__(self, world: World, courier: Courier) -> None:
        self._world, self._courier = world, courier

    def edges(self) -> dict[tuple[str, str, str], Endpoint]:
        """(node, verb, edge) → what answers."""
        return {
            ("user", "GET", ""): Endpoint("me", self.node),
            ("user", "GET", "permissions"): Endpoint("permissions", self.permissions),
            ("user", "DELETE", "permissions"): Endpoint("permissions", self.withdraw),
            ("user", "GET", "businesses"): Endpoint("me_businesses", self.businesses),
            ("app", "GET", ""): Endpoint("app", self.app),
            ("app", "GET", "permissions"): Endpoint("app", self.app_permissions),
        }

    def node(self, call: Call) -> Answer:
        """The token's holder. `client_business_id` is known to an integration's token alone."""
        person = self._world.people.get(call.object_id)
        system_user = self._world.system_users.get(call.object_id)
        name = person.name if person else system_user.name if system_user else "Holder"
        values: dict[str, Any] = {"id": call.object_id, "name": name}
        wanted = call.text("fields") or "id,name"
        if "client_business_id" in wanted:
            if call.token.type == "USER":
                # Reported once, 2026: 400 and 190 for a user token that is quite alive.
                return Refusal(190, "Invalid OAuth 2.0 Access Token", status=400)
            if call.token.business_id is None:
                return Refusal(
                    100, "(#100) Tried accessing nonexisting field (client_business_id) on node type (User)"
                )
            values["client_business_id"] = call.token.business_id
        return pick(values, wanted, "User")

    def permissions(self, call: Call) -> Answer:
        """What the person answered to the app, scope by scope; a system user's token has its scopes."""
        person = self._world.people.get(call.object_id)
        if person is None:
            granted = dict.fromkeys(call.token.scopes, "granted")
        else:
            granted = dict(person.grants.get(call.token.app_id, {}))
        return pick_all(
            [{"permission": scope, "status": status} for scope, status in granted.items()],
            call.text("fields"),
            "Permission",
            ("permission", "status"),
        )

    def withdraw(self, call: Call) -> Answer:
        """Take one scope, or the whole app, away from the person."""
        person = self._world.people.get(call.object_id)
        app_id = call.token.app_id
        if person is None:
            return call.missing()
        if call.rest:
            notices = decline_scope(self._world, app_id, person, call.rest)
        else:
            notices = forget_person(self._world, app_id, person)
        self._courier.tell(notices, call.now)
        return {"success": True}

    def businesses(self, call: Call) -> Answer:
        """The businesses that the person is in; each tells its name and how far it is verified."""
        person = self._world.people.get(call.object_id)
        if person is None:
            return call.missing()
        if "business_management" not in call.token.scopes:
            return Refusal(200, "(#200) Requires business_management permission to manage the object")
        found = [
            business_values(self._world, business_id)
            for business_id in (*person.businesses, *person.employee_of)
        ]
        return pick_all(found, call.text("fields"), "Business")

    def app(self, call: Call) -> Answer:
        """The app's node."""
        app = self._world.apps.get(call.object_id)
        if app is None or app.id != call.token.app_id:
            return call.missing()
        return pick({"id": app.id, "name": app.name}, call.text("fields"), "Application")

    def app_permissions(self, call: Call) -> Answer:
        """What App Review gave the app ("Application Permission" reference); its own app token asks."""
        app = self._world.apps.get(call.object_id)
        if app is None or app.id != call.token.app_id or call.token.type != "APP":
            return call.missing()
        return pick_all(
            [{"permission": scope, "status": status} for scope, status in app.permissions.items()],
            call.text("fields"),
            "ApplicationPermission",
            ("permission", "status"),
        )


def business_values(world: World, business_id: str) -> dict[str, Any]:
    """A business's readable fields."""
    business = world.businesses.get(business_id)
    status = business.verification_status if business is not None else None
    return {"id": business_id, "name": world.business_name(business_id), "verification_status": status}
