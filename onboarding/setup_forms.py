"""What a partner types in its set-up: parsed and checked, not saved. A secret that was typed is never shown again."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from onboarding.forms import AccessTokenField, PixelIdField
from partnerhub.lib.vault import Secret
from tenants.branding import LOGO_BYTES, NotAPicture, Picture, read_picture
from tenants.models import Partner

_SECRET = re.compile(r"[!-~]{8,200}")


class MetaIdField(forms.CharField):
    """One of Meta's numbers; spaces around and in it are taken off."""

    def __init__(self, label: str, help_text: str, *, required: bool = True) -> None:
        super().__init__(
            label=label,
            max_length=60,
            required=required,
            help_text=help_text,
            widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        )

    def clean(self, value: Any) -> str:
        """Digits only."""
        text = re.sub(r"[\s\u200b]", "", str(super().clean(value)))
        if not text and not self.required:
            return ""
        if not (text.isascii() and text.isdigit() and 3 <= len(text) <= 32):
            raise forms.ValidationError("This is a number of Meta's, such as 1234567890123456: digits only.")
        return text


class SystemUserTokenField(AccessTokenField):
    """A system user's token, as a Secret; may stay empty where one is stored."""

    def __init__(self, help_text: str) -> None:
        super().__init__()
        self.help_text = help_text

    def clean(self, value: Any) -> Any:
        """The token, or None."""
        return super().clean(value) if str(value or "").strip() or self.required else None


class AppSecretField(forms.CharField):
    """The app's secret, as a Secret; may stay empty where one is stored."""

    def __init__(self) -> None:
        super().__init__(
            label="App secret",
            max_length=300,
            help_text="App Dashboard → App settings → Basic → App secret → Show.",
            widget=forms.PasswordInput(
                render_value=False, attrs={"autocomplete": "off", "spellcheck": "false"}
            ),
        )

    def clean(self, value: Any) -> Any:
        """The secret, or None."""
        text = str(super().clean(value)).strip()
        if not text:
            return None
        if not _SECRET.fullmatch(text):
            raise forms.ValidationError("An app secret is one word of letters and digits.")
        return Secret(text)


class StepForm(forms.Form):
    """One step, filled with what the partner has. `last_fours`: of the secrets that are stored, by field."""

    secret_fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, partner: Partner, last_fours: dict[str, str], **kwargs: Any) -> None:
        self.partner = partner
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if name in self.secret_fields and (last_four := last_fours.get(name)):
                field.required = False
                field.widget.attrs["placeholder"] = f"…{last_four} is stored; empty keeps it"
            elif name != "logo" and hasattr(partner, name):
                field.initial = getattr(partner, name)


class OptionsForm(StepForm):
    """Which ways the advertisers may choose from."""

    offers_shared_pixel = forms.BooleanField(
        label="Shared pixel",
        required=False,
        help_text="The advertiser shares the pixel with your business. Nothing is pasted, and nothing expires there.",
    )
    offers_login_for_business = forms.BooleanField(
        label="Facebook Login for Business",
        required=False,
        help_text="The advertiser logs in at Meta and ticks the pixel. Open to every partner with App Review.",
    )
    offers_business_extension = forms.BooleanField(
        label="Meta Business Extension",
        required=False,
        help_text="The advertiser logs in and Meta sets all up. Only for partners whom Meta has put on its list.",
    )
    offers_pasted_token = forms.BooleanField(
        label="Pasted token",
        required=False,
        help_text="The advertiser makes a token in Events Manager. Needs nothing of this set-up.",
    )

    def clean(self) -> dict[str, Any]:
        """At least one."""
        data = super().clean() or {}
        if not any(data.get(name) for name in self.fields):
            raise forms.ValidationError("Switch on one way at least: else no advertiser can connect a pixel.")
        return data


class AgentForm(StepForm):
    """The platform's word in each event."""

    partner_agent = forms.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        label="partner_agent",
        max_length=64,
        help_text="As agreed with Meta; else a word of your own that stays the same, such as your platform's name.",
        error_messages={"invalid": "One word of letters, digits, dots, dashes and underscores."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class AppForm(StepForm):
    """The Meta app."""

    secret_fields = ("app_secret",)
    meta_app_id = MetaIdField("App ID", "App Dashboard → App settings → Basic → App ID.")
    app_secret = AppSecretField()
    app_mode = forms.ChoiceField(
        label="App mode",
        choices=[("live", "Live"), ("development", "Development"), ("", "I do not know")],
        required=False,
        help_text=(
            "At the top of the App Dashboard; no interface of Meta's tells it."
            " An app in development mode reaches nobody else's pixels."
        ),
    )

    def clean(self) -> dict[str, Any]:
        """Another app has another secret."""
        data = super().clean() or {}
        is_other = self.partner.meta_app_id not in ("", data.get("meta_app_id"))
        if is_other and data.get("app_secret") is None and "app_secret" not in self.errors:
            self.add_error("app_secret", "Another app has another secret: enter it, too.")
        return data


class AssigningForm(StepForm):
    """The business, and its admin system user's token."""

    secret_fields = ("assigning_token",)
    business_id = MetaIdField("Business ID", "Business settings → Business info → Business Manager ID.")
    assigning_token = SystemUserTokenField(
        "Business settings → System users → the one with the role Admin → Generate token, for your app, with"
        " business_management and ads_management."
    )


class SendingForm(StepForm):
    """The token that sends: pasted, or made by us."""

    secret_fields = ("sending_token",)
    how = forms.ChoiceField(
        label="Where its token comes from",
        choices=[
            ("paste", "I paste a token that I have generated"),
            ("make", "PartnerHub makes one, with the system user that assigns"),
        ],
        initial="paste",
        widget=forms.RadioSelect,
    )
    sending_token = SystemUserTokenField(
        "If you paste: Business settings → System users → the one that sends → Generate token, for your app,"
        " with ads_management and ads_read."
    )
    sending_system_user_id = MetaIdField(
        "System user's ID",
        "If PartnerHub makes it: Business settings → System users → the one that sends: its ID.",
        required=False,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Which of the two is needed, the choice says.
        self.has_stored = not self.fields["sending_token"].required
        self.fields["sending_token"].required = False

    def clean(self) -> dict[str, Any]:
        """What the choice needs."""
        data = super().clean() or {}
        if data.get("how") == "make":
            if not data.get("sending_system_user_id") and "sending_system_user_id" not in self.errors:
                self.add_error("sending_system_user_id", "Enter whose token is to be made.")
        elif data.get("sending_token") is None and not self.has_stored and "sending_token" not in self.errors:
            self.add_error("sending_token", "Paste the token, or let PartnerHub make one.")
        return data


class LoginForm(StepForm):
    """The configuration of Facebook Login for Business."""

    login_config_id = MetaIdField(
        "Configuration ID",
        "App Dashboard → Facebook Login for Business → Configurations: one with the token type “System user”.",
    )


class BrandingForm(StepForm):
    """Name and looks."""

    name = forms.CharField(
        label="Name", max_length=120, help_text="Your platform, as your advertisers know it."
    )
    logo = forms.FileField(
        label="Logo",
        required=False,
        help_text=f"PNG, JPEG or WebP of {LOGO_BYTES // 1024} kB or less, shown 24 pixels high.",
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    remove_logo = forms.BooleanField(label="Take the logo away", required=False)
    brand_colour = forms.RegexField(
        r"^#?[0-9A-Fa-f]{6}$",
        label="Colour",
        required=False,
        help_text="As #rrggbb. Where it cannot be read on light or dark, the nearest shade that can is used.",
        error_messages={"invalid": "A colour has the form #4a3fd6: # and six of 0–9 and a–f."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "maxlength": "7", "placeholder": "#4a3fd6"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(self.partner, "logo"):
            del self.fields["remove_logo"]

    def clean_name(self) -> str:
        """On one line: it becomes a mail's subject."""
        return " ".join(str(self.cleaned_data["name"]).split())

    def clean_brand_colour(self) -> str:
        """#rrggbb in lower case."""
        text = str(self.cleaned_data["brand_colour"]).lower().lstrip("#")
        return f"#{text}" if text else ""

    def clean_logo(self) -> Picture | None:
        """The picture, by its bytes."""
        found = self.cleaned_data["logo"]
        if not isinstance(found, UploadedFile):
            return None
        try:
            return read_picture(found.read(LOGO_BYTES + 1))
        except NotAPicture as reason:
            raise forms.ValidationError(str(reason)) from None


class OwnPixelForm(StepForm):
    """The partner's own pixel."""

    own_pixel_id = PixelIdField()
    test_event_code = forms.RegexField(
        r"^[A-Za-z0-9]{2,32}$",
        label="Test event code",
        strip=True,
        required=False,
        help_text="From Events Manager → Test events. With it you see the event arrive there.",
        error_messages={"invalid": "A test event code is one word of letters and digits, such as TEST12345."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


FORMS: dict[str, type[StepForm]] = {
    "options": OptionsForm,
    "agent": AgentForm,
    "app": AppForm,
    "assigning": AssigningForm,
    "sending": SendingForm,
    "login": LoginForm,
    "branding": BrandingForm,
    "own_pixel": OwnPixelForm,
}
