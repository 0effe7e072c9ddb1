"""What the pages of a partner's set-up show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onboarding.models import GraphCallCount, SetupCheck, SetupSecret
from onboarding.setup import steps
from onboarding.setup.words import PROBLEMS, Words
from partnerhub.lib.graph.remedies import explain
from tenants.models import Partner, PartnerCredential

# The form's field of each secret.
SECRET_FIELDS = {
    PartnerCredential.Kind.APP_SECRET: "app_secret",
    PartnerCredential.Kind.ASSIGNING_TOKEN: "assigning_token",
    PartnerCredential.Kind.SENDING_TOKEN: "sending_token",
}


def ways_of(partner: Partner) -> list[str]:
    """The auth options that the partner offers."""
    offered = {
        steps.Way.BUSINESS_EXTENSION: partner.offers_business_extension,
        steps.Way.LOGIN_FOR_BUSINESS: partner.offers_login_for_business,
        steps.Way.PASTED_TOKEN: partner.offers_pasted_token,
        steps.Way.SHARED_PIXEL: partner.offers_shared_pixel,
    }
    return [way for way, is_offered in offered.items() if is_offered]


def setup_checks(partner: Partner) -> dict[str, SetupCheck]:
    """What came of each step, by its key."""
    return {check.step: check for check in SetupCheck.objects.filter(partner=partner)}


def setup_progress(partner: Partner, checks: Mapping[str, SetupCheck] | None = None) -> steps.Progress:
    """How far the partner's set-up is."""
    found = setup_checks(partner) if checks is None else checks
    return steps.progress(ways_of(partner), {key: check.state for key, check in found.items()})


def stored_last_fours(partner: Partner) -> dict[str, str]:
    """The last four of each stored secret, by the field that it is typed into."""
    rows = PartnerCredential.objects.filter(partner=partner).values_list("kind", "last_four")
    return {SECRET_FIELDS[PartnerCredential.Kind(kind)]: last_four for kind, last_four in rows}


def waiting_last_four(partner: Partner, step: str) -> str:
    """The last four of a secret that waits for Graph's word; empty where none does."""
    found = SetupSecret.objects.filter(partner=partner, step=step).values_list("last_four", flat=True)
    return found.first() or ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a step, in words, and Meta's numbers for its support."""

    words: Words
    # Whether Meta is asked for patience, and nothing was wrong with what was typed.
    is_passing: bool
    numbers: str


def fault_of(check: SetupCheck, language: str) -> Fault | None:
    """The words for a step that has failed."""
    if check.state != SetupCheck.State.FAILED:
        return None
    numbers = [str(check.code)] if check.code is not None else []
    numbers += [str(check.subcode)] if check.subcode is not None else []
    if found := PROBLEMS.get(check.problem):
        return Fault(_filled(found, check.facts), is_passing=False, numbers="/".join(numbers))
    said = explain(check.failure_class, check.code, check.subcode, language=language)
    words = Words(said.title, said.what_happened, said.what_to_do)
    passing = check.failure_class in ("transient", "rate_limited", "unsent", "in_doubt")
    return Fault(words, is_passing=passing, numbers="/".join(numbers))


def _filled(words: Words, facts: Mapping[str, Any]) -> Words:
    known = {name: str(value) for name, value in facts.items() if isinstance(value, str)}

    def fill(text: str) -> str:
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    return Words(fill(words.title), fill(words.cause), tuple(fill(step) for step in words.steps))


def call_counts(partner: Partner) -> list[tuple[Any, int, int]]:
    """(day, succeeded, failed), all books together, the newest first."""
    totals: dict[Any, list[int]] = {}
    for day, good, bad in GraphCallCount.objects.filter(partner=partner).values_list(
        "day", "succeeded", "failed"
    ):
        total = totals.setdefault(day, [0, 0])
        total[0] += good
        total[1] += bad
    return [(day, good, bad) for day, (good, bad) in sorted(totals.items(), reverse=True)]
