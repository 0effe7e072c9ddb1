"""What the pages about events show: reads that join and shape, bounded, never a scan of the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, F, Min, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from events.facts import WIDEST_RANGE
from events.fates import offsets_with
from events.health import BADGES, RANK, WORDS, Facts, Health, Verdict, judge
from events.losses import first_losses, time_left
from events.models import (
    Backlog,
    Delivery,
    DeliveryFinding,
    Event,
    HourlyCount,
    IngestToken,
    LedgerCheck,
    PixelLog,
    Rejection,
)
from events.replay import Fate
from onboarding.models import ConnectionTest, Credential, Pixel
from onboarding.selectors import credentials_in_use, latest_tests
from partnerhub.lib.charts import BarChart, Sparkline, hour_bars, sparkline
from partnerhub.lib.graph.remedies import Explanation, explain
from tenants.models import Advertiser, Partner
from tenants.selectors import open_advertiser_invitations

# Deliveries whose events have not reached their end.
OPEN_STATES = (Delivery.State.WAITING, Delivery.State.CLAIMED, Delivery.State.SENDING, Delivery.State.DOUBT)
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Hour:
    """Events taken in within one hour."""

    start: datetime
    taken: int


@dataclass(frozen=True, slots=True)
class PixelOverview:
    """A pixel with what a list or its own page says of it."""

    pixel: Pixel
    credential: Credential | None
    last_test: ConnectionTest | None
    verdict: Verdict
    hours: list[Hour]
    waiting: int
    in_doubt: int
    rejected: int
    # Of a pixel that is held: when the first of its events would be too old for Meta.
    first_loss_at: datetime | None
    now: datetime

    @property
    def time_left(self) -> str:
        """How long until the first loss, in words; empty where none is near."""
        return "" if self.first_loss_at is None else time_left(self.first_loss_at, now=self.now)

    @property
    def taken_today(self) -> int:
        """Events of the last 24 hours."""
        return sum(hour.taken for hour in self.hours)

    @property
    def chart(self) -> BarChart:
        """The last 24 hours, drawn in the viewer's zone."""
        return hour_bars(
            [(hour.start, hour.taken) for hour in self.hours], zone=timezone.get_current_timezone()
        )


def overviews(pixels: Sequence[Pixel], *, now: datetime) -> list[PixelOverview]:
    """An overview of each pixel, in a fixed number of queries."""
    ids = [pixel.pk for pixel in pixels]
    credentials = credentials_in_use(ids)
    tests = latest_tests(ids)
    logs = {log.pixel_id: log for log in PixelLog.objects.filter(pixel__in=ids)}
    piles = _piles(ids)
    open_ranges = _open_ranges(ids)
    losses = first_losses(pixel.pk for pixel in pixels if pixel.hold)
    hours = _hours(ids, now=now)
    day_ago = now - timedelta(hours=24)
    rejected = dict(
        Rejection.objects.filter(pixel__in=ids, created_at__gte=day_ago)
        .values_list("pixel_id")
        .annotate(count=Count("pk"))
    )
    found = []
    for pixel in pixels:
        log = logs.get(pixel.pk)
        ranges = open_ranges.get(pixel.pk, _NOTHING_OPEN)
        pile = piles.get(pixel.pk, _NO_PILE)
        waiting = (log.unclaimed if log else 0) + pile.left + ranges.waiting
        since = [moment for moment in (ranges.since, pile.since, _first_unclaimed_at(log)) if moment]
        credential = credentials.get(pixel.pk)
        test = tests.get(pixel.pk)
        facts = Facts(
            has_credential=credential is not None,
            credential_refused=credential is not None and credential.state == Credential.State.REFUSED,
            last_test_passed=_passed(test, credential),
            hold=pixel.hold,
            waiting=waiting,
            waiting_since=min(since) if since else None,
            in_doubt=ranges.in_doubt,
        )
        found.append(
            PixelOverview(
                pixel=pixel,
                credential=credential,
                last_test=test,
                verdict=judge(facts, now=now),
                hours=hours[pixel.pk],
                waiting=waiting,
                in_doubt=ranges.in_doubt,
                rejected=rejected.get(pixel.pk, 0),
                first_loss_at=losses.get(pixel.pk),
                now=now,
            )
        )
    return found


def _passed(test: ConnectionTest | None, credential: Credential | None) -> bool | None:
    if test is None or credential is None or test.credential_id != credential.pk or not test.is_finished:
        return None if credential is None or credential.state == Credential.State.UNTESTED else True
    return test.state == ConnectionTest.State.PASSED


def _first_unclaimed_at(log: PixelLog | None) -> datetime | None:
    return log.tail_received_at if log and log.unclaimed else None


@dataclass(frozen=True, slots=True)
class _Pile:
    left: int = 0
    since: datetime | None = None


_NO_PILE = _Pile()
# What a backlog has left is between its cursor and its end: no event is counted.
_LEFT = F("last_offset") - F("next_offset") + 1


def _piles(pixel_ids: Iterable[int]) -> dict[int, _Pile]:
    """What backlogs have left, by pixel."""
    rows = (
        Backlog.objects.filter(pixel__in=list(pixel_ids), drained_at=None)
        .values("pixel_id")
        .annotate(set_aside=Sum(_LEFT), since=Min("next_received_at"))
    )
    return {row["pixel_id"]: _Pile(row["set_aside"], row["since"]) for row in rows}


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a pixel has drained what was set aside: what is handed to delivery of what there was."""

    total: int
    done: int
    since: datetime
    rate_per_second: float
    # At this rate; None before the first batch.
    done_by: datetime | None

    @property
    def left(self) -> int:
        """Events still set aside."""
        return self.total - self.done


def drain_progress(pixel_id: int, *, now: datetime) -> DrainProgress | None:
    """How far the pixel has drained its backlogs; None where nothing is set aside."""
    found = Backlog.objects.filter(pixel=pixel_id, drained_at=None).aggregate(
        total=Sum(F("last_offset") - F("first_offset") + 1), left=Sum(_LEFT), since=Min("created_at")
    )
    if not found["total"]:
        return None
    done = found["total"] - found["left"]
    rate = done / max((now - found["since"]).total_seconds(), 1.0)
    return DrainProgress(
        total=found["total"],
        done=done,
        since=found["since"],
        rate_per_second=rate,
        done_by=now + timedelta(seconds=found["left"] / rate) if rate else None,
    )


@dataclass(frozen=True, slots=True)
class _OpenRanges:
    waiting: int = 0
    in_doubt: int = 0
    since: datetime | None = None


_NOTHING_OPEN = _OpenRanges()


def _open_ranges(pixel_ids: Iterable[int]) -> dict[int, _OpenRanges]:
    """Events in deliveries that have not ended, by pixel; those that a rejection took out are not among them.

    Replays are beside the books: their events have a fate already.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_RANGES, [list(pixel_ids)])
        return {pixel_id: _OpenRanges(*row) for pixel_id, *row in cursor.fetchall()}


_OPEN_RANGES = """
SELECT pixel_id, coalesce(sum(events) FILTER (WHERE state <> 'doubt'), 0)::bigint,
    coalesce(sum(events) FILTER (WHERE state = 'doubt'), 0)::bigint,
    min(first_received_at) FILTER (WHERE state <> 'doubt')
FROM (
    SELECT delivery.pixel_id, delivery.state, delivery.first_received_at,
        coalesce(cardinality(delivery.offsets), delivery.last_offset - delivery.first_offset + 1)
        - (SELECT count(*) FROM events_rejection AS rejection
           WHERE rejection.pixel_id = delivery.pixel_id
             AND rejection.log_offset BETWEEN delivery.first_offset AND delivery.last_offset
             AND (delivery.offsets IS NULL OR rejection.log_offset = ANY (delivery.offsets))) AS events
    FROM events_delivery AS delivery
    WHERE delivery.pixel_id = ANY (%s) AND delivery.state IN ('waiting', 'claimed', 'sending', 'doubt')
      AND delivery.replay_id IS NULL
) AS ranges
GROUP BY pixel_id
"""


def _hours(pixel_ids: Iterable[int], *, now: datetime) -> dict[int, list[Hour]]:
    """The last 24 hours of each pixel, oldest first, the running one last; an hour without events is a 0."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    starts = [this_hour - timedelta(hours=ago) for ago in range(23, -1, -1)]
    rows = (
        HourlyCount.objects.filter(pixel__in=list(pixel_ids), hour__gte=starts[0])
        .values("pixel_id", "hour")
        .annotate(taken=Sum("taken"))
    )
    taken = {(row["pixel_id"], row["hour"]): row["taken"] for row in rows}
    return {
        pixel_id: [Hour(start, taken.get((pixel_id, start), 0)) for start in starts] for pixel_id in pixel_ids
    }


FATE_WORDS = {
    Fate.WAITING: "Waiting",
    Fate.SENDING: "In flight",
    Fate.ACCEPTED: "Accepted",
    Fate.DOUBT: "In doubt",
    Fate.REJECTED: "Rejected",
}
# The badge component's kinds (docs/design-system.md).
FATE_BADGES = {
    Fate.WAITING: "waiting",
    Fate.SENDING: "waiting",
    Fate.ACCEPTED: "working",
    Fate.DOUBT: "late",
    Fate.REJECTED: "failing",
}
_FATES = {
    Delivery.State.WAITING: Fate.WAITING,
    Delivery.State.CLAIMED: Fate.SENDING,
    Delivery.State.SENDING: Fate.SENDING,
    Delivery.State.ACCEPTED: Fate.ACCEPTED,
    Delivery.State.DOUBT: Fate.DOUBT,
    Delivery.State.REJECTED: Fate.REJECTED,
}


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the log with its fate."""

    log_offset: int
    received_at: datetime
    event_name: str
    event_id: str
    fate: Fate
    delivery: Delivery | None
    rejection: Rejection | None
    is_mended: bool

    @property
    def word(self) -> str:
        """The fate, in words."""
        return FATE_WORDS[self.fate]

    @property
    def badge(self) -> str:
        """The badge component's kind."""
        return FATE_BADGES[self.fate]


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of the log, newest first. `older` is the offset to ask the next page with; None at the end."""

    rows: list[EventRow]
    older: int | None


def event_page(
    pixel: Pixel, *, before: int | None = None, size: int = PAGE_SIZE, fate: Fate | None = None
) -> EventPage:
    """The events right below the offset `before`, or the newest ones; of one fate, or of all."""
    log = PixelLog.objects.filter(pixel=pixel).first()
    if log is None:
        return EventPage([], None)
    if fate is not None:
        offsets, older = offsets_with(pixel, fate, before=before, size=size)
        found = Event.objects.filter(advertiser=pixel.advertiser_id, pixel=pixel, log_offset__in=offsets)
        return EventPage(rows_of(pixel, list(found.defer("payload").order_by("-log_offset"))), older)
    end = log.head if before is None else max(0, min(before, log.head))
    # Offsets are dense: a page is a range, and the range an index look-up a partition.
    events = list(
        Event.objects.filter(
            advertiser=pixel.advertiser_id, pixel=pixel, log_offset__lt=end, log_offset__gte=end - size
        )
        .defer("payload")
        .order_by("-log_offset")
    )
    rows = rows_of(pixel, events)
    older = rows[-1].log_offset if rows and rows[-1].log_offset > log.kept_from else None
    return EventPage(rows, older)


def rows_of(pixel: Pixel, events: Sequence[Event]) -> list[EventRow]:
    """The events with their fates."""
    if not events:
        return []
    first, last = min(e.log_offset for e in events), max(e.log_offset for e in events)
    deliveries = list(
        Delivery.objects.filter(
            pixel=pixel,
            replay=None,
            first_offset__gt=first - WIDEST_RANGE,
            first_offset__lte=last,
            last_offset__gte=first,
        )
        .exclude(state=Delivery.State.SPLIT)
        .order_by("pk")
    )
    rejections = {
        rejection.log_offset: rejection
        for rejection in Rejection.objects.filter(pixel=pixel, log_offset__range=(first, last))
    }
    rows = []
    for event in events:
        at = event.log_offset
        delivery = next((d for d in reversed(deliveries) if d.covers(at)), None)
        rejection = rejections.get(at)
        fate = Fate.WAITING if delivery is None else _FATES[Delivery.State(delivery.state)]
        rows.append(
            EventRow(
                log_offset=at,
                received_at=event.received_at,
                event_name=event.event_name,
                event_id=event.event_id,
                fate=Fate.REJECTED if rejection else fate,
                delivery=delivery,
                rejection=rejection,
                is_mended=bool(event.notices),
            )
        )
    return rows


def delivery_findings(pixel: Pixel, *, count: int = PAGE_SIZE) -> list[DeliveryFinding]:
    """The newest findings about accepted deliveries of the pixel, each with its delivery."""
    newest = DeliveryFinding.objects.filter(pixel=pixel).select_related("delivery").order_by("-pk")
    return list(newest[:count])


def ingest_tokens(pixel: Pixel) -> list[IngestToken]:
    """The pixel's ingest tokens, those in use first."""
    return list(IngestToken.objects.filter(pixel=pixel).order_by(F("revoked_at").asc(nulls_first=True), "pk"))


@dataclass(frozen=True, slots=True)
class Failure:
    """A rejection with the words for it."""

    rejection: Rejection
    explanation: Explanation


def explain_rejection(rejection: Rejection, *, language: str) -> Explanation:
    """The words for why one event will not be accepted."""
    return explain(rejection.reason, rejection.code, rejection.subcode, language=language)


def recent_failures(pixel: Pixel, *, language: str, count: int = 5) -> list[Failure]:
    """The newest rejections of the pixel, in words."""
    newest = Rejection.objects.filter(pixel=pixel).order_by("-pk")[:count]
    return [Failure(rejection, explain_rejection(rejection, language=language)) for rejection in newest]


@dataclass(frozen=True, slots=True)
class FleetRow:
    """An advertiser of the partner, with its pixels and its worst state."""

    advertiser: Advertiser
    pixels: list[PixelOverview]
    is_invited: bool = False

    @property
    def worst(self) -> PixelOverview | None:
        """The pixel that hurts most; None where there is no pixel yet."""
        return min(self.pixels, key=lambda overview: overview.verdict.rank, default=None)

    @property
    def first_loss(self) -> PixelOverview | None:
        """The pixel whose events can wait the least; None where no held pixel has any waiting."""
        held = [overview for overview in self.pixels if overview.first_loss_at is not None]
        return min(held, key=lambda overview: overview.first_loss_at or overview.now, default=None)

    @property
    def rank(self) -> tuple[int, bool, float, int]:
        """For sorting: worst state first, then the least time until a loss, then most events waiting."""
        worst, loss = self.worst, self.first_loss
        return (
            worst.verdict.rank if worst else RANK[Health.NOT_CONNECTED],
            loss is None,
            loss.first_loss_at.timestamp() if loss and loss.first_loss_at else 0.0,
            -self.waiting,
        )

    @property
    def waiting(self) -> int:
        """Events of all its pixels that wait."""
        return sum(overview.waiting for overview in self.pixels)

    @property
    def taken_today(self) -> int:
        """Events of the last 24 hours, all pixels."""
        return sum(overview.taken_today for overview in self.pixels)

    @property
    def hours(self) -> list[Hour]:
        """The last 24 hours of all its pixels together."""
        series = [overview.hours for overview in self.pixels]
        return [
            Hour(column[0].start, sum(hour.taken for hour in column)) for column in zip(*series, strict=True)
        ]

    @property
    def chart(self) -> Sparkline:
        """The last 24 hours of all its pixels, small."""
        return sparkline([hour.taken for hour in self.hours])


def fleet(partner: Partner, *, now: datetime) -> list[FleetRow]:
    """The partner's advertisers, those that hurt first. For up to some hundreds of advertisers."""
    advertisers = list(Advertiser.objects.filter(partner=partner).order_by("name"))
    pixels = list(Pixel.objects.filter(advertiser__in=advertisers).order_by("pk"))
    by_advertiser: dict[int, list[PixelOverview]] = {}
    for overview in overviews(pixels, now=now):
        by_advertiser.setdefault(overview.pixel.advertiser_id, []).append(overview)
    invited = {invitation.advertiser_id for invitation in open_advertiser_invitations(partner, now)}
    rows = [
        FleetRow(advertiser, by_advertiser.get(advertiser.pk, []), advertiser.pk in invited)
        for advertiser in advertisers
    ]
    return sorted(rows, key=lambda row: row.rank)


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many pixels of a fleet are in a state."""

    word: str
    badge: str
    pixels: int


def count_states(rows: Sequence[FleetRow]) -> list[StateCount]:
    """The states that occur in the fleet, worst first."""
    states = [overview.verdict.state for row in rows for overview in row.pixels]
    return [
        StateCount(WORDS[state], BADGES[state], states.count(state)) for state in Health if state in states
    ]


@dataclass(frozen=True, slots=True)
class Partition:
    """A day's table of the log or of the repeats' keys."""

    name: str
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class HotTables:
    """What an operator looks at when deliveries lag: the logs with most waiting, what is open, the days' tables."""

    logs: list[PixelLog]
    deliveries: list[Delivery]
    partitions: list[Partition]
    # Those that disagree, then those that were not looked at for longest.
    checks: list[LedgerCheck]


# An operator looks for what is worst; the rest is in the metrics and in `manage.py ledger check`.
HOT_ROWS = 50


def hot_tables() -> HotTables:
    """The operator's view of the hot tables, bounded. Row counts of partitions are PostgreSQL's estimates."""
    set_aside = (
        Backlog.objects.filter(pixel=OuterRef("pixel"), drained_at=None)
        .order_by()
        .values("pixel")
        .annotate(set_aside=Sum(_LEFT))
        .values("set_aside")
    )
    logs = PixelLog.objects.select_related("pixel").annotate(
        waiting=F("head") - F("tail") + Coalesce(Subquery(set_aside), 0)
    )
    deliveries = Delivery.objects.filter(state__in=OPEN_STATES).select_related("pixel").order_by("pk")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT leaf.relname, greatest(leaf.reltuples, 0)::bigint, pg_total_relation_size(leaf.oid)"
            " FROM pg_inherits JOIN pg_class AS leaf ON leaf.oid = inhrelid"
            " WHERE inhparent IN ('events_event'::regclass, 'events_repeat'::regclass) ORDER BY 1"
        )
        partitions = [Partition(*row) for row in cursor.fetchall()]
    return HotTables(
        logs=list(logs.order_by("-waiting", "-head")[:HOT_ROWS]),
        deliveries=list(deliveries[:HOT_ROWS]),
        partitions=partitions,
        checks=list(
            LedgerCheck.objects.select_related("advertiser").order_by("-findings", "checked_at")[:HOT_ROWS]
        ),
    )
