"""The app's entry in Django's list."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Partners, advertisers, people."""

    name = "tenants"
