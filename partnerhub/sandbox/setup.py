"""Describing the world in JSON: what is left out of a node that exists stays as it is.

The one room that reads and writes the setup document; a mistake in it changes nothing and becomes a sentence.
"""

from dataclasses import asdict
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from partnerhub.sandbox.nodes import (
    App,
    Business,
    Install,
    Person,
    Pixel,
    Settings,
    SystemUser,
    Token,
)
from partnerhub.sandbox.webhooks import check_address
from partnerhub.sandbox.world import World, token_key

KINDS: Final[dict[str, tuple[type[Any], str]]] = {
    "apps": (App, "id"),
    "businesses": (Business, "id"),
    "people": (Person, "id"),
    "system_users": (SystemUser, "id"),
    "pixels": (Pixel, "id"),
    "tokens": (Token, "value"),
    "installs": (Install, "external_business_id"),
}
# A part of the document → its nodes' class, and the field that is their key.

ADAPTERS: Final[dict[type[Any], TypeAdapter[Any]]] = {
    what: TypeAdapter(what) for what in (App, Business, Install, Person, Pixel, Settings, SystemUser, Token)
}


class BadRequest(ValueError):
    """What an admin route cannot do; the text says why."""


class Owner(NamedTuple):
    """A business as a pixel's description names it."""

    id: str
    name: str | None


def put_document(world: World, document: Any, now: float) -> None:
    """Take in a whole document, or nothing of it; raises BadRequest, Unreachable."""
    if not isinstance(document, dict):
        raise BadRequest("The setup document is a JSON object.")
    if unknown := sorted(set(document) - set(KINDS) - {"settings"}):
        raise BadRequest(f"The setup document has no {', '.join(unknown)}; it knows {', '.join(KINDS)}.")
    ready: list[tuple[str, str, tuple[Any, Owner | None]]] = []
    settings = world.settings
    if "settings" in document:
        settings = _read(Settings, _object(document["settings"], "settings"), asdict(settings), "settings")
    for kind in KINDS:
        for key, wanted in _object(document.get(kind, {}), kind).items():
            ready.append((kind, key, _node(world, kind, key, wanted, now)))
    world.settings = settings
    for kind, key, (node, owner) in ready:
        _keep(world, kind, key, node, owner)


def put_node(world: World, kind: str, key: str, wanted: Any, now: float) -> None:
    """Make or change one node; raises BadRequest."""
    _keep(world, kind, key, *_node(world, kind, key, wanted, now))


def document_of(world: World) -> dict[str, Any]:
    """The whole world in the document's own form; tokens by their key, secrets as `***`."""
    document: dict[str, Any] = {"settings": asdict(world.settings)}
    for kind, (_, name) in KINDS.items():
        nodes = getattr(world, kind).values()
        document[kind] = {getattr(node, name): _shown(asdict(node), name) for node in nodes}
    for app in document["apps"].values():
        app |= {"secret": "***", "verify_token": "***" if app["verify_token"] else ""}
    document["tokens"] = {token_key(value): token for value, token in document["tokens"].items()}
    return document


def _shown(node: dict[str, Any], key: str) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in node.items()
        if name != key
    }


def _node(world: World, kind: str, key: str, wanted: Any, now: float) -> tuple[Any, Owner | None]:
    """The node that `wanted` describes, and the owner that a pixel names beside."""
    what, name = KINDS[kind]
    label = f"{kind} {key}" if kind != "tokens" else "a token"
    wanted = dict(_object(wanted, label))
    known = getattr(world, kind).get(key)
    before = asdict(known) if known is not None else {}
    owner: Owner | None = None
    if kind == "pixels":
        if not key.isdecimal():
            raise BadRequest("A pixel's id is a number.")
        owner = _take_owner(wanted, is_new=known is None)
        before.setdefault("name", f"Pixel {key}")
    if kind == "tokens":
        before.setdefault("issued_at", int(now))
        if "expires_in_s" in wanted:
            wanted["expires_at"] = int(now) + _number(wanted.pop("expires_in_s"), "expires_in_s")
    node = _read(what, wanted | {name: key}, before, label)
    if kind == "apps":
        for url in filter(None, (node.webhook_url, node.deauthorize_url, node.deletion_url)):
            check_address(url)
    return node, owner


def _take_owner(wanted: dict[str, Any], *, is_new: bool) -> Owner | None:
    """Put the id of `owner_business` where `Pixel` has it; the owner, where one is named."""
    owner = wanted.pop("owner_business", None)
    if owner is None:
        if not is_new or "owner_business_id" in wanted:
            return None
        owner = {"id": "8001", "name": "Shop Example"}
    if isinstance(owner, str):
        owner = {"id": owner}
    owner = _object(owner, "owner_business")
    if not all(isinstance(owner.get(name, "-"), str) for name in ("id", "name")) or not owner.get("id"):
        raise BadRequest("owner_business: id and name must be texts.")
    wanted["owner_business_id"] = owner["id"]
    return Owner(owner["id"], owner.get("name"))


def _keep(world: World, kind: str, key: str, node: Any, owner: Owner | None) -> None:
    if owner is not None:
        business = world.businesses.setdefault(owner.id, Business(owner.id))
        business.name = owner.name or business.name
    if kind == "apps" and key in world.apps and world.apps[key].secret != node.secret:
        # An app token lives until the secret changes.
        of_old_secret = [
            value for value, token in world.tokens.items() if token.type == "APP" and token.app_id == key
        ]
        for value in of_old_secret:
            del world.tokens[value]
    getattr(world, kind)[key] = node


def _read(what: type[Any], wanted: dict[str, Any], before: dict[str, Any], label: str) -> Any:
    if unknown := sorted(set(wanted) - set(what.__dataclass_fields__)):
        known = ", ".join(what.__dataclass_fields__)
        raise BadRequest(f"{label}: there is no {', '.join(unknown)}; known are {known}.")
    try:
        return ADAPTERS[what].validate_python(before | wanted)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{label}: {place} {first['msg']}.") from None


def _object(value: Any, label: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{label} must be a JSON object.")
    return value


def _number(value: Any, label: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{label} must be a whole number.")
    return value
