import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Credential",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("untested", "not tested yet"),
                            ("working", "Working"),
                            ("refused", "refused by Meta"),
                            ("retired", "replaced"),
                        ],
                        default="untested",
                        max_length=16,
                    ),
                ),
                ("last_four", models.CharField(blank=True, max_length=4)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "expiry",
                    models.CharField(
                        choices=[("unknown", "not known"), ("never", "never"), ("dated", "on a date")],
                        default="unknown",
                        max_length=8,
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("data_access_expires_at", models.DateTimeField(blank=True, null=True)),
                ("scopes", models.JSONField(blank=True, default=list)),
                ("issuing_app_id", models.CharField(blank=True, max_length=32)),
                ("last_good_at", models.DateTimeField(blank=True, null=True)),
                ("refused_at", models.DateTimeField(blank=True, null=True)),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("code", models.BigIntegerField(blank=True, null=True)),
                ("subcode", models.BigIntegerField(blank=True, null=True)),
                ("looked_at", models.DateTimeField(blank=True, null=True)),
                ("look_due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "option",
                    models.CharField(
                        choices=[
                            ("business_extension", "Meta Business Extension"),
                            ("login_for_business", "Facebook Login for Business"),
                            ("pasted_token", "pasted system-user token"),
                            ("shared_pixel", "pixel shared with the partner"),
                        ],
                        max_length=20,
                    ),
                ),
                ("client_business_id", models.CharField(blank=True, max_length=32)),
                ("system_user_id", models.CharField(blank=True, max_length=32)),
                ("external_business_id", models.CharField(blank=True, max_length=64)),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.advertiser"
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "partner_credential",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.partnercredential",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Pixel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("meta_id", models.CharField(max_length=20, verbose_name="pixel ID")),
                ("name", models.CharField(max_length=120)),
                (
                    "default_action_source",
                    models.CharField(
                        choices=[
                            ("website", "Website"),
                            ("email", "Email"),
                            ("app", "App"),
                            ("phone_call", "Phone Call"),
                            ("chat", "Chat"),
                            ("physical_store", "Physical Store"),
                            ("system_generated", "System Generated"),
                            ("business_messaging", "Business Messaging"),
                            ("other", "Other"),
                        ],
                        default="website",
                        max_length=20,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("test_every_hours", models.PositiveSmallIntegerField(default=24)),
                ("test_event_code", models.CharField(blank=True, max_length=32)),
                ("test_event_code_until", models.DateTimeField(blank=True, null=True)),
                ("held_at", models.DateTimeField(blank=True, null=True)),
                (
                    "hold",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("credential", "Meta refused the token"),
                            ("permission", "Meta refused access to the pixel"),
                            ("partner", "Meta refused the partner's token"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="pixels",
                        to="tenants.advertiser",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="OnboardingSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "option",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("business_extension", "Meta Business Extension"),
                            ("login_for_business", "Facebook Login for Business"),
                            ("pasted_token", "pasted system-user token"),
                            ("shared_pixel", "pixel shared with the partner"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("choosing", "choosing"),
                            ("at_meta", "at_meta"),
                            ("exchanging", "exchanging"),
                            ("picking", "picking"),
                            ("taking", "taking"),
                            ("entering", "entering"),
                            ("with_colleague", "with_colleague"),
                            ("sharing", "sharing"),
                            ("proving", "proving"),
                            ("stuck", "stuck"),
                            ("connected", "connected"),
                            ("abandoned", "abandoned"),
                        ],
                        default="choosing",
                        max_length=16,
                    ),
                ),
                ("problem", models.CharField(blank=True, max_length=40)),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("code", models.BigIntegerField(blank=True, null=True)),
                ("subcode", models.BigIntegerField(blank=True, null=True)),
                ("fbtrace_id", models.CharField(blank=True, max_length=64)),
                ("facts", models.JSONField(blank=True, default=dict)),
                ("nonce_hash", models.CharField(blank=True, max_length=64)),
                ("browser_hash", models.CharField(blank=True, max_length=64)),
                ("dialog_opened_at", models.DateTimeField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("changed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="onboarding_sessions",
                        to="tenants.advertiser",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "credential",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="onboarding.credential",
                    ),
                ),
                (
                    "partner_credential",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.partnercredential",
                    ),
                ),
                (
                    "pixel",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="onboarding.pixel",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CredentialEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("issued", "Issued"),
                            ("proven", "Proven"),
                            ("refused", "Refused"),
                            ("mended", "Mended"),
                            ("refreshed", "Refreshed"),
                            ("reminded", "Reminded"),
                            ("revoked", "revoked at Meta"),
                            ("revoke_failed", "Meta did not revoke it"),
                            ("retired", "Retired"),
                            ("access_lost", "Access Lost"),
                            ("app_removed", "App Removed"),
                        ],
                        max_length=16,
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("code", models.BigIntegerField(blank=True, null=True)),
                ("subcode", models.BigIntegerField(blank=True, null=True)),
                ("fbtrace_id", models.CharField(blank=True, max_length=64)),
                ("detail", models.JSONField(blank=True, default=dict)),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.advertiser"
                    ),
                ),
                (
                    "credential",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="onboarding.credential",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "pixel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="credential_events",
                        to="onboarding.pixel",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="credential",
            name="pixel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="credentials", to="onboarding.pixel"
            ),
        ),
        migrations.CreateModel(
            name="ConnectionTest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("meta_id", models.CharField(max_length=20)),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("person", "by hand"),
                            ("session", "while connecting"),
                            ("schedule", "daily"),
                            ("api", "by API"),
                        ],
                        default="person",
                        max_length=16,
                    ),
                ),
                ("rungs", models.JSONField(default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("passed", "Passed"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                ("test_event_code", models.CharField(blank=True, max_length=32)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("pixel_read", models.CharField(blank=True, max_length=16)),
                ("pixel_name_at_meta", models.CharField(blank=True, max_length=200)),
                ("request", models.JSONField(default=dict)),
                ("answer", models.JSONField(blank=True, null=True)),
                ("http_status", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("events_received", models.IntegerField(blank=True, null=True)),
                ("fbtrace_id", models.CharField(blank=True, max_length=64)),
                ("latency_ms", models.PositiveIntegerField(blank=True, null=True)),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("code", models.BigIntegerField(blank=True, null=True)),
                ("subcode", models.BigIntegerField(blank=True, null=True)),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.advertiser"
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "credential",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="onboarding.credential",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tests",
                        to="onboarding.onboardingsession",
                    ),
                ),
                (
                    "pixel",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tests",
                        to="onboarding.pixel",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SealedToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sealed", models.BinaryField()),
                ("vault_identity", models.CharField(max_length=64, unique=True)),
                ("last_four", models.CharField(blank=True, max_length=4)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.advertiser"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="onboardingsession",
            name="candidate",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="onboarding.sealedtoken",
            ),
        ),
        migrations.AddField(
            model_name="onboardingsession",
            name="grant",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="onboarding.sealedtoken",
            ),
        ),
        migrations.AddField(
            model_name="credential",
            name="secret",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="onboarding.sealedtoken",
            ),
        ),
        migrations.CreateModel(
            name="TokenLink",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("pasted", "being tested"),
                            ("accepted", "Accepted"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="open",
                        max_length=16,
                    ),
                ),
                ("advertiser_name", models.CharField(max_length=120)),
                ("partner_name", models.CharField(max_length=120)),
                ("asked_by", models.CharField(blank=True, max_length=254)),
                ("pixel_meta_id", models.CharField(max_length=20)),
                ("pixel_name", models.CharField(blank=True, max_length=120)),
                ("said_expiry", models.CharField(blank=True, max_length=16)),
                ("problem", models.CharField(blank=True, max_length=40)),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("code", models.BigIntegerField(blank=True, null=True)),
                ("subcode", models.BigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.advertiser"
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "secret",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="onboarding.sealedtoken",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="links",
                        to="onboarding.onboardingsession",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Revocation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "option",
                    models.CharField(
                        choices=[
                            ("business_extension", "Meta Business Extension"),
                            ("login_for_business", "Facebook Login for Business"),
                            ("pasted_token", "pasted system-user token"),
                            ("shared_pixel", "pixel shared with the partner"),
                        ],
                        max_length=20,
                    ),
                ),
                ("meta_id", models.CharField(blank=True, max_length=20)),
                ("client_business_id", models.CharField(blank=True, max_length=32)),
                ("system_user_id", models.CharField(blank=True, max_length=32)),
                ("external_business_id", models.CharField(blank=True, max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("done", "Done"), ("failed", "Meta did not do it")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True, db_default=django.db.models.functions.datetime.Now(), null=True
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.advertiser",
                    ),
                ),
                (
                    "credential",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="onboarding.credential",
                    ),
                ),
                (
                    "secret",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="onboarding.sealedtoken",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at", None), _negated=True),
                        fields=["due_at"],
                        name="revocation_due",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state", "waiting"),
                            models.Q(("due_at", None), ("secret", None)),
                            _connector="OR",
                        ),
                        name="revocation_ends_without_secret",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MetaCallback",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("webhook", "Webhook"),
                            ("deauthorise", "Deauthorise"),
                            ("data_deletion", "Data Deletion"),
                        ],
                        max_length=16,
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("body", models.JSONField(default=dict)),
                ("confirmation_code", models.CharField(blank=True, max_length=43)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("handled", "Handled"),
                            ("ignored", "nothing of ours"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                ("outcome", models.CharField(blank=True, max_length=200)),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("handled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "partner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.partner"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("partner", "kind", "digest"), name="meta_callback_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("confirmation_code", ""), _negated=True),
                        fields=("confirmation_code",),
                        name="meta_callback_code_once",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="pixel",
            constraint=models.UniqueConstraint(
                fields=("advertiser", "meta_id"), name="pixel_once_an_advertiser"
            ),
        ),
        migrations.AddConstraint(
            model_name="pixel",
            constraint=models.CheckConstraint(
                condition=models.Q(("meta_id__regex", "^[0-9]{1,20}$")), name="pixel_meta_id_is_digits"
            ),
        ),
        migrations.AddConstraint(
            model_name="pixel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("held_at", None), ("hold", "")),
                    models.Q(("held_at__isnull", False), models.Q(("hold", ""), _negated=True)),
                    _connector="OR",
                ),
                name="pixel_hold_has_a_time",
            ),
        ),
        migrations.AddIndex(
            model_name="credentialevent",
            index=models.Index(fields=["pixel", "-id"], name="credential_event_latest"),
        ),
        migrations.AddIndex(
            model_name="connectiontest",
            index=models.Index(fields=["pixel", "-id"], name="connection_test_latest"),
        ),
        migrations.AddConstraint(
            model_name="connectiontest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("pixel__isnull", False), ("state__in", ["waiting", "running"])),
                fields=("pixel",),
                name="connection_test_one_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="connectiontest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("session__isnull", False), ("state__in", ["waiting", "running"])),
                fields=("session",),
                name="connection_test_one_a_session",
            ),
        ),
        migrations.AddConstraint(
            model_name="connectiontest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("credential__isnull", False), ("pixel__isnull", False)),
                    ("session__isnull", False),
                    _connector="OR",
                ),
                name="connection_test_of_something",
            ),
        ),
        migrations.AddIndex(
            model_name="onboardingsession",
            index=models.Index(
                condition=models.Q(("due_at", None), _negated=True), fields=["due_at"], name="session_due"
            ),
        ),
        migrations.AddIndex(
            model_name="onboardingsession",
            index=models.Index(fields=["advertiser", "-id"], name="session_latest"),
        ),
        migrations.AddConstraint(
            model_name="onboardingsession",
            constraint=models.UniqueConstraint(
                condition=models.Q(("nonce_hash", ""), _negated=True),
                fields=("nonce_hash",),
                name="session_nonce_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="onboardingsession",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["connected", "abandoned"]), _negated=True),
                    models.Q(("candidate", None), ("due_at", None), ("grant", None)),
                    _connector="OR",
                ),
                name="session_ends_without_secrets",
            ),
        ),
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=models.Q(("state", "retired"), _negated=True),
                fields=["look_due_at"],
                name="credential_look_due",
            ),
        ),
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=models.Q(("state", "refused")), fields=["refused_at"], name="credential_refused"
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "retired"), _negated=True),
                fields=("pixel",),
                name="credential_one_in_use",
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("secret", None), ("state", "retired")),
                    models.Q(
                        models.Q(("state", "retired"), _negated=True),
                        models.Q(
                            models.Q(
                                ("option", "shared_pixel"),
                                ("partner_credential__isnull", False),
                                ("secret", None),
                            ),
                            models.Q(
                                models.Q(("option", "shared_pixel"), _negated=True),
                                ("partner_credential", None),
                                ("secret__isnull", False),
                            ),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="credential_holds_one_secret",
            ),
        ),
        migrations.AddConstraint(
            model_name="tokenlink",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["open", "pasted"])),
                fields=("session",),
                name="token_link_one_open",
            ),
        ),
    ]
