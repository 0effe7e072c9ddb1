"""How Django knows this app."""

from django.apps import AppConfig


class OnboardingConfig(AppConfig):
    """Pixels, credentials, connection tests."""

    name = "onboarding"
