"""Dry run: the request that would be sent for some events, byte for byte, with nothing in it that opens anything.

Reads only. The token is shown by its last four; the proof that goes with a token of the partner's own app is as many
asterisks as it has digits, so that the length is right.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connection
from django.utils import timezone

from events.facts import read_facts
from events.models import Event
from events.replay import Fact, Filter, Tally, Verdict, chunks, judge
from onboarding.models import Credential, Option, Pixel
from onboarding.selectors import credentials_in_use
from partnerhub.lib.graph import limits
from partnerhub.lib.graph.bodies import events_body

# Offsets that one dry run looks at, at most: a page does not read a log from end to end.
LOOKED_AT = 20_000
# As a proof: 64 hex digits (HMAC-SHA-256).
MASKED_PROOF = "*" * 64


@dataclass(frozen=True, slots=True)
class DryRun:
    """One request as it would be sent now, and what of the range it leaves out, by verdict."""

    url: str
    headers: dict[str, str]
    body: bytes
    offsets: list[int]
    left_out: Tally
    # Where the next request would begin; None at the end of the range.
    next_offset: int | None
    method: str = field(default="POST")

    @property
    def curl(self) -> str:
        """As a command to copy: the token is to be put in."""
        headers = [f"--header {shlex.quote(f'{name}: {value}')}" for name, value in self.headers.items()]
        parts = [f"curl --request {self.method} {shlex.quote(self.url)}", *headers]
        return " \\\n  ".join([*parts, f"--data-raw {shlex.quote(self.body.decode())}"])

    @property
    def text(self) -> str:
        """As it goes over the wire: request line, headers, body."""
        lines = [f"{self.method} {self.url}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\n".join([*lines, "", self.body.decode()])


def dry_run(pixel: Pixel, *, first: int, last: int, wanted: Filter | None = None) -> DryRun:
    """The first request for the range: with a filter as a replay would send it, else whatever could be sent at all."""
    tally = Tally()
    chosen: list[Fact] = []
    following: int | None = None
    now = timezone.now()
    end = min(last, first + LOOKED_AT - 1)
    for begin, until in chunks(first, end, limits.EVENTS_PER_REQUEST):
        with connection.cursor() as cursor:
            facts = read_facts(
                cursor, advertiser_id=pixel.advertiser_id, pixel_id=pixel.pk, first=begin, last=until
            )
        for fact in facts:
            verdict = judge(fact, wanted or Filter(), now=now)
            # In doubt, too: a replay has its own delivery sent again.
            is_sent = verdict in (Verdict.NEW, Verdict.AGAIN, Verdict.DOUBT)
            if wanted is None and verdict not in (Verdict.TOO_OLD, Verdict.ERASED):
                is_sent = True
            if not is_sent:
                tally.add(verdict)
            elif len(chosen) == limits.EVENTS_PER_REQUEST:
                following = fact.log_offset
                break
            else:
                chosen.append(fact)
        if following is not None:
            break
    if following is None and end < last:
        following = end + 1
    return _request(pixel, [fact.log_offset for fact in chosen], tally, following)


def _request(pixel: Pixel, offsets: list[int], tally: Tally, following: int | None) -> DryRun:
    credential = credentials_in_use([pixel.pk]).get(pixel.pk)
    payloads = Event.objects.filter(
        advertiser=pixel.advertiser_id, pixel=pixel, log_offset__in=offsets
    ).order_by("log_offset")
    body = events_body(
        [bytes(payload) for payload in payloads.values_list("payload", flat=True)],
        partner_agent=pixel.advertiser.partner.partner_agent,
        appsecret_proof=MASKED_PROOF if _is_proven(credential) else None,
    )
    config = settings.CONFIG
    return DryRun(
        url=f"{config.graph_api_base_url.rstrip('/')}/{config.graph_api_version}/{pixel.meta_id}/events",
        headers={
            "Authorization": f"Bearer ****{credential.last_four if credential else ''}",
            "Content-Type": "application/json",
        },
        body=body,
        offsets=offsets,
        left_out=tally,
        next_offset=following,
    )


def _is_proven(credential: Credential | None) -> bool:
    return credential is not None and credential.option != Option.PASTED_TOKEN
