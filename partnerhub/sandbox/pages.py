"""The stand-in's pages."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partnerhub.sandbox.knobs import Knobs
from partnerhub.sandbox.mail import Mailbox
from partnerhub.sandbox.store import Store
from partnerhub.sandbox.world import World


class Pages:
    """The pages, over the parts that they show."""

    def __init__(self, world: World, store: Store, knobs: Knobs, mailbox: Mailbox) -> None:
        self._world, self._store, self._knobs, self._mailbox = world, store, knobs, mailbox

    def routes(self) -> list[Route]:
        return [Route("/", self.home)]

    async def home(self, request: Request) -> Response:
        return Response("Stand-in Graph API")
