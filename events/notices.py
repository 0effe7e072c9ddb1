"""What a door did to an event, or advises, in words. Pure.

A notice is `field:code`. It is kept with the event, and shown on the event's page.
"""

from __future__ import annotations

from typing import Final

# Code → sentence; {field} is put in.
SENTENCES: Final[dict[str, str]] = {
    "defaulted": "{field} was missing; the pixel's default was used.",
    "made": "{field} was missing; we made one, so repeats of this event cannot be recognised.",
    "made_number": "{field} came as text; it is sent as a number.",
    "made_text": "{field} came as a number; it is sent as text.",
    "made_boolean": "{field} came as text; it is sent as true or false.",
    "upper_case": "{field} was put in capital letters.",
    "replaced": "{field} was replaced by the partner's own.",
    "empty": "{field} was empty; it was left out.",
    "unusable": "{field} held nothing that can match a person; it was left out.",
    "no_country": "{field} had no country code, and the advertiser has no default country; it was left out.",
    "no_click_id": "{field} had no click ID in it; it was left out, for Meta refuses such an event.",
    "odd_form": "{field} does not have the form that Meta documents; it is sent as it is.",
    "missing": "{field} is missing. Meta takes the event, and advises to send it for events of a web site.",
}


def describe(notice: str) -> str:
    """The sentence for a notice; an unknown one is shown as it is."""
    field, _, code = notice.rpartition(":")
    sentence = SENTENCES.get(code)
    return sentence.format(field=field) if sentence else notice
