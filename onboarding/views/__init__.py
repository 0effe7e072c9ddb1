"""Onboarding's pages: connecting a pixel, Test connection, disconnecting."""

from onboarding.views.testing import add_pixel, paste_token, test, test_connection

__all__ = ["add_pixel", "paste_token", "test", "test_connection"]
