"""The pages that show what "Meta" received, and the demo's mail.

Drawn on the server, no script, every value escaped: what is shown here came in from outside.
"""

import time
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partnerhub.sandbox.charts import minutes_chart
from partnerhub.sandbox.fragments import (
    card,
    empty,
    letter,
    moment,
    repeat_table,
    request_list,
    shares,
    stats,
    table,
)
from partnerhub.sandbox.knobs import Knobs
from partnerhub.sandbox.layout import HEADING, draw, missing
from partnerhub.sandbox.mail import Mailbox
from partnerhub.sandbox.markup import Html, html, join
from partnerhub.sandbox.store import Account, Store
from partnerhub.sandbox.world import World

CSS: Final = files("partnerhub.sandbox").joinpath("sandbox.css").read_bytes()
MAIL_POLICY: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; "
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
# A message's own HTML: no script, nothing fetched, links open in a window of their own.
ICON: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    b'<rect width="16" height="16" rx="4" fill="#c98a2b"/>'
    b'<path d="M4 12V8m4 4V4m4 8V6" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)
REQUESTS_SHOWN: Final = 15

PIXEL_COLUMNS: Final = ("Pixel", "Events#", "Ids#", "Requests#", "Repeats#", "Refused#", "Agents", "Last#")
KNOB_COLUMNS: Final = ("Fault", "Where", "Id", "When", "So far#", "Left#")


class Pages:
    """The pages, over the parts that they show."""

    def __init__(self, world: World, store: Store, knobs: Knobs, mailbox: Mailbox) -> None:
        self._world, self._store, self._knobs, self._mailbox = world, store, knobs, mailbox

    def routes(self) -> list[Route]:
        """All pages, for Starlette."""
        return [
            Route("/", self.received),
            Route("/sandbox/pixels/{pixel_id}", self.pixel),
            Route("/sandbox/mail", self.mail_list),
            Route("/sandbox/mail/{mail_id:int}", self.mail),
            Route("/sandbox/mail/{mail_id:int}/html", self.mail_html),
            Route("/sandbox/sandbox.css", self.css),
            Route("/sandbox/icon.svg", self.icon),
        ]

    async def received(self, request: Request) -> Response:
        """All that came in, over all pixels."""
        now = time.time()
        accounts = [self._store.account(pixel_id) for pixel_id in self._world.pixels]
        minutes: Counter[int] = Counter()
        for account in accounts:
            minutes.update(account.minutes)
        refused = self._store.unplaced.total() + sum(account.refused.total() for account in accounts)
        repeats = sum(account.server_repeats for account in accounts)
        parts = [
            html(
                HEADING,
                title="What “Meta” received",
                lead="Every server event that arrived, counted one by one. A refused request stores nothing.",
            ),
            stats(
                ("Events", sum(account.events for account in accounts), False),
                ("Different ids", sum(account.distinct for account in accounts), False),
                ("Requests", sum(account.requests for account in accounts), False),
                ("Repeats", repeats, repeats > 0),
                ("Refused requests", refused, refused > 0),
            ),
            card("Events a minute", minutes_chart(minutes, now)),
            card("Pixels", self._pixel_table(accounts, now)),
        ]
        if self._knobs:
            parts.append(card("Faults that are set", self._knob_table()))
        if self._store.unplaced:
            parts.append(card("Refused where there is no such pixel", shares(self._store.unplaced, "")))
        parts.append(card("Last requests", request_list(self._store.ring.newest(limit=REQUESTS_SHOWN), now)))
        return draw(request, "Received", join(parts), live=True)

    async def pixel(self, request: Request) -> Response:
        """One pixel's account."""
        pixel = self._world.pixels.get(request.path_params["pixel_id"])
        if pixel is None:
            return missing(request, "There is no such pixel.")
        now, account = time.time(), self._store.account(pixel.id)
        lead = html(
            'Pixel <span class="mono">$id</span>, owned by $owner. Last event: $last.',
            id=pixel.id,
            owner=self._world.business_name(pixel.owner_business_id),
            last=_last(account, now),
        )
        refused = account.refused.total()
        sizes = {f"{size:,} a request": count for size, count in account.batch_sizes.items()}
        breakdown = (
            card("Event names", shares(account.event_names, "No event yet.")),
            card("Partner agents, by events", shares(account.agents, "No event yet.")),
            card("Batches, by requests", shares(sizes, "No request yet.")),
            card("User agents, by requests", shares(account.user_agents, "No request yet.")),
            card("Test event codes, by events", shares(account.test_codes, "None was sent.")),
            card("Refusals, by code", shares(account.refused, "Nothing was refused.")),
        )
        parts = [
            html(HEADING, title=pixel.name, lead=lead),
            stats(
                ("Events", account.events, False),
                ("Different ids", account.distinct, False),
                ("Requests", account.requests, False),
                ("Repeats", account.server_repeats, account.server_repeats > 0),
                ("Refused requests", refused, refused > 0),
                ("Browser events", account.browser_events, False),
                ("Matched with browser", account.browser_deduplicated, False),
            ),
            card("Events a minute", minutes_chart(account.minutes, now)),
            html('<div class="columns">$cards</div>', cards=join(breakdown)),
            card("Ids that came more than once", repeat_table(account)),
            card("Last requests", request_list(self._store.ring.newest(pixel.id, REQUESTS_SHOWN), now)),
        ]
        if account.injected:
            parts.insert(-1, card("Faults injected", shares(account.injected, "")))
        return draw(request, pixel.name, join(parts), live=True)

    async def mail_list(self, request: Request) -> Response:
        """The messages, newest first."""
        now, mails = time.time(), self._mailbox.to(request.query_params.get("to"))
        link = '<a href="/sandbox/mail/$id">$subject</a>'
        rows = (
            (
                html(link, id=mail.id, subject=mail.subject or "(no subject)"),
                ", ".join(mail.recipients),
                moment(mail.arrival, now),
            )
            for mail in mails
        )
        inside = table(("Subject", "To", "Arrived#"), rows) if mails else empty("No mail yet.")
        content = join(
            (
                html(HEADING, title="Mail", lead="What the product sent. No message leaves this machine."),
                html('<section class="card">$inside</section>', inside=inside),
            )
        )
        return draw(request, "Mail", content, live=True)

    async def mail(self, request: Request) -> Response:
        """One message."""
        mail = self._mailbox.get(request.path_params["mail_id"])
        if mail is None:
            return missing(request, "That message is not kept here.")
        return draw(request, mail.subject or "Mail", letter(mail))

    async def mail_html(self, request: Request) -> Response:
        """One message's own HTML, for the frame on its page."""
        mail = self._mailbox.get(request.path_params["mail_id"])
        body = '<base target="_blank">' + (mail.html if mail is not None else "")
        headers = {"content-security-policy": MAIL_POLICY, "x-content-type-options": "nosniff"}
        return Response(body, media_type="text/html", headers=headers)

    async def css(self, _request: Request) -> Response:
        """The one stylesheet."""
        return Response(CSS, media_type="text/css", headers={"cache-control": "no-cache"})

    async def icon(self, _request: Request) -> Response:
        """The tab's icon."""
        return Response(ICON, media_type="image/svg+xml")

    def _pixel_table(self, accounts: Sequence[Account], now: float) -> Html:
        if not accounts:
            return empty("No pixel yet. PUT /sandbox/api/pixels/{id} makes one.")
        name = '<a href="/sandbox/pixels/$id">$name</a><br><span class="quiet mono">$id</span>'
        rows = (
            (
                html(name, id=account.pixel_id, name=self._world.pixels[account.pixel_id].name),
                f"{account.events:,}",
                f"{account.distinct:,}",
                f"{account.requests:,}",
                f"{account.server_repeats:,}",
                f"{account.refused.total():,}",
                ", ".join(label for label, _ in account.agents.most_common(3)),
                _last(account, now),
            )
            for account in accounts
        )
        return table(PIXEL_COLUMNS, rows)

    def _knob_table(self) -> Html:
        rows = (
            (
                f"error {knob.refusal().label}" if knob.kind == "error" else knob.kind,
                "everywhere" if knob.endpoint == "*" else knob.endpoint.replace("_", " "),
                "any" if knob.pixel_id == "*" else knob.pixel_id,
                "after storing" if knob.store else "before storing",
                f"{knob.taken:,}",
                "no end" if knob.count is None else f"{knob.count - knob.taken:,}",
            )
            for knob in self._knobs.all()
        )
        return table(KNOB_COLUMNS, rows)


def _last(account: Account, now: float) -> Html:
    return moment(account.last_arrival, now) if account.last_arrival else Html("never")
