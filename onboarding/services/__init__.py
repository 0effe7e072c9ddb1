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
    NoCredential,
    TestUnderWay,
    finish_connection_test,
    request_connection_test,
    run_connection_test,
    start_connection_test,
    sweep_connection_tests,
)

__all__ = [
    "DELIVER",
    "RUN_TEST",
    "NoCredential",
    "PixelExists",
    "TestUnderWay",
    "add_pixel",
    "erase_token",
    "finish_connection_test",
    "hold_pixel",
    "install_credential",
    "open_token",
    "release_pixel",
    "request_connection_test",
    "retire_credential",
    "run_connection_test",
    "save_pasted_token",
    "seal_token",
    "start_connection_test",
    "sweep_connection_tests",
]
