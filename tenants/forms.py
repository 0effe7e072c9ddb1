"""What people type: parsed and checked, not saved."""

from __future__ import annotations

from allauth.account import forms as account_forms
from django import forms
from django.http import HttpRequest

from tenants.models import Person


class SignupForm(account_forms.SignupForm):
    """Sign-up with a name, so that colleagues recognise each other."""

    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    field_order = ("name", "email", "password1")

    def save(self, request: HttpRequest) -> Person:
        """The new person, with the name that was typed."""
        person: Person = super().save(request)
        person.name = self.cleaned_data["name"]
        person.save(update_fields=["name"])
        return person
