"""An ordinary shop's traffic, made up: people, visits, orders, and the offline approval of a card application.

The demo and the benchmarks send it. Pure but for the SDK's own objects: the same seed gives the same traffic.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.user_data import UserData

DAY_SECONDS = 86_400
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@dataclass(frozen=True, slots=True)
class Shopper:
    """A person as the shop's forms know them, and the same data as Meta's rules want it before hashing."""

    number: int
    email: str
    phone: str
    first_name: str
    last_name: str
    city: str
    normalised_email: str
    normalised_phone: str
    normalised_first_name: str
    normalised_last_name: str
    normalised_city: str

    @property
    def external_id(self) -> str:
        """The shop's own number of the person."""
        return f"customer-{self.number}"

    def hashes(self) -> dict[str, str]:
        """What must stand in `user_data`, worked out here and not by the product."""
        return {
            key: hashlib.sha256(value.encode()).hexdigest()
            for key, value in (
                ("em", self.normalised_email),
                ("ph", self.normalised_phone),
                ("fn", self.normalised_first_name),
                ("ln", self.normalised_last_name),
                ("ct", self.normalised_city),
                ("country", "it"),
            )
        }


# Typed as people type: capitals, spaces, accents, national and international numbers.
_FIRST = (
    ("Anna", "anna"),
    (" Luca", "luca"),
    ("GIULIA", "giulia"),
    ("Valéry", "valéry"),
    ("Marco ", "marco"),
)
_LAST = (("Rossi", "rossi"), ("Bianchi", "bianchi"), ("FERRARI", "ferrari"), ("Conti", "conti"))
_CITY = (("Roma", "roma"), ("San Remo", "sanremo"), ("MILANO", "milano"), ("La Spezia", "laspezia"))
_PRODUCTS = (
    ("SKU-101", "Espresso cups", 24.9),
    ("SKU-102", "Moka pot", 39.0),
    ("SKU-103", "Beans, 1 kg", 18.5),
    ("SKU-104", "Grinder", 129.0),
)
# How often a visit shows each event: many look, few buy.
_MIX = (
    ("PageView", 46),
    ("ViewContent", 27),
    ("AddToCart", 12),
    ("InitiateCheckout", 6),
    ("Purchase", 4),
    ("Lead", 3),
    ("Approval", 2),
)
_NAMES = [name for name, _ in _MIX]
_WEIGHTS = [weight for _, weight in _MIX]


def shopper(number: int) -> Shopper:
    """Person `number` of the shop; always the same one."""
    first, normal_first = _FIRST[number % len(_FIRST)]
    last, normal_last = _LAST[number % len(_LAST)]
    city, normal_city = _CITY[number % len(_CITY)]
    digits = f"{3200000000 + number * 7919 % 99999999}"
    return Shopper(
        number=number,
        email=f" Shopper.{number}@Example.COM ",
        phone=f"+39 {digits[:3]} {digits[3:6]}-{digits[6:]}",
        first_name=first,
        last_name=last,
        city=city,
        normalised_email=f"shopper.{number}@example.com",
        normalised_phone=f"39{digits}",
        normalised_first_name=normal_first,
        normalised_last_name=normal_last,
        normalised_city=normal_city,
    )


@dataclass(frozen=True, slots=True)
class ShopEvent:
    """One event of the shop, before it takes the shape of a client."""

    event_name: str
    event_time: int
    event_id: str
    who: Shopper
    ip: str
    product: tuple[str, str, float]
    quantity: int

    @property
    def is_offline(self) -> bool:
        """Whether it happened away from the web site."""
        return self.event_name == "Approval"

    def custom_data(self) -> dict[str, Any]:
        """What the event is about, as plain JSON."""
        sku, title, price = self.product
        if self.event_name in ("PageView", "Lead"):
            return {}
        if self.is_offline:
            return {"currency": "EUR", "value": 2500.0, "order_id": f"card-{self.event_id}"}
        data: dict[str, Any] = {
            "currency": "EUR",
            "value": round(price * self.quantity, 2),
            "content_type": "product",
            "content_ids": [sku],
            "contents": [{"id": sku, "quantity": self.quantity, "item_price": price}],
            "content_name": title,
        }
        if self.event_name == "Purchase":
            data["order_id"] = f"order-{self.event_id}"
        return data

    def raw(self) -> dict[str, Any]:
        """The event as a simple client sends it: personal data in plain text."""
        who = self.who
        event: dict[str, Any] = {
            "event_name": self.event_name,
            "event_time": self.event_time,
            "event_id": self.event_id,
            "action_source": "physical_store" if self.is_offline else "website",
            "user_data": {
                "em": who.email,
                "ph": who.phone,
                "fn": who.first_name,
                "ln": who.last_name,
                "ct": who.city,
                "country": "IT",
                "external_id": who.external_id,
            },
        }
        if data := self.custom_data():
            event["custom_data"] = data
        if not self.is_offline:
            event["event_source_url"] = f"https://shop.example/{self.product[0].lower()}"
            event["user_data"] |= {"client_ip_address": self.ip, "client_user_agent": AGENT}
        return event

    def sdk(self) -> Event:
        """The event as an object of Meta's own SDK, which hashes by itself."""
        who = self.who
        user = UserData(
            email=who.normalised_email,
            phone=who.normalised_phone,
            first_name=who.normalised_first_name,
            last_name=who.normalised_last_name,
            city=who.normalised_city,
            country_code="it",
            external_id=who.external_id,
        )
        event = Event(
            event_name=self.event_name,
            event_time=self.event_time,
            event_id=self.event_id,
            action_source=ActionSource.PHYSICAL_STORE if self.is_offline else ActionSource.WEBSITE,
            user_data=user,
        )
        if not self.is_offline:
            event.event_source_url = f"https://shop.example/{self.product[0].lower()}"
            user.client_ip_address = self.ip
            user.client_user_agent = AGENT
        if data := self.custom_data():
            contents = data.pop("contents", None)
            custom = CustomData(**data)
            if contents:
                custom.contents = [
                    Content(product_id=item["id"], quantity=item["quantity"], item_price=item["item_price"])
                    for item in contents
                ]
            event.custom_data = custom
        return event


def traffic(count: int, *, run: str, now: int, days: float, seed: int = 1) -> Iterator[ShopEvent]:
    """`count` events of the last `days` days up to `now` (Unix seconds), their ids unique to `run`."""
    dice = random.Random(f"{seed}:{run}")
    for number in range(count):
        [name] = dice.choices(_NAMES, _WEIGHTS)
        yield ShopEvent(
            event_name=name,
            event_time=now - int(dice.random() * days * DAY_SECONDS),
            event_id=f"{run}-{number}",
            who=shopper(dice.randrange(1, 400)),
            ip=f"198.51.100.{dice.randrange(1, 255)}",
            product=dice.choice(_PRODUCTS),
            quantity=dice.randrange(1, 4),
        )
