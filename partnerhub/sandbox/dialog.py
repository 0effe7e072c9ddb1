"""`/dialog/oauth`: the page on which a person lets an app in, standing in for www.facebook.com's.

Works without script, and for a program that posts the same form: `person`, `businesses`, `pixels`, `decision`
(`accept`, `cancel`, `never_return`) and `decline`. It answers with a redirect or with a page.
"""

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from partnerhub.sandbox import dialog_page
from partnerhub.sandbox.call_log import CallLog
from partnerhub.sandbox.consent import (
    Outcome,
    Problem,
    Reply,
    Request,
    accept,
    cancel,
    offered_businesses,
    read_request,
)
from partnerhub.sandbox.faults import Receive, Scope, Send, perform
from partnerhub.sandbox.knobs import Knobs
from partnerhub.sandbox.markup import Html
from partnerhub.sandbox.nodes import Business, Person
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World

ENDPOINT: Final = "dialog"


class Dialog:
    """The dialog, as an ASGI application."""

    def __init__(self, world: World, knobs: Knobs, courier: Courier, log: CallLog) -> None:
        self._world, self._knobs, self._courier, self._log = world, knobs, courier, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the dialog, or take its answer."""
        request = HttpRequest(scope, receive, send)
        for knob in self._knobs.take_passing("", ENDPOINT):
            await asyncio.sleep(knob.latency_ms / 1000)
        fault = self._knobs.take_fault("", ENDPOINT, accepted=True)
        if fault is not None and fault.kind != "error":
            await perform(fault, scope, receive, send, b"{}", [])
            return
        if fault is not None:
            response = self._problem("Sorry, something went wrong", fault.refusal().message)
        else:
            response = await self._answer(request)
        names = tuple(sorted(request.query_params))
        outcome = str(response.status_code) if fault is None else "error"
        self._log.add(ENDPOINT, request.method, scope["path"], names, outcome, time.time())
        await response(scope, receive, send)

    async def _answer(self, request: HttpRequest) -> Response:
        query = dict(request.query_params)
        try:
            wanted = read_request(self._world, query)
            if request.method != "POST":
                return self._show(request, wanted)
            form = await request.form()
            decision = form.get("decision")
            if decision == "never_return":
                return self._page(wanted, "Closed", dialog_page.closed())
            outcome = cancel(wanted) if decision == "cancel" else self._accept(wanted, form)
        except Problem as problem:
            return self._problem(problem.title, problem.sentence)
        return self._redirect(outcome)

    def _redirect(self, outcome: Outcome) -> Response:
        self._courier.tell(outcome.notices, self._now())
        return RedirectResponse(outcome.location, status_code=302, headers={"cache-control": "no-store"})

    def _accept(self, wanted: Request, form: FormData) -> Outcome:
        if form.get("decision") != "accept":
            raise Problem("Invalid choice", "decision is accept, cancel or never_return.")
        person = self._person(str(form.get("person", "")))
        declined = set(_texts(form, "decline"))
        if "listed" in form:
            # The page lists the permissions as ticks: what was listed and is not ticked is declined.
            declined |= set(_texts(form, "listed")) - set(_texts(form, "allow"))
        reply = Reply(person, _texts(form, "businesses"), _texts(form, "pixels"), frozenset(declined))
        return accept(self._world, wanted, reply, self._now())

    def _person(self, person_id: str) -> Person:
        """Who is logged in to Facebook; one who is alone need not be named."""
        people = self._world.people
        if not person_id and len(people) == 1:
            return next(iter(people.values()))
        if person_id not in people:
            raise Problem("Log in to Facebook", "There is nobody here with that account.")
        return people[person_id]

    def _show(self, request: HttpRequest, wanted: Request) -> Response:
        """The next step: who, which business, and what to allow."""
        query = request.query_params
        if not self._world.people:
            raise Problem("Log in to Facebook", "There is nobody here with an account.")
        if "person" not in query and len(self._world.people) > 1:
            people = list(self._world.people.values())
            return self._page(wanted, "Log in", dialog_page.who(wanted, people, list(query.multi_items())))
        person = self._person(query.get("person", ""))
        business: Business | None = None
        if wanted.asks != "nothing":
            offered = offered_businesses(self._world, person)
            chosen = [known for known in offered if known.id == query.get("businesses")]
            if not chosen and len(offered) > 1:
                inside = dialog_page.which_business(wanted, person, offered, list(query.multi_items()))
                return self._page(wanted, "Choose a business", inside)
            business = chosen[0] if chosen else offered[0] if offered else None
        owned = self._world.owned_pixels(business.id) if business is not None else []
        address = f"{request.url.path}?{request.url.query}"
        inside = dialog_page.permissions(wanted, person, business, owned, address)
        return self._page(wanted, wanted.app.name, inside)

    def _now(self) -> float:
        return time.time() + self._world.settings.clock_shift_s

    @staticmethod
    def _page(wanted: Request, title: str, inside: Html) -> Response:
        parts = urlsplit(wanted.redirect_uri)
        return dialog_page.response(title, inside, f"{parts.scheme}://{parts.netloc}")

    @staticmethod
    def _problem(title: str, sentence: str) -> Response:
        return dialog_page.response(title, dialog_page.problem(title, sentence), "", status=400)


def _texts(form: FormData, name: str) -> list[str]:
    return [value for value in form.getlist(name) if isinstance(value, str) and value]
