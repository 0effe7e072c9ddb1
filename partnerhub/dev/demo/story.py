"""Who plays in the demo, and what is remembered of them from one demo to the next."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

PARTNER_AGENT = "datapartner"
APP = "900100"
APP_SECRET = "the-partner-app-secret"
BUSINESS = "7001"
ASSIGNER, SENDER = "12100", "12200"
LOGIN_CONFIG = "55501"
OWN_PIXEL = "1000000000009"
SHOP_APP = "700700"


@dataclass(frozen=True, slots=True)
class Shop:
    """An advertiser and what it has at Meta, and the auth option by which it connects its pixel."""

    option: str
    name: str
    admin: str
    pixel: str
    business: str
    person: str


# The first one's events are sent and counted; each connects by an option of its own.
SHOPS = (
    Shop("pasted_token", "Shop Example", "admin@shop.example", "1000000000001", "8001", "3001"),
    Shop("business_extension", "Bakery Example", "admin@bakery.example", "1000000000002", "8002", "3002"),
    Shop("login_for_business", "Cycles Example", "admin@cycles.example", "1000000000003", "8003", "3003"),
    Shop("shared_pixel", "Dairy Example", "admin@dairy.example", "1000000000004", "8004", "3004"),
)


@dataclass(slots=True)
class Story:
    """What is remembered: sign-ins, tokens, and where each shop's pixel is. Kept at mode 0600."""

    owner_password: str
    admin_password: str
    assigning_token: str
    # A first act that was interrupted is begun anew with people and names of its own.
    beginnings: int = 0
    partner_path: str = ""
    # By auth option.
    advertiser_paths: dict[str, str] = field(default_factory=dict)
    pixel_paths: dict[str, str] = field(default_factory=dict)
    access_token: str = ""
    ingest_token: str = ""

    @property
    def is_told(self) -> bool:
        """Whether the first act was played to its end."""
        return bool(self.ingest_token) and len(self.pixel_paths) == len(SHOPS)

    @property
    def partner(self) -> str:
        """The partner's name."""
        return f"Datapartner {self._suffix}".strip()

    @property
    def owner(self) -> str:
        """The partner's owner."""
        return f"owner{self._suffix}@datapartner.example"

    def admin(self, shop: Shop) -> str:
        """The e-mail address of the shop's admin."""
        return shop.admin.replace("@", f"{self._suffix}@")

    @property
    def _suffix(self) -> str:
        return str(self.beginnings) if self.beginnings > 1 else ""

    @classmethod
    def load(cls, path: Path) -> Story:
        """The story so far, or a new one with passwords made for this checkout."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        return cls(
            owner_password=secrets.token_urlsafe(12),
            admin_password=secrets.token_urlsafe(12),
            assigning_token=f"EAAC{secrets.token_hex(40)}",
        )

    def save(self, path: Path) -> None:
        """Keep it for the next demo."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")
