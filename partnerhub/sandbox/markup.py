"""HTML from templates in which every value is escaped, unless it is HTML already. Pure."""

from collections.abc import Iterable
from html import escape
from re import compile as pattern
from string import Template

_url = pattern(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]")


class Html(str):
    """Text that is HTML already, and goes in as it is."""

    __slots__ = ()


def html(template: str, /, **values: object) -> Html:
    """`template` with each `$name` replaced by its value, escaped unless it is Html."""
    ready = {name: value if isinstance(value, Html) else escape(str(value)) for name, value in values.items()}
    return Html(Template(template).substitute(ready))


def join(parts: Iterable[Html]) -> Html:
    """The parts, one after the other."""
    return Html("".join(parts))


def linked(text: str) -> Html:
    """Plain text as HTML, its web addresses as links; nothing but http and https becomes one."""
    parts, end = [], 0
    for match in _url.finditer(text):
        parts.append(Html(escape(text[end : match.start()])))
        parts.append(html('<a href="$url">$url</a>', url=match[0]))
        end = match.end()
    parts.append(Html(escape(text[end:])))
    return join(parts)
