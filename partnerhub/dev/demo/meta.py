"""The demo's world at "Meta": the partner's app and business, and the shops with their people and pixels."""

from __future__ import annotations

from typing import Any

from partnerhub.dev.demo import story
from partnerhub.dev.demo.story import SHOPS, Shop, Story

PERMISSIONS = ("ads_management", "ads_read", "business_management", "pages_read_engagement")


def world(told: Story, *, redirect_uri: str) -> dict[str, Any]:
    """As the stand-in takes it in. It forgets everything when it stops, so that it is set up anew each time."""
    return {
        "apps": {
            story.APP: {
                "secret": story.APP_SECRET,
                "name": "Datapartner",
                "business_id": story.BUSINESS,
                "tier": "full",
                "redirect_uris": [redirect_uri],
                "fbe": True,
                "configurations": {
                    story.LOGIN_CONFIG: {"scopes": ["ads_management", "ads_read", "business_management"]}
                },
                "permissions": dict.fromkeys((*PERMISSIONS, "manage_business_extension"), "live"),
            },
            story.SHOP_APP: {"secret": "the-shop-app-secret", "name": "Shop's own app"},
        },
        "businesses": {
            story.BUSINESS: {"name": "Datapartner"},
            **{shop.business: {"name": f"{shop.name} Ltd"} for shop in SHOPS},
        },
        "people": {
            shop.person: {"name": f"Admin of {shop.name}", "businesses": [shop.business]} for shop in SHOPS
        },
        "system_users": {
            story.ASSIGNER: {
                "name": "Datapartner assigns",
                "business_id": story.BUSINESS,
                "role": "ADMIN",
                "apps": [story.APP],
            },
            story.SENDER: {"name": "Datapartner sends", "business_id": story.BUSINESS, "apps": [story.APP]},
        },
        "pixels": {
            story.OWN_PIXEL: {
                "name": "Datapartner's own site",
                "owner_business": story.BUSINESS,
                "users": {story.SENDER: ["UPLOAD", "ANALYZE"]},
            },
            **{shop.pixel: _pixel(shop, told) for shop in SHOPS},
        },
        "tokens": {
            told.assigning_token: {
                "app_id": story.APP,
                "user_id": story.ASSIGNER,
                "scopes": list(PERMISSIONS),
            },
        },
    }


def _pixel(shop: Shop, told: Story) -> dict[str, Any]:
    pixel: dict[str, Any] = {"name": f"{shop.name} web", "owner_business": shop.business}
    if shop.option == "shared_pixel" and shop.option in told.pixel_paths:
        # It was shared in the demo before this one.
        sharing = {"permitted_tasks": ["UPLOAD", "ANALYZE"], "status": "APPROVE"}
        pixel["agencies"] = {story.BUSINESS: sharing}
    return pixel
