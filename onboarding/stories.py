"""How tokens stand and how they came to that, for pages: reads that shape, bounded, and no secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Case, DateTimeField, F, Q, QuerySet, Value, When
from django.db.models.functions import Least, TruncDate

from onboarding.guardian import GUESSED_LIFE, REMINDER_DAYS, End
from onboarding.models import Credential, CredentialEvent, GraphOutage, Option, Pixel
from onboarding.services.notices import end_of_token
from onboarding.services.outages import outages, suspected
from partnerhub.lib.charts import BarChart, count_bars
from partnerhub.lib.graph.remedies import explain
from tenants.models import Advertiser, Partner, PartnerCredential, TokenFacts

LINES: Final = 30
ROWS: Final = 100
# What the picture shows: the life of a 60-day token.
DAYS_SHOWN: Final = 60
SOON: Final = timedelta(days=max(REMINDER_DAYS))

Kind = CredentialEvent.Kind
# Kind → the timeline's state, and what happened.
_LINES: Final[Mapping[str, tuple[str, str]]] = {
    Kind.ISSUED: ("neutral", "Connected"),
    Kind.PROVEN: ("working", "Proven: Meta counted a test event"),
    Kind.REFUSED: ("failing", "Refused by Meta"),
    Kind.MENDED: ("working", "Works again"),
    Kind.REFRESHED: ("working", "Renewed by PartnerHub"),
    Kind.REMINDED: ("waiting", "People were told"),
    Kind.REVOKED: ("neutral", "The old access was ended at Meta"),
    Kind.REVOKE_FAILED: ("late", "Meta did not end the old access"),
    Kind.RETIRED: ("neutral", "Replaced"),
    Kind.ACCESS_LOST: ("failing", "The pixel is out of its reach"),
    Kind.APP_REMOVED: ("failing", "The app was removed at Meta"),
}


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One thing that happened to a pixel's credential."""

    state: str
    title: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """A pixel's credential: how it stands, when it ends, and what happened, the newest first."""

    credential: Credential | None
    end: End | None
    lines: list[StoryLine]


def credential_story(pixel: Pixel, credential: Credential | None, *, language: str) -> Story:
    """The story of the pixel's credentials, the one in use and those before it. Two queries at most."""
    found = CredentialEvent.objects.filter(pixel=pixel).select_related("person", "credential")
    lines = [_line(event, language) for event in found.order_by("-id")[:LINES]]
    return Story(credential, end_of_token(credential) if credential else None, lines)


def _line(event: CredentialEvent, language: str) -> StoryLine:
    state, title = _LINES[event.kind]
    who = f"By {event.person}. " if event.person else ""
    match event.kind:
        case Kind.ISSUED:
            option = event.detail.get("option", event.credential.option)
            text = f"{who}By {Option(option).label}, token …{event.credential.last_four}."
        case Kind.REFUSED if event.failure_class:
            words = explain(
                event.failure_class,
                event.code,
                event.subcode,
                language=language,
                option=event.credential.option,
            )
            numbers = "" if event.code is None else f" ({_numbers(event)})"
            text = f"{words.title}{numbers}. {words.what_happened}"
        case Kind.REFUSED:
            text = "The partner's token was refused; its people were told."
        case Kind.REMINDED:
            days = event.detail.get("days")
            count = int(event.detail.get("recipients", 0))
            people = "1 person" if count == 1 else f"{count} people"
            text = f"{people}: {f'it ends within {days} days' if days else 'Meta refuses it'}."
        case _:
            text = who
    return StoryLine(state, title, event.at, text.strip())


def _numbers(event: CredentialEvent) -> str:
    return f"{event.code}/{event.subcode}" if event.subcode is not None else f"{event.code}"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A pixel's token in a list, how it stands and how long it lives."""

    credential: Credential
    end: End | None
    state: str
    word: str

    @property
    def is_dying(self) -> bool:
        """Whether somebody has to act."""
        return self.state in ("failing", "late")


@dataclass(frozen=True, slots=True)
class TokenPage:
    """A page of tokens, those with the least time first; counts are of all of them."""

    rows: list[TokenRow]
    total: int
    dying: int
    refused: int
    chart: BarChart
    older: int | None


def token_page(tenant: Advertiser | Partner, *, only_dying: bool, start: int, now: datetime) -> TokenPage:
    """The tokens in use of an advertiser, or of all of a partner's, whose death is nearest first."""
    every = _in_use(tenant)
    dying = every.filter(_dying(now))
    shown = (dying if only_dying else every).order_by("-is_refused", F("ends").asc(nulls_last=True), "pk")
    rows = list(shown.select_related("pixel__advertiser", "partner_credential")[start : start + ROWS + 1])
    return TokenPage(
        rows=[_row(credential, now) for credential in rows[:ROWS]],
        total=every.count(),
        dying=dying.count(),
        refused=every.filter(state=TokenFacts.State.REFUSED).count(),
        chart=_chart(every, now),
        older=start + ROWS if len(rows) > ROWS else None,
    )


def _in_use(tenant: Advertiser | Partner) -> QuerySet[Any, Any]:
    of = Q(advertiser=tenant) if isinstance(tenant, Advertiser) else Q(advertiser__partner=tenant)
    # As onboarding.guardian.end_of has it: PostgreSQL's LEAST passes over what is not known.
    ends = Case(
        When(option=Option.SHARED_PIXEL, then=None),
        When(expiry=TokenFacts.Expiry.DATED, then=Least("expires_at", "data_access_expires_at")),
        When(
            expiry=TokenFacts.Expiry.UNKNOWN,
            then=Least(F("created_at") + GUESSED_LIFE, "data_access_expires_at"),
        ),
        default=F("data_access_expires_at"),
        output_field=DateTimeField(),
    )
    return (
        Credential.objects.filter(of)
        .exclude(state=TokenFacts.State.RETIRED)
        .annotate(ends=ends, is_refused=Case(When(state="refused", then=Value(1)), default=Value(0)))
    )


def _dying(now: datetime) -> Q:
    # What has passed unrefused was a wrong guess.
    soon = Q(ends__gt=now, ends__lte=now + SOON)
    return Q(state=TokenFacts.State.REFUSED) | soon


def _row(credential: Credential, now: datetime) -> TokenRow:
    end = end_of_token(credential)
    if credential.state == TokenFacts.State.REFUSED:
        return TokenRow(credential, end, "failing", "Refused")
    if end is not None and now < end.at <= now + SOON:
        return TokenRow(credential, end, "late", "May end soon" if end.is_guess else "Ends soon")
    if credential.state == TokenFacts.State.UNTESTED:
        return TokenRow(credential, end, "waiting", "Not tested")
    return TokenRow(credential, end, "working", "Working")


def _chart(every: QuerySet[Any, Any], now: datetime) -> BarChart:
    until = now + timedelta(days=DAYS_SHOWN)
    found = (
        every.filter(ends__gt=now, ends__lt=until)
        .annotate(day=TruncDate("ends"))
        .values_list("day", flat=True)
    )
    counts: Counter[date] = Counter(found)
    first = now.date()
    days = [first + timedelta(days=ahead) for ahead in range(DAYS_SHOWN)]
    return count_bars([(f"{day:%-d %b}", counts[day]) for day in days], tick_every=10)


def partner_tokens(partner: Partner) -> list[PartnerCredential]:
    """The partner's own tokens. Without what is sealed."""
    found = PartnerCredential.objects.filter(partner=partner).defer("sealed")
    return list(found.exclude(kind=PartnerCredential.Kind.APP_SECRET).order_by("kind"))


@dataclass(frozen=True, slots=True)
class GraphWatch:
    """What an operator sees of Graph's bad hours."""

    outages: list[GraphOutage]
    suspected: int


def graph_watch() -> GraphWatch:
    """Graph's bad hours of the last month, and how many credentials are refused without being believed to be."""
    return GraphWatch(outages(), suspected().count())
