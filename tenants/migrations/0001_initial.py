import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import tenants.tokens


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="Advertiser",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("default_country", models.CharField(blank=True, max_length=2)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="Partner",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("partner_agent", models.CharField(max_length=64)),
                ("meta_app_id", models.CharField(blank=True, max_length=32, verbose_name="app ID")),
                ("business_id", models.CharField(blank=True, max_length=32, verbose_name="business ID")),
                (
                    "app_mode",
                    models.CharField(
                        blank=True,
                        choices=[("", "not said yet"), ("development", "Development"), ("live", "Live")],
                        max_length=12,
                    ),
                ),
                ("assigning_system_user_id", models.CharField(blank=True, max_length=32)),
                ("sending_system_user_id", models.CharField(blank=True, max_length=32)),
                (
                    "login_config_id",
                    models.CharField(blank=True, max_length=32, verbose_name="configuration ID"),
                ),
                ("own_pixel_id", models.CharField(blank=True, max_length=20)),
                ("offers_business_extension", models.BooleanField(default=False)),
                ("offers_login_for_business", models.BooleanField(default=False)),
                ("offers_pasted_token", models.BooleanField(default=True)),
                ("offers_shared_pixel", models.BooleanField(default=False)),
                ("brand_colour", models.CharField(blank=True, max_length=7)),
                ("delivery_weight", models.PositiveSmallIntegerField(db_default=1)),
                ("delivery_ceiling", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("log_retention_days", models.PositiveSmallIntegerField(blank=True, null=True)),
                (
                    "callback_key",
                    models.CharField(default=tenants.tokens.new_token, max_length=43, unique=True),
                ),
                ("webhook_verify_token", models.CharField(default=tenants.tokens.new_token, max_length=43)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="PartnerCredential",
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
                    "kind",
                    models.CharField(
                        choices=[
                            ("app_secret", "app secret"),
                            ("assigning_token", "assigning system user's token"),
                            ("sending_token", "sending system user's token"),
                        ],
                        max_length=16,
                    ),
                ),
                ("sealed", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="PartnerMembership",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[("owner", "owner"), ("manager", "manager"), ("support", "support")],
                        max_length=16,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="Person",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                ("email", models.EmailField(max_length=254, unique=True, verbose_name="e-mail address")),
                ("name", models.CharField(blank=True, max_length=120)),
                ("time_zone", models.CharField(blank=True, max_length=64)),
                ("is_active", models.BooleanField(default=True)),
                ("is_staff", models.BooleanField(default=False)),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "people",
            },
        ),
        migrations.CreateModel(
            name="AdvertiserMembership",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(choices=[("admin", "admin"), ("analyst", "analyst")], max_length=16),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "advertiser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to="tenants.advertiser",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="advertiser_memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("key_hash", models.CharField(max_length=64, unique=True)),
                ("last_four", models.CharField(max_length=4)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_keys",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                ("role", models.CharField(max_length=16)),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("sent_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "advertiser",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations",
                        to="tenants.advertiser",
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Logo",
            fields=[
                (
                    "partner",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="logo",
                        serialize=False,
                        to="tenants.partner",
                    ),
                ),
                ("content", models.BinaryField()),
                ("content_type", models.CharField(max_length=16)),
                ("digest", models.CharField(max_length=64)),
            ],
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("name"), name="partner_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(("partner_agent__regex", "^[A-Za-z0-9][A-Za-z0-9._-]*$")),
                name="partner_agent_is_one_word",
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(("brand_colour__regex", "^(#[0-9a-f]{6})?$")), name="partner_colour_is_hex"
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(("delivery_weight__range", (1, 10))), name="partner_weight_within_ten"
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(("delivery_ceiling", None), ("delivery_ceiling__gte", 1), _connector="OR"),
                name="partner_ceiling_lets_one_through",
            ),
        ),
        migrations.AddConstraint(
            model_name="partner",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("log_retention_days", None), ("log_retention_days__gte", 1), _connector="OR"
                ),
                name="partner_keeps_a_day_at_least",
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="partner",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="invitations", to="tenants.partner"
            ),
        ),
        migrations.AddField(
            model_name="advertiser",
            name="partner",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="advertisers", to="tenants.partner"
            ),
        ),
        migrations.AddField(
            model_name="partnercredential",
            name="partner",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="credentials", to="tenants.partner"
            ),
        ),
        migrations.AddField(
            model_name="partnermembership",
            name="partner",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="tenants.partner"
            ),
        ),
        migrations.AddField(
            model_name="partnermembership",
            name="person",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="partner_memberships",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="person",
            constraint=models.CheckConstraint(
                condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                name="person_email_lower_case",
            ),
        ),
        migrations.AddConstraint(
            model_name="advertisermembership",
            constraint=models.UniqueConstraint(
                fields=("advertiser", "person"), name="advertiser_membership_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="advertisermembership",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["admin", "analyst"])),
                name="advertiser_membership_role_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("advertiser", None), ("role__in", ["owner", "manager", "support"])),
                    models.Q(("advertiser__isnull", False), ("role__in", ["admin", "analyst"])),
                    _connector="OR",
                ),
                name="invitation_role_fits_tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("accepted_at", None), ("revoked_at", None), _connector="OR"),
                name="invitation_accepted_or_revoked",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                name="invitation_email_lower_case",
            ),
        ),
        migrations.AddConstraint(
            model_name="advertiser",
            constraint=models.UniqueConstraint(
                models.F("partner"),
                django.db.models.functions.text.Lower("name"),
                name="advertiser_name_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="advertiser",
            constraint=models.CheckConstraint(
                condition=models.Q(("default_country__regex", "^([A-Z]{2})?$")),
                name="advertiser_country_is_iso",
            ),
        ),
        migrations.AddConstraint(
            model_name="partnercredential",
            constraint=models.UniqueConstraint(
                fields=("partner", "kind"), name="partner_credential_one_of_a_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="partnermembership",
            constraint=models.UniqueConstraint(fields=("partner", "person"), name="partner_membership_once"),
        ),
        migrations.AddConstraint(
            model_name="partnermembership",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["owner", "manager", "support"])),
                name="partner_membership_role_known",
            ),
        ),
    ]
