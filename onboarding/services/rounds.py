"""The guardian's rounds: a minute's share of the daily looks, and an operator's look at everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onboarding.models import Credential, Option
from onboarding.services.guardian import look_at_credential, look_at_due
from onboarding.services.outages import open_outage, watch_outage
from onboarding.services.partner_tokens import look_at_partner, partners
from partnerhub.lib.graph import GraphClient
from tenants.models import TokenFacts

# Of an operator's look: so many are read from the database at a time.
ALL_BATCH = 500


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did."""

    credentials: int
    of_partners: int


def guard_round(*, client: GraphClient) -> Round:
    """A minute's share: whether an outage is over, the partners' own tokens, then the credentials that are due.

    Bounded in calls and in time; any number at once.
    """
    watch_outage()
    of_partners = sum(look_at_partner(partner_id=partner, client=client) for partner in partners())
    return Round(look_at_due(client=client), of_partners)


def look_at_all(*, client: GraphClient, limit: int | None, report: Callable[[int, str], None]) -> int:
    """Look at every credential in use now, due or not, up to a limit. How many; stops where Graph is suspected.

    `report` hears of each: how many so far, and what was found.
    """
    looked = 0
    for partner_id in partners():
        looked += look_at_partner(partner_id=partner_id, client=client, is_forced=True)
    report(looked, "tokens of partners and shared pixels")
    for credential_id, advertiser_id in _all_credentials():
        if limit is not None and looked >= limit:
            break
        seen = look_at_credential(
            credential_id=credential_id, advertiser_id=advertiser_id, client=client, is_forced=True
        )
        if seen is None:
            continue
        looked += 1
        report(looked, str(seen.finding))
        if looked % ALL_BATCH == 0 and open_outage() is not None:
            break
    return looked


def _all_credentials() -> Iterator[tuple[int, int]]:
    last = 0
    while True:
        rows = (
            Credential.objects.filter(pk__gt=last)
            .exclude(state=TokenFacts.State.RETIRED)
            .exclude(option=Option.SHARED_PIXEL)
            .order_by("pk")
        )
        batch = list(rows.values_list("pk", "advertiser_id")[:ALL_BATCH])
        if not batch:
            return
        yield from batch
        last = batch[-1][0]
