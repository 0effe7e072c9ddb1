"""The partner's set-up: its checks, secrets that Graph has not proven yet, and the calls that App Review counts."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from partnerhub.lib.locks import Policies, protect

REACHED = "partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])"
WORKED = "partner_id = ANY ((SELECT tenants_worked_partners())::bigint[])"

POLICIES: Policies = {
    # A task is told a check's number only; whose it is, it reads here. No secret.
    "onboarding_setupcheck": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "UPDATE", WORKED, WORKED),
    ],
    # The app's grants leave the sealed bytes out: it puts secrets in, and takes none out.
    "onboarding_setupsecret": [("app", "ALL", REACHED, REACHED), ("worker", "ALL", WORKED, WORKED)],
    "onboarding_graphcallcount": [("app", "SELECT", REACHED, None), ("worker", "ALL", WORKED, WORKED)],
}

STEPS = [
    ("options", "Options"),
    ("agent", "Agent"),
    ("app", "App"),
    ("assigning", "Assigning"),
    ("sending", "Sending"),
    ("login", "Login"),
    ("branding", "Branding"),
    ("own_pixel", "Own Pixel"),
    ("review", "Review"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("onboarding", "0003_guardian"),
        ("tenants", "0002_row_level_security"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="GraphCallCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("deliveries", "Deliveries"),
                            ("tests", "connection tests"),
                            ("set_up", "set-up"),
                        ],
                        max_length=16,
                    ),
                ),
                ("succeeded", models.BigIntegerField(default=0)),
                ("failed", models.BigIntegerField(default=0)),
                (
                    "partner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.partner"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("partner", "day", "source"), name="graph_call_count_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="SetupCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("step", models.CharField(choices=STEPS, max_length=16)),
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
                ("wanted", models.JSONField(blank=True, default=dict)),
                ("facts", models.JSONField(blank=True, default=dict)),
                ("problem", models.CharField(blank=True, max_length=40)),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("code", models.BigIntegerField(blank=True, null=True)),
                ("subcode", models.BigIntegerField(blank=True, null=True)),
                ("fbtrace_id", models.CharField(blank=True, max_length=64)),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("checked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "partner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.partner"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["waiting", "running"])),
                        fields=["asked_at"],
                        name="setup_check_under_way",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("partner", "step"), name="setup_check_one_a_step")
                ],
            },
        ),
        migrations.CreateModel(
            name="SetupSecret",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("step", models.CharField(choices=STEPS, max_length=16)),
                ("sealed", models.BinaryField()),
                ("last_four", models.CharField(blank=True, max_length=4)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "partner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.partner"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("partner", "step"), name="setup_secret_one_a_step")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="metacallback",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["partner"], name="meta_callback_waiting"
            ),
        ),
        protect(POLICIES),
    ]
