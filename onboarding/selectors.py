"""What onboarding's pages show."""

from __future__ import annotations

from collections.abc import Iterable

from onboarding.models import ConnectionTest, Credential


def credentials_in_use(pixel_ids: Iterable[int]) -> dict[int, Credential]:
    """The credential of each pixel that has one, by pixel."""
    found = Credential.objects.filter(pixel__in=list(pixel_ids)).exclude(state=Credential.State.RETIRED)
    return {credential.pixel_id: credential for credential in found}


def latest_tests(pixel_ids: Iterable[int]) -> dict[int, ConnectionTest]:
    """The newest connection test of each pixel that has one, by pixel."""
    newest = (
        ConnectionTest.objects.filter(pixel__in=list(pixel_ids))
        .order_by("pixel", "-id")
        .distinct("pixel")
        .defer("request", "answer")
    )
    return {test.pixel_id: test for test in newest if test.pixel_id is not None}
