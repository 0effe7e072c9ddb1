"""People and the tenants they act for: partners, their advertisers, memberships, invitations.

Tenants' rows are under row-level security (migration 0002) and are reached through access.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils import timezone

from tenants.roles import AdvertiserRole, PartnerRole
from tenants.tokens import new_token


class PersonManager(BaseUserManager["Person"]):
    """Makes people. allauth calls it at sign-up, the operator's command by hand."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> Person:
        """A person who signs in with `email`, kept in lower case."""
        person = self.model(email=email.strip().lower(), **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> Person:
        """An operator: sees all tenants in the admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> Person:
        """The person with this e-mail address, whatever its case."""
        return self.get(email=(username or "").strip().lower())


class Person(AbstractBaseUser, PermissionsMixin):
    """Somebody who signs in with an e-mail address. What they may do is in their memberships."""

    email = models.EmailField("e-mail address", max_length=254, unique=True)
    name = models.CharField(max_length=120, blank=True)
    time_zone = models.CharField(max_length=64, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    date_joined = models.DateTimeField(default=timezone.now)

    objects: ClassVar[PersonManager] = PersonManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name_plural = "people"
        constraints = [
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="person_email_lower_case")
        ]

    def __str__(self) -> str:
        return self.name or self.email


class PartnerQuerySet(models.QuerySet["Partner"]):
    """Partners, scoped."""

    def for_person(self, person: Person) -> PartnerQuerySet:
        """The partners at which the person holds a role."""
        return self.filter(memberships__person=person)


class Partner(models.Model):
    """A platform that offers the Conversions API to its advertisers through us."""

    class AppMode(models.TextChoices):
        """Meta's mode of the app; no endpoint tells it, so a person says it."""

        UNKNOWN = "", "not said yet"
        DEVELOPMENT = "development"
        LIVE = "live"

    name = models.CharField(max_length=120)
    partner_agent = models.CharField(max_length=64)
    # The app and the business at Meta; empty until the partner's own set-up names them.
    meta_app_id = models.CharField("app ID", max_length=32, blank=True)
    business_id = models.CharField("business ID", max_length=32, blank=True)
    app_mode = models.CharField(max_length=12, choices=AppMode, blank=True)
    # Its two system users: the admin one assigns, the employee one sends.
    assigning_system_user_id = models.CharField(max_length=32, blank=True)
    sending_system_user_id = models.CharField(max_length=32, blank=True)
    # Facebook Login for Business: the configuration whose token type is "system user".
    login_config_id = models.CharField("configuration ID", max_length=32, blank=True)
    # The partner's own pixel, to which it sends before it sends for others.
    own_pixel_id = models.CharField(max_length=20, blank=True)
    # The auth options that its advertisers may choose from.
    offers_business_extension = models.BooleanField(default=False)
    offers_login_for_business = models.BooleanField(default=False)
    offers_pasted_token = models.BooleanField(default=True)
    offers_shared_pixel = models.BooleanField(default=False)
    # #rrggbb, on its advertisers' pages.
    brand_colour = models.CharField(max_length=7, blank=True)
    # The operator's, for when many partners want the same workers: turns of its pixels are so many times as
    # long, and no more of its sends are under way at once (none: as many as Meta and the workers take).
    delivery_weight = models.PositiveSmallIntegerField(db_default=1)
    delivery_ceiling = models.PositiveSmallIntegerField(null=True, blank=True)
    # Days for which its events are kept, where it is not LOG_RETENTION_DAYS.
    log_retention_days = models.PositiveSmallIntegerField(null=True, blank=True)
    # Names the partner in the addresses that Meta calls; random, so that it tells nothing.
    callback_key = models.CharField(max_length=43, unique=True, default=new_token)
    # What Meta's webhook handshake must repeat.
    webhook_verify_token = models.CharField(max_length=43, default=new_token)
    created_at = models.DateTimeField(db_default=Now())

    objects = PartnerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("name"), name="partner_name_unique"),
            models.CheckConstraint(
                condition=models.Q(partner_agent__regex=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
                name="partner_agent_is_one_word",
            ),
            models.CheckConstraint(
                condition=models.Q(brand_colour__regex=r"^(#[0-9a-f]{6})?$"), name="partner_colour_is_hex"
            ),
            models.CheckConstraint(
                condition=models.Q(delivery_weight__range=(1, 10)), name="partner_weight_within_ten"
            ),
            models.CheckConstraint(
                condition=models.Q(delivery_ceiling=None) | models.Q(delivery_ceiling__gte=1),
                name="partner_ceiling_lets_one_through",
            ),
            models.CheckConstraint(
                condition=models.Q(log_retention_days=None) | models.Q(log_retention_days__gte=1),
                name="partner_keeps_a_day_at_least",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Logo(models.Model):
    """The partner's logo: a picture of a few kilobytes, apart from its row, which every page reads."""

    partner = models.OneToOneField(Partner, on_delete=models.CASCADE, primary_key=True, related_name="logo")
    content = models.BinaryField()
    content_type = models.CharField(max_length=16)
    # Of the content: what the picture's address carries, so that it may be kept for ever.
    digest = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"logo of partner {self.partner_id}"


class TokenFacts(models.Model):
    """What is known of an access token without opening it: dates, scopes, and how Meta answered last."""

    class State(models.TextChoices):
        """How it stands."""

        UNTESTED = "untested", "not tested yet"
        WORKING = "working"
        REFUSED = "refused", "refused by Meta"
        RETIRED = "retired", "replaced"

    class Expiry(models.TextChoices):
        """What is known of its end. Unknown is never guessed: reminders come as if it were 60 days."""

        UNKNOWN = "unknown", "not known"
        NEVER = "never", "never"
        DATED = "dated", "on a date"

    state = models.CharField(max_length=16, choices=State, default=State.UNTESTED)
    last_four = models.CharField(max_length=4, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expiry = models.CharField(max_length=8, choices=Expiry, default=Expiry.UNKNOWN)
    expires_at = models.DateTimeField(null=True, blank=True)
    data_access_expires_at = models.DateTimeField(null=True, blank=True)
    # As Graph's debug_token names them; empty where another app's token keeps them to itself.
    scopes = models.JSONField(default=list, blank=True)
    issuing_app_id = models.CharField(max_length=32, blank=True)
    last_good_at = models.DateTimeField(null=True, blank=True)
    # The first refusal since it last worked, in Meta's numbers.
    refused_at = models.DateTimeField(null=True, blank=True)
    failure_class = models.CharField(max_length=16, blank=True)
    code = models.BigIntegerField(null=True, blank=True)
    subcode = models.BigIntegerField(null=True, blank=True)
    # When the guardian looked last, and when it looks next.
    looked_at = models.DateTimeField(null=True, blank=True)
    look_due_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


class PartnerCredential(TokenFacts):
    """A secret of the partner's own, sealed by the vault: its Meta app's secret, its system users' tokens."""

    class Kind(models.TextChoices):
        """What it opens. Every shared pixel is sent to with the sending token: its death is the partner's."""

        APP_SECRET = "app_secret", "app secret"
        ASSIGNING_TOKEN = "assigning_token", "assigning system user's token"
        SENDING_TOKEN = "sending_token", "sending system user's token"

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="credentials")
    kind = models.CharField(max_length=16, choices=Kind)
    sealed = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["partner", "kind"], name="partner_credential_one_of_a_kind")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} …{self.last_four}"

    @property
    def vault_identity(self) -> str:
        """What the sealed secret is bound to: it cannot be opened in another partner's row."""
        return partner_identity(self.partner_id, self.kind)


def partner_identity(partner_id: int, kind: str) -> str:
    """What a partner's secret of this kind is sealed to."""
    return f"partner:{partner_id}:{kind}"


class AdvertiserQuerySet(models.QuerySet["Advertiser"]):
    """Advertisers, scoped."""

    def for_person(self, person: Person) -> AdvertiserQuerySet:
        """The advertisers that the person reaches, by a role there or at their partner."""
        return self.filter(
            models.Exists(
                AdvertiserMembership.objects.filter(advertiser=models.OuterRef("pk"), person=person)
            )
            | models.Exists(
                PartnerMembership.objects.filter(partner=models.OuterRef("partner"), person=person)
            )
        )


class Advertiser(models.Model):
    """The tenant: a client of one partner, whose pixels and events are its own."""

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="advertisers")
    name = models.CharField(max_length=120)
    # ISO 3166-1 alpha-2, for phone numbers that come without a country code.
    default_country = models.CharField(max_length=2, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = AdvertiserQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint("partner", Lower("name"), name="advertiser_name_unique"),
            models.CheckConstraint(
                condition=models.Q(default_country__regex=r"^([A-Z]{2})?$"),
                name="advertiser_country_is_iso",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PartnerMembership(models.Model):
    """A person's role at a partner."""

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="memberships")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="partner_memberships")
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in PartnerRole])
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["partner", "person"], name="partner_membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in PartnerRole]),
                name="partner_membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} of partner {self.partner_id}"


class AdvertiserMembership(models.Model):
    """A person's role at an advertiser."""

    advertiser = models.ForeignKey(Advertiser, on_delete=models.CASCADE, related_name="memberships")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="advertiser_memberships")
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in AdvertiserRole])
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["advertiser", "person"], name="advertiser_membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in AdvertiserRole]),
                name="advertiser_membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} of advertiser {self.advertiser_id}"


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Invitations by their state."""

    def unanswered(self) -> InvitationQuerySet:
        """Those that were neither accepted nor revoked: open, or expired and renewable."""
        return self.filter(accepted_at=None, revoked_at=None)

    def open(self, now: datetime) -> InvitationQuerySet:
        """Those that can still be accepted."""
        return self.unanswered().filter(expires_at__gt=now)


class Invitation(models.Model):
    """A role offered by e-mail: to one address, once, for a time. Only a hash of its token is kept."""

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="invitations")
    # Empty where the role is one at the partner itself.
    advertiser = models.ForeignKey(
        Advertiser, on_delete=models.CASCADE, null=True, blank=True, related_name="invitations"
    )
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16)
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        Person, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(advertiser=None, role__in=[role.value for role in PartnerRole])
                | models.Q(advertiser__isnull=False, role__in=[role.value for role in AdvertiserRole]),
                name="invitation_role_fits_tenant",
            ),
            models.CheckConstraint(
                condition=models.Q(accepted_at=None) | models.Q(revoked_at=None),
                name="invitation_accepted_or_revoked",
            ),
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")), name="invitation_email_lower_case"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} for {self.email}"

    @property
    def headline(self) -> str:
        """Who invites to what: the title of its mail and of its page."""
        if self.advertiser:
            return f"{self.partner} invites you to {self.advertiser}"
        return f"You are invited to join {self.partner}"

    def state(self, now: datetime) -> str:
        """`accepted`, `revoked`, `expired` or `open`."""
        if self.accepted_at:
            return "accepted"
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at <= now else "open"


class ApiKey(models.Model):
    """A key of the management API: it does what its person may do, and no more. Only its hash is kept."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120)
    key_hash = models.CharField(max_length=64, unique=True)
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} …{self.last_four}"
