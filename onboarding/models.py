"""Pixels, the credentials that open them, and the tests that proved them."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from tenants.models import Advertiser, Person


class ActionSource(models.TextChoices):
    """Meta's `action_source` ("Server Event Parameters", read 2026-11-24)."""

    WEBSITE = "website"
    EMAIL = "email"
    APP = "app"
    PHONE_CALL = "phone_call"
    CHAT = "chat"
    PHYSICAL_STORE = "physical_store"
    SYSTEM_GENERATED = "system_generated"
    BUSINESS_MESSAGING = "business_messaging"
    OTHER = "other"


class PixelQuerySet(models.QuerySet["Pixel"]):
    """Which pixels."""

    def for_person(self, person: Person) -> PixelQuerySet:
        """The pixels of the advertisers that the person reaches."""
        return self.filter(advertiser__in=Advertiser.objects.for_person(person))


class Pixel(models.Model):
    """A Meta pixel (dataset) of one advertiser. Everything the advertiser sees hangs off it."""

    class Hold(models.TextChoices):
        """Why deliveries wait: the class of refusal that a person has to mend."""

        CREDENTIAL = "credential", "Meta refused the token"
        PERMISSION = "permission", "Meta refused access to the pixel"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="pixels")
    # Meta's number of the pixel; `pixel` and `pixel_id` are always our key.
    meta_id = models.CharField("pixel ID", max_length=20)
    name = models.CharField(max_length=120)
    # What an event gets that comes without `action_source`.
    default_action_source = models.CharField(
        max_length=20, choices=ActionSource, default=ActionSource.WEBSITE
    )
    created_at = models.DateTimeField(db_default=Now())
    # A held pixel takes events in and delivers none.
    held_at = models.DateTimeField(null=True, blank=True)
    hold = models.CharField(max_length=16, choices=Hold, blank=True)

    objects = PixelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["advertiser", "meta_id"], name="pixel_once_an_advertiser"),
            models.CheckConstraint(
                condition=models.Q(meta_id__regex=r"^[0-9]{1,20}$"), name="pixel_meta_id_is_digits"
            ),
            models.CheckConstraint(
                condition=models.Q(held_at=None, hold="")
                | models.Q(held_at__isnull=False) & ~models.Q(hold=""),
                name="pixel_hold_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.meta_id})"


class Credential(models.Model):
    """An access token that opens one pixel, sealed by the vault. Shown as its last four characters only."""

    class Option(models.TextChoices):
        """The auth option by which it came."""

        PASTED_TOKEN = "pasted_token", "pasted system-user token"

    class State(models.TextChoices):
        """What is known of it."""

        UNTESTED = "untested", "not tested yet"
        WORKING = "working"
        REFUSED = "refused", "refused by Meta"
        RETIRED = "retired", "replaced"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="credentials")
    option = models.CharField(max_length=16, choices=Option)
    state = models.CharField(max_length=16, choices=State, default=State.UNTESTED)
    # Empty from the moment it is retired.
    sealed = models.BinaryField()
    # The vault binds the secret to this; it is known before the row has a key.
    vault_identity = models.CharField(max_length=64, unique=True)
    last_four = models.CharField(max_length=4)
    created_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    last_good_at = models.DateTimeField(null=True, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # One credential of a pixel is in use at a time; the retired ones stay as history.
            models.UniqueConstraint(
                fields=["pixel"],
                condition=~models.Q(state="retired"),
                name="credential_one_in_use",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_option_display()} …{self.last_four}"


class ConnectionTest(models.Model):
    """One press of Test connection: what was sent, what Meta answered, what it means."""

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting"
        RUNNING = "running"
        PASSED = "passed"
        FAILED = "failed"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="tests")
    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    # Typed for this one test, never kept on the pixel: left on, it would mark production events as tests.
    test_event_code = models.CharField(max_length=32, blank=True)
    requested_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # What the token could see of the pixel before the test event: `readable`, `unknown` (a token for events
    # only may not read), `refused`, or empty when not tried.
    pixel_read = models.CharField(max_length=16, blank=True)
    pixel_name_at_meta = models.CharField(max_length=200, blank=True)
    request = models.JSONField(default=dict)
    answer = models.JSONField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    events_received = models.IntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    # partnerhub.lib.graph.errors.FailureClass and Meta's numbers: what remedies.explain() needs.
    failure_class = models.CharField(max_length=16, blank=True)
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["pixel", "-id"], name="connection_test_latest")]
        constraints = [
            # One test of a pixel runs at a time.
            models.UniqueConstraint(
                fields=["pixel"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="connection_test_one_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"test {self.pk} of pixel {self.pixel_id}: {self.state}"

    @property
    def is_finished(self) -> bool:
        """Whether the outcome is known."""
        return self.state in (self.State.PASSED, self.State.FAILED)
