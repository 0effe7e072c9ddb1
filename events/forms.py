"""What people type about events: parsed and checked, not saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from events.erasures import hash_of
from events.models import DoubtDecision, DoubtPolicy, Erasure
from events.replay import Fate
from onboarding.models import Pixel


class IngestTokenForm(forms.Form):
    """A new ingest token."""

    name = forms.CharField(
        label="Name",
        max_length=80,
        help_text="Where you will use it, such as “Shop server”.",
    )


class OffsetField(forms.IntegerField):
    """An offset of a log."""

    def __init__(self, label: str) -> None:
        super().__init__(label=label, required=False, min_value=0, max_value=2**62)


class ReplayForm(forms.Form):
    """A range of a pixel's log, and which of its events are meant."""

    since = forms.DateTimeField(
        label="Received since",
        required=False,
        help_text="Your time, like 2026-11-24 13:00.",
    )
    until = forms.DateTimeField(label="Received before", required=False)
    first_offset = OffsetField("From offset")
    last_offset = OffsetField("To offset")
    event_names = forms.CharField(
        label="Event names",
        required=False,
        max_length=1000,
        help_text="With commas between them, such as Purchase, Lead. Empty: all.",
    )
    fates = forms.MultipleChoiceField(
        label="What became of them",
        required=False,
        choices=[
            (Fate.REJECTED.value, "Rejected"),
            (Fate.ACCEPTED.value, "Accepted: Meta may count them twice"),
            (Fate.DOUBT.value, "In doubt: Meta may count them twice"),
        ],
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: the rejected and the accepted.",
    )
    code = forms.IntegerField(
        label="Rejected with code",
        required=False,
        help_text="Meta's code, such as 190. Empty: any.",
    )

    def clean_event_names(self) -> list[str]:
        """The names, one by one."""
        names = (name.strip() for name in self.cleaned_data["event_names"].split(","))
        return [name for name in names if name]


class ReplayActForm(forms.Form):
    """What is done with a replay."""

    act = forms.ChoiceField(choices=[(act, act) for act in ("confirm", "pause", "resume", "cancel")])


class DoubtPolicyForm(forms.Form):
    """What becomes of events of a name that are in doubt from now on."""

    event_name = forms.CharField(
        label="Event name", required=False, max_length=200, help_text="Empty: every other name."
    )
    action = forms.ChoiceField(
        label="When it is in doubt",
        choices=[*DoubtPolicy.Action.choices, ("drop", "follow the policy of the other names")],
    )


class DoubtDecisionForm(forms.Form):
    """What a person decides, about one delivery in doubt or about all."""

    decision = forms.ChoiceField(choices=DoubtDecision.Decision.choices)
    delivery = forms.IntegerField(required=False, min_value=1, max_value=2**62)


class ErasureForm(forms.Form):
    """Whose data is erased. What is typed becomes a hash here, and goes no further."""

    kind = forms.ChoiceField(label="What identifies the person", choices=Erasure.Kind.choices)
    value = forms.CharField(
        label="Its value",
        max_length=500,
        help_text="As your shop knows it, or its SHA-256. It is hashed at once, and only the hash is looked for.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    pixel = forms.TypedChoiceField(label="Where", required=False, coerce=int, empty_value=None)

    def __init__(self, *args: Any, pixels: Sequence[Pixel], default_country: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._default_country = default_country or None
        field = self.fields["pixel"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [("", "All pixels"), *((pixel.pk, pixel.name) for pixel in pixels)]

    def clean(self) -> dict[str, Any]:
        """With `needle`, the hash, in the place of what was typed."""
        cleaned = super().clean() or self.cleaned_data
        value, kind = cleaned.pop("value", ""), cleaned.get("kind", "")
        if value and kind:
            cleaned["needle"] = hash_of(kind, value, default_country=self._default_country)
            if cleaned["needle"] is None:
                self.add_error("value", "This is not one of that kind.")
        return cleaned


class DryRunForm(forms.Form):
    """Which events a dry run is of."""

    first = OffsetField("From offset")
    last = OffsetField("To offset")
