"""The auth options: one adapter each, and the one look-up of them."""

from __future__ import annotations

from onboarding.models import Option
from onboarding.options.base import Adapter

ADAPTERS: dict[Option, Adapter] = {}
