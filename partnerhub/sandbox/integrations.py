"""What changes when an advertiser installs or removes an integration, and what Meta's webhooks then say.

Used by the dialog, by `fbe_installs` and by the admin routes. Pure but for the world; it sends nothing itself.
"""

from dataclasses import dataclass
from typing import Any, Final

from partnerhub.sandbox.nodes import App, Business, Install, Person, Pixel, SystemUser, Token
from partnerhub.sandbox.oauth import LONG_LIFE_SECONDS
from partnerhub.sandbox.world import World, new_token_value

FBE_SCOPE: Final = "manage_business_extension"
FBE_TASKS: Final = ("EDIT",)


@dataclass(frozen=True, slots=True)
class Notice:
    """One change that a webhook tells of. `object_id`: the person of `user`, the app of `application`."""

    app_id: str
    object: str
    object_id: str
    field: str
    value: dict[str, Any]


def install_fbe(
    world: World,
    app: App,
    person: Person,
    business_id: str,
    pixel: Pixel | None,
    external_id: str,
    now: float,
) -> list[Notice]:
    """Install, or install again, the Business Extension: a system user of the client's with the pixel."""
    known = world.installs.get(external_id)
    before: list[Notice] = []
    if known is not None and known.business_id != business_id:
        before = remove_fbe(world, known)
        known = None
    if known is not None:
        _release_pixel(world, known)
    install = known or Install(external_id, app.id, ad_account_id=world.new_id())
    install.business_id, install.person_id = business_id, person.id
    install.pixel_id = pixel.id if pixel is not None else None
    granted = person.grants.get(app.id, {})
    install.scopes = tuple(scope for scope, status in granted.items() if status == "granted")
    install.install_time, install.needs_reauthentication = int(now), False
    install.system_user_id = _fbe_user(world, app, business_id).id
    if pixel is not None:
        pixel.users[install.system_user_id] = FBE_TASKS
    world.installs[external_id] = install
    token = world.add_token(fbe_token(install, app.id, install.scopes, now))
    return [
        *before,
        fbe_notice(install, token.value),
        integration_notice(app.id, "install", business_id),
    ]


def _fbe_user(world: World, app: App, business_id: str) -> SystemUser:
    name = f"{app.name} System User (FBE)"
    for system_user in world.system_users.values():
        if system_user.business_id == business_id and system_user.name == name:
            return system_user
    made = SystemUser(world.new_id(), business_id, name, apps=frozenset({app.id}))
    world.system_users[made.id] = made
    return made


def fbe_token(install: Install, app_id: str, scopes: tuple[str, ...], now: float) -> Token:
    """A token of an install's system user; it has no end."""
    return Token(
        value=new_token_value(),
        app_id=app_id,
        scopes=scopes,
        issued_at=int(now),
        user_id=install.system_user_id or "",
        business_id=install.business_id,
    )


def remove_fbe(world: World, install: Install) -> list[Notice]:
    """Uninstall: its system user's tokens die, what was stale in the business is cleared."""
    _release_pixel(world, install)
    world.installs.pop(install.external_business_id, None)
    business = world.businesses.get(install.business_id or "")
    if business is not None:
        business.fbe_system_user_missing = False
    is_needed = any(other.system_user_id == install.system_user_id for other in world.installs.values())
    if install.system_user_id is not None and not is_needed:
        _remove_system_user(world, install.system_user_id)
    notices = [fbe_notice(install, None)]
    if install.business_id is not None:
        notices.append(integration_notice(install.app_id, "uninstall", install.business_id))
    return notices


def _release_pixel(world: World, install: Install) -> None:
    """Take the install's pixel from its system user, unless another install of the business has it."""
    pixel = world.pixels.get(install.pixel_id or "")
    is_needed = any(
        (other.system_user_id, other.pixel_id) == (install.system_user_id, install.pixel_id)
        for other in world.installs.values()
        if other is not install
    )
    if pixel is not None and install.system_user_id is not None and not is_needed:
        pixel.users.pop(install.system_user_id, None)


def _remove_system_user(world: World, system_user_id: str) -> None:
    """Take a system user away; its tokens are then of an app that nobody authorised."""
    world.change_state(lambda token: token.user_id == system_user_id, "app_removed")
    for pixel in world.pixels.values():
        pixel.users.pop(system_user_id, None)
    world.system_users.pop(system_user_id, None)


def integrate(
    world: World, app: App, config_id: str, business: Business, pixels: list[Pixel], now: float
) -> tuple[Token, list[Notice]]:
    """Facebook Login for Business: the token of a system user in the client's business, with these pixels.

    The same app's next log-in to the business goes to the same system user, with what is ticked then.
    """
    configuration = app.configurations[config_id]
    name = f"{app.name} System User"
    known = [
        user for user in world.system_users.values() if (user.business_id, user.name) == (business.id, name)
    ]
    user = known[0] if known else SystemUser(world.new_id(), business.id, name, apps=frozenset({app.id}))
    world.system_users[user.id] = user
    for pixel in world.pixels.values():
        pixel.users.pop(user.id, None)
    for pixel in pixels:
        pixel.users[user.id] = configuration.tasks
    expires = configuration.expires_in_60_days or business.only_60_day_tokens
    token = Token(
        value=new_token_value(),
        app_id=app.id,
        scopes=configuration.scopes,
        issued_at=int(now),
        expires_at=int(now) + LONG_LIFE_SECONDS if expires else 0,
        user_id=user.id,
        business_id=business.id,
    )
    field = "update" if known else "install"
    return token, [integration_notice(app.id, field, business.id, config_id)]


def remove_integration(world: World, app_id: str, business_id: str) -> list[Notice]:
    """The client takes the app out of its business: every token that the app had there dies."""
    notices: list[Notice] = []
    for install in list(world.installs.values()):
        if (install.app_id, install.business_id) == (app_id, business_id):
            notices += [notice for notice in remove_fbe(world, install) if notice.object == "user"]
    for token in list(world.tokens.values()):
        if (token.app_id, token.business_id) == (app_id, business_id):
            _remove_system_user(world, token.user_id)
            if token.state == "live":
                token.state = "app_removed"
    return [*notices, integration_notice(app_id, "uninstall", business_id)]


def forget_person(world: World, app_id: str, person: Person) -> list[Notice]:
    """A person removes the app: that person's tokens die, and what hung on the Business Extension's scope.

    The system user's token of a Login for Business integration lives on (reported; Meta does not say).
    """
    had_fbe = person.grants.pop(app_id, {}).get(FBE_SCOPE) == "granted"
    world.change_state(
        lambda token: (token.app_id, token.user_id, token.type) == (app_id, person.id, "USER"), "app_removed"
    )
    return remove_fbe_of(world, app_id, person) if had_fbe else []


def decline_scope(world: World, app_id: str, person: Person, scope: str) -> list[Notice]:
    """A person takes one scope back: that person's tokens lose it."""
    granted = person.grants.setdefault(app_id, {})
    was_granted = granted.get(scope) == "granted"
    granted[scope] = "declined"
    for token in world.tokens.values():
        if (token.app_id, token.user_id) == (app_id, person.id):
            token.scopes = tuple(kept for kept in token.scopes if kept != scope)
    return remove_fbe_of(world, app_id, person) if was_granted and scope == FBE_SCOPE else []


def remove_fbe_of(world: World, app_id: str, person: Person) -> list[Notice]:
    """Revoking `manage_business_extension` uninstalls what it had installed ("FBE Uninstall")."""
    notices = []
    for install in list(world.installs.values()):
        if (install.app_id, install.person_id) == (app_id, person.id):
            notices += remove_fbe(world, install)
    return notices


def fbe_notice(install: Install, access_token: str | None) -> Notice:
    """`fbe_install`; without a token it tells of the uninstall, and has no assets."""
    value: dict[str, Any] = {"business_id": install.external_business_id}
    if install.business_id is not None:
        value["business_manager_id"] = install.business_id
    if access_token is not None:
        assets = {
            "access_token": access_token,
            "merchant_access_token": access_token,
            "token_type": "bearer",
            "pixel_id": install.pixel_id,
            "ad_account_id": install.ad_account_id,
            "catalog_id": install.catalog_id,
            "pages": list(install.pages) or None,
            "profiles": list(install.pages) or None,
            "instagram_profiles": list(install.instagram_profiles) or None,
            "install_time": install.install_time,
        }
        value |= {name: asset for name, asset in assets.items() if asset is not None}
    return Notice(install.app_id, "user", install.person_id or "0", "fbe_install", value)


def integration_notice(app_id: str, what: str, business_id: str, config_id: str | None = None) -> Notice:
    """`business_integration_install`, `_update` or `_uninstall`."""
    value = {"business_manager_id": business_id}
    if config_id is not None and what == "install":
        value["tp_config_id"] = config_id
    return Notice(app_id, "application", app_id, f"business_integration_{what}", value)
