"""Graph's bad hours: many tokens refused at once are not believed, and while that lasts no refusal holds a pixel.

The rule is onboarding.guardian's. What is refused meanwhile is noted with its credential, whose state stays as it was.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import connection, models
from django.utils import timezone

from onboarding.guardian import WINDOW, Evidence, Outcome, is_graph_suspect, outage_outcome
from onboarding.models import Credential, GraphOutage
from partnerhub.lib.graph.errors import FailureClass

logger = structlog.get_logger(__name__)

# A refusal of a shared pixel for its partner's token is no word of Graph's, and has no class.
_REFUSALS: Final = (FailureClass.CREDENTIAL, FailureClass.PERMISSION)
_REFUSED: Final = """
SELECT count(*), count(DISTINCT advertiser_id)
FROM onboarding_credential
WHERE refused_at > %(since)s AND state <> 'retired' AND failure_class IN ('credential', 'permission')
  AND id <> %(besides)s
"""
_GOOD: Final = """
SELECT count(*) FROM onboarding_credential WHERE last_good_at > %s AND refused_at IS NULL AND state <> 'retired'
"""
_WORKED: Final = """
UPDATE onboarding_credential
SET last_good_at = clock_timestamp(),
    refused_at = CASE WHEN state = 'refused' THEN refused_at END,
    failure_class = CASE WHEN state = 'refused' THEN failure_class ELSE '' END,
    code = CASE WHEN state = 'refused' THEN code END,
    subcode = CASE WHEN state = 'refused' THEN subcode END
WHERE id = %(credential)s AND state <> 'retired'
  AND (last_good_at IS NULL OR last_good_at < clock_timestamp() - %(seconds)s * interval '1 second'
    OR refused_at IS NOT NULL AND state <> 'refused')
"""
# "Last good" to the minute: a busy pixel's row is not written with each of its deliveries.
GOOD_AGAIN_SECONDS: Final = 60


def note_good_answer(cursor: Any, credential_id: int) -> None:
    """Graph took in a delivery with the credential. Written once a minute; forgets a refusal that was not believed."""
    cursor.execute(_WORKED, {"credential": credential_id, "seconds": GOOD_AGAIN_SECONDS})


def open_outage() -> GraphOutage | None:
    """The bad hour that is going on."""
    return GraphOutage.objects.filter(ended_at=None).first()


def is_refusal_doubted(
    *, credential_id: int, failure_class: str, code: int | None, subcode: int | None
) -> bool:
    """Whether the refusal is taken for a fault of Graph's own: then it holds nothing, and what was sent waits.

    It is noted with the credential. Runs in the transaction, and in the scope, of whoever was refused; costs one
    look-up, and a count by an index where no outage is open.
    """
    if failure_class not in _REFUSALS:
        return False
    now = timezone.now()
    if not GraphOutage.objects.filter(ended_at=None).exists():
        found = evidence(now - WINDOW, besides=credential_id)
        # With this one, which is another advertiser's in the case that matters.
        counted = Evidence(found.refused + 1, found.advertisers, found.good)
        if not is_graph_suspect(counted):
            return False
        _begin(counted, now)
    Credential.objects.filter(pk=credential_id, refused_at=None).exclude(
        state=Credential.State.RETIRED
    ).update(refused_at=now, failure_class=failure_class, code=code, subcode=subcode)
    return True


def evidence(since: datetime, *, besides: int = 0) -> Evidence:
    """What Graph said of credentials since then, without one of them. The good ones are counted where it matters."""
    with connection.cursor() as cursor:
        cursor.execute(_REFUSED, {"since": since, "besides": besides})
        refused, advertisers = cursor.fetchone()
        if not is_graph_suspect(Evidence(refused + 1, advertisers, 0)):
            return Evidence(refused, advertisers, 0)
        cursor.execute(_GOOD, [timezone.now() - WINDOW])
        (good,) = cursor.fetchone()
    return Evidence(refused, advertisers, good)


def _begin(found: Evidence, now: datetime) -> None:
    # Two at once: one row, by its constraint.
    GraphOutage.objects.bulk_create(
        [GraphOutage(began_at=now, refused=found.refused, good=found.good, advertisers=found.advertisers)],
        ignore_conflicts=True,
    )
    logger.critical(
        "Graph refuses many tokens at once: no pixel is held until this is over",
        refused=found.refused,
        advertisers=found.advertisers,
        good=found.good,
    )


def watch_outage(*, now: datetime | None = None) -> Outcome | None:
    """Whether the open outage is over; None: there is none, or it goes on. Twice at once is once."""
    now = now or timezone.now()
    outage = open_outage()
    if outage is None:
        return None
    found = evidence(outage.began_at - WINDOW)
    outcome = outage_outcome(found, began_at=outage.began_at, now=now)
    if outcome is None:
        logger.error(
            "Graph's outage goes on",
            since=outage.began_at.isoformat(),
            refused=found.refused,
            good=found.good,
        )
        return None
    ended = GraphOutage.objects.filter(pk=outage.pk, ended_at=None).update(ended_at=now, outcome=str(outcome))
    if ended:
        logger.critical("Graph's outage is over", outcome=str(outcome), refused=found.refused)
    return outcome if ended else None


def suspected() -> models.QuerySet[Credential]:
    """Credentials that were refused and not believed to be: their state says nothing of it."""
    return Credential.objects.filter(refused_at__isnull=False).exclude(
        state__in=[Credential.State.REFUSED, Credential.State.RETIRED]
    )


def outages(*, days: int = 30) -> list[GraphOutage]:
    """Those of the last days, the newest first."""
    since = timezone.now() - timedelta(days=days)
    return list(GraphOutage.objects.filter(began_at__gt=since).order_by("-began_at")[:50])
