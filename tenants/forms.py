"""What people type: parsed and checked, not saved."""

from __future__ import annotations

from allauth.account import forms as account_forms
from django import forms
from django.http import HttpRequest

from tenants.models import Person
from tenants.roles import AdvertiserRole, PartnerRole

PARTNER_ROLES = [
    (PartnerRole.OWNER.value, "Owner — everything, people too"),
    (PartnerRole.MANAGER.value, "Manager — advertisers, pixels and tests"),
    (PartnerRole.SUPPORT.value, "Support — sees and tests, changes nothing"),
]
ADVERTISER_ROLES = [
    (AdvertiserRole.ADMIN.value, "Admin — everything of this advertiser"),
    (AdvertiserRole.ANALYST.value, "Analyst — sees, changes nothing"),
]


class SignupForm(account_forms.SignupForm):  # type: ignore[misc]  # allauth has no types
    """Sign-up with a name, so that colleagues recognise each other."""

    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    field_order = ("name", "email", "password1")

    def save(self, request: HttpRequest) -> Person:
        """The new person, with the name that was typed."""
        person: Person = super().save(request)
        person.name = self.cleaned_data["name"]
        person.save(update_fields=["name"])
        return person


class InviteAdvertiserForm(forms.Form):
    """A new advertiser, and the address of its first admin."""

    name = forms.CharField(label="Advertiser", max_length=120, help_text="The shop's or company's name.")
    default_country = forms.RegexField(
        r"^[A-Za-z]{2}$",
        label="Country",
        required=False,
        help_text="Two letters, such as IT. For phone numbers without a country code; may stay empty.",
        error_messages={"invalid": "Use the country's two letters, such as IT, DE or US."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "maxlength": "2"}),
    )
    email = forms.EmailField(
        label="Its admin's e-mail address", help_text="Gets a link that is valid for 7 days."
    )

    def clean_name(self) -> str:
        """On one line: it becomes a mail's subject."""
        return " ".join(str(self.cleaned_data["name"]).split())

    def clean_default_country(self) -> str:
        """Capital letters."""
        return str(self.cleaned_data["default_country"]).upper()


class InviteToPartnerForm(forms.Form):
    """A colleague at the partner."""

    email = forms.EmailField(label="E-mail address", help_text="Gets a link that is valid for 7 days.")
    role = forms.ChoiceField(choices=PARTNER_ROLES, initial=PartnerRole.MANAGER.value)


class InviteToAdvertiserForm(forms.Form):
    """A colleague at the advertiser."""

    email = forms.EmailField(label="E-mail address", help_text="Gets a link that is valid for 7 days.")
    role = forms.ChoiceField(choices=ADVERTISER_ROLES, initial=AdvertiserRole.ANALYST.value)


class PartnerRoleForm(forms.Form):
    """Another role for a member of a partner."""

    role = forms.ChoiceField(choices=PARTNER_ROLES)


class AdvertiserRoleForm(forms.Form):
    """Another role for a member of an advertiser."""

    role = forms.ChoiceField(choices=ADVERTISER_ROLES)


class ApiKeyForm(forms.Form):
    """A new key of the API."""

    name = forms.CharField(
        label="Name", max_length=120, help_text="The program that will use it, such as “Nightly report”."
    )
