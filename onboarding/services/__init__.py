"""What can be done to pixels, credentials, tests and sessions: one function an act, each in one transaction."""

from onboarding.services.credentials import (
    erase_token,
    install_credential,
    open_token,
    retire_credential,
    save_pasted_token,
    seal_token,
)
from onboarding.services.pixels import DELIVER, PixelExists, add_pixel, hold_pixel, release_pixel
from onboarding.services.proofs import (
    RUN_TEST,
    Asked,
    NoCredential,
    TestTooSoon,
    TestUnderWay,
    finish_connection_test,
    request_connection_test,
    request_connection_tests,
    request_scheduled_tests,
    run_connection_test,
    set_test_schedule,
    start_connection_test,
    sweep_connection_tests,
)

__all__ = [
    "DELIVER",
    "RUN_TEST",
    "Asked",
    "NoCredential",
    "PixelExists",
    "TestTooSoon",
    "TestUnderWay",
    "add_pixel",
    "erase_token",
    "finish_connection_test",
    "hold_pixel",
    "install_credential",
    "open_token",
    "release_pixel",
    "request_connection_test",
    "request_connection_tests",
    "request_scheduled_tests",
    "retire_credential",
    "run_connection_test",
    "save_pasted_token",
    "seal_token",
    "set_test_schedule",
    "start_connection_test",
    "sweep_connection_tests",
]
