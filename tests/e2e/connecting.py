"""Connecting a pixel in a browser: a shop with its partner and their world at Meta, and what its admin presses."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection
from playwright.sync_api import Page, expect
from pytest_django.plugin import DjangoDbBlocker

from onboarding.services.openings import CALLBACK_PATH
from partnerhub.lib.vault import Secret
from tenants.models import PartnerCredential
from tenants.roles import AdvertiserRole
from tenants.secrets import vault
from tests.e2e.conftest import PHONE, Hub, MakeVisitor, Visitor
from tests.support.factories import PASSWORD, join_advertiser, make_advertiser, make_partner, make_person

# Meta's answer passes a worker and the page asks again each second.
SOON_MS = 15_000


class Shop:
    """An advertiser of a partner that offers everything, alone in its own corner of Meta's world."""

    def __init__(
        self, hub: Hub, visit: MakeVisitor, rows: DjangoDbBlocker, *, name: str = "", partner: str = ""
    ) -> None:
        self.hub, self._visit, self._rows = hub, visit, rows
        self.tag = secrets.token_hex(3)
        self.name, self.partner = name or f"Shop {self.tag}", partner or f"Partner {self.tag}"
        self.email = f"admin-{self.tag}@shop.example"
        number = 10**11 + secrets.randbelow(10**10) * 10
        ids = [str(number + place) for place in range(10)]
        self.app, self.partner_business, self.assigner, self.sender = ids[:4]
        self.business, self.other_business, self.anna, self.pixel, self.blog, self.foreign = ids[4:]
        self._assigner_token = f"EAAassigner{secrets.token_hex(20)}"
        hub.meta.set_world(self._world())
        with ThreadPoolExecutor(1) as pool:
            # On a thread of its own: Playwright's event loop runs in this one, where Django refuses to query.
            pool.submit(self._make_rows).result()

    def _world(self) -> dict[str, Any]:
        return {
            "apps": {
                self.app: {
                    "secret": "app-secret-of-the-tests",
                    "name": "Demo Hub",
                    "business_id": self.partner_business,
                    "redirect_uris": [self.hub.web + CALLBACK_PATH],
                    "fbe": True,
                    "configurations": {"55501": {"scopes": ["ads_read", "business_management"]}},
                }
            },
            "businesses": {
                self.partner_business: {"name": "Datapartner"},
                self.business: {"name": f"Business of {self.name}"},
                self.other_business: {"name": f"Second business of {self.name}"},
            },
            "people": {
                self.anna: {
                    "name": f"Anna {self.tag}",
                    "businesses": [self.business, self.other_business],
                },
            },
            "system_users": {
                self.assigner: {
                    "business_id": self.partner_business,
                    "name": "Assigner",
                    "role": "ADMIN",
                    "apps": [self.app],
                },
                self.sender: {"business_id": self.partner_business, "name": "Sender"},
            },
            "pixels": {
                self.pixel: {
                    "name": "Web shop",
                    "owner_business": self.business,
                    "last_fired_time": int(time.time()) - 3_600,
                },
                self.blog: {"name": "Blog", "owner_business": self.business},
                self.foreign: {"name": "Elsewhere", "owner_business": self.other_business},
            },
            "tokens": {
                self._assigner_token: {
                    "app_id": self.app,
                    "user_id": self.assigner,
                    "scopes": ["ads_management", "ads_read", "business_management"],
                }
            },
        }

    def _make_rows(self) -> None:
        with self._rows.unblock():
            partner = make_partner(self.partner)
            partner.meta_app_id, partner.business_id = self.app, self.partner_business
            partner.login_config_id = "55501"
            partner.assigning_system_user_id, partner.sending_system_user_id = self.assigner, self.sender
            partner.offers_business_extension = partner.offers_login_for_business = True
            partner.offers_shared_pixel, partner.brand_colour = True, "#0b7a5c"
            partner.save()
            row = PartnerCredential(partner=partner, kind=PartnerCredential.Kind.ASSIGNING_TOKEN)
            row.sealed = vault().seal(Secret(self._assigner_token), identity=row.vault_identity)
            row.save(force_insert=True)
            self.advertiser = make_advertiser(partner, name=self.name)
            join_advertiser(make_person(self.email, name="Adam Admin"), self.advertiser, AdvertiserRole.ADMIN)
            connection.close()

    def admin(self, *, phone: bool = False, javascript: bool = True) -> Visitor:
        """The shop's admin, signed in, at the shop's page."""
        visitor = self._visit(javascript=javascript)
        if phone:
            visitor.page.set_viewport_size(PHONE)
        visitor.sign_in(self.email, PASSWORD)
        return visitor

    def begin(self, visitor: Visitor, way: str) -> Page:
        """From the shop's page to the way with this name."""
        page = visitor.page
        page.get_by_role("button", name="Connect a pixel").first.click()
        page.get_by_role("link", name=way).first.click()
        return page

    def at_meta(
        self,
        page: Page,
        *pixels: str,
        business: str | None = None,
        allow: Callable[[Page], None] | None = None,
    ) -> None:
        """To Meta's dialog, and through it: who, which business, which pixels, what is allowed; yes."""
        page.get_by_role(
            "button", name=re.compile("Continue to Facebook|Connect again|Log in and share")
        ).click()
        self._log_in(page, business or self.business)
        for pixel in pixels:
            page.locator(f'input[name=pixels][value="{pixel}"]').check()
        if allow:
            allow(page)
        page.get_by_role("button", name=re.compile("^Continue as")).click()

    def cancel_at_meta(self, page: Page) -> None:
        """To Meta's dialog, and back with a no."""
        page.get_by_role("button", name=re.compile("Continue to Facebook|Connect again")).click()
        self._log_in(page, self.business)
        page.get_by_role("button", name="Not now").click()

    def _log_in(self, page: Page, business: str) -> None:
        page.wait_for_url(re.compile("/dialog/oauth"))
        for name, value in (("person", self.anna), ("businesses", business)):
            choice = page.locator(f'input[type=radio][name={name}][value="{value}"]')
            if choice.count():
                choice.check()
                page.get_by_role("button", name="Continue", exact=True).click()

    def generated_token(self, pixel: str | None = None) -> str:
        """A token of Events Manager's for the shop's pixel."""
        return self.hub.meta.generate_token(pixel or self.pixel)


def shows(page: Page, words: str) -> None:
    """Wait until the page says so, by itself."""
    expect(page.locator("main")).to_contain_text(words, timeout=SOON_MS)


def is_connected(page: Page) -> None:
    """Wait until the wizard says that it is done, without a reload by hand."""
    shows(page, "is connected")
