"""The stand-in's ASGI application: Graph's paths first and bare, then Starlette for the rest."""

import time
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partnerhub.sandbox.access_admin import AccessAdmin
from partnerhub.sandbox.admin import Admin
from partnerhub.sandbox.business_pages import BusinessPages
from partnerhub.sandbox.call_log import CallLog
from partnerhub.sandbox.faults import Receive, Scope, Send
from partnerhub.sandbox.graph import Graph
from partnerhub.sandbox.knobs import Knobs
from partnerhub.sandbox.mail import Mailbox
from partnerhub.sandbox.pages import Pages
from partnerhub.sandbox.store import Store
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World

ONE_PIXEL_GIF: Final = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b"
)


class Sandbox:
    """One stand-in Meta. `sandbox.mailbox` takes the SMTP server's messages."""

    def __init__(self) -> None:
        self.world, self.store, self.knobs, self.mailbox = World(), Store(), Knobs(), Mailbox()
        courier, log = Courier(self.world), CallLog()
        self._graph = Graph(self.world, self.store, self.knobs, courier, log)
        admin = Admin(self.world, self.store, self.knobs, self.mailbox, courier, log)
        access = AccessAdmin(self.world, courier)
        pages = Pages(self.world, self.store, self.knobs, self.mailbox)
        self._site = Starlette(
            routes=[
                *admin.routes(),
                *access.routes(),
                *pages.routes(),
                *BusinessPages(self.world, courier, log).routes(),
                Route("/tr/", self._browser_event, methods=["GET", "POST"]),
            ]
        )
        self._site.state.mailbox = self.mailbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not await self._graph.handle(scope, receive, send):
            await self._site(scope, receive, send)

    async def _browser_event(self, request: Request) -> Response:
        """The browser pixel's own road, `/tr/?id=&ev=&eid=`: always answered with a picture."""
        pixel_id, event_name = request.query_params.get("id", ""), request.query_params.get("ev")
        if pixel_id in self.world.pixels and event_name:
            event_id = request.query_params.get("eid") or None
            self.store.account(pixel_id).add_browser(event_name, event_id, time.time())
        return Response(ONE_PIXEL_GIF, media_type="image/gif")
