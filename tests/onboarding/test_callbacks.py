"""What Meta calls: believed when it is signed for that very partner, kept once, confirmed by Graph before it counts."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from onboarding.models import Credential, CredentialEvent, MetaCallback, Option, Pixel
from onboarding.services import callbacks, install_credential, seal_token
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.models import Partner
from tests.onboarding.test_signatures import request_of, webhook_header
from tests.support.factories import make_advertiser, make_partner, make_pixel
from tests.support.sandbox import SandboxClient
from tests.support.site import Page, Site, text_of

pytestmark = pytest.mark.django_db(transaction=False)

SECRET = "app-secret-of-the-tests"
KEY = SECRET.encode()
TOKEN = "EAAcanary0123456789abcdefINTG"


@pytest.fixture(autouse=True)
def _hints(hints: list[tuple[object, ...]]) -> None:
    """No broker."""


@pytest.fixture
def partner() -> Partner:
    return make_partner()


def connected(partner: Partner, meta: SandboxClient, *, external: str = "") -> Pixel:
    """A pixel that was connected by a log-in; its token is an integration's of business 8001."""
    pixel = make_pixel(make_advertiser(partner), meta_id="501")
    meta.set_world(
        {
            "apps": {"900100": {"secret": SECRET}},
            "pixels": {"501": {"owner_business": "8001"}},
            "tokens": {
                TOKEN: {"app_id": "900100", "scopes": ["ads_management"], "pixels": ["501"], "user_id": "1"}
            },
        }
    )
    install_credential(
        pixel=pixel,
        option=Option.BUSINESS_EXTENSION if external else Option.LOGIN_FOR_BUSINESS,
        secret=seal_token(advertiser_id=pixel.advertiser_id, token=Secret(TOKEN)),
        client_business_id="8001",
        external_business_id=external,
        state=Credential.State.WORKING,
    )
    return pixel


def body_of(field: str, at: float | None = None, **value: Any) -> bytes:
    entry = {
        "id": "900100",
        "time": int(time.time() if at is None else at),
        "changes": [{"field": field, "value": value}],
    }
    return json.dumps({"object": "application", "entry": [entry]}).encode()


def send(site: Site, partner: Partner, body: bytes, *, key: bytes = KEY, header: str | None = None) -> Page:
    """A webhook, as Meta sends it."""
    headers = {"X-Hub-Signature-256": header if header is not None else webhook_header(body, key)}
    with site._as_web():
        return site.client.post(
            f"/meta/{partner.callback_key}/webhook/", body, content_type="application/json", headers=headers
        )


def handle(partner: Partner, graph: GraphClient) -> int:
    return callbacks.handle_callbacks(partner_id=partner.pk, client=graph)


def state_of(pixel: Pixel) -> tuple[str, str, list[str]]:
    """The credential's state, the pixel's hold, and the credential's story since it was issued."""
    pixel.refresh_from_db()
    credential = Credential.objects.get(pixel=pixel)
    kinds = CredentialEvent.objects.filter(pixel=pixel).exclude(kind="issued").order_by("pk")
    return credential.state, pixel.hold, list(kinds.values_list("kind", flat=True))


# The addresses.


def test_the_handshake_repeats_the_challenge_bare(site: Site, partner: Partner) -> None:
    path = f"/meta/{partner.callback_key}/webhook/"
    good = f"hub.mode=subscribe&hub.verify_token={partner.webhook_verify_token}"

    page = site.get(f"{path}?{good}&hub.challenge=115")

    assert (page.status_code, page.content, page["Content-Type"]) == (200, b"115", "text/plain")
    for query in (
        "",
        f"{good}x&hub.challenge=1",
        "hub.mode=subscribe&hub.verify_token=&hub.challenge=1",
        good.replace("subscribe", "unsubscribe") + "&hub.challenge=1",
        f"{good}&hub.challenge={'9' * 300}",
    ):
        assert site.get(f"{path}?{query}").status_code == 403, query


def test_a_handshake_with_another_partners_token_is_refused(site: Site, partner: Partner) -> None:
    other = make_partner()
    query = f"hub.mode=subscribe&hub.verify_token={other.webhook_verify_token}&hub.challenge=1"

    assert site.get(f"/meta/{partner.callback_key}/webhook/?{query}").status_code == 403


@pytest.mark.parametrize("path", ["webhook", "deauthorise", "data-deletion"])
def test_an_unknown_key_is_no_address(site: Site, path: str) -> None:
    assert site.post(f"/meta/{'x' * 43}/{path}/").status_code == 404


@pytest.mark.parametrize("header", ["", "sha256=" + "0" * 64, "sha1=abc", "Ünsinn"])
def test_an_unsigned_webhook_is_refused_and_not_kept(site: Site, partner: Partner, header: str) -> None:
    body = body_of("business_integration_uninstall", business_manager_id="8001")

    assert send(site, partner, body, header=header).status_code == 403
    assert not MetaCallback.objects.exists()


def test_a_webhook_of_another_partners_app_is_refused(site: Site, partner: Partner) -> None:
    body = body_of("business_integration_uninstall", business_manager_id="8001")

    assert send(site, partner, body, key=b"another-apps-secret").status_code == 403


def test_what_is_too_long_or_no_json_is_refused(site: Site, partner: Partner) -> None:
    assert send(site, partner, b"x" * (1024 * 1024 + 1)).status_code == 413
    assert send(site, partner, b"<xml>").status_code == 400
    assert not MetaCallback.objects.exists()


def test_a_partner_without_an_app_secret_believes_nobody(site: Site, partner: Partner) -> None:
    partner.credentials.all().delete()

    assert send(site, partner, b"{}", key=b"").status_code == 403


def test_a_webhook_is_kept_once_without_its_token_and_the_workers_are_told(
    site: Site, partner: Partner, hints: list[tuple[object, ...]]
) -> None:
    body = body_of("fbe_install", business_id="ph-1", pixel_id="501", access_token=TOKEN)

    for _ in range(2):
        assert send(site, partner, body).status_code == 200

    kept = MetaCallback.objects.get()
    assert (kept.partner, kept.kind, kept.state) == (partner, "webhook", "waiting")
    assert TOKEN not in json.dumps(kept.body)
    assert hints == [("onboarding.handle_callbacks", partner.pk)] * 2


def test_the_callbacks_need_no_csrf_token_and_no_page_else_does_without(partner: Partner) -> None:
    strict = Client(enforce_csrf_checks=True)
    body = b"{}"

    page = strict.post(
        f"/meta/{partner.callback_key}/webhook/",
        body,
        content_type="application/json",
        headers={"X-Hub-Signature-256": webhook_header(body, KEY)},
    )

    assert page.status_code == 200
    assert strict.post("/accounts/login/", {}).status_code == 403


# What comes of them.


def test_a_removal_that_graph_confirms_holds_the_pixel(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta)
    meta.set_token_state(TOKEN, "app_removed")

    send(site, partner, body_of("business_integration_uninstall", business_manager_id="8001"))
    assert handle(partner, graph) == 1

    assert state_of(pixel) == ("refused", "credential", ["app_removed", "refused"])
    assert MetaCallback.objects.get().state == "handled"


def test_the_worker_handles_it_in_its_own_role(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient, as_role: Any
) -> None:
    pixel = connected(partner, meta)
    meta.set_token_state(TOKEN, "app_removed")
    send(site, partner, body_of("business_integration_uninstall", business_manager_id="8001"))
    text = request_of({"algorithm": "HMAC-SHA256", "user_id": "77"}, KEY)
    site.post(f"/meta/{partner.callback_key}/data-deletion/", {"signed_request": text})

    with as_role("worker"):
        callbacks.sweep_callbacks()
        assert handle(partner, graph) == 2

    assert state_of(pixel)[:2] == ("refused", "credential")
    assert set(MetaCallback.objects.values_list("state", flat=True)) == {"handled"}


def test_a_removal_that_graph_does_not_confirm_holds_nothing(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta)

    send(site, partner, body_of("business_integration_uninstall", business_manager_id="8001"))
    handle(partner, graph)

    assert state_of(pixel) == ("working", "", ["app_removed"])


def test_an_uninstall_of_the_business_extension_is_found_by_our_own_id(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta, external="ph-adv-1")
    meta.set_token_state(TOKEN, "app_removed")

    send(site, partner, body_of("fbe_install", business_id="ph-adv-1"))
    handle(partner, graph)

    assert state_of(pixel)[:2] == ("refused", "credential")


def test_an_install_or_update_only_looks(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta)

    send(site, partner, body_of("business_integration_update", business_manager_id="8001"))
    handle(partner, graph)

    assert state_of(pixel) == ("working", "", [])
    assert MetaCallback.objects.get().outcome == "1 connections looked at"
    assert Credential.objects.get().looked_at is not None


@pytest.mark.parametrize(
    ("field", "value", "age_seconds", "outcome"),
    [
        ("business_integration_uninstall", {"business_manager_id": "8001"}, 49 * 3600, "too old"),
        # The connection of today was made after what it tells.
        ("business_integration_uninstall", {"business_manager_id": "8001"}, 3600, "no connection of ours"),
        ("business_integration_uninstall", {"business_manager_id": "8002"}, 0, "no connection of ours"),
        ("business_integration_uninstall", {}, 0, "no connection of ours"),
        ("feed", {"business_manager_id": "8001"}, 0, "about nothing that we keep"),
    ],
)
def test_what_is_stale_or_not_ours_is_kept_and_changes_nothing(
    site: Site,
    partner: Partner,
    meta: SandboxClient,
    graph: GraphClient,
    field: str,
    value: dict[str, str],
    age_seconds: int,
    outcome: str,
) -> None:
    pixel = connected(partner, meta)
    meta.set_token_state(TOKEN, "app_removed")

    send(site, partner, body_of(field, time.time() - age_seconds, **value))
    handle(partner, graph)

    kept = MetaCallback.objects.get()
    assert (kept.state, kept.outcome) == ("ignored", outcome)
    assert state_of(pixel) == ("working", "", [])


def test_another_partners_news_of_the_same_business_touches_nobody_else(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta)
    other = make_partner()
    meta.set_token_state(TOKEN, "app_removed")

    send(site, other, body_of("business_integration_uninstall", business_manager_id="8001"))
    handle(other, graph)

    assert state_of(pixel) == ("working", "", [])


def test_handled_twice_it_is_told_once(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta)
    send(site, partner, body_of("business_integration_uninstall", business_manager_id="8001"))
    handle(partner, graph)
    MetaCallback.objects.update(state="waiting")

    handle(partner, graph)

    assert state_of(pixel)[2] == ["app_removed"]


def test_a_persons_deauthorisation_looks_and_disconnects_nothing(
    site: Site, partner: Partner, meta: SandboxClient, graph: GraphClient
) -> None:
    pixel = connected(partner, meta)
    text = request_of({"algorithm": "HMAC-SHA256", "user_id": "77"}, KEY)

    page = site.post(f"/meta/{partner.callback_key}/deauthorise/", {"signed_request": text})
    handle(partner, graph)

    assert page.status_code == 200
    assert MetaCallback.objects.get().outcome == "1 connections looked at"
    assert state_of(pixel) == ("working", "", [])


@pytest.mark.parametrize("path", ["deauthorise", "data-deletion"])
@pytest.mark.parametrize("text", ["", "a.b", request_of({"algorithm": "HMAC-SHA256"}, b"another")])
def test_a_forged_signed_request_is_refused(site: Site, partner: Partner, path: str, text: str) -> None:
    page = site.post(f"/meta/{partner.callback_key}/{path}/", {"signed_request": text})

    assert page.status_code == 403
    assert not MetaCallback.objects.exists()


def test_a_deletion_is_answered_with_a_page_that_anybody_with_the_code_can_read(
    site: Site, partner: Partner, graph: GraphClient
) -> None:
    text = request_of({"algorithm": "HMAC-SHA256", "user_id": "77"}, KEY)

    first, again = (
        site.post(f"/meta/{partner.callback_key}/data-deletion/", {"signed_request": text}).json()
        for _ in range(2)
    )

    assert first == again
    path = first["url"].partition("/meta/")[2]
    page = site.get(f"/meta/{path}")
    assert "Your request has arrived" in text_of(page)
    assert page["X-Robots-Tag"] == "noindex"
    assert first["confirmation_code"] in text_of(page)

    handle(partner, graph)

    assert "Your data is deleted" in text_of(site.get(f"/meta/{path}"))
    assert MetaCallback.objects.get().body == {}
    assert site.get(f"/meta/{partner.callback_key}/data-deletion/{'x' * 43}/").status_code == 404
    assert site.get(f"/meta/{make_partner().callback_key}/{path.partition('/')[2]}").status_code == 404


def test_a_deletion_erases_the_number_from_the_requests_before(
    site: Site, partner: Partner, graph: GraphClient
) -> None:
    for path, more in (("deauthorise", {}), ("data-deletion", {"issued_at": 5})):
        text = request_of({"algorithm": "HMAC-SHA256", "user_id": "77", **more}, KEY)
        site.post(f"/meta/{partner.callback_key}/{path}/", {"signed_request": text})

    handle(partner, graph)

    assert list(MetaCallback.objects.values_list("body", flat=True)) == [{}, {}]


def test_what_waits_though_it_was_hinted_at_is_hinted_at_again(
    site: Site, partner: Partner, hints: list[tuple[object, ...]], django_capture_on_commit_callbacks: Any
) -> None:
    send(site, partner, body_of("feed"))
    hints.clear()

    with django_capture_on_commit_callbacks(execute=True):
        callbacks.sweep_callbacks()
        assert hints == []
    MetaCallback.objects.update(received_at=timezone.now() - timedelta(minutes=1))
    with django_capture_on_commit_callbacks(execute=True):
        callbacks.sweep_callbacks()

    assert hints == [("onboarding.handle_callbacks", partner.pk)]
