"""How Django knows this app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Taking events in, the log, delivery."""

    name = "events"
