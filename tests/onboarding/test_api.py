"""The management API: a key does what its person may do; what is wrong is named; many tests in one request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onboarding.models import ConnectionTest, Pixel
from tenants.models import Person
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.services import issue_api_key, revoke_api_key
from tests.support.factories import (
    join_advertiser,
    join_partner,
    make_advertiser,
    make_credential,
    make_person,
    make_pixel,
)
from tests.support.site import Page, Site

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]


@pytest.fixture
def pixel() -> Pixel:
    """A pixel with an untested token."""
    pixel = make_pixel()
    make_credential(pixel)
    return pixel


def key_of(person: Person) -> str:
    """A fresh key's text."""
    return issue_api_key(person=person, name="Nightly report")[1]


def admin_of(pixel: Pixel) -> Person:
    person = make_person()
    join_advertiser(person, pixel.advertiser, AdvertiserRole.ADMIN)
    return person


def get(site: Site, path: str, key: str) -> Page:
    return site.get(path, authorization=f"Bearer {key}")


def post(site: Site, path: str, key: str, body: Any) -> Page:
    with site._as_web():
        return site.client.post(
            path,
            json.dumps(body),
            content_type="application/json",
            headers={"authorization": f"Bearer {key}"},
        )


def error_of(page: Page) -> tuple[int, str, str | None]:
    error = page.json()["error"]
    assert error["message"]
    return page.status_code, error["type"], error.get("field")


def test_without_a_key_nothing_is_answered(site: Site, pixel: Pixel) -> None:
    for headers in ({}, {"authorization": "Bearer phk_nobodys"}, {"authorization": "Basic phk_x"}):
        page = site.get("/api/v1/pixels/", **headers)
        assert error_of(page) == (401, "unauthenticated", None)
        assert page["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_and_one_of_a_person_who_left_are_refused(site: Site, pixel: Pixel) -> None:
    person = admin_of(pixel)
    key, text = issue_api_key(person=person, name="Old")
    revoke_api_key(key=key)
    assert get(site, "/api/v1/pixels/", text).status_code == 401

    other = key_of(person)
    person.is_active = False
    person.save(update_fields=["is_active"])
    assert get(site, "/api/v1/pixels/", other).status_code == 401


def test_a_key_reaches_what_its_person_reaches(site: Site, pixel: Pixel) -> None:
    foreign = make_pixel(make_advertiser())
    key = key_of(admin_of(pixel))

    page = get(site, "/api/v1/pixels/", key)

    assert [one["id"] for one in page.json()["data"]] == [pixel.pk]
    assert page.json()["next_after"] is None
    assert get(site, f"/api/v1/pixels/{pixel.pk}/", key).json()["credential"]["state"] == "untested"
    assert error_of(get(site, f"/api/v1/pixels/{foreign.pk}/", key)) == (404, "not_found", None)


def test_a_test_is_started_and_read_back(site: Site, pixel: Pixel, hints: list[tuple[object, ...]]) -> None:
    key = key_of(admin_of(pixel))

    page = post(site, f"/api/v1/pixels/{pixel.pk}/tests/", key, {"test_event_code": "TEST123"})

    test = ConnectionTest.objects.get()
    assert page.status_code == 202
    assert (page.json()["id"], page.json()["state"], test.trigger) == (test.pk, "waiting", "api")
    assert test.test_event_code == "TEST123"
    assert hints == [("onboarding.run_connection_test", test.pk)]
    assert get(site, f"/api/v1/tests/{test.pk}/", key).json()["state"] == "waiting"
    listed = get(site, f"/api/v1/pixels/{pixel.pk}/tests/", key).json()["data"]
    assert [one["id"] for one in listed] == [test.pk]
    again = post(site, f"/api/v1/pixels/{pixel.pk}/tests/", key, {})
    assert error_of(again) == (409, "test_under_way", None)


def test_a_failure_is_told_in_words(site: Site, pixel: Pixel) -> None:
    test = ConnectionTest.objects.create(
        advertiser=pixel.advertiser,
        pixel=pixel,
        meta_id=pixel.meta_id,
        credential=pixel.credentials.get(),
        state="failed",
        failure_class="credential",
        code=190,
        subcode=463,
    )

    failure = get(site, f"/api/v1/tests/{test.pk}/", key_of(admin_of(pixel))).json()["failure"]

    assert (failure["code"], failure["error_subcode"]) == (190, 463)
    assert failure["title"]
    assert failure["what_to_do"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "pixels"),
        ({"pixels": []}, "pixels"),
        ({"pixels": "all"}, "pixels"),
        ({"pixels": [True]}, "pixels"),
        ({"pixels": list(range(501))}, "pixels"),
        ([], None),
    ],
)
def test_a_body_that_cannot_be_used_names_its_field(
    site: Site, pixel: Pixel, body: object, field: str | None
) -> None:
    page = post(site, "/api/v1/tests/", key_of(admin_of(pixel)), body)

    assert error_of(page)[0] == 400
    assert error_of(page)[2] == field
    assert not ConnectionTest.objects.exists()


def test_a_code_that_is_none_names_its_field(site: Site, pixel: Pixel) -> None:
    page = post(
        site, f"/api/v1/pixels/{pixel.pk}/tests/", key_of(admin_of(pixel)), {"test_event_code": "a b"}
    )

    assert error_of(page) == (400, "invalid", "test_event_code")


def test_many_pixels_are_tested_and_each_left_out_says_why(site: Site, pixel: Pixel) -> None:
    unconnected = make_pixel(pixel.advertiser)
    foreign = make_pixel()
    key = key_of(admin_of(pixel))

    page = post(site, "/api/v1/tests/", key, {"pixels": [pixel.pk, unconnected.pk, foreign.pk]})

    assert [one["pixel_id"] for one in page.json()["data"]] == [pixel.pk]
    assert {one["pixel"]: one["reason"] for one in page.json()["left_out"]} == {
        unconnected.pk: "It is not connected yet.",
        foreign.pk: "There is no such pixel, or the key may not test it.",
    }


def test_who_only_sees_starts_no_test(site: Site, pixel: Pixel) -> None:
    analyst, support = make_person(), make_person()
    join_advertiser(analyst, pixel.advertiser, AdvertiserRole.ANALYST)
    join_partner(support, pixel.advertiser.partner, PartnerRole.SUPPORT)

    refused = post(site, f"/api/v1/pixels/{pixel.pk}/tests/", key_of(analyst), {})

    assert error_of(refused) == (403, "forbidden", None)
    assert post(site, "/api/v1/tests/", key_of(analyst), {"pixels": [pixel.pk]}).json()["data"] == []
    assert post(site, f"/api/v1/pixels/{pixel.pk}/tests/", key_of(support), {}).status_code == 202


def test_another_method_is_told_which_ones_there_are(site: Site, pixel: Pixel) -> None:
    page = post(site, "/api/v1/pixels/", key_of(admin_of(pixel)), {})

    assert error_of(page) == (405, "method_not_allowed", None)
    assert page["Allow"] == "GET"


def test_pixels_come_in_pages(site: Site, pixel: Pixel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onboarding.api.PAGE_SIZE", 1)
    second = make_pixel(pixel.advertiser)
    key = key_of(admin_of(pixel))

    first_page = get(site, "/api/v1/pixels/", key).json()
    second_page = get(site, f"/api/v1/pixels/?after={first_page['next_after']}", key).json()

    assert [one["id"] for one in first_page["data"] + second_page["data"]] == [pixel.pk, second.pk]
    assert second_page["next_after"] is None
    assert error_of(get(site, "/api/v1/pixels/?after=x", key)) == (400, "invalid", "after")
