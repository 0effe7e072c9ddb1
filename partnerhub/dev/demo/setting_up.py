"""The partner's own set-up, step by step, as its owner goes through it: to the test event to its own pixel."""

from __future__ import annotations

from partnerhub.dev.demo import story
from partnerhub.dev.demo.connecting import Hub
from partnerhub.dev.demo.story import Story
from partnerhub.dev.demo.telling import step
from partnerhub.dev.visitor import Visitor

OPTIONS = ("business_extension", "login_for_business", "pasted_token", "shared_pixel")


def set_up(hub: Hub, owner: Visitor, told: Story) -> None:
    """Every step's page, filled in and checked with Meta where Meta can tell. Raises DemoFailed."""
    pages: dict[str, dict[str, str]] = {
        "options": dict.fromkeys((f"offers_{option}" for option in OPTIONS), "on"),
        "agent": {"partner_agent": story.PARTNER_AGENT},
        "app": {"meta_app_id": story.APP, "app_secret": story.APP_SECRET, "app_mode": "live"},
        "assigning": {"business_id": story.BUSINESS, "assigning_token": told.assigning_token},
        # The token that sends is made by us, with the system user that assigns.
        "sending": {"how": "make", "sending_system_user_id": story.SENDER},
        "login": {"login_config_id": story.LOGIN_CONFIG},
        "branding": {"name": told.partner, "brand_colour": "#0f766e"},
        "own_pixel": {"own_pixel_id": story.OWN_PIXEL},
    }
    with step("owner sets the partner up, 8 steps"):
        for name, fields in pages.items():
            address = f"{told.partner_path}/set-up/{name}/"
            owner.submit(owner.open(address), next(iter(fields)), **fields)
            hub.await_page(
                owner, owner.open(address), 'data-check="passed"', f"The set-up's step {name} did not pass"
            )
