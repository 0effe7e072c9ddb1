"""The dialog's pages: who you are, which business, what the app may do. Pure; every value is escaped."""

from collections.abc import Iterable, Sequence
from typing import Final

from starlette.responses import Response

from partnerhub.sandbox.consent import NEW, NONE, Request
from partnerhub.sandbox.fragments import NOTHING
from partnerhub.sandbox.markup import Html, html, join
from partnerhub.sandbox.nodes import Business, Person, Pixel

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title · Stand-in for Facebook Login</title>
<link rel="icon" href="/sandbox/icon.svg"><link rel="stylesheet" href="/sandbox/sandbox.css"></head>
<body class="dialog"><aside class="notice" aria-label="What this is"><strong>Not Facebook.</strong>
A stand-in for its log-in dialog; nothing leaves this machine.</aside>
<main class="window">$inside</main></body></html>
"""
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self' {origin}; frame-ancestors 'none'"
)
# The browser holds the redirect after a form to `form-action`, too.

EXPLAINED: Final = {
    "ads_management": "Manage ads and send events for your pixels",
    "ads_read": "Read your ads, pixels and their statistics",
    "business_management": "Manage your business portfolio",
    "pages_read_engagement": "Read what is published on your Pages",
    "pages_show_list": "See which Pages you manage",
    "public_profile": "Your name and profile picture",
    "email": "Your e-mail address",
    "manage_business_extension": "Connect your business through the Business Extension",
    "catalog_management": "Manage your catalogues",
    "instagram_basic": "Read your Instagram profile",
}


def response(title: str, inside: Html, origin: str, *, status: int = 200) -> Response:
    """A page of the dialog; forms may lead to `origin`, which is the app's."""
    headers = {
        "content-security-policy": POLICY.format(origin=origin),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    body = html(PAGE, title=title, inside=inside)
    return Response(body, status_code=status, media_type="text/html", headers=headers)


def problem(title: str, sentence: str) -> Html:
    """What is shown instead of a dialog. There is no way back to the app, as at Facebook."""
    return html('<h1>$title</h1><p class="lead" role="alert">$sentence</p>', title=title, sentence=sentence)


def closed() -> Html:
    """The person went away; the app hears nothing."""
    return html('<h1>You closed the window</h1><p class="lead">The app that sent you here hears nothing.</p>')


def who(request: Request, people: Sequence[Person], query: Sequence[tuple[str, str]]) -> Html:
    """The log-in, without its password."""
    choices = (_choice("radio", "person", person.id, person.name, person.id) for person in people)
    return _step(
        html("<h1>Log in to continue to $app</h1>", app=request.app.name),
        html('<p class="lead">Whose Facebook account is this?</p>'),
        "Account",
        "person",
        choices,
        query,
    )


def which_business(
    request: Request, person: Person, businesses: Sequence[Business], query: Sequence[tuple[str, str]]
) -> Html:
    """The choice between several businesses."""
    choices = (
        _choice("radio", "businesses", business.id, business.name, business.id) for business in businesses
    )
    return _step(
        html("<h1>Choose the business to connect to $app</h1>", app=request.app.name),
        html('<p class="lead">Logged in as $name.</p>', name=person.name),
        "Business",
        "businesses",
        choices,
        [pair for pair in query if pair[0] != "person"] + [("person", person.id)],
    )


def _step(
    heading: Html,
    lead: Html,
    legend: str,
    chosen: str,
    choices: Iterable[Html],
    query: Sequence[tuple[str, str]],
) -> Html:
    hidden = join(
        html('<input type="hidden" name="$name" value="$value">', name=name, value=value)
        for name, value in query
        if name != chosen
    )
    return html(
        '$heading$lead<form method="get">$hidden<fieldset><legend>$legend</legend>$choices</fieldset>'
        '<p class="actions"><button class="main">Continue</button></p></form>',
        heading=heading,
        lead=lead,
        hidden=hidden,
        legend=legend,
        choices=join(choices),
    )


def permissions(
    request: Request, person: Person, business: Business | None, owned: Sequence[Pixel], address: str
) -> Html:
    """What the app asks for, and the three ways to leave."""
    assets = NOTHING
    can_accept = True
    if request.asks != "nothing" and business is None:
        can_accept = False
        assets = html(
            '<p class="lead" role="alert">You do not have full control of a business. '
            "Ask one of its admins to do this.</p>"
        )
    elif business is not None:
        assets = _assets(request, business, owned)
    buttons = join(
        html('<button class="$kind" name="decision" value="$value">$label</button>', **button)
        for button in (
            {"kind": "main", "value": "accept", "label": f"Continue as {person.name}"},
            {"kind": "plain", "value": "cancel", "label": "Not now"},
            {"kind": "plain", "value": "never_return", "label": "Close without answering"},
        )
        if can_accept or button["value"] != "accept"
    )
    return html(
        "<h1>$app would like to connect to your $what</h1>"
        '<p class="lead">Logged in as $name.</p>'
        '<form method="post" action="$address"><input type="hidden" name="person" value="$person">'
        '$assets$scopes<p class="actions">$buttons</p></form>',
        app=request.app.name,
        what="account" if request.asks == "nothing" else "business",
        name=person.name,
        address=address,
        person=person.id,
        assets=assets,
        scopes=_scopes(request, person) if can_accept else NOTHING,
        buttons=buttons,
    )


def _assets(request: Request, business: Business, owned: Sequence[Pixel]) -> Html:
    """The business, and its pixels to choose from."""
    hidden = html('<input type="hidden" name="businesses" value="$id">', id=business.id)
    if request.asks == "pixels":
        choices = [_choice("checkbox", "pixels", pixel.id, pixel.name, pixel.id) for pixel in owned]
        legend = f"Pixels of {business.name} that the app may use"
        nothing = html('<p class="empty">$name has no pixel.</p>', name=business.name)
        inside = join(choices) if choices else nothing
        return html(
            "$hidden<fieldset><legend>$legend</legend>$inside</fieldset>",
            hidden=hidden,
            legend=legend,
            inside=inside,
        )
    preferred = request.prefilled_pixel_id or (owned[0].id if owned else NONE)
    choices = [
        _choice("radio", "pixels", pixel.id, pixel.name, pixel.id, is_on=pixel.id == preferred)
        for pixel in owned
    ]
    choices.append(_choice("radio", "pixels", NEW, "A new pixel", "made now"))
    choices.append(_choice("radio", "pixels", NONE, "No pixel", "for now", is_on=not owned))
    return html(
        "$hidden<fieldset><legend>Pixel of $name</legend>$choices</fieldset>",
        hidden=hidden,
        name=business.name,
        choices=join(choices),
    )


def _scopes(request: Request, person: Person) -> Html:
    asked = [scope for scope in request.open_scopes(person) if scope != "public_profile"]
    if not asked:
        return NOTHING
    items = join(
        html(
            '<input type="hidden" name="listed" value="$scope">$choice',
            scope=scope,
            choice=_choice("checkbox", "allow", scope, EXPLAINED.get(scope, scope), scope, is_on=True),
        )
        for scope in asked
    )
    return html("<fieldset><legend>What the app may do</legend>$items</fieldset>", items=items)


def _choice(kind: str, name: str, value: str, label: str, note: str, *, is_on: bool = False) -> Html:
    return html(
        '<label class="choice"><input type="$kind" name="$name" value="$value"$on$required> '
        '<span>$label <span class="quiet mono">$note</span></span></label>',
        kind=kind,
        name=name,
        value=value,
        on=Html(" checked") if is_on else NOTHING,
        required=Html(" required") if kind == "radio" else NOTHING,
        label=label,
        note=note,
    )
