"""The pictures of docs/partner-set-up.md and docs/app-review.md, made anew:

.venv/bin/python -m pytest tests/e2e/partner_pictures.py
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from django.db import connection
from playwright.sync_api import expect
from pytest_django.plugin import DjangoDbBlocker

from onboarding.models import GraphCallCount
from tests.e2e.conftest import Hub, MakeVisitor
from tests.e2e.pictures import LARGEST_BYTES, PICTURES, take
from tests.e2e.test_partner_setup import ASSIGNING, SECRET, Platform, failed, passed, save


def count_calls(rows: DjangoDbBlocker, partner_id: int) -> None:
    """A fortnight of calls."""
    with rows.unblock():
        for back in range(13):
            GraphCallCount.objects.create(
                partner_id=partner_id,
                day=datetime.now(UTC).date() - timedelta(days=back),
                source=GraphCallCount.Source.DELIVERIES,
                succeeded=(29 * back) % 47 + 8,
                failed=back % 4,
            )
        connection.close()


def test_partner_pictures(hub: Hub, visit: MakeVisitor, django_db_blocker: DjangoDbBlocker) -> None:
    platform = Platform(hub, visit, django_db_blocker)
    page = platform.owner().page
    with ThreadPoolExecutor(1) as pool:
        pool.submit(count_calls, django_db_blocker, platform.key).result()
    step = f"{hub.web}/partners/{platform.key}/set-up"
    page.goto(f"{step}/options/")
    page.get_by_label("Shared pixel").check()
    save(page, "Save")
    page.goto(f"{step}/app/")
    page.get_by_label("App ID").fill(platform.app)
    page.get_by_label("App secret").fill("not-the-secret")
    save(page)
    failed(page, "do not belong together")
    take(page, "set-up-failed")
    page.get_by_label("App secret").fill(SECRET)
    save(page)
    passed(page)
    page.goto(f"{step}/assigning/")
    page.get_by_label("Business ID").fill(platform.business)
    page.get_by_label("Access token").fill(ASSIGNING)
    save(page)
    passed(page)
    page.goto(f"{step}/branding/")
    page.get_by_label("Colour").fill("#1fb6a6")
    save(page, "Save")
    page.goto(f"{step}/branding/")
    take(page, "set-up-looks")

    page.goto(f"{step}/app-review/")
    page.get_by_role("button", name="Read from Meta now").click()
    expect(page.locator("main")).to_contain_text("Granted", timeout=20_000)
    take(page, "app-review")
    path = PICTURES / "app-review-calls.png"
    page.locator("section.card", has_text="Marketing API access tier").first.screenshot(path=path)
    assert path.stat().st_size < LARGEST_BYTES
