"""Onboarding's jobs. Each takes an id and calls a service."""

from __future__ import annotations

from celery import shared_task

from onboarding import services
from partnerhub.lib.graph import graph_client


@shared_task(name=services.RUN_TEST, ignore_result=True)
def run_connection_test(test_id: int) -> None:
    """Run one connection test. Doubled, late and foreign hints change nothing."""
    services.run_connection_test(test_id=test_id, client=graph_client())


@shared_task(name="onboarding.schedule_tests", ignore_result=True)
def schedule_tests() -> None:
    """Ask for the daily tests that are due."""
    services.request_scheduled_tests()


@shared_task(name="onboarding.sweep", ignore_result=True)
def sweep() -> None:
    """Mend what lost hints and dead workers left."""
    services.sweep_connection_tests()
