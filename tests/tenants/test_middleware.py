"""The person's time zone, and the operator's reach."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tenants.middleware import TimeZoneMiddleware
from tests.support.factories import make_person
from tests.support.site import Site


def zone_shown(site: Site, cookie: str | None) -> str:
    """The zone that a page is drawn in."""
    if cookie is not None:
        site.client.cookies["time_zone"] = cookie
    request = site.get("/").wsgi_request
    seen: list[str] = []

    def answer(request: object) -> object:
        seen.append(timezone.get_current_timezone_name())
        return None

    TimeZoneMiddleware(answer)(request)  # type: ignore[arg-type]
    return seen[0]


def test_times_are_in_the_browsers_zone(site: Site) -> None:
    assert zone_shown(site, None) == "UTC"
    assert zone_shown(site, "Europe/Rome") == "Europe/Rome"


def test_a_chosen_zone_comes_before_the_browsers(site: Site) -> None:
    person = make_person()
    person.time_zone = "Asia/Tokyo"
    person.save(update_fields=["time_zone"])
    site.sign_in(person)

    assert zone_shown(site, "Europe/Rome") == "Asia/Tokyo"


@pytest.mark.parametrize(
    "name", ["America", "nowhere", "../../etc/passwd", "/etc/passwd", "x" * 5000, "\x00", "", "é"]
)
def test_a_zone_that_does_not_exist_is_utc(site: Site, name: str) -> None:
    assert zone_shown(site, name) == "UTC"


def test_a_folder_of_zones_is_no_zone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_older_pythons_do(name: str) -> object:
        raise IsADirectoryError(name)

    monkeypatch.setattr("zoneinfo.ZoneInfo", as_older_pythons_do)

    assert zone_shown(site, "America") == "UTC"
