"""What people paste about a pixel: read generously, refused with the next step, and no token shown again."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from onboarding.forms import (
    AccessTokenField,
    ConnectionTestForm,
    DisconnectForm,
    PixelIdField,
    PixelTokenForm,
)
from onboarding.models import ActionSource
from partnerhub.lib.vault import Secret

TOKEN = "EAAcanary0123456789abcdefZDZD"
GOOD = {
    "meta_id": "1234567890123456",
    "pixel_name": "Web shop",
    "default_action_source": ActionSource.WEBSITE.value,
    "access_token": TOKEN,
    "expiry": "never",
}


@pytest.mark.parametrize("text", ["1234567890123456", " 1234 5678 9012 3456\n", "\u200b1234567890123456"])
def test_a_pixel_id_is_read_with_what_copying_puts_around_it(text: str) -> None:
    assert PixelIdField().clean(text) == "1234567890123456"


@pytest.mark.parametrize(
    "link",
    [
        "https://business.facebook.com/events_manager2/list/dataset/1234567890123456/overview?business_id=77777",
        "https://business.facebook.com/settings/pixels/1234567890123456?business_id=77777",
        "https://www.facebook.com/events_manager2/list/pixel?act=99999&selected_data_sources=1234567890123456",
        "https://business.facebook.com/x?asset_id=1234567890123456",
    ],
)
def test_a_link_is_refused_with_the_number_in_it(link: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        PixelIdField().clean(link)

    assert wrong.value.messages == [
        "That is a link. If the pixel's ID is 1234567890123456, enter just that number."
    ]


@pytest.mark.parametrize(
    "text", ["1234", "1" * 21, "12a456", "１２３４５６", "-123456", "https://facebook.com/"]
)
def test_another_text_is_no_pixel_id(text: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        PixelIdField().clean(text)

    assert wrong.value.messages == ["A pixel ID is a number of 5 to 20 digits, such as 1234567890123456."]


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"  {TOKEN}\n",
        f"{TOKEN[:9]}\r\n{TOKEN[9:]}",
        f'"{TOKEN}"',
        f"'{TOKEN}'",
        f"Bearer {TOKEN}",
        f"bearer {TOKEN}",
    ],
)
def test_a_token_is_read_with_what_copying_puts_around_it(text: str) -> None:
    assert AccessTokenField().clean(text) == Secret(TOKEN)


@pytest.mark.parametrize(
    "text", ["EAAshort", "x" * 1001, TOKEN + "ü", TOKEN + "\0", "https://business.facebook.com/x"]
)
def test_another_text_is_no_token_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        AccessTokenField().clean(text)

    assert text not in str(wrong.value)


@given(st.text())
def test_no_text_raises_anything_but_what_a_form_shows(text: str) -> None:
    for field in (PixelIdField(), AccessTokenField()):
        with suppress(ValidationError):
            field.clean(text)


def test_a_good_form_gives_clean_data() -> None:
    form = PixelTokenForm(GOOD)

    assert form.is_valid()
    assert form.cleaned_data == GOOD | {
        "access_token": Secret(TOKEN),
        "expires_on": None,
        "said_expiry": "never",
    }


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_field_says_so_itself(name: str) -> None:
    form = PixelTokenForm(GOOD | {name: ""})

    assert list(form.errors) == [name]


def test_an_action_source_is_one_of_metas() -> None:
    assert list(PixelTokenForm(GOOD | {"default_action_source": "web"}).errors) == ["default_action_source"]


@pytest.mark.parametrize("said", ["never", "60_days", "unknown"])
def test_a_tokens_end_is_what_was_said(said: str) -> None:
    form = PixelTokenForm(GOOD | {"expiry": said, "expires_on": "2031-01-31"})

    assert form.is_valid()
    assert form.cleaned_data["said_expiry"] == said


def test_a_tokens_end_on_a_day_is_a_day_to_come() -> None:
    day = timezone.localdate() + timedelta(days=1)
    good, today = (
        PixelTokenForm(GOOD | {"expiry": "day", "expires_on": on.isoformat()})
        for on in (day, timezone.localdate())
    )
    none, nonsense = (
        PixelTokenForm(GOOD | {"expiry": "day", "expires_on": typed}) for typed in ("", "31 February")
    )

    assert good.is_valid()
    assert good.cleaned_data["said_expiry"] == day.isoformat()
    assert today.errors["expires_on"] == ["A token that ends on that day is of no use: enter a day to come."]
    assert none.errors["expires_on"] == ["Enter the day on which the token ends."]
    assert nonsense.errors["expires_on"] == ["Enter a valid date."]


def test_a_pixel_is_disconnected_by_its_name() -> None:
    assert DisconnectForm({"name": " web SHOP "}, expected="Web shop").is_valid()
    assert DisconnectForm({"name": "Web"}, expected="Web shop").errors["name"] == [
        "That is not the pixel's name. Type “Web shop”."
    ]


@pytest.mark.parametrize("changes", [{}, {"meta_id": "wrong"}, {"access_token": f"{TOKEN} ü"}])
def test_a_form_shown_again_keeps_all_that_was_typed_but_the_token(changes: dict[str, str]) -> None:
    form = PixelTokenForm(GOOD | changes)
    form.is_valid()

    page = form.as_p()

    assert 'value="Web shop"' in page
    assert f'value="{(GOOD | changes)["meta_id"]}"' in page
    assert TOKEN not in page
    assert TOKEN not in repr(form.cleaned_data)


@pytest.mark.parametrize(
    ("code", "passes"), [("TEST12345", True), ("", True), (" TEST1 ", True), ("T", False), ("A-1", False)]
)
def test_a_test_event_code_is_one_word_or_none(code: str, passes: bool) -> None:
    form = ConnectionTestForm({"test_event_code": code})

    assert form.is_valid() is passes
    if passes:
        assert form.cleaned_data["test_event_code"] == code.strip()
    else:
        assert form.errors["test_event_code"] == [
            "A test event code is one word of letters and digits, such as TEST12345."
        ]
