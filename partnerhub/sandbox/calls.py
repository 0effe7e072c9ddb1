"""What the endpoints share: a request that has passed the door, fields and their expansion, pages of lists."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from partnerhub.sandbox.bodies import Parameters
from partnerhub.sandbox.frame import Refusal, no_such_object
from partnerhub.sandbox.nodes import TASKS, Token

MAX_LIMIT: Final = 5000


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request to a node or an edge of one. `rest` follows the edge's name in the path."""

    verb: str
    object_id: str
    edge: str
    rest: str
    parameters: Parameters
    token: Token
    now: float

    def text(self, name: str) -> str | None:
        """A parameter as text."""
        return self.parameters.text(name)

    def missing(self) -> Refusal:
        """100/33 for this call's object."""
        return no_such_object(self.verb, self.object_id)

    def names(self, name: str) -> list[str] | Refusal:
        """A parameter that is a list: a JSON array of texts, or names with commas or spaces between."""
        value = self.parameters.values.get(name)
        if isinstance(value, str) and value.startswith("["):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                return Refusal(100, f"(#100) param {name} must be an array.")
        if isinstance(value, str):
            value = value.replace(",", " ").split()
        if not value:
            return required(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return Refusal(100, f"(#100) param {name} must be an array.")
        return value

    def tasks(self, name: str) -> list[str] | Refusal:
        """A parameter that is a list of a pixel's tasks."""
        wanted = self.names(name)
        if isinstance(wanted, Refusal):
            return wanted
        for index, task in enumerate(wanted):
            if task not in TASKS:
                known = ", ".join(TASKS)
                return Refusal(100, f"(#100) Param {name}[{index}] must be one of {{{known}}}")
        return wanted

    def flag(self, name: str) -> bool:
        """A parameter that is true or false."""
        value = self.parameters.values.get(name)
        return value is True or (isinstance(value, str) and value.lower() in ("true", "1"))


@dataclass(frozen=True, slots=True)
class Listing:
    """The whole of a list, of which an answer has a page."""

    items: Sequence[dict[str, Any]]


Answer = dict[str, Any] | Listing | Refusal
Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a verb on an edge; `name` is what knobs and the call log call it."""

    name: str
    handler: Handler


def required(name: str) -> Refusal:
    """A parameter that is not there."""
    return Refusal(100, f"(#100) The parameter {name} is required")


def read_fields(text: str | None, default: Sequence[str]) -> dict[str, str | None]:
    """The names of `fields=id,owner_business{id,name}`, each with what stands in its braces."""
    if not text:
        return dict.fromkeys(default)
    found: dict[str, str | None] = {}
    depth, start = 0, 0
    for index, character in enumerate(text + ","):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        elif character == "," and depth <= 0:
            name, brace, inside = text[start:index].partition("{")
            if name.strip():
                found[name.strip()] = inside.removesuffix("}") if brace else None
            start = index + 1
    return found


def pick(
    values: dict[str, Any], wanted: str | None, kind: str, default: Sequence[str] = ("id", "name")
) -> dict[str, Any] | Refusal:
    """The wanted fields of a node, and its id; a value None is a known field that has none.

    Raises nothing: a field that the kind of node does not have is Graph's refusal.
    """
    picked: dict[str, Any] = {}
    for name, inside in read_fields(wanted, default).items():
        if name not in values:
            return Refusal(100, f"(#100) Tried accessing nonexisting field ({name}) on node type ({kind})")
        value = values[name]
        if value is None:
            continue
        if inside is not None and isinstance(value, dict):
            value = pick(value, inside, name)
            if isinstance(value, Refusal):
                return value
        picked[name] = value
    return picked | ({"id": values["id"]} if "id" in values else {})


def pick_all(
    nodes: Sequence[dict[str, Any]],
    wanted: str | None,
    kind: str,
    default: Sequence[str] = ("id", "name"),
) -> Listing | Refusal:
    """The wanted fields of every node of a list."""
    items = []
    for values in nodes:
        picked = pick(values, wanted, kind, default)
        if isinstance(picked, Refusal):
            return picked
        items.append(picked)
    return Listing(items)


def page_of(
    listing: Listing, parameters: Parameters, page_size: int, url: str, *, is_empty: bool = False
) -> dict[str, Any] | Refusal:
    """One page of a list, as `limit` and `after` ask, never longer than `page_size`.

    `next` holds the token, as Graph's does. An `is_empty` page has nothing but the way to the same page.
    """
    start, limit = 0, page_size
    if (after := parameters.text("after")) is not None:
        position = _read_cursor(after)
        if position is None:
            return Refusal(100, "(#100) Invalid cursor value")
        start = position
    if (wanted := parameters.text("limit")) is not None:
        if not (wanted.isascii() and wanted.isdigit()) or not 0 < int(wanted) <= MAX_LIMIT:
            return Refusal(100, "(#100) Param limit must be a positive number")
        limit = min(page_size, int(wanted))
    end = start if is_empty else min(start + limit, len(listing.items))
    answer: dict[str, Any] = {"data": list(listing.items[start:end])}
    if listing.items:
        answer["paging"] = {"cursors": {"before": _cursor(start), "after": _cursor(end)}}
        if is_empty or end < len(listing.items):
            query = {
                name: value
                for name, value in parameters.values.items()
                if isinstance(value, str) and name != "after"
            }
            answer["paging"]["next"] = f"{url}?{urlencode(query | {'after': _cursor(end)})}"
    if "total_count" in (parameters.text("summary") or ""):
        answer["summary"] = {"total_count": len(listing.items)}
    return answer


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f"at:{position}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> int | None:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return None
    mark, _, number = plain.partition(":")
    return int(number) if mark == "at" and number.isascii() and number.isdigit() else None
