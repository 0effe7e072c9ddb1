"""Pixels, the credentials that open them, and the tests that proved them."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from onboarding.journey import State as JourneyState
from tenants.models import Advertiser, Partner, PartnerCredential, Person, TokenFacts


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
        PARTNER = "partner", "Meta refused the partner's token"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="pixels")
    # Meta's number of the pixel; `pixel` and `pixel_id` are always our key.
    meta_id = models.CharField("pixel ID", max_length=20)
    name = models.CharField(max_length=120)
    # What an event gets that comes without `action_source`.
    default_action_source = models.CharField(
        max_length=20, choices=ActionSource, default=ActionSource.WEBSITE
    )
    created_at = models.DateTimeField(db_default=Now())
    # How often its connection is tested by itself; 0: never.
    test_every_hours = models.PositiveSmallIntegerField(default=24)
    # For tests by hand only, and not for long: a code that stays on turns production events into tests.
    test_event_code = models.CharField(max_length=32, blank=True)
    test_event_code_until = models.DateTimeField(null=True, blank=True)
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


class SealedToken(models.Model):
    """A secret of an advertiser's, sealed by the vault, apart from all that is known of it.

    The web site's role may insert and delete here and never read what is sealed: it cannot open a token.
    Whoever lets go of one deletes its row.
    """

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    sealed = models.BinaryField()
    # The vault binds the secret to this; it is known before the row has a key.
    vault_identity = models.CharField(max_length=64, unique=True)
    last_four = models.CharField(max_length=4, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"secret {self.vault_identity}"


class Option(models.TextChoices):
    """The auth options: the ways by which a pixel is connected."""

    BUSINESS_EXTENSION = "business_extension", "Meta Business Extension"
    LOGIN_FOR_BUSINESS = "login_for_business", "Facebook Login for Business"
    PASTED_TOKEN = "pasted_token", "pasted system-user token"
    SHARED_PIXEL = "shared_pixel", "pixel shared with the partner"

    @property
    def is_of_partners_app(self) -> bool:
        """Whether its tokens are of the partner's own app: they go with its appsecret_proof, and debug_token tells."""
        return self != Option.PASTED_TOKEN


class Credential(TokenFacts):
    """What opens one pixel: a sealed token of its own, or the partner's sending token. No secret stands here."""

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="credentials")
    option = models.CharField(max_length=20, choices=Option)
    # Empty from the moment it is retired, and for a shared pixel. The row is deleted by hand: nobody may
    # read it, so that Django could not collect it.
    secret = models.OneToOneField(
        SealedToken, on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+"
    )
    partner_credential = models.ForeignKey(
        PartnerCredential, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # At Meta: whose it is, and what disconnecting must undo there.
    client_business_id = models.CharField(max_length=32, blank=True)
    system_user_id = models.CharField(max_length=32, blank=True)
    external_business_id = models.CharField(max_length=64, blank=True)
    created_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["look_due_at"], condition=~models.Q(state="retired"), name="credential_look_due"
            ),
            # Also those that are refused while Graph itself is suspected: their state stays as it was.
            models.Index(
                fields=["refused_at"], condition=~models.Q(refused_at=None), name="credential_refused"
            ),
        ]
        constraints = [
            # One credential of a pixel is in use at a time; the retired ones stay as history.
            models.UniqueConstraint(
                fields=["pixel"], condition=~models.Q(state="retired"), name="credential_one_in_use"
            ),
            models.CheckConstraint(
                condition=models.Q(state="retired", secret=None)
                | ~models.Q(state="retired")
                & (
                    models.Q(option="shared_pixel", secret=None, partner_credential__isnull=False)
                    | ~models.Q(option="shared_pixel")
                    & models.Q(secret__isnull=False, partner_credential=None)
                ),
                name="credential_holds_one_secret",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_option_display()} …{self.last_four}"


class CredentialEvent(models.Model):
    """One line of a credential's life: issued, by whom, first refused and why, mended, retired. Append-only."""

    class Kind(models.TextChoices):
        """What happened."""

        ISSUED = "issued"
        PROVEN = "proven"
        REFUSED = "refused"
        MENDED = "mended"
        REFRESHED = "refreshed"
        REMINDED = "reminded"
        REVOKED = "revoked", "revoked at Meta"
        REVOKE_FAILED = "revoke_failed", "Meta did not revoke it"
        RETIRED = "retired"
        ACCESS_LOST = "access_lost"
        APP_REMOVED = "app_removed"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, related_name="credential_events")
    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=16, choices=Kind)
    at = models.DateTimeField(db_default=Now())
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    # Meta's numbers of a refusal; days of a reminder; never a secret.
    failure_class = models.CharField(max_length=16, blank=True)
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes = [models.Index(fields=["pixel", "-id"], name="credential_event_latest")]

    def __str__(self) -> str:
        return f"{self.kind} of credential {self.credential_id}"


class OnboardingSession(models.Model):
    """One way of connecting a pixel, or of mending a connected one, from the first question to the proof.

    Its states and what leads from one to another are in onboarding/journey.py. It holds what was found so far,
    so that it goes on on another device; secrets are sealed beside it and erased at its end.
    """

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="onboarding_sessions")
    # The connected pixel that gets another credential; empty for a new one.
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    option = models.CharField(max_length=20, choices=Option, blank=True)
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.value) for state in JourneyState],
        default=JourneyState.CHOOSING.value,
    )
    # Where it is stuck, or why it waits: a key of the error dictionary, or Meta's class and numbers.
    problem = models.CharField(max_length=40, blank=True)
    failure_class = models.CharField(max_length=16, blank=True)
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True)
    # What was found and chosen so far: ids and names, never a secret. Its keys are in onboarding/options/base.py.
    facts = models.JSONField(default=dict, blank=True)
    # What the dialog gave: the code, then the user token; and the token that is to open the pixel.
    grant = models.OneToOneField(
        SealedToken, on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+"
    )
    candidate = models.OneToOneField(
        SealedToken, on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+"
    )
    partner_credential = models.ForeignKey(
        PartnerCredential, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # Of the dialog: `state` as a hash, single use, and the browser that opened it.
    nonce_hash = models.CharField(max_length=64, blank=True)
    browser_hash = models.CharField(max_length=64, blank=True)
    dialog_opened_at = models.DateTimeField(null=True, blank=True)
    # For the workers: when to look next, and who holds it.
    due_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    created_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    # What it led to.
    credential = models.ForeignKey(
        Credential, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=~models.Q(due_at=None), name="session_due"),
            models.Index(fields=["advertiser", "-id"], name="session_latest"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["nonce_hash"], condition=~models.Q(nonce_hash=""), name="session_nonce_once"
            ),
            # A session that has ended keeps no secret. (The hash of a `state` that was used is none.)
            models.CheckConstraint(
                condition=~models.Q(state__in=["connected", "abandoned"])
                | models.Q(grant=None, candidate=None, due_at=None),
                name="session_ends_without_secrets",
            ),
        ]

    def __str__(self) -> str:
        return f"session {self.pk}: {self.state}"


class TokenLink(models.Model):
    """A link for the colleague who has the rights in Business Manager: pastes one token, sees nothing else.

    Only a hash of its token is kept. What it shows stands in the row, for its reader reaches no other.
    """

    class State(models.TextChoices):
        """How far it is."""

        OPEN = "open"
        PASTED = "pasted", "being tested"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    session = models.ForeignKey(OnboardingSession, on_delete=models.CASCADE, related_name="links")
    token_hash = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    secret = models.OneToOneField(
        SealedToken, on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+"
    )
    # What the colleague is shown: who asks, for which pixel, and what came of it.
    advertiser_name = models.CharField(max_length=120)
    partner_name = models.CharField(max_length=120)
    asked_by = models.CharField(max_length=254, blank=True)
    pixel_meta_id = models.CharField(max_length=20)
    pixel_name = models.CharField(max_length=120, blank=True)
    # The expiry that the colleague chose in Meta's dialog: `never`, `60_days`, `unknown`, or a date.
    said_expiry = models.CharField(max_length=16, blank=True)
    problem = models.CharField(max_length=40, blank=True)
    failure_class = models.CharField(max_length=16, blank=True)
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["session"],
                condition=models.Q(state__in=["open", "pasted"]),
                name="token_link_one_open",
            ),
        ]

    def __str__(self) -> str:
        return f"link of session {self.session_id}: {self.state}"


class Revocation(models.Model):
    """What is still to be undone at Meta of an access that is in use no more. A worker does it, and tries again.

    It is the last to hold the token, which is erased with its end.
    """

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed", "Meta did not do it"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    # The retired credential; empty for what a session obtained and did not connect.
    credential = models.ForeignKey(
        Credential, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    option = models.CharField(max_length=20, choices=Option)
    secret = models.OneToOneField(
        SealedToken, on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+"
    )
    meta_id = models.CharField(max_length=20, blank=True)
    client_business_id = models.CharField(max_length=32, blank=True)
    system_user_id = models.CharField(max_length=32, blank=True)
    external_business_id = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=~models.Q(due_at=None), name="revocation_due"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="waiting") | models.Q(secret=None, due_at=None),
                name="revocation_ends_without_secret",
            ),
        ]

    def __str__(self) -> str:
        return f"revocation {self.pk}: {self.state}"


class MetaCallback(models.Model):
    """One call of Meta's to a partner's address, its signature verified: a webhook's change, a signed request.

    Kept before it is answered and handled by a worker; a doubled one is the same row.
    """

    class Kind(models.TextChoices):
        """Which of the addresses."""

        WEBHOOK = "webhook"
        DEAUTHORISE = "deauthorise"
        DATA_DELETION = "data_deletion"

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting"
        HANDLED = "handled"
        IGNORED = "ignored", "nothing of ours"

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind)
    # Of what Meta signed: the same twice is a repeat.
    digest = models.CharField(max_length=64)
    # Without tokens: what Meta put there of those is sealed or left out.
    body = models.JSONField(default=dict)
    # What the deletion's page goes by.
    confirmation_code = models.CharField(max_length=43, blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    outcome = models.CharField(max_length=200, blank=True)
    received_at = models.DateTimeField(db_default=Now())
    handled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["partner", "kind", "digest"], name="meta_callback_once"),
            models.UniqueConstraint(
                fields=["confirmation_code"],
                condition=~models.Q(confirmation_code=""),
                name="meta_callback_code_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["partner"], condition=models.Q(state="waiting"), name="meta_callback_waiting"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of partner {self.partner_id}: {self.state}"


class ConnectionTest(models.Model):
    """One test of a connection: what was sent, what Meta answered, what it means.

    Of a pixel's credential in use, or of the one that a session is about to connect.
    """

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting"
        RUNNING = "running"
        PASSED = "passed"
        FAILED = "failed"

    class Trigger(models.TextChoices):
        """Who asked for it."""

        PERSON = "person", "by hand"
        SESSION = "session", "while connecting"
        SCHEDULE = "schedule", "daily"
        API = "api", "by API"

    advertiser = models.ForeignKey(Advertiser, on_delete=models.PROTECT, related_name="+")
    # Empty while the session connects a pixel that is not ours yet; its number stands beside.
    pixel = models.ForeignKey(Pixel, on_delete=models.CASCADE, null=True, blank=True, related_name="tests")
    meta_id = models.CharField(max_length=20)
    credential = models.ForeignKey(
        Credential, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    session = models.ForeignKey(
        OnboardingSession, on_delete=models.CASCADE, null=True, blank=True, related_name="tests"
    )
    trigger = models.CharField(max_length=16, choices=Trigger, default=Trigger.PERSON)
    # The ladder as far as it was climbed: a list of {"rung", "outcome", "ms", "detail"}.
    rungs = models.JSONField(default=list)
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
                condition=models.Q(state__in=["waiting", "running"], pixel__isnull=False),
                name="connection_test_one_at_a_time",
            ),
            models.UniqueConstraint(
                fields=["session"],
                condition=models.Q(state__in=["waiting", "running"], session__isnull=False),
                name="connection_test_one_a_session",
            ),
            models.CheckConstraint(
                condition=models.Q(credential__isnull=False, pixel__isnull=False)
                | models.Q(session__isnull=False),
                name="connection_test_of_something",
            ),
        ]

    def __str__(self) -> str:
        return f"test {self.pk} of pixel {self.pixel_id}: {self.state}"

    @property
    def is_finished(self) -> bool:
        """Whether the outcome is known."""
        return self.state in (self.State.PASSED, self.State.FAILED)


class Notice(models.Model):
    """One mail about a token that is owed to people: the row comes first, and is there once.

    Of a pixel's credential, or of a partner's own token: then `advertiser` is empty, and no advertiser is told.
    """

    class Kind(models.TextChoices):
        """What is told."""

        EXPIRING = "expiring"
        DIED = "died", "refused by Meta"
        ACCESS_LOST = "access_lost", "sharing withdrawn"

    class State(models.TextChoices):
        """How far it is. What was under way when its worker died is not sent again."""

        WAITING = "waiting"
        SENDING = "sending"
        SENT = "sent"
        DROPPED = "dropped", "no longer true"
        DOUBT = "doubt", "sent or not"
        FAILED = "failed", "not taken by the mail server"

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+")
    advertiser = models.ForeignKey(
        Advertiser, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    credential = models.ForeignKey(
        Credential, on_delete=models.CASCADE, null=True, blank=True, related_name="notices"
    )
    partner_credential = models.ForeignKey(
        PartnerCredential, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=16, choices=Kind)
    # Of a reminder: 14, 7, 3 or 1. Else 0.
    days = models.PositiveSmallIntegerField(default=0)
    # What it is about: the end of the token's life, or its first refusal.
    about = models.DateTimeField()
    # The end is guessed, and the mail says so.
    is_guess = models.BooleanField(default=False)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    made_at = models.DateTimeField(db_default=Now())
    # While it waits: when it is sent. While it is sent: since when.
    due_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    recipients = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(state__in=["waiting", "sending"]), name="notice_due"
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["credential", "kind", "days", "about"], name="notice_once_a_credential"
            ),
            models.UniqueConstraint(
                fields=["partner_credential", "kind", "days", "about"],
                name="notice_once_a_partner_credential",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    advertiser__isnull=False, credential__isnull=False, partner_credential=None
                )
                | models.Q(advertiser=None, credential=None, partner_credential__isnull=False),
                name="notice_of_one_credential",
            ),
        ]

    def __str__(self) -> str:
        return f"notice {self.pk}: {self.kind}"


class GraphOutage(models.Model):
    """A time in which Graph refused so many tokens at once that it was not believed. Nobody's, and of all.

    While one is open no refusal holds a pixel (onboarding/guardian.py has the rule).
    """

    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    # When it began: refused of those that answered, and whose they were.
    refused = models.PositiveIntegerField()
    good = models.PositiveIntegerField()
    advertisers = models.PositiveIntegerField()
    # Why it was taken to be over.
    outcome = models.CharField(max_length=16, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=models.Q(ended_at=None), name="graph_outage_one_open"
            )
        ]

    def __str__(self) -> str:
        return f"outage since {self.began_at:%Y-%m-%d %H:%M}"


class SetupCheck(models.Model):
    """One step of a partner's set-up, as Graph answered when it was last asked. No secret stands here."""

    class Step(models.TextChoices):
        """What is set up, in the order of onboarding/setup/steps.py; `review` reads what App Review asks for."""

        OPTIONS = "options"
        AGENT = "agent"
        APP = "app"
        ASSIGNING = "assigning"
        SENDING = "sending"
        LOGIN = "login"
        BRANDING = "branding"
        OWN_PIXEL = "own_pixel"
        REVIEW = "review"

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting"
        RUNNING = "running"
        PASSED = "passed"
        FAILED = "failed"

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+")
    step = models.CharField(max_length=16, choices=Step)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    # Typed and not in force before Graph has said yes: ids, never a secret.
    wanted = models.JSONField(default=dict, blank=True)
    # What Graph told: names, scopes, levels.
    facts = models.JSONField(default=dict, blank=True)
    # A key of onboarding/setup/words.py, or Meta's class and numbers.
    problem = models.CharField(max_length=40, blank=True)
    failure_class = models.CharField(max_length=16, blank=True)
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    fbtrace_id = models.CharField(max_length=64, blank=True)
    asked_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    asked_at = models.DateTimeField(db_default=Now())
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["partner", "step"], name="setup_check_one_a_step")]
        indexes = [
            models.Index(
                fields=["asked_at"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="setup_check_under_way",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.step} of partner {self.partner_id}: {self.state}"

    @property
    def is_under_way(self) -> bool:
        """Whether a worker has the next move."""
        return self.state in (self.State.WAITING, self.State.RUNNING)


class SetupSecret(models.Model):
    """A secret that a partner typed and Graph has not proven yet: the one in use goes on until then.

    Gone once it is proven (it is the partner's credential then) or refused.
    """

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+")
    step = models.CharField(max_length=16, choices=SetupCheck.Step)
    sealed = models.BinaryField()
    last_four = models.CharField(max_length=4, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["partner", "step"], name="setup_secret_one_a_step")]

    def __str__(self) -> str:
        return f"secret for {self.step} of partner {self.partner_id}"

    @property
    def vault_identity(self) -> str:
        """What it is sealed to."""
        return f"setup:{self.partner_id}:{self.step}"


class GraphCallCount(models.Model):
    """Calls made with tokens of the partner's app in one day (UTC), from one of our books; what App Review counts."""

    class Source(models.TextChoices):
        """The book that it is counted from."""

        DELIVERIES = "deliveries"
        TESTS = "tests", "connection tests"
        SET_UP = "set_up", "set-up"

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    source = models.CharField(max_length=16, choices=Source)
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["partner", "day", "source"], name="graph_call_count_once")
        ]

    def __str__(self) -> str:
        return f"{self.source} of partner {self.partner_id} on {self.day}"
