"""A partner's set-up: what is typed is kept, what Graph can tell is asked by a worker, what it proves is in force.

A secret that is typed over one in use stands beside it until Graph has said yes (SetupSecret): nothing that works is
given up for something that may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from onboarding.models import GraphCallCount, SetupCheck, SetupSecret
from onboarding.services.guardian import told
from onboarding.services.openings import partner_side
from onboarding.services.partner_tokens import LOOK_AT_PARTNER
from onboarding.setup.asking import Calls, Finding, Subject, ask, revoke
from partnerhub.lib.after_commit import hint_after_commit
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.graph.errors import FailureClass
from partnerhub.lib.vault import Secret, VaultError
from tenants.branding import Picture
from tenants.models import Logo, Partner, PartnerCredential, Person, TokenFacts, partner_identity
from tenants.secrets import vault

logger = structlog.get_logger(__name__)

CHECK: Final = "onboarding.check_setup"
# Five calls of fifteen seconds at the most.
LEASE: Final = timedelta(minutes=2)
HINT_AGAIN_AFTER: Final = timedelta(seconds=30)

_Step = SetupCheck.Step
_State = SetupCheck.State
# Whose secret it is, once it is proven.
_KIND: Final = {
    _Step.APP: PartnerCredential.Kind.APP_SECRET,
    _Step.ASSIGNING: PartnerCredential.Kind.ASSIGNING_TOKEN,
    _Step.SENDING: PartnerCredential.Kind.SENDING_TOKEN,
}
# What passes by itself: the secret that was typed is kept, to be checked again.
_PASSING: Final = frozenset(
    {FailureClass.TRANSIENT, FailureClass.RATE_LIMITED, FailureClass.UNSENT, FailureClass.IN_DOUBT}
)


class NameTaken(Exception):
    """Another partner has this name."""


# What a person does.


@transaction.atomic
def save_step(*, partner: Partner, step: str, person: Person, **fields: Any) -> None:
    """Keep a step of which Graph tells nothing: it has passed with what was typed."""
    if fields:
        Partner.objects.filter(pk=partner.pk).update(**fields)
    _upsert(partner, step, person, state=_State.PASSED, checked_at=timezone.now())


def save_branding(
    *,
    partner: Partner,
    person: Person,
    name: str,
    brand_colour: str,
    logo: Picture | None,
    is_logo_removed: bool,
) -> None:
    """Keep the partner's name and looks. Raises NameTaken."""
    try:
        with transaction.atomic():
            save_step(
                partner=partner, step=_Step.BRANDING, person=person, name=name, brand_colour=brand_colour
            )
            if logo is not None:
                Logo.objects.update_or_create(
                    partner=partner,
                    defaults={
                        "content": logo.content,
                        "content_type": logo.content_type,
                        "digest": logo.digest,
                    },
                )
            elif is_logo_removed:
                Logo.objects.filter(partner=partner).delete()
    except IntegrityError as error:
        if "partner_name_unique" in str(error):
            raise NameTaken from None
        raise


@transaction.atomic
def ask_check(
    *,
    partner: Partner,
    step: str,
    person: Person | None,
    wanted: Mapping[str, Any] | None = None,
    secret: Secret | None = None,
    **fields: Any,
) -> SetupCheck:
    """Have a worker ask Graph about the step. `fields` are the partner's, in force at once; `secret` is not.

    Without `wanted` what was typed the last time is checked again. A check under way is asked anew.
    """
    if fields:
        Partner.objects.filter(pk=partner.pk).update(**fields)
    if secret is not None:
        # Two that are sent at once come one after the other.
        Partner.objects.select_for_update(no_key=True).only("pk").get(pk=partner.pk)
        SetupSecret.objects.filter(partner=partner, step=step).delete()
        waiting = SetupSecret(partner=partner, step=step, last_four=secret.last_four)
        waiting.sealed = vault().seal(secret, identity=waiting.vault_identity)
        # Not by save(), which would read it back: the web site may not.
        SetupSecret.objects.bulk_create([waiting])
    anew = {} if wanted is None else {"wanted": dict(wanted)}
    check = _upsert(partner, step, person, state=_State.WAITING, asked_at=timezone.now(), **anew)
    hint_after_commit(CHECK, check.pk)
    return check


def _upsert(partner: Partner, step: str, person: Person | None, **fields: Any) -> SetupCheck:
    forgotten = {"problem": "", "failure_class": "", "code": None, "subcode": None, "fbtrace_id": ""}
    check, _ = SetupCheck.objects.update_or_create(
        partner=partner, step=step, defaults=forgotten | {"asked_by": person} | fields
    )
    return check


# What a worker does.


def run_setup_check(*, check_id: int, client: GraphClient) -> bool:
    """Ask Graph about one step and keep what it said. False where there was nothing to do."""
    found = SetupCheck.objects.filter(pk=check_id, state=_State.WAITING).first()
    if found is None:
        return False
    with tenant_scope(partner_id=found.partner_id):
        taken = SetupCheck.objects.filter(pk=check_id, state=_State.WAITING, asked_at=found.asked_at)
        if not taken.update(state=_State.RUNNING):
            return False
        try:
            subject = _subject(found)
        except VaultError as error:
            logger.error("a partner's secret does not open", partner_id=found.partner_id, reason=str(error))
            _settle(found, Finding("sealed"))
            return True
    finding = ask(subject, client)
    with tenant_scope(partner_id=found.partner_id):
        is_kept = _settle(found, finding)
    _revoke_what_is_over(found, subject, finding, client, is_kept=is_kept)
    return is_kept


def _revoke_what_is_over(
    check: SetupCheck, subject: Subject, finding: Finding, client: GraphClient, *, is_kept: bool
) -> None:
    """End tokens that we made at Meta and that nobody holds any more. What a person generated is theirs."""
    if check.step != _Step.SENDING or finding.secret is None:
        return
    before = subject.side.sending_token
    if not is_kept and finding.facts.get("made"):
        revoke(subject.side, finding.secret, client)
    elif is_kept and check.facts.get("made") and before is not None and before != finding.secret:
        revoke(subject.side, before, client)


def _subject(check: SetupCheck) -> Subject:
    partner = Partner.objects.get(pk=check.partner_id)
    secret = SetupSecret.objects.filter(partner=partner, step=check.step).first()
    candidate = (
        vault().open(bytes(secret.sealed), identity=secret.vault_identity) if secret is not None else None
    )
    return Subject(
        check_id=check.pk,
        step=check.step,
        side=partner_side(partner),
        own_pixel_id=partner.own_pixel_id,
        wanted=check.wanted,
        candidate=candidate,
    )


def _settle(check: SetupCheck, finding: Finding) -> bool:
    """Write down what was found, unless the person has asked anew meanwhile."""
    _count(check.partner_id, finding.calls)
    error = finding.error
    passing = not finding.problem and error is not None and error.failure_class in _PASSING
    kept = SetupCheck.objects.filter(pk=check.pk, state=_State.RUNNING, asked_at=check.asked_at).update(
        state=_State.PASSED if finding.has_passed else _State.FAILED,
        facts=_kept_facts(check, finding),
        problem=finding.problem,
        failure_class=str(error.failure_class) if error else "",
        code=error.code if error else None,
        subcode=error.subcode if error else None,
        fbtrace_id=(error.fbtrace_id or "") if error else str(finding.facts.get("fbtrace_id", ""))[:64],
        checked_at=timezone.now(),
    )
    if not kept:
        return False
    if finding.facts.get("made"):
        # Once is enough: the next check is of this token.
        SetupCheck.objects.filter(pk=check.pk).update(wanted={})
    if not passing:
        SetupSecret.objects.filter(partner=check.partner_id, step=check.step).delete()
    if finding.has_passed:
        _put_in_force(check, finding)
    return True


def _kept_facts(check: SetupCheck, finding: Finding) -> dict[str, Any]:
    """What is kept of the answer. That the token in force is one of ours is known on after a later check, too."""
    facts = dict(finding.facts)
    is_unchanged = (
        not finding.has_passed
        or not SetupSecret.objects.filter(partner=check.partner_id, step=check.step).exists()
    )
    if check.step == _Step.SENDING and check.facts.get("made") and is_unchanged:
        facts["made"] = True
    return facts


def _put_in_force(check: SetupCheck, finding: Finding) -> None:
    """What Graph proved: ids, and the secret in the place of the one before."""
    partner = Partner.objects.get(pk=check.partner_id)
    if finding.ids:
        Partner.objects.filter(pk=partner.pk).update(**finding.ids)
    kind = _KIND.get(_Step(check.step))
    if kind is None or finding.secret is None:
        return
    now = timezone.now()
    facts: dict[str, Any] = {
        "sealed": vault().seal(finding.secret, identity=partner_identity(partner.pk, kind)),
        "last_four": finding.secret.last_four,
        "state": TokenFacts.State.WORKING,
        "last_good_at": now,
        "refused_at": None,
        "failure_class": "",
        "code": None,
        "subcode": None,
        "look_due_at": now,
    }
    if finding.standing is not None:
        facts |= told(finding.standing)
    PartnerCredential.objects.update_or_create(partner=partner, kind=kind, defaults=facts)
    if kind == PartnerCredential.Kind.SENDING_TOKEN:
        # Shared pixels that the old one's death stopped go on.
        hint_after_commit(LOOK_AT_PARTNER, partner.pk)


def sweep_setup_checks(now: datetime | None = None) -> None:
    """Hint again at checks that wait, and end those whose worker died."""
    now = now or timezone.now()
    waiting = SetupCheck.objects.filter(state=_State.WAITING, asked_at__lt=now - HINT_AGAIN_AFTER)
    for check_id in waiting.values_list("pk", flat=True):
        hint_after_commit(CHECK, check_id)
    for check in SetupCheck.objects.filter(state=_State.RUNNING, asked_at__lt=now - LEASE):
        with tenant_scope(partner_id=check.partner_id):
            SetupCheck.objects.filter(pk=check.pk, state=_State.RUNNING, asked_at=check.asked_at).update(
                state=_State.FAILED, problem="interrupted", checked_at=now
            )


# Calls that App Review counts.


def _count(partner_id: int, calls: Calls) -> None:
    """Add the calls of one check to today's."""
    if not calls.succeeded and not calls.failed:
        return
    day = timezone.now().date()
    row, _ = GraphCallCount.objects.get_or_create(
        partner_id=partner_id, day=day, source=GraphCallCount.Source.SET_UP
    )
    GraphCallCount.objects.filter(pk=row.pk).update(
        succeeded=F("succeeded") + calls.succeeded, failed=F("failed") + calls.failed
    )
