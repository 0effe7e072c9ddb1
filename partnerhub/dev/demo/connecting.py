"""The first act: a partner sets itself up, shops sign up, and each connects its pixel by an auth option of its own.

All through the front doors, by a visitor without a browser. Meta's log-in dialog is answered as a person would.
"""

from __future__ import annotations

import re

from partnerhub.dev.demo import story
from partnerhub.dev.demo.story import Shop, Story
from partnerhub.dev.demo.telling import DemoFailed, step, wait_for
from partnerhub.dev.processes import Platform
from partnerhub.dev.stand_in import SandboxClient
from partnerhub.dev.visitor import Page, Visitor

MAIL_SECONDS = 20
# A page that a worker moves on: the ladder, the log-in, the look for a shared pixel.
WORK_SECONDS = 60
# By these a page says that something went wrong and will not go right by itself.
FAILED = {'data-step="failed"', 'data-check="failed"'}


class Hub:
    """The site as its visitors meet it."""

    def __init__(self, platform: Platform, sandbox: SandboxClient, told: Story) -> None:
        self._platform = platform
        self._web = platform.ports.url("web")
        self._sandbox = sandbox
        self._story = told

    def make_partner(self) -> Visitor:
        """The operator makes the partner; its owner signs up from the mail and sets it up."""
        told = self._story
        with step(f"partner {told.partner} made"):
            done = self._platform.manage(
                *("partner", "create", "--name", told.partner, "--partner-agent", story.PARTNER_AGENT),
                *("--meta-app-id", story.APP, "--owner-email", told.owner, "--app-secret-stdin"),
                input=f"{story.APP_SECRET}\n",
            )
            if done.returncode:
                raise DemoFailed(f"The partner could not be made: {done.stdout}{done.stderr}")
        with step("its owner signs up and accepts"):
            owner, page = self._accept_invitation(told.owner, "Olivia Owner", told.owner_password)
            told.partner_path = page.path.rstrip("/")
        return owner

    def make_shop(self, owner: Visitor, shop: Shop) -> Visitor:
        """The owner invites the advertiser, whose admin signs up from the mail."""
        page = owner.open(f"{self._story.partner_path}/advertisers/invite/")
        email = self._story.admin(shop)
        owner.submit(page, "email", name=shop.name, default_country="IT", email=email)
        admin, page = self._accept_invitation(email, "Adam Admin", self._story.admin_password)
        self._story.advertiser_paths[shop.option] = page.path
        return admin

    def sign_in(self, email: str, password: str) -> Visitor:
        """The person, signed in."""
        visitor = Visitor(self._web)
        page = visitor.submit(visitor.open("/accounts/login/"), "login", login=email, password=password)
        if "/accounts/login/" in page.url:
            raise DemoFailed(f"{email} cannot sign in: {page.text[:200]}")
        return visitor

    def admin_of(self, shop: Shop) -> Visitor:
        """The shop's admin, signed in."""
        return self.sign_in(self._story.admin(shop), self._story.admin_password)

    def connect(self, admin: Visitor, shop: Shop) -> None:
        """Connect the shop's pixel by its option, or connect it anew where it is there already."""
        told = self._story
        begin = told.pixel_paths.get(shop.option) or told.advertiser_paths[shop.option]
        page = admin.submit(admin.open(begin), "connect")
        page = admin.open(f"{page.path}?way={shop.option}")
        page = {
            "pasted_token": self._paste,
            "business_extension": self._log_in,
            "login_for_business": self._log_in,
            "shared_pixel": self._share,
        }[shop.option](admin, page, shop)
        page = self.await_page(admin, page, "Next: let your shop", f"{shop.name} was not connected")
        link = re.search(r'href="(/pixels/\d+/)"[^>]*>\s*(?:<[^>]*>\s*)*Send events', page.html)
        if link is None:
            raise DemoFailed(f"The page of {shop.name}'s connection does not lead to the pixel.")
        told.pixel_paths[shop.option] = link[1]

    def _paste(self, admin: Visitor, page: Page, shop: Shop) -> Page:
        # Events Manager's button: the token belongs to an app of the shop's, and only sends.
        self._story.access_token = self._sandbox.generate_token(shop.pixel, app_id=story.SHOP_APP)
        token = {"access_token": self._story.access_token, "expiry": "never"}
        return admin.submit(page, "access_token", **token, **self._wanted(page, shop))

    def _log_in(self, admin: Visitor, page: Page, shop: Shop) -> Page:
        dialog = admin.submit(page, "log-in")
        back = self._sandbox.approve_dialog(
            dialog.url, person=shop.person, businesses=[shop.business], pixels=[shop.pixel]
        )
        return admin.open(back)

    def _share(self, admin: Visitor, page: Page, shop: Shop) -> Page:
        page = admin.submit(page, "share", **self._wanted(page, shop))
        if shop.option in self._story.pixel_paths:
            # Shared in the demo before this one, and found by that.
            return page
        # In Business settings, by the business id that the page shows.
        if story.BUSINESS not in page.text:
            raise DemoFailed("The page does not show the partner's business ID.")
        # What was shared before it is looked for is connected on the partner's word only.
        page = self.await_page(admin, page, "so far", f"{shop.name}'s pixel was not looked for")
        self._sandbox.share_pixel(shop.pixel, story.BUSINESS)
        return admin.submit(page, "look")

    @staticmethod
    def _wanted(page: Page, shop: Shop) -> dict[str, str]:
        """The pixel, where the page asks for it."""
        asks = any("meta_id" in form.fields for form in page.forms)
        return {"meta_id": shop.pixel, "pixel_name": f"{shop.name} web"} if asks else {}

    def await_page(self, visitor: Visitor, page: Page, mark: str, otherwise: str) -> Page:
        """The page once its HTML holds the mark, reloaded as a person without JavaScript does. Raises DemoFailed."""
        seen = page

        def look() -> Page | None:
            nonlocal seen
            if mark in seen.html:
                return seen
            if FAILED & set(re.findall(r'data-[a-z]+="[a-z]+"', seen.html)):
                raise DemoFailed(f"{otherwise}: {seen.text[:600]}")
            seen = visitor.open(seen.url)
            return None

        return wait_for(look, WORK_SECONDS, f"{otherwise} within {WORK_SECONDS} s.")

    def make_ingest_token(self, admin: Visitor, shop: Shop) -> str:
        """An ingest token for the shop's pixel."""
        page = admin.open(self._story.pixel_paths[shop.option])
        page = admin.submit(page, "ingest-tokens", name="Shop server")
        token = re.search(r"pht_[A-Za-z0-9_-]{43}", page.html)
        if token is None:
            raise DemoFailed("The new ingest token is not shown.")
        return token[0]

    def test_connection(self, admin: Visitor, shop: Shop) -> None:
        """Press Test connection, and see it come back green."""
        page = admin.submit(admin.open(self._story.pixel_paths[shop.option]), "test_event_code")
        self.await_page(admin, page, "Meta counted the test event", f"The test of {shop.name} did not pass")

    def _accept_invitation(self, email: str, name: str, password: str) -> tuple[Visitor, Page]:
        """Follow the mailed link, sign up, confirm the address by mail, accept; the person and where it landed."""
        visitor = Visitor(self._web)
        link = self._mailed_link(email, r"/invitations/[A-Za-z0-9_-]+/")
        page = visitor.open(link)
        sign_up = re.search(r'href="(/accounts/signup/[^"]*)"', page.html)
        if sign_up is None:
            raise DemoFailed(f"The invitation of {email} does not lead to the sign-up.")
        page = visitor.open(sign_up[1].replace("&amp;", "&"))
        visitor.submit(page, "password1", name=name, email=email, password1=password)
        page = visitor.open(self._mailed_link(email, r"/accounts/confirm-email/[^/\s]+/"))
        # The page's one form; its address is signed anew at each look, so that it differs from the mail's.
        visitor.submit(page, "csrfmiddlewaretoken")
        page = visitor.open("/")
        if "/accounts/login/" in visitor.open(link).url:
            visitor = self.sign_in(email, password)
        page = visitor.submit(visitor.open(link), "accept")
        return visitor, page

    def _mailed_link(self, to: str, pattern: str) -> str:
        def look() -> str | None:
            for mail in self._sandbox.mail(to):
                if found := re.search(pattern, mail.text):
                    return found[0]
            return None

        return wait_for(look, MAIL_SECONDS, f"No mail with {pattern} came to {to}.")
