"""The operator's page of the hot tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.test import Client

from tenants.models import Person
from tests.support.factories import PASSWORD, make_connected_pixel, make_person


@pytest.mark.django_db
def test_an_operator_sees_every_log(
    client: Client, as_role: Callable[[str], AbstractContextManager[None]]
) -> None:
    connected = make_connected_pixel()
    operator = Person.objects.create_superuser("operator@hub.example", PASSWORD)
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")

    with as_role("app"):
        page = client.get("/operator/log/")

    assert page.status_code == 200
    assert connected.pixel.meta_id in page.content.decode()
    assert "events_event_" in page.content.decode()


@pytest.mark.django_db
def test_nobody_else_knows_of_the_operators_page(client: Client) -> None:
    client.force_login(make_person(), backend="django.contrib.auth.backends.ModelBackend")

    assert client.get("/operator/log/").status_code == 404
