"""Onboarding's pages: connecting a pixel, Test connection."""

from onboarding.views.colleague import colleague
from onboarding.views.connecting import (
    abandon,
    callback,
    confirm,
    connect,
    enter_token,
    forward,
    leave,
    log_in,
    look,
    pick,
    recall,
    reconnect,
    session,
    share,
)
from onboarding.views.testing import test, test_connection

__all__ = [
    "abandon",
    "callback",
    "colleague",
    "confirm",
    "connect",
    "enter_token",
    "forward",
    "leave",
    "log_in",
    "look",
    "pick",
    "recall",
    "reconnect",
    "session",
    "share",
    "test",
    "test_connection",
]
