"""The auth options: one adapter each, and the one look-up of them."""

from __future__ import annotations

from onboarding.models import Option
from onboarding.options.base import Adapter
from onboarding.options.business_extension import BusinessExtension
from onboarding.options.login_for_business import LoginForBusiness
from onboarding.options.pasted_token import PastedToken
from onboarding.options.shared_pixel import SharedPixel

ADAPTERS: dict[Option, Adapter] = {
    adapter.option: adapter
    for adapter in (BusinessExtension(), LoginForBusiness(), PastedToken(), SharedPixel())
}
