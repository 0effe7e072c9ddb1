"""What a parcel is sent with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from events.delivery.claim import Claim, claim_next
from events.delivery.send import take_up
from onboarding.models import Credential
from partnerhub.lib.vault import Secret
from tests.support.factories import ConnectedPixel
from tests.support.log import append_count


@pytest.mark.parametrize(
    ("option", "proof"),
    [
        ("pasted_token", None),
        ("business_extension", Secret("app-secret-of-the-tests")),
        ("login_for_business", Secret("app-secret-of-the-tests")),
    ],
)
def test_a_token_of_the_partners_own_app_goes_with_a_proof_and_a_pasted_one_without(
    option: str,
    proof: Secret | None,
    target: ConnectedPixel,
    as_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    append_count(target.pixel, 1)
    Credential.objects.update(option=option)

    with as_role("worker"):
        claim = claim_next(target.pixel.pk)
        assert isinstance(claim, Claim)
        parcel = take_up(claim)

    assert parcel is not None
    assert parcel.token == Secret(target.access_token)
    assert parcel.app_secret == proof
