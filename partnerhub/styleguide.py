"""Every component in every state, on one page, for who builds pages: served where DEBUG is on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from partnerhub.lib.charts import hour_bars, sparkline

_START = datetime(2026, 11, 23, 11, tzinfo=UTC)
_DAY = (
    212,
    164,
    180,
    305,
    412,
    620,
    871,
    1204,
    1380,
    990,
    610,
    240,
    96,
    41,
    18,
    12,
    9,
    30,
    122,
    340,
    690,
    0,
    0,
    318,
)


class _Example(forms.Form):
    name = forms.CharField(help_text="Where you will use it, such as “Shop server”.")
    email = forms.EmailField(label="E-mail address", required=False)
    role = forms.ChoiceField(choices=[("admin", "Admin"), ("analyst", "Analyst")])
    door = forms.ChoiceField(
        label="How events arrive",
        choices=[("server", "From a server"), ("browser", "From the browser")],
        widget=forms.RadioSelect,
        help_text="Both may be used together.",
    )
    note = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    agree = forms.BooleanField(label="Meta counts the test event")


@require_GET
def styleguide(request: HttpRequest) -> HttpResponse:
    """The components with examples in them."""
    hours = [(_START + timedelta(hours=hour), count) for hour, count in enumerate(_DAY)]
    context = {
        "states": ("working", "waiting", "late", "failing", "paused", "neutral"),
        "form": _Example(),
        "bad_form": _Example({"email": "person@", "role": "admin"}),
        "chart": hour_bars(hours, zone=UTC),
        "quiet_chart": hour_bars([(start, 0) for start, _ in hours], zone=UTC),
        "spark": sparkline(_DAY),
        "at": _START,
        "answer": '{\n  "events_received": 1,\n  "messages": [],\n  "fbtrace_id": "A3yVS805iqiVbnK5ftQcnqg"\n}',
    }
    return render(request, "styleguide.html", context)
