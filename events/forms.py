"""What people type about events: parsed and checked, not saved."""

from __future__ import annotations

from django import forms


class IngestTokenForm(forms.Form):
    """A new ingest token."""

    name = forms.CharField(
        label="Name",
        max_length=80,
        help_text="Where you will use it, such as “Shop server”.",
    )
