"""Pages that stand in for Business settings and Events Manager: share a pixel, take it back, make and end tokens.

What a visitor does here by hand the admin routes do for a program. Drawn on the server, every value escaped.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from partnerhub.sandbox.access_admin import OWN_APP, generate_token
from partnerhub.sandbox.call_log import CallLog
from partnerhub.sandbox.fragments import NOTHING, card, empty, moment, table
from partnerhub.sandbox.integrations import remove_integration
from partnerhub.sandbox.layout import HEADING, draw, missing
from partnerhub.sandbox.markup import Html, html, join
from partnerhub.sandbox.nodes import Business, Pixel, Sharing, Token
from partnerhub.sandbox.pixels import share
from partnerhub.sandbox.webhooks import Courier
from partnerhub.sandbox.world import World, death_of, token_key

TASKS: Final = (("ANALYZE", "Analyse"), ("UPLOAD", "Send events"), ("ADVERTISE", "Advertise"))
WANTED_TASKS: Final = ("ANALYZE", "UPLOAD")
FORM: Final = '<form method="post" class="$kind"><input type="hidden" name="act" value="$act">$inside</form>'
BUSINESS_COLUMNS: Final = ("Business", "Id", "Verification", "Pixels#", "Shared with it#")
CALL_COLUMNS: Final = ("Call", "Outcome", "When#")
WEBHOOK_COLUMNS: Final = ("Webhook", "To", "State", "Answers")
LINES_SHOWN: Final = 20
USER_COLUMNS: Final = ("System user", "Id", "Role", "Pixels")


class Mistake(ValueError):
    """What a form cannot do; the text is for the person who sent it."""


class BusinessPages:
    """The list of businesses, and one page each."""

    def __init__(self, world: World, courier: Courier, log: CallLog) -> None:
        self._world, self._courier, self._log = world, courier, log

    def routes(self) -> list[Route]:
        """All pages, for Starlette."""
        return [
            Route("/sandbox/businesses", self.businesses),
            Route("/sandbox/businesses/{business_id}", self.business, methods=["GET"]),
            Route("/sandbox/businesses/{business_id}", self.act, methods=["POST"]),
        ]

    async def businesses(self, request: Request) -> Response:
        """Every business."""
        link = '<a href="/sandbox/businesses/$id">$name</a>'
        rows = [
            (
                html(link, id=business.id, name=business.name),
                html("<code>$id</code>", id=business.id),
                business.verification_status,
                f"{len(self._world.owned_pixels(business.id)):,}",
                f"{len(self._world.shared_pixels(business.id, 'APPROVE')):,}",
            )
            for business in self._world.businesses.values()
        ]
        inside = table(BUSINESS_COLUMNS, rows) if rows else empty("No business yet.")
        lead = "Stands in for Business settings: open a business to share its pixels with a partner."
        content = join(
            (
                html(HEADING, title="Businesses", lead=lead),
                card("All businesses", inside),
                card("Last calls", self._calls()),
                card("Last webhooks", self._webhooks()),
            )
        )
        return draw(request, "Businesses", content, live=True)

    def _calls(self) -> Html:
        """What was asked of "Meta" about access, newest first."""
        now = time.time()
        rows = [
            (
                html("<code>$verb $path</code>", verb=call.verb, path=call.path),
                call.outcome,
                moment(call.at, now),
            )
            for call in self._log.newest()[:LINES_SHOWN]
        ]
        return table(CALL_COLUMNS, rows) if rows else empty("No call yet.")

    def _webhooks(self) -> Html:
        """What "Meta" sent, newest first."""
        rows = [
            (
                ", ".join(delivery.fields),
                html("<code>$url</code>", url=delivery.url),
                delivery.state,
                ", ".join(str(attempt["status"] or "no answer") for attempt in delivery.attempts),
            )
            for delivery in self._courier.deliveries()[:LINES_SHOWN]
        ]
        return table(WEBHOOK_COLUMNS, rows) if rows else empty("None was sent yet.")

    async def business(self, request: Request) -> Response:
        """One business: its pixels and whom they are shared with, its system users, its tokens."""
        business = self._world.businesses.get(request.path_params["business_id"])
        if business is None:
            return missing(request, "There is no such business.")
        return self._page(request, business)

    async def act(self, request: Request) -> Response:
        """A form of the page; what cannot be done is said on the page itself."""
        business = self._world.businesses.get(request.path_params["business_id"])
        if business is None:
            return missing(request, "There is no such business.")
        form = await request.form()
        acts: dict[str, Callable[[Business, FormData], Html | None]] = {
            "share": self._share,
            "withdraw": self._withdraw,
            "accept": self._accept,
            "generate": self._generate,
            "revoke": self._revoke,
            "remove": self._remove,
        }
        try:
            wanted = acts.get(str(form.get("act", "")))
            if wanted is None:
                raise Mistake("That form is not known here.")
            shown = wanted(business, form)
        except Mistake as mistake:
            alert = html('<p class="alert bad" role="alert">$text</p>', text=mistake)
            return self._page(request, business, alert, status=400)
        if shown is not None:
            return self._page(request, business, shown)
        return RedirectResponse(f"/sandbox/businesses/{business.id}", status_code=303)

    # What the forms do.

    def _share(self, business: Business, form: FormData) -> None:
        pixel = self._pixel(form)
        partner = str(form.get("business_id", "")).strip()
        if pixel.owner_business_id != business.id:
            raise Mistake("Only the business that owns a pixel can share it.")
        if partner not in self._world.businesses or partner == business.id:
            raise Mistake("There is no other business with that id. Copy the partner’s business id.")
        tasks = tuple(str(task) for task in form.getlist("tasks") if task in dict(TASKS))
        if not tasks:
            raise Mistake("Choose at least one task.")
        share(self._world, pixel, partner, tasks)

    def _withdraw(self, business: Business, form: FormData) -> None:
        pixel = self._pixel(form)
        if business.id not in (pixel.owner_business_id, form.get("business_id")):
            raise Mistake("Only the two businesses can end a sharing.")
        pixel.agencies.pop(str(form.get("business_id", "")), None)

    def _accept(self, business: Business, form: FormData) -> None:
        sharing = self._pixel(form).agencies.get(business.id)
        if sharing is None:
            raise Mistake("The pixel is no longer offered.")
        sharing.status = "APPROVE"

    def _generate(self, business: Business, form: FormData) -> Html:
        pixel = self._pixel(form)
        if pixel.owner_business_id != business.id:
            raise Mistake("Only the business that owns a pixel can make its token.")
        token = generate_token(self._world, pixel, OWN_APP, self._now())
        return html(
            '<section class="card" role="status"><h2>Access token of $name</h2>'
            '<p class="lead">Shown this once: copy it now.</p><pre tabindex="0">$token</pre></section>',
            name=pixel.name,
            token=token.value,
        )

    def _revoke(self, business: Business, form: FormData) -> None:
        for token in self._tokens(business):
            if token_key(token.value) == form.get("key") and token.state == "live":
                token.state = "revoked"

    def _remove(self, business: Business, form: FormData) -> None:
        notices = remove_integration(self._world, str(form.get("app_id", "")), business.id)
        self._courier.tell(notices, self._now())

    def _pixel(self, form: FormData) -> Pixel:
        pixel = self._world.pixels.get(str(form.get("pixel_id", "")))
        if pixel is None:
            raise Mistake("There is no such pixel.")
        return pixel

    def _now(self) -> float:
        return time.time() + self._world.settings.clock_shift_s

    # What the page shows.

    def _page(
        self, request: Request, business: Business, above: Html = NOTHING, *, status: int = 200
    ) -> Response:
        lead = html(
            "Business id <code>$id</code>, verification: $status. Stands in for Business settings.",
            id=business.id,
            status=business.verification_status,
        )
        parts = [
            html(HEADING, title=business.name, lead=lead),
            above,
            *(self._pixel_card(pixel) for pixel in self._world.owned_pixels(business.id)),
            self._client_card(business),
            self._apps_card(business),
            self._user_card(business),
            self._token_card(business),
        ]
        return draw(request, business.name, join(parts), status=status)

    def _pixel_card(self, pixel: Pixel) -> Html:
        """A pixel of the business's own: its sharings, Assign partner, Generate access token."""
        shared = [
            _row(
                self._world.business_name(partner),
                partner,
                f"{_in_words(sharing.permitted_tasks)}, {_standing(sharing)}",
                _button("withdraw", "Withdraw", pixel_id=pixel.id, business_id=partner),
            )
            for partner, sharing in pixel.agencies.items()
        ]
        ticks = join(
            html(
                '<label class="choice"><input type="checkbox" name="tasks" value="$task"$on> '
                "<span>$label</span></label>",
                task=task,
                on=Html(" checked") if task in WANTED_TASKS else NOTHING,
                label=label,
            )
            for task, label in TASKS
        )
        field = html(
            '<input type="hidden" name="pixel_id" value="$id">'
            '<label class="field">Partner business ID<input name="business_id" inputmode="numeric" required '
            'autocomplete="off"></label><fieldset><legend>Tasks</legend>$ticks</fieldset>'
            '<p class="actions"><button class="main">Assign partner</button></p>',
            id=pixel.id,
            ticks=ticks,
        )
        inside = join(
            (
                html('<p class="quiet">Pixel <code>$id</code></p>', id=pixel.id),
                _rows(shared, "Shared with nobody."),
                html(
                    "<details><summary>Assign partner</summary>$form</details>",
                    form=html(FORM, kind="stacked", act="share", inside=field),
                ),
                html(
                    '<p class="actions">$generate</p>',
                    generate=_button("generate", "Generate access token", pixel_id=pixel.id),
                ),
            )
        )
        return card(pixel.name, inside)

    def _client_card(self, business: Business) -> Html:
        """The pixels of others, offered to this business or shared with it."""
        rows = []
        for pixel in self._world.pixels.values():
            sharing = pixel.agencies.get(business.id)
            if sharing is None:
                continue
            waits = sharing.status == "PENDING"
            act, label = ("accept", "Accept") if waits else ("withdraw", "Give back")
            note = f"{_in_words(sharing.permitted_tasks)}, {_standing(sharing)}"
            owner = self._world.business_name(pixel.owner_business_id)
            button = _button(act, label, pixel_id=pixel.id, business_id=business.id)
            rows.append(_row(pixel.name, pixel.id, f"From {owner}: {note}", button))
        return card(
            "Pixels shared with this business", _rows(rows, "No other business shares a pixel with it.")
        )

    def _apps_card(self, business: Business) -> Html:
        """Connected apps: those that an integration gave tokens of this business."""
        app_ids = {token.app_id for token in self._world.tokens.values() if token.business_id == business.id}
        app_ids |= {item.app_id for item in self._world.installs.values() if item.business_id == business.id}
        if not app_ids:
            return NOTHING
        rows = [
            _row(self._app_name(app_id), app_id, "", _button("remove", "Remove", app_id=app_id))
            for app_id in sorted(app_ids)
        ]
        return card("Connected apps", _rows(rows, ""))

    def _user_card(self, business: Business) -> Html:
        rows = [
            (
                user.name,
                html("<code>$id</code>", id=user.id),
                user.role.lower(),
                ", ".join(pixel.name for pixel in self._world.pixels.values() if user.id in pixel.users)
                or "none",
            )
            for user in self._world.system_users.values()
            if user.business_id == business.id
        ]
        return card("System users", table(USER_COLUMNS, rows) if rows else empty("No system user yet."))

    def _token_card(self, business: Business) -> Html:
        now = self._now()
        rows = [
            _row(
                self._holder(token),
                f"…{token.value[-4:]}",
                html("$app, $state", app=self._app_name(token.app_id), state=_state(token, now)),
                _button("revoke", "Revoke", key=token_key(token.value))
                if death_of(token, now) is None
                else NOTHING,
            )
            for token in self._tokens(business)
        ]
        return card("Access tokens", _rows(rows, "No token yet."))

    def _tokens(self, business: Business) -> Sequence[Token]:
        """The tokens that have to do with the business: of its users, its integrations, its pixels."""
        owned = {pixel.id for pixel in self._world.owned_pixels(business.id)}
        return [
            token
            for token in self._world.tokens.values()
            if token.business_id == business.id
            or self._world.belongs_to(token, business.id)
            or not owned.isdisjoint(token.pixels)
        ]

    def _holder(self, token: Token) -> str:
        user = self._world.system_users.get(token.user_id)
        person = self._world.people.get(token.user_id)
        if user is not None:
            return user.name
        return person.name if person is not None else f"user {token.user_id}"

    def _app_name(self, app_id: str) -> str:
        app = self._world.apps.get(app_id)
        return app.name if app is not None else "Events Manager" if app_id == OWN_APP else f"app {app_id}"


def _button(act: str, label: str, **fields: str) -> Html:
    """A form that is one button."""
    hidden = join(
        html('<input type="hidden" name="$name" value="$value">', name=name, value=value)
        for name, value in fields.items()
    )
    button = html('$hidden<button class="plain">$label</button>', hidden=hidden, label=label)
    return html(FORM, kind="inline", act=act, inside=button)


def _row(name: str, code: str, note: str | Html, button: Html) -> Html:
    """A line of a list: what it is, what is to be said of it, and its button."""
    return html(
        '<li><span><strong>$name</strong> <code>$code</code><br><span class="quiet">$note</span></span>'
        "$button</li>",
        name=name,
        code=code,
        note=note,
        button=button,
    )


def _rows(rows: Sequence[Html], nothing: str) -> Html:
    return html('<ul class="rows">$rows</ul>', rows=join(rows)) if rows else empty(nothing)


def _standing(sharing: Sharing) -> str:
    """How an offer stands, in a word."""
    return {"APPROVE": "shared", "PENDING": "not accepted yet"}.get(sharing.status, sharing.status.lower())


def _in_words(tasks: Sequence[str]) -> str:
    words = dict(TASKS)
    return ", ".join(words.get(task, task) for task in tasks)


def _state(token: Token, now: float) -> Html:
    """Alive and until when, or what it died of."""
    if death_of(token, now) is not None:
        state = token.state if token.state != "live" else "expired"
        return html('<span class="mark">$state</span>', state=state.replace("_", " "))
    until = NOTHING
    if token.expires_at:
        day = datetime.fromtimestamp(token.expires_at, UTC).strftime("%d %b %Y")
        until = html(' <span class="quiet">until $day</span>', day=day)
    return html('<span class="mark good">live</span>$until', until=until)
