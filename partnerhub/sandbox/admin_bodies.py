"""JSON in and out for the admin routes: one wrapper for all of them, and readers that say what is wrong."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from partnerhub.sandbox.knobs import BadKnob
from partnerhub.sandbox.setup import BadRequest
from partnerhub.sandbox.webhooks import Unreachable

Act = Callable[[Request, Any], Response | Awaitable[Response]]


def answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content) + b"\n", status_code=status, media_type="application/json")


def endpoint(act: Act) -> Callable[[Request], Any]:
    """`act` as a route's endpoint: it is given the body as JSON, and its mistakes become answers."""

    async def run(request: Request) -> Response:
        try:
            body = await request.body()
            done = act(request, orjson.loads(body) if body else {})
            return await done if inspect.isawaitable(done) else done
        except orjson.JSONDecodeError:
            return answer({"error": "The body is not JSON."}, 400)
        except (BadRequest, BadKnob, Unreachable) as error:
            return answer({"error": str(error)}, 400)
        except LookupError as error:
            return answer({"error": str(error.args[0] if error.args else error)}, 404)

    return run


def text_of(body: Any, name: str, default: str | None = None) -> str:
    """A text of the body."""
    value = body.get(name, default) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} must be a text.")
    return value


def texts_of(body: Any, name: str, default: Any) -> list[str]:
    """A list of texts."""
    value = body.get(name, list(default))
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"{name} must be a list of texts.")
    return value


def flag_of(body: Any, name: str, default: bool) -> bool:
    """True or false."""
    value = body.get(name, default) if isinstance(body, dict) else default
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false.")
    return value


def number_of(body: Any, name: str, default: int) -> int:
    """A whole number."""
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{name} must be a whole number.")
    return value
