"""What people type about a pixel: parsed and checked, not saved.

A token that was typed is never shown again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from django import forms
from django.utils import timezone

from onboarding.models import ActionSource, Option
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


# What Meta's dialog may have said of the token's end; a day stands for itself.
NEVER, SIXTY_DAYS, ON_A_DAY, UNKNOWN = "never", "60_days", "day", "unknown"


class TokenForm(forms.Form):
    """A token, and when it ends by what Meta's dialog said: `said_expiry` of the cleaned data."""

    access_token = AccessTokenField()
    expiry = forms.ChoiceField(
        label="When does it end?",
        choices=[
            (NEVER, "Never"),
            (SIXTY_DAYS, "In 60 days"),
            (ON_A_DAY, "On another day"),
            (UNKNOWN, "I do not know"),
        ],
        widget=forms.RadioSelect,
        help_text="Meta shows it when the token is made. We remind you in time.",
        error_messages={"required": "Choose what Meta said; “I do not know” is fine, too."},
    )
    expires_on = forms.DateField(
        label="On which day?",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Only where you chose “On another day”.",
    )

    def clean(self) -> dict[str, Any]:
        """With `said_expiry`: `never`, `60_days`, `unknown`, or an ISO date to come."""
        data = super().clean() or {}
        day = data.get("expires_on")
        if data.get("expiry") != ON_A_DAY:
            data["said_expiry"] = data.get("expiry", "")
        elif day is None:
            if "expires_on" not in self.errors:
                self.add_error("expires_on", "Enter the day on which the token ends.")
        elif day <= timezone.localdate():
            self.add_error("expires_on", "A token that ends on that day is of no use: enter a day to come.")
        else:
            data["said_expiry"] = day.isoformat()
        return data


class PixelForm(forms.Form):
    """A pixel that is to be connected."""

    meta_id = PixelIdField()
    pixel_name = forms.CharField(
        label="Name", max_length=120, help_text="For you and your colleagues, such as “Web shop”."
    )
    default_action_source = forms.ChoiceField(
        label="Where its events usually happen",
        choices=ActionSource.choices,
        initial=ActionSource.WEBSITE,
        help_text="Used for events that arrive without an action_source.",
    )


class PixelTokenForm(TokenForm, PixelForm):
    """A new pixel with its token."""

    field_order = (*PixelForm.base_fields, *TokenForm.base_fields)


class LogInForm(forms.Form):
    """Which of the log-ins that the partner offers; `rerequest`: Meta is to ask again for what was declined."""

    option = forms.ChoiceField()
    rerequest = forms.BooleanField(required=False)

    def __init__(self, *args: Any, offered: Collection[Option], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["option"].choices = [(option, option) for option in offered]  # type: ignore[attr-defined]


class PickForm(forms.Form):
    """The pixel that was picked from those that a log-in reached."""

    meta_id = forms.CharField(max_length=20)


class DisconnectForm(forms.Form):
    """The pixel's name, typed: nobody disconnects by a slip."""

    name = forms.CharField(label="The pixel's name", max_length=120, strip=True)

    def __init__(self, *args: Any, expected: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._expected = expected
        self.fields["name"].help_text = f"Type “{expected}” to confirm."

    def clean_name(self) -> str:
        """The same name, whatever the case."""
        typed = str(self.cleaned_data["name"])
        if typed.casefold() != self._expected.casefold():
            raise forms.ValidationError(f"That is not the pixel's name. Type “{self._expected}”.")
        return typed


class ConnectionTestForm(forms.Form):
    """Options of one connection test."""

    test_event_code = forms.RegexField(
        r"^[A-Za-z0-9]{2,32}$",
        label="Test event code",
        strip=True,
        required=False,
        help_text="From Events Manager → Test events, such as TEST12345. Kept for tests by hand of the next"
        " 24 hours, and used for nothing else.",
        error_messages={"invalid": "A test event code is one word of letters and digits, such as TEST12345."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class TestScheduleForm(forms.Form):
    """How often a pixel's connection is tested by itself."""

    __test__ = False

    every_hours = forms.ChoiceField(
        label="Test by itself",
        choices=[("24", "Every day"), ("168", "Every week"), ("0", "Never")],
        help_text="Each test sends one event named PartnerHubConnectionTest.",
    )
