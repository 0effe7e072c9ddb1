"""Onboarding's jobs. Each takes an id and calls a service."""

from __future__ import annotations

from celery import shared_task

from onboarding import services
from onboarding.services import callbacks, partner_setup, partner_tokens, revocations, session_work
from onboarding.services.partner_tokens import LOOK_AT_PARTNER
from onboarding.services.rounds import guard_round
from onboarding.services.session_rows import RUN_SESSION
from partnerhub.lib.graph import graph_client


@shared_task(name=services.RUN_TEST, ignore_result=True)
def run_connection_test(test_id: int) -> None:
    """Run one connection test. Doubled, late and foreign hints change nothing."""
    services.run_connection_test(test_id=test_id, client=graph_client())


@shared_task(name="onboarding.schedule_tests", ignore_result=True)
def schedule_tests() -> None:
    """Ask for the daily tests that are due."""
    services.request_scheduled_tests()


@shared_task(name=RUN_SESSION, ignore_result=True)
def run_session(session_id: int) -> None:
    """The next step of connecting a pixel."""
    session_work.run_session(session_id=session_id, client=graph_client())


@shared_task(name=revocations.RUN_REVOCATION, ignore_result=True)
def run_revocation(revocation_id: int) -> None:
    """Undo at Meta an access that is in use no more."""
    revocations.run_revocation(revocation_id=revocation_id, client=graph_client())


@shared_task(name="onboarding.sweep", ignore_result=True)
def sweep() -> None:
    """Mend what lost hints and dead workers left."""
    services.sweep_connection_tests()
    callbacks.sweep_callbacks()
    partner_setup.sweep_setup_checks()
    session_work.sweep_sessions()


@shared_task(name="onboarding.guard", ignore_result=True)
def guard() -> None:
    """A minute's share of the guardian's daily looks."""
    guard_round(client=graph_client())


@shared_task(name=LOOK_AT_PARTNER, ignore_result=True)
def look_at_partner(partner_id: int) -> None:
    """A partner's token was refused: see whether it is so."""
    partner_tokens.look_at_partner(partner_id=partner_id, client=graph_client())


@shared_task(name=callbacks.HANDLE, ignore_result=True)
def handle_callbacks(partner_id: int) -> None:
    """Handle what Meta told of a partner's app."""
    callbacks.handle_callbacks(partner_id=partner_id, client=graph_client())


@shared_task(name=partner_setup.CHECK, ignore_result=True)
def check_setup(check_id: int) -> None:
    """Ask Graph about one step of a partner's set-up."""
    partner_setup.run_setup_check(check_id=check_id, client=graph_client())
