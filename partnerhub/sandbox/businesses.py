"""Endpoints of businesses and their system users: what they own and see, and the tokens made for them."""

from typing import Any, Final

from partnerhub.sandbox.calls import Answer, Call, Endpoint, pick, pick_all, required
from partnerhub.sandbox.frame import Refusal
from partnerhub.sandbox.nodes import KNOWN_SCOPES, App, Pixel, SystemUser, Token
from partnerhub.sandbox.oauth import LONG_LIFE_SECONDS
from partnerhub.sandbox.people import business_values
from partnerhub.sandbox.pixels import Pixels
from partnerhub.sandbox.world import World, can_read, new_token_value

PROOF_WANTED: Final = Refusal(
    100, "API calls from the server require an appsecret_proof argument", type="GraphMethodException"
)
NOT_ALLOWED: Final = Refusal(200, "(#200) Permissions error")
MAX_SYSTEM_USERS: Final = {"limited": 1, "full": 10}
# And one admin ("Marketing API Authorization", 2026-05-05).


class Businesses:
    """The edges of businesses and of system users."""

    def __init__(self, world: World, pixels: Pixels) -> None:
        self._world, self._pixels = world, pixels

    def edges(self) -> dict[tuple[str, str, str], Endpoint]:
        """(node, verb, edge) → what answers."""
        return {
            ("business", "GET", ""): Endpoint("business", self.node),
            ("business", "GET", "owned_pixels"): Endpoint("owned_pixels", self.owned),
            ("business", "GET", "client_pixels"): Endpoint("client_pixels", self.client),
            ("business", "GET", "pending_shared_pixels"): Endpoint("pending_shared_pixels", self.pending),
            ("business", "GET", "adspixels"): Endpoint("adspixels", self.all_pixels),
            ("business", "GET", "received_sharing_agreements"): Endpoint(
                "received_sharing_agreements", self.agreements
            ),
            ("business", "GET", "system_users"): Endpoint("system_users", self.system_users),
            ("business", "POST", "system_users"): Endpoint("system_users", self.put_system_user),
            ("business", "POST", "system_user_access_tokens"): Endpoint(
                "system_user_access_tokens", self.client_token
            ),
            ("system_user", "GET", ""): Endpoint("system_user", self.system_user),
            ("system_user", "GET", "assigned_ads_pixels"): Endpoint("assigned_ads_pixels", self.assigned),
            ("system_user", "POST", "applications"): Endpoint("applications", self.install_app),
            ("system_user", "POST", "access_tokens"): Endpoint("access_tokens", self.make_token),
        }

    # What a business owns and sees.

    def node(self, call: Call) -> Answer:
        """The business's name and verification."""
        if not self._world.belongs_to(call.token, call.object_id):
            return call.missing()
        return pick(business_values(self._world, call.object_id), call.text("fields"), "Business")

    def owned(self, call: Call) -> Answer:
        """Its own pixels, whether or not the token reaches them."""
        return self._list(call, self._world.owned_pixels(call.object_id))

    def client(self, call: Call) -> Answer:
        """The pixels that clients share with it."""
        return self._list(call, self._world.shared_pixels(call.object_id, "APPROVE"))

    def pending(self, call: Call) -> Answer:
        """The pixels whose sharing it has not accepted."""
        return self._list(call, self._world.shared_pixels(call.object_id, "PENDING"))

    def all_pixels(self, call: Call) -> Answer:
        """Its own and its clients', by `id_filter` and `name_filter`."""
        found = [
            *self._world.owned_pixels(call.object_id),
            *self._world.shared_pixels(call.object_id, "APPROVE"),
        ]
        if (wanted := call.text("id_filter")) is not None:
            found = [pixel for pixel in found if pixel.id == wanted]
        if (wanted := call.text("name_filter")) is not None:
            found = [pixel for pixel in found if wanted.lower() in pixel.name.lower()]
        if call.text("sort_by") == "NAME":
            found.sort(key=lambda pixel: pixel.name)
        return self._list(call, found)

    def _list(self, call: Call, found: list[Pixel]) -> Answer:
        refusal = self._reader_refusal(call)
        if refusal is not None:
            return refusal
        values = []
        for pixel in found:
            sharing = pixel.agencies.get(call.object_id)
            tasks = list(sharing.permitted_tasks) if sharing is not None else None
            values.append(self._pixels.values(pixel) | {"permitted_tasks": tasks})
        return pick_all(values, call.text("fields"), "AdsPixel")

    def _reader_refusal(self, call: Call) -> Refusal | None:
        if not self._world.belongs_to(call.token, call.object_id):
            return call.missing()
        return None if can_read(call.token) else NOT_ALLOWED

    def agreements(self, call: Call) -> Answer:
        """What was offered to the business, with how each offer stands."""
        refusal = self._admin_refusal(call, call.object_id)
        if refusal is not None:
            return refusal
        wanted = call.text("request_status")
        found = [
            {
                "id": sharing.request_id or f"{pixel.id}{call.object_id}",
                "request_status": sharing.status,
                "request_type": "SHARE",
                "relationship_type": ["AGENCY"],
                "initiator": {
                    "id": pixel.owner_business_id,
                    "name": self._world.business_name(pixel.owner_business_id),
                },
                "recipient": {"id": call.object_id, "name": self._world.business_name(call.object_id)},
            }
            for pixel in self._world.pixels.values()
            if (sharing := pixel.agencies.get(call.object_id)) is not None
            and wanted in (None, sharing.status)
        ]
        return pick_all(
            found, call.text("fields"), "BusinessAssetSharingAgreement", ("id", "request_status", "initiator")
        )

    def _admin_refusal(self, call: Call, business_id: str) -> Refusal | None:
        """Why the caller may not change this business, or None: full control and `business_management`."""
        if not self._world.belongs_to(call.token, business_id):
            return call.missing()
        if not self._world.administers(call.token, business_id):
            return NOT_ALLOWED
        if "business_management" not in call.token.scopes:
            return Refusal(200, "(#200) Requires business_management permission to manage the object")
        return None

    # Its system users.

    def system_users(self, call: Call) -> Answer:
        """The business's system users; the Business Extension's own are not shown, as at Meta."""
        refusal = self._admin_refusal(call, call.object_id)
        if refusal is not None:
            return refusal
        found = [
            system_user_values(user)
            for user in self._world.system_users.values()
            if user.business_id == call.object_id and not user.name.endswith("(FBE)")
        ]
        return pick_all(found, call.text("fields"), "SystemUser", ("id", "name", "role"))

    def put_system_user(self, call: Call) -> Answer:
        """Make a system user, as many as the app's tier allows, or rename one (`system_user_id`)."""
        refusal = self._admin_refusal(call, call.object_id)
        if refusal is not None:
            return refusal
        name, role = call.text("name"), call.text("role") or "EMPLOYEE"
        if (known_id := call.text("system_user_id")) is not None:
            known = self._world.system_users.get(known_id)
            if known is None or known.business_id != call.object_id:
                return Refusal(100, "(#100) Param system_user_id must be a system user of the business")
            known.name = name or known.name
            return {"id": known.id}
        if name is None:
            return required("name")
        if role not in ("ADMIN", "EMPLOYEE"):
            return Refusal(100, "(#100) Param role must be one of {ADMIN, EMPLOYEE}")
        app = self._world.apps.get(call.token.app_id)
        most = 1 if role == "ADMIN" else MAX_SYSTEM_USERS[app.tier if app is not None else "limited"]
        same = [
            user
            for user in self._world.system_users.values()
            if (user.business_id, user.role) == (call.object_id, role)
        ]
        if len(same) >= most:
            return Refusal(
                100,
                "Invalid parameter",
                title="System user limit reached",
                user_message=f"This business can have {most} system user(s) with this role.",
            )
        made = SystemUser(
            self._world.new_id(), call.object_id, name, "ADMIN" if role == "ADMIN" else "EMPLOYEE"
        )
        self._world.system_users[made.id] = made
        return {"id": made.id}

    def system_user(self, call: Call) -> Answer:
        """A system user's node."""
        user = self._world.system_users[call.object_id]
        if call.token.user_id != user.id and not self._world.administers(call.token, user.business_id):
            return call.missing()
        return pick(system_user_values(user), call.text("fields"), "SystemUser")

    def assigned(self, call: Call) -> Answer:
        """The pixels assigned to a system user, for itself and for those who administer its business."""
        user = self._world.system_users[call.object_id]
        if call.token.user_id != user.id and not self._world.administers(call.token, user.business_id):
            return call.missing()
        if not can_read(call.token):
            return NOT_ALLOWED
        found = [
            self._pixels.values(pixel)
            | {
                "tasks": list(pixel.users[user.id]),
                "permitted_tasks": sorted(self._world.business_tasks(pixel, user.business_id)),
            }
            for pixel in self._world.pixels.values()
            if user.id in pixel.users and self._world.business_tasks(pixel, user.business_id)
        ]
        return pick_all(found, call.text("fields"), "AdsPixel")

    def install_app(self, call: Call) -> Answer:
        """Install an app on a system user of its own business; the limited tier may not."""
        user = self._world.system_users[call.object_id]
        refusal = self._admin_refusal(call, user.business_id)
        if refusal is not None:
            return refusal
        app = self._business_app(call, user)
        if isinstance(app, Refusal):
            return app
        if app.tier == "limited":
            return Refusal(
                270,
                "(#270) This Ads API request is not allowed for apps with development access level "
                "(Access is by default for all apps, please request for upgrade).",
            )
        user.apps |= {app.id}
        return {"success": True}

    def _business_app(self, call: Call, user: SystemUser) -> App | Refusal:
        app_id = call.text("business_app")
        if app_id is None:
            return required("business_app")
        app = self._world.apps.get(app_id)
        if app is None or app.business_id != user.business_id:
            return Refusal(100, "(#100) The app must belong to the business of the system user")
        return app

    def make_token(self, call: Call) -> Answer:
        """A token of a system user for an app installed on it."""
        user = self._world.system_users[call.object_id]
        refusal = self._admin_refusal(call, user.business_id) or proof_refusal(call)
        if refusal is not None:
            return refusal
        app = self._business_app(call, user)
        if isinstance(app, Refusal):
            return app
        if app.id not in user.apps:
            return Refusal(100, "(#100) The app must be installed on the system user first")
        scopes = wanted_scopes(call)
        if isinstance(scopes, Refusal):
            return scopes
        return self._issue(call, user, app.id, scopes)

    def _issue(
        self,
        call: Call,
        user: SystemUser,
        app_id: str,
        scopes: tuple[str, ...],
        *,
        client_business_id: str | None = None,
        only_pixels: frozenset[str] = frozenset(),
    ) -> Answer:
        expires = call.flag("set_token_expires_in_60_days")
        business = self._world.businesses.get(user.business_id)
        if business is not None and business.only_60_day_tokens and not expires:
            return Refusal(100, "(#100) The parameter set_token_expires_in_60_days must be true")
        token = Token(
            value=new_token_value(),
            app_id=app_id,
            scopes=scopes,
            issued_at=int(call.now),
            expires_at=int(call.now) + LONG_LIFE_SECONDS if expires else 0,
            user_id=user.id,
            business_id=client_business_id,
            only_pixels=only_pixels,
        )
        return {"access_token": self._world.add_token(token).value}

    # Tokens in a client's business.

    def client_token(self, call: Call) -> Answer:
        """The token of a Login for Business system user once more, or a narrower one.

        `fetch_only` reads the newest that lives; else `scope` and `asset` narrow a fresh one.
        """
        if not self._world.belongs_to(call.token, call.object_id):
            return call.missing()
        refusal = proof_refusal(call)
        if refusal is not None:
            return refusal
        if "business_management" not in call.token.scopes:
            return NOT_ALLOWED
        user_id = call.text("system_user_id") or call.token.user_id
        user = self._world.system_users.get(user_id)
        if user is None or user.business_id != call.object_id or call.token.app_id not in user.apps:
            return Refusal(100, "(#100) Param system_user_id must be a system user of the business")
        if call.flag("fetch_only"):
            alive = [
                token
                for token in self._world.tokens.values()
                if (token.user_id, token.app_id, token.state) == (user.id, call.token.app_id, "live")
                and not token.only_pixels
            ]
            return {"access_token": alive[-1].value} if alive else call.missing()
        scopes = wanted_scopes(call)
        if isinstance(scopes, Refusal):
            return scopes
        if not set(scopes) <= set(call.token.scopes):
            return NOT_ALLOWED
        assets: list[str] | Refusal = []
        if call.parameters.values.get("asset") is not None:
            assets = call.names("asset")
        if isinstance(assets, Refusal):
            return assets
        return self._issue(
            call,
            user,
            call.token.app_id,
            scopes,
            client_business_id=call.object_id,
            only_pixels=frozenset(assets),
        )


def system_user_values(user: SystemUser) -> dict[str, Any]:
    """A system user's readable fields."""
    return {"id": user.id, "name": user.name, "role": user.role}


def proof_refusal(call: Call) -> Refusal | None:
    """These calls want a proof of the very token that they bring, whatever the app's settings say."""
    return None if call.text("appsecret_proof") else PROOF_WANTED


def wanted_scopes(call: Call) -> tuple[str, ...] | Refusal:
    """The scopes that a call asks for its token, all of them known to Meta."""
    wanted = call.names("scope")
    if isinstance(wanted, Refusal):
        return wanted
    for scope in wanted:
        if scope not in KNOWN_SCOPES:
            return Refusal(3962, f"(#3962) The scope {scope} is invalid")
    return tuple(wanted)
