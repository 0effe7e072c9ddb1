"""The log of each pixel, the deliveries over it, and the books about them.

The log is append-only and partitioned by the day of receipt. Hot paths (events.collector, events.delivery) speak
SQL; these models are for reading, for pages and for the operator. Offsets are dense from 0, in commit order.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from events.pace import FIRST_WIDTH
from onboarding.models import Pixel
from tenants.models import Advertiser, Partner, Person


class IngestToken(models.Model):
    """PartnerHub's own token of one pixel, in the access token's place at our doors. Kept as a hash."""

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    token_hash = models.CharField(max_length=64, unique=True)
    last_four = models.CharField(max_length=4)
    created_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["pixel"], name="ingest_token_pixel")]

    def __str__(self) -> str:
        return f"{self.name} …{self.last_four}"


class PixelLog(models.Model):
    """The ends of one pixel's log. Appending takes this row; `tail … head` waits to be claimed."""

    pixel = models.OneToOneField(Pixel, on_delete=models.CASCADE, primary_key=True, related_name="log")
    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    head = models.BigIntegerField(db_default=0)
    tail = models.BigIntegerField(db_default=0)
    # Events before it may be gone: their days are dropped (events.delivery.retention).
    kept_from = models.BigIntegerField(db_default=0)
    # Receive times never go back within a log, so a range of offsets is a range of days, too.
    head_received_at = models.DateTimeField(null=True, blank=True)
    tail_received_at = models.DateTimeField(null=True, blank=True)
    # True from the commit that brings work until a worker finds none: one hint a turn, and the sweep's list.
    awake = models.BooleanField(db_default=False)
    # Not before: back-off after a refusal that concerns the whole pixel.
    due_at = models.DateTimeField(db_default=Now())
    # Sends of the pixel at a time, as many as Graph answers well to (events.pace).
    width = models.PositiveSmallIntegerField(db_default=FIRST_WIDTH)
    # Since when Graph answers for it slowly or not at all; none: it answers (events.delivery.seats).
    slow_since = models.DateTimeField(null=True, blank=True)
    # Hints of the pixel on their way or at work: a turn of a pixel with much to do asks for another beside it.
    turns = models.PositiveSmallIntegerField(db_default=1)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(awake=True), name="pixel_log_awake"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(tail__gte=0, tail__lte=models.F("head")), name="pixel_log_tail_within_head"
            ),
            models.CheckConstraint(
                condition=models.Q(kept_from__gte=0, kept_from__lte=models.F("tail")),
                name="pixel_log_drops_what_was_claimed",
            ),
        ]

    def __str__(self) -> str:
        return f"log of pixel {self.pixel_id}: {self.tail} … {self.head}"

    @property
    def unclaimed(self) -> int:
        """Events of the live lane that no delivery covers yet. What is set aside has its own cursor (Backlog)."""
        return self.head - self.tail


class AppFlow(models.Model):
    """What Meta lets the partner's own app send: all pixels behind its tokens share it. None: it never said no."""

    partner = models.OneToOneField(Partner, on_delete=models.CASCADE, primary_key=True, related_name="+")
    # Not before: Meta limited the whole app (partnerhub.lib.graph.limits.APP_LIMIT_CODES).
    due_at = models.DateTimeField()
    # Sends at a time, while the app works its way up again; empty: as many as there are.
    width = models.PositiveSmallIntegerField(null=True, blank=True)
    limited_at = models.DateTimeField(db_default=Now())
    code = models.BigIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"app of partner {self.partner_id}: not before {self.due_at:%H:%M:%S}"


class Backlog(models.Model):
    """A pile of a pixel's log that was set aside: drained beside the live lane, from `next_offset` on.

    Fresh events do not wait behind it. Its deliveries tile `first_offset … next_offset` - 1.
    """

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    first_offset = models.BigIntegerField()
    next_offset = models.BigIntegerField()
    last_offset = models.BigIntegerField()
    next_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    drained_at = models.DateTimeField(null=True, blank=True)
    # Set on what goes first: when the first of its events is too old for Meta (events.delivery.urgent).
    expires_at = models.DateTimeField(null=True, blank=True)
    # How far, and when, it was looked through for such events.
    looked_to = models.BigIntegerField(db_default=0)
    looked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["pixel", "first_offset"], condition=models.Q(drained_at=None), name="backlog_open"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    first_offset__lte=models.F("next_offset"), next_offset__lte=models.F("last_offset") + 1
                ),
                name="backlog_cursor_within",
            ),
            models.CheckConstraint(
                condition=models.Q(drained_at=None, next_offset__lte=models.F("last_offset"))
                | models.Q(drained_at__isnull=False, next_offset__gt=models.F("last_offset")),
                name="backlog_drained_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"backlog of pixel {self.pixel_id}: {self.next_offset} … {self.last_offset}"

    @property
    def left(self) -> int:
        """Events of it that no delivery covers yet."""
        return self.last_offset - self.next_offset + 1


class Origin(models.IntegerChoices):
    """The door that an event came through."""

    SERVER = 1, "server (Graph-compatible)"


class Event(models.Model):
    """One event as it will be sent to Meta. Table and partitions are made in SQL (migration 0002)."""

    pk = models.CompositePrimaryKey("advertiser_id", "pixel_id", "log_offset", "received_at")
    advertiser = models.ForeignKey(Advertiser, on_delete=models.DO_NOTHING, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.DO_NOTHING, related_name="+")
    log_offset = models.BigIntegerField()
    received_at = models.DateTimeField()
    # After this Meta refuses the event, and with it the request it is in.
    expires_at = models.DateTimeField()
    origin = models.SmallIntegerField(choices=Origin)
    event_name = models.TextField()
    event_id = models.TextField()
    # The exact JSON object that is sent.
    payload = models.BinaryField()
    # What was mended or advised at the door, as "field:code" words (events.notices), separated by spaces.
    notices = models.TextField()

    class Meta:
        managed = False
        db_table = "events_event"

    def __str__(self) -> str:
        return f"{self.event_name} at {self.log_offset} of pixel {self.pixel_id}"


class Delivery(models.Model):
    """A range of a pixel's log, or a selection of offsets in it, on its way to Meta."""

    class State(models.TextChoices):
        WAITING = "waiting"  # to be sent, not before due_at
        CLAIMED = "claimed"  # a worker holds the lease and has sent nothing
        SENDING = "sending"  # marked before the send: found so after its lease, it is in doubt
        ACCEPTED = "accepted"
        DOUBT = (
            "doubt",
            "in doubt",
        )  # sent, and no answer came; sent again at due_at, or held where there is none
        SPLIT = "split"  # refused whole; its children carry the events on
        REJECTED = "rejected"  # every event left in it has its rejection
        CANCELLED = "cancelled"  # of a replay that was, before it was sent

    class Kind(models.TextChoices):
        ORIGINAL = "original"
        HALF = "half", "half of a refused batch"
        PART = "part", "a selection of a batch in doubt"
        REPLAY = "replay"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.ORIGINAL)
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    # Of a replay, and its halves: beside the books, which count an event by the delivery that covered it first.
    replay = models.ForeignKey(
        "events.Replay", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    first_offset = models.BigIntegerField()
    last_offset = models.BigIntegerField()
    # The offsets of the range that it holds; none: all of them.
    offsets = ArrayField(models.BigIntegerField(), null=True, blank=True)
    first_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State)
    due_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    # A new one each time the delivery is taken: who holds an old one can settle nothing.
    lease_token = models.UUIDField(null=True, blank=True)
    attempts = models.PositiveIntegerField(db_default=0)
    doubts = models.PositiveIntegerField(db_default=0)
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)
    # The last answer: partnerhub.lib.graph.errors.FailureClass (empty when accepted) and Meta's numbers.
    failure_class = models.CharField(max_length=16, blank=True, db_default="")
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True, db_default="")
    events_sent = models.PositiveIntegerField(null=True, blank=True)
    events_received = models.BigIntegerField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["pixel", "first_offset"], name="delivery_range"),
            models.Index(
                fields=["replay"], condition=models.Q(replay__isnull=False), name="delivery_of_replay"
            ),
            models.Index(
                fields=["pixel", "due_at"],
                condition=models.Q(state__in=["waiting", "doubt"]),
                name="delivery_due",
            ),
            models.Index(
                fields=["lease_until"],
                condition=models.Q(state__in=["claimed", "sending"]),
                name="delivery_leased",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(last_offset__gte=models.F("first_offset")), name="delivery_range_forward"
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["claimed", "sending"])
                | models.Q(lease_until__isnull=False, lease_token__isnull=False),
                name="delivery_leased_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}: {self.first_offset} … {self.last_offset}, {self.state}"

    def covers(self, log_offset: int) -> bool:
        """Whether the event at the offset is in it."""
        if self.offsets is not None:
            return log_offset in self.offsets
        return self.first_offset <= log_offset <= self.last_offset


class Attempt(models.Model):
    """One request to Meta for a delivery. Written before it is sent; what is in doubt stays on record here."""

    class Outcome(models.TextChoices):
        SENDING = "sending"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        UNSENT = "unsent"
        DOUBT = "doubt", "in doubt"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="+")
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.SENDING)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    failure_class = models.CharField(max_length=16, blank=True, db_default="")
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True, db_default="")
    latency_ms = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["delivery"], name="attempt_delivery")]

    def __str__(self) -> str:
        return f"attempt {self.pk} of delivery {self.delivery_id}: {self.outcome}"


class Rejection(models.Model):
    """Why one event will not be accepted: refused by Meta, too old to send, or a clash found at the door."""

    class Reason(models.TextChoices):
        REFUSED = "refused", "refused by Meta"
        TOO_OLD = "too_old", "too old for Meta"
        CLASH = "clash", "the same event_id came before with other content"
        ERASED = "erased", "erased at a person's wish before it was sent"
        GIVEN_UP = "given_up", "in doubt, and given up by a person"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    log_offset = models.BigIntegerField()
    received_at = models.DateTimeField()
    reason = models.CharField(max_length=16, choices=Reason)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    event_name = models.TextField()
    event_id = models.TextField()
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    # Meta's blamed field where it names one, e.g. custom_data.currency.
    field = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pixel", "log_offset"], name="rejection_once_an_event"),
        ]

    def __str__(self) -> str:
        return f"{self.event_name} at {self.log_offset}: {self.reason}"


class DeliveryFinding(models.Model):
    """Something about an accepted delivery that somebody should look at. It changes nothing of its fate."""

    class Kind(models.TextChoices):
        EVENTS_RECEIVED = "events_received", "Meta counted other than we sent"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind)
    events_sent = models.PositiveIntegerField()
    # Empty where it was no number.
    events_received = models.BigIntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["pixel", "-id"], name="delivery_finding_latest")]

    def __str__(self) -> str:
        return f"{self.kind} of delivery {self.delivery_id}"


class HourlyCount(models.Model):
    """Events taken in, by hour, name and door; upserted with the commit that took them."""

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    hour = models.DateTimeField()
    event_name = models.TextField()
    origin = models.SmallIntegerField(choices=Origin)
    taken = models.BigIntegerField()
    # Repeats within 48 hours: acknowledged and counted here, stored once.
    repeated = models.BigIntegerField(db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["pixel", "hour", "event_name", "origin"], name="hourly_count_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.taken} × {self.event_name} at {self.hour:%Y-%m-%d %H}h"


class DoubtPolicy(models.Model):
    """What becomes of events of a name that are in doubt. Without a row they are sent again."""

    class Action(models.TextChoices):
        AGAIN = "again", "send again"
        HOLD = "hold", "hold for a person"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    # Empty: every name that has no row of its own.
    event_name = models.TextField(blank=True)
    action = models.CharField(max_length=8, choices=Action)
    changed_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "doubt policies"
        constraints = [
            models.UniqueConstraint(fields=["pixel", "event_name"], name="doubt_policy_once_a_name"),
        ]

    def __str__(self) -> str:
        return f"{self.event_name or 'other events'} of pixel {self.pixel_id}: {self.action}"


class DoubtDecision(models.Model):
    """What a person decided about a delivery in doubt: the record of who, and when."""

    class Decision(models.TextChoices):
        AGAIN = "again", "send again"
        DELIVERED = "delivered", "treat as delivered"
        REJECT = "reject", "reject"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="+")
    decision = models.CharField(max_length=16, choices=Decision)
    events = models.PositiveIntegerField()
    decided_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["delivery"], name="doubt_decision_delivery")]

    def __str__(self) -> str:
        return f"delivery {self.delivery_id}: {self.decision}"


class Replay(models.Model):
    """Events of an old range, by a filter, to be sent once more: counted first, then confirmed, then sent.

    It goes along the range with a cursor of its own, first counting, then sending.
    """

    class State(models.TextChoices):
        COUNTING = "counting"  # what there is, before anybody is asked
        READY = "ready", "waiting to be confirmed"
        RUNNING = "running"
        PAUSED = "paused"
        DONE = "done"
        CANCELLED = "cancelled"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=16, choices=State, default=State.COUNTING)
    first_offset = models.BigIntegerField()
    last_offset = models.BigIntegerField()
    next_offset = models.BigIntegerField()
    # Empty: all of them. Fates are events.replay.Fate.
    event_names = ArrayField(models.TextField(), default=list, blank=True)
    fates = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    # Of the rejected, only those that Meta refused with this code.
    code = models.BigIntegerField(null=True, blank=True)
    # What counting found, by events.replay.Verdict.
    found = models.JSONField(default=dict, blank=True)
    # Handed to delivery so far.
    queued = models.BigIntegerField(db_default=0)
    requested_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    counted_at = models.DateTimeField(null=True, blank=True)
    confirmed_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["pixel", "-id"], name="replay_of_pixel"),
            models.Index(
                fields=["id"], condition=models.Q(state__in=["counting", "running"]), name="replay_at_work"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["pixel"],
                condition=models.Q(state__in=["running", "paused"]),
                name="replay_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    first_offset__gte=0,
                    first_offset__lte=models.F("last_offset"),
                    next_offset__gte=models.F("first_offset"),
                    next_offset__lte=models.F("last_offset") + 1,
                ),
                name="replay_cursor_within",
            ),
        ]

    def __str__(self) -> str:
        return f"replay {self.pk} of pixel {self.pixel_id}: {self.first_offset} … {self.last_offset}"


class Erasure(models.Model):
    """The wish that all of one person be erased, and the receipt of it. It names nobody once it is done."""

    class Kind(models.TextChoices):
        EXTERNAL_ID = "external_id"
        EM = "em", "e-mail address"
        PH = "ph", "phone number"

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    # None: all pixels of the advertiser.
    pixel = models.ForeignKey(Pixel, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind)
    # SHA-256 of what is looked for, as long as it is looked for.
    needle = models.CharField(max_length=64, blank=True, db_default="")
    state = models.CharField(max_length=16, choices=State, default=State.RUNNING)
    # Our keys of the pixels to go through, and below which offset of each there is still something to look at.
    cursors = models.JSONField(default=dict, blank=True)
    total = models.BigIntegerField()
    looked_at = models.BigIntegerField(db_default=0)
    events_erased = models.BigIntegerField(db_default=0)
    # Of them, those that had not been sent, and are not sent any more.
    events_stopped = models.BigIntegerField(db_default=0)
    requested_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state="done") | models.Q(needle="", finished_at__isnull=False),
                name="erasure_done_names_nobody",
            ),
        ]

    def __str__(self) -> str:
        return f"erasure {self.pk}: {self.state}"


class DoorRefusal(models.Model):
    """Requests that a door refused, by hour and reason; of the last few, when and under which fbtrace_id of ours."""

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="+")
    hour = models.DateTimeField()
    reason = models.CharField(max_length=80)
    # The path within the event, by names that we know; what a client made up is not kept.
    field = models.CharField(max_length=120, blank=True)
    requests = models.BigIntegerField()
    sample = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pixel", "hour", "reason", "field"], name="door_refusal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.requests} × {self.reason} at {self.hour:%Y-%m-%d %H}h"


class LedgerCheck(models.Model):
    """The last check of an advertiser's books by the clock (events.book_checks)."""

    advertiser = models.OneToOneField(
        Advertiser, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    checked_at = models.DateTimeField()
    pixels = models.IntegerField()
    # Events that were taken in and are kept.
    taken = models.BigIntegerField()
    findings = models.IntegerField()
    # The first of the findings, in words.
    text = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"books of advertiser {self.advertiser_id}: {self.findings} findings at {self.checked_at:%Y-%m-%d %H:%M}"
