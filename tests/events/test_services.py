"""Ingest tokens: shown once, kept as a hash, revoked once."""

from __future__ import annotations

import pytest
from django.db import connection

from events.models import IngestToken, PixelLog
from events.services import issue_ingest_token, revoke_ingest_token
from tenants.tokens import hash_token
from tests.support.factories import make_pixel

pytestmark = pytest.mark.django_db


def test_an_ingest_token_is_kept_as_a_hash() -> None:
    token, text = issue_ingest_token(pixel=make_pixel(), name="Shop server", created_by=None)

    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM events_ingesttoken t")
        kept = str(cursor.fetchall())
    assert text.startswith("pht_")
    assert text not in kept
    assert (token.token_hash, token.last_four) == (hash_token(text), text[-4:])


def test_the_first_token_opens_the_log_and_the_next_leaves_it() -> None:
    pixel = make_pixel()
    assert not PixelLog.objects.filter(pixel=pixel).exists()
    issue_ingest_token(pixel=pixel, name="One", created_by=None)
    PixelLog.objects.filter(pixel=pixel).update(head=3, tail=2)

    issue_ingest_token(pixel=pixel, name="Two", created_by=None)

    log = PixelLog.objects.get(pixel=pixel)
    assert (log.advertiser_id, log.head, log.tail) == (pixel.advertiser_id, 3, 2)
    assert IngestToken.objects.filter(pixel=pixel).count() == 2


def test_a_token_is_revoked_once() -> None:
    pixel = make_pixel()
    token, _ = issue_ingest_token(pixel=pixel, name="One", created_by=None)
    other, _ = issue_ingest_token(pixel=pixel, name="Two", created_by=None)

    assert revoke_ingest_token(token=token)
    token.refresh_from_db()
    moment = token.revoked_at
    assert not revoke_ingest_token(token=token)

    token.refresh_from_db()
    other.refresh_from_db()
    assert moment is not None
    assert (token.revoked_at, other.revoked_at) == (moment, None)
