"""Endpoints of the Business Extension: what an install has, its end, and the exchange for its system user's token."""

from partnerhub.sandbox.businesses import NOT_ALLOWED, proof_refusal, wanted_scopes
from partnerhub.sandbox.calls import Answer, Call, Endpoint, Listing, required
from partnerhub.sandbox.frame import Refusal
from partnerhub.sandbox.integrations import FBE_SCOPE, fbe_token, remove_fbe
from partnerhub.sandbox.nodes import App, Install, Token
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World


class BusinessExtension:
    """`/fbe_business/fbe_installs` and `/{business}/access_token`."""

    def __init__(self, world: World, courier: Courier) -> None:
        self._world, self._courier = world, courier

    def edges(self) -> dict[tuple[str, str, str], Endpoint]:
        """(node, verb, edge) → what answers."""
        return {
            ("fbe_business", "GET", "fbe_installs"): Endpoint("fbe_installs", self.read),
            ("fbe_business", "DELETE", "fbe_installs"): Endpoint("fbe_installs", self.uninstall),
            ("business", "POST", "access_token"): Endpoint("business_access_token", self.exchange),
        }

    def read(self, call: Call) -> Answer:
        """The assets of an install; nothing where there is none."""
        install = self._install(call)
        if isinstance(install, Refusal):
            return install
        return Listing([_install_values(install)] if install is not None else [])

    def uninstall(self, call: Call) -> Answer:
        """End an install, for its person or for its system user."""
        install = self._install(call)
        if isinstance(install, Refusal):
            return install
        if install is None:
            return Refusal(100, "(#100) There is no install with this fbe_external_business_id")
        self._courier.tell(remove_fbe(self._world, install), call.now)
        return {"success": True}

    def _install(self, call: Call) -> Install | Refusal | None:
        external_id = call.text("fbe_external_business_id")
        if external_id is None:
            return required("fbe_external_business_id")
        if call.token.type == "USER" and FBE_SCOPE not in call.token.scopes:
            return Refusal(200, f"(#200) Requires {FBE_SCOPE} permission")
        install = self._world.installs.get(external_id)
        if install is None or install.app_id != call.token.app_id:
            return None
        if install.business_id is None or not self._world.belongs_to(call.token, install.business_id):
            return None
        return install

    def exchange(self, call: Call) -> Answer:
        """The Business Extension's exchange: the token of the system user that the install made.

        Asked by a person who installed, or by the admin system user of the business that owns the app.
        """
        refusal = proof_refusal(call)
        if refusal is not None:
            return refusal
        app_id, external_id = call.text("app_id"), call.text("fbe_external_business_id")
        if app_id is None or external_id is None:
            return required("app_id" if app_id is None else "fbe_external_business_id")
        app = self._world.apps.get(app_id)
        if app is None or app_id != call.token.app_id:
            return Refusal(100, "(#100) Param app_id must be the app of the access token")
        install = self._world.installs.get(external_id)
        if install is None or (install.app_id, install.business_id) != (app_id, call.object_id):
            return call.missing()
        if not self._may_exchange(call.token, app, call.object_id):
            return NOT_ALLOWED
        if install.needs_reauthentication:
            return Refusal(
                200, "(#200) The user must authenticate again before a system user token can be created"
            )
        business = self._world.businesses.get(call.object_id)
        if install.system_user_id is None or (business is not None and business.fbe_system_user_missing):
            return Refusal(100, "Could not retrieve Facebook Business Extension System User")
        scopes = wanted_scopes(call)
        if isinstance(scopes, Refusal):
            return scopes
        if missing := set(scopes) - set(install.scopes):
            return Refusal(200, f"(#200) Permissions error: {', '.join(sorted(missing))} was not granted")
        return {"access_token": self._world.add_token(fbe_token(install, app_id, scopes, call.now)).value}

    def _may_exchange(self, token: Token, app: App, business_id: str) -> bool:
        if token.user_id in self._world.people:
            return FBE_SCOPE in token.scopes and self._world.administers(token, business_id)
        system_user = self._world.system_users.get(token.user_id)
        return (
            system_user is not None
            and system_user.role == "ADMIN"
            and system_user.business_id == app.business_id
        )


def _install_values(install: Install) -> dict[str, object]:
    """What `fbe_installs` tells of an install; an asset that it does not have is not named."""
    values: dict[str, object] = {
        "business_manager_id": install.business_id,
        "pixel_id": install.pixel_id,
        "ad_account_id": install.ad_account_id,
        "catalog_id": install.catalog_id,
        "pages": list(install.pages),
        "profiles": list(install.pages),
        "instagram_profiles": list(install.instagram_profiles),
        "onsite_eligible": False,
        "installed_features": [{"feature_type": "pixel", "connected_assets": {"pixel_id": install.pixel_id}}]
        if install.pixel_id is not None
        else [],
    }
    return {name: value for name, value in values.items() if value is not None}
