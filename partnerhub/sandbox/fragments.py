"""What the pages are made of: figures, tables, shares, requests, letters. Pure; the clock is an argument."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import orjson

from partnerhub.sandbox.mail import Mail
from partnerhub.sandbox.markup import Html, html, join, linked
from partnerhub.sandbox.store import Account, ReceivedRequest

NOTHING: Final = Html("")
SHARES_SHOWN: Final = 12
REPEATS_SHOWN: Final = 50
BODY_CHARACTERS: Final = 6_000
PRETTY_BYTES: Final = 64 * 1024
# A benchmark's bodies are a megabyte each: a page shows their beginning and links to the rest.


def card(title: str, inside: Html) -> Html:
    """A titled part of a page."""
    return html('<section class="card"><h2>$title</h2>$inside</section>', title=title, inside=inside)


def empty(sentence: str) -> Html:
    """What stands where there is nothing to show."""
    return html('<p class="empty">$sentence</p>', sentence=sentence)


def stats(*figures: tuple[str, int, bool]) -> Html:
    """Figures in a row, each with its label and whether it is one to worry about."""
    items = (
        html(
            "<div$mark><dt>$label</dt><dd>$value</dd></div>",
            mark=Html(' class="alarm"') if alarm else NOTHING,
            label=label,
            value=f"{value:,}",
        )
        for label, value, alarm in figures
    )
    return html('<dl class="stats">$items</dl>', items=join(items))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table; a heading that ends in `#` makes a column of numbers."""

    def cell(tag: str, heading: str, value: object) -> Html:
        kind = Html(' class="number"') if heading.endswith("#") else NOTHING
        return html(f"<{tag}$kind>$value</{tag}>", kind=kind, value=value)

    head = join(cell("th", heading, heading.rstrip("#")) for heading in headings)
    body = (
        html("<tr>$cells</tr>", cells=join(map(cell, ["td"] * len(headings), headings, row))) for row in rows
    )
    return html(
        '<div class="scroll" tabindex="0"><table>'
        "<thead><tr>$head</tr></thead><tbody>$body</tbody></table></div>",
        head=head,
        body=join(body),
    )


def shares(counts: Mapping[str, int], nothing: str) -> Html:
    """Counts by label, largest first, each with a bar; the sentence `nothing` where there are none."""
    if not counts:
        return empty(nothing)
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    items = [
        html(
            "<li><span>$label</span><span>$count</span>"
            '<progress value="$value" max="$highest" aria-hidden="true"></progress></li>',
            label=label,
            count=f"{count:,}",
            value=count,
            highest=ranked[0][1],
        )
        for label, count in ranked[:SHARES_SHOWN]
    ]
    if rest := ranked[SHARES_SHOWN:]:
        items.append(
            html(
                '<li class="quiet"><span>$number more</span><span>$count</span></li>',
                number=f"{len(rest):,}",
                count=f"{sum(count for _, count in rest):,}",
            )
        )
    return html('<ul class="shares">$items</ul>', items=join(items))


def moment(at: float, now: float) -> Html:
    """A time as its distance from now, with the time itself for those who point at it."""
    exact = datetime.fromtimestamp(at, UTC)
    seconds = max(0, int(now - at))
    if seconds < 60:
        text = f"{seconds} s ago"
    elif seconds < 3600:
        text = f"{seconds // 60} min ago"
    else:
        text = exact.strftime("%d %b %H:%M UTC")
    return html(
        '<time datetime="$iso" title="$full">$text</time>',
        iso=exact.isoformat(timespec="seconds"),
        full=exact.strftime("%Y-%m-%d %H:%M:%S UTC"),
        text=text,
    )


def repeat_table(account: Account) -> Html:
    """The first ids that came more than once by the server's road."""
    rows: list[tuple[object, ...]] = []
    for event, repeats in account.repeated():
        if len(rows) == REPEATS_SHOWN:
            break
        same = all(repeat.digest.hex() == event.digest for repeat in repeats)
        event_id = html("<code>$id</code>", id=event.event_id)
        content = "the same bytes" if same else "other content"
        rows.append((event.event_name, event_id, f"{event.copies:,}", content))
    if not rows:
        return empty("None: every id came once.")
    more = NOTHING
    if len(account.repeats) > len(rows):
        more = html(
            '<p class="quiet">The first $shown of $all.</p>', shown=len(rows), all=f"{len(account.repeats):,}"
        )
    return join((table(("Event", "Id", "Times#", "Content"), rows), more))


def request_list(requests: Sequence[ReceivedRequest], now: float) -> Html:
    """Requests, newest first, what they carried folded away."""
    if not requests:
        return empty("No request yet.")
    return html('<div class="requests">$items</div>', items=join(_request(item, now) for item in requests))


def _request(item: ReceivedRequest, now: float) -> Html:
    text, whole = _readable(item.body)
    return html(
        '<details><summary><span class="mark$good">$outcome</span><span>$events</span>'
        '<span class="quiet mono">$pixel</span><span class="quiet">$at</span></summary>'
        '<div class="inside"><p class="quiet">POST <code>$path$query</code>, trace id <code>$trace</code>, '
        '$size bytes</p><pre tabindex="0">$headers</pre><pre tabindex="0">$text</pre>'
        '<p><a href="/sandbox/api/requests/$number/body">$whole</a></p></div></details>',
        good=" good" if item.outcome == "accepted" else "",
        outcome=item.outcome,
        events=f"{item.events:,} event{'' if item.events == 1 else 's'}",
        pixel=item.pixel_id,
        at=moment(item.arrival, now),
        path=item.path,
        query=f"?{item.query}" if item.query else "",
        trace=item.fbtrace_id,
        size=f"{len(item.body):,}",
        headers="\n".join(f"{name}: {value}" for name, value in item.headers),
        text=text,
        number=item.number,
        whole="The body as it came" if whole else "The whole body",
    )


def _readable(body: bytes) -> tuple[str, bool]:
    """The body for reading, and whether that is all of it."""
    shown = body
    if len(body) <= PRETTY_BYTES and body[:1] == b"{":
        with suppress(orjson.JSONDecodeError):
            shown = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    text = shown[: BODY_CHARACTERS * 4].decode("utf-8", "replace")
    return text[:BODY_CHARACTERS], len(text) <= BODY_CHARACTERS


def letter(mail: Mail) -> Html:
    """One message: its plain text with links, and its own HTML in a frame that can do nothing."""
    frame = NOTHING
    if mail.html:
        frame = html(
            '<section class="card"><h2>As a mail program shows it</h2><iframe src="/sandbox/mail/$id/html" '
            'title="The message" sandbox="allow-popups allow-popups-to-escape-sandbox"></iframe></section>',
            id=mail.id,
        )
    return html(
        '<h1>$subject</h1><section class="card"><dl class="facts"><dt>From</dt><dd>$sender</dd><dt>To</dt>'
        '<dd>$to</dd>$date</dl><div class="letter">$text</div></section>$frame',
        subject=mail.subject or "(no subject)",
        sender=mail.sender,
        to=", ".join(mail.recipients),
        date=html("<dt>Date</dt><dd>$date</dd>", date=mail.date) if mail.date else NOTHING,
        text=linked(mail.text.strip()) if mail.text else empty("No plain text."),
        frame=frame,
    )
