"""The frame around every page of the stand-in's own: what it is, the way to the others, and its policy."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from partnerhub.sandbox.fragments import NOTHING
from partnerhub.sandbox.markup import Html, html, join

POLICY: Final = (
    "default-src 'none'; style-src 'self'; frame-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
LIVE_SECONDS: Final = 5
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$refresh<title>$title · Stand-in Graph API</title>
<link rel="icon" href="/sandbox/icon.svg"><link rel="stylesheet" href="/sandbox/sandbox.css"></head>
<body><aside class="notice" aria-label="What this is"><strong>Not Meta.</strong>
A stand-in Graph API for demos and tests; nothing leaves this machine.</aside>
<header class="top"><p class="brand">Stand-in Graph API</p><nav aria-label="Pages">
$links</nav>$live</header>
<main>$content</main></body></html>
"""
CURRENT: Final = Html(' aria-current="page"')
HEADING: Final = '<div><h1>$title</h1><p class="lead">$lead</p></div>'
SECTIONS: Final = (("/", "Received"), ("/sandbox/businesses", "Businesses"))
MAIL: Final = "/sandbox/mail"


def draw(request: Request, title: str, content: Html, *, live: bool = False, status: int = 200) -> Response:
    """A page; a `live` one can refresh itself. The application's state holds the mailbox."""
    path = request.url.path
    refresh, link = NOTHING, NOTHING
    if live and request.query_params.get("live") == "on":
        refresh = html('<meta http-equiv="refresh" content="$seconds">', seconds=LIVE_SECONDS)
        label = f"Refreshing every {LIVE_SECONDS} s: stop"
        link = html('<a class="live" href="$path">$label</a>', path=path, label=label)
    elif live:
        label = f"Refresh every {LIVE_SECONDS} s"
        link = html('<a class="live" href="$path?live=on">$label</a>', path=path, label=label)
    sections = (*SECTIONS, (MAIL, f"Mail ({len(request.app.state.mailbox.to()):,})"))
    body = html(
        PAGE,
        refresh=refresh,
        title=title,
        live=link,
        content=content,
        links=join(_link(section, label, path) for section, label in sections),
    )
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return Response(body, status_code=status, media_type="text/html", headers=headers)


def _link(section: str, label: str, path: str) -> Html:
    """A section's link; the first is also where the pages of pixels belong."""
    others = (MAIL, *(address for address, _ in SECTIONS[1:]))
    is_here = path.startswith(section) if section != "/" else not path.startswith(others)
    return html(
        '<a href="$to"$here>$label</a>', to=section, here=CURRENT if is_here else NOTHING, label=label
    )


def missing(request: Request, sentence: str) -> Response:
    """A page for what is not there."""
    return draw(request, "Not here", html(HEADING, title="Not here", lead=sentence), status=404)
