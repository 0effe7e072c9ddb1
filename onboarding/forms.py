"""What people type about a pixel: parsed and checked, not saved.

A token that was typed is never shown again.
"""

from __future__ import annotations

import re
from typing import Any

from django import forms

from onboarding.models import ActionSource
from partnerhub.lib.vault import Secret

_LINK_ID = re.compile(r"(?:asset_id|selected_data_sources?|datasets?|pixel_id|pixels?)[=/]?(\d{5,20})")
# Meta's tokens are one word of letters, digits and a few signs; the shortest seen has far more than 20.
_TOKEN = re.compile(r"[A-Za-z0-9_.|\-]{20,1000}")
_AROUND_TOKEN = re.compile(r"^\s*[\"']?(?:bearer\s)?|\s|[\"']\s*$", re.IGNORECASE)


class PixelIdField(forms.CharField):
    """Meta's number of a pixel, also with spaces in it; a link is refused, and its number named."""

    def __init__(self) -> None:
        super().__init__(
            label="Pixel ID",
            max_length=300,
            help_text="Events Manager → Data sources → your pixel: the number under its name.",
            widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        )

    def clean(self, value: Any) -> str:
        """Digits only."""
        text = re.sub(r"[\s\u200b]", "", str(super().clean(value)))
        if text.isascii() and text.isdigit() and 5 <= len(text) <= 20:
            return text
        if found := _LINK_ID.search(text):
            raise forms.ValidationError(
                f"That is a link. If the pixel's ID is {found[1]}, enter just that number."
            )
        raise forms.ValidationError("A pixel ID is a number of 5 to 20 digits, such as 1234567890123456.")


class AccessTokenField(forms.CharField):
    """A pasted access token, as a Secret. Line breaks, quotes and `Bearer` around it are taken off."""

    def __init__(self) -> None:
        super().__init__(
            label="Access token",
            max_length=2000,
            help_text="Events Manager → your pixel → Settings → Conversions API → Generate access token.",
            widget=forms.PasswordInput(
                render_value=False, attrs={"autocomplete": "off", "spellcheck": "false"}
            ),
        )

    def clean(self, value: Any) -> Secret:
        """The token. Its letters prove nothing: only a test event does."""
        text = _AROUND_TOKEN.sub("", str(super().clean(value)))
        if not _TOKEN.fullmatch(text):
            raise forms.ValidationError(
                "This does not look like an access token. Copy the whole token from Events Manager:"
                " one long word that usually begins with EAA."
            )
        return Secret(text)


class PixelForm(forms.Form):
    """A new pixel with its token."""

    meta_id = PixelIdField()
    name = forms.CharField(
        label="Name", max_length=120, help_text="For you and your colleagues, such as “Web shop”."
    )
    default_action_source = forms.ChoiceField(
        label="Where its events usually happen",
        choices=ActionSource.choices,
        initial=ActionSource.WEBSITE,
        help_text="Used for events that arrive without an action_source.",
    )
    access_token = AccessTokenField()


class TokenForm(forms.Form):
    """A token in the place of the one before."""

    access_token = AccessTokenField()


class ConnectionTestForm(forms.Form):
    """Options of one connection test."""

    test_event_code = forms.RegexField(
        r"^[A-Za-z0-9]{2,32}$",
        label="Test event code",
        strip=True,
        required=False,
        help_text="From Events Manager → Test events, such as TEST12345. Used for this one test only.",
        error_messages={"invalid": "A test event code is one word of letters and digits, such as TEST12345."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
