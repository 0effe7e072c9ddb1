"""A person's API keys: shown once, kept as a hash, revoked, and nobody else's."""

from __future__ import annotations

import re

import pytest

from tenants.models import ApiKey
from tenants.services import issue_api_key
from tests.support.factories import make_person
from tests.support.site import Site

pytestmark = pytest.mark.django_db


def test_a_key_is_shown_once_and_kept_as_a_hash(site: Site) -> None:
    person = make_person()

    made = site.sign_in(person).post("/account/api-keys/", {"name": "Nightly report"})

    key = ApiKey.objects.get()
    [text, *_] = re.findall(r"phk_[\w-]+", made.content.decode())
    assert key.last_four == text[-4:]
    assert text not in str(ApiKey.objects.values())
    assert text not in site.get("/account/api-keys/").content.decode()
    assert made["Cache-Control"].count("no-store") == 1


def test_a_key_without_a_name_is_not_made(site: Site) -> None:
    assert site.sign_in(make_person()).post("/account/api-keys/", {"name": " "}).status_code == 422
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_by_its_person_only(site: Site) -> None:
    person = make_person()
    key, _ = issue_api_key(person=person, name="Report")

    assert site.sign_in(make_person()).post(f"/account/api-keys/{key.pk}/revoke/").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None

    site.sign_in(person).post(f"/account/api-keys/{key.pk}/revoke/")
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_nobody_sees_anothers_keys(site: Site) -> None:
    issue_api_key(person=make_person(), name="Somebody's secret report")

    assert "Somebody" not in site.sign_in(make_person()).get("/account/api-keys/").content.decode()
