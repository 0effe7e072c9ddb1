"""What the token guardian keeps: mails that are owed, once each, and the times at which Graph was not believed."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from partnerhub.lib.locks import Policies, protect

REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
OF_PARTNER = "advertiser_id IS NULL AND partner_id = ANY ((SELECT {})::bigint[])"
TAKEN_UP = (
    f"advertiser_id = (SELECT tenants_advertiser()) OR {OF_PARTNER.format('tenants_worked_partners()')}"
)

POLICIES: Policies = {
    # Whom a mail is owed: no address, no secret. The worker looks for what is due over all of them.
    "onboarding_notice": [
        ("app", "SELECT", f"{REACHED} OR {OF_PARTNER.format('tenants_reached_partners()')}", None),
        ("worker", "SELECT", "true", None),
        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
    # Of all tenants together: counts and times. Operators see them.
    "onboarding_graphoutage": [
        ("app", "SELECT", "tenants_is_operator((SELECT tenants_person()))", None),
        ("worker", "ALL", "true", "true"),
    ],
}

SAME_ADVERTISER = """
ALTER TABLE onboarding_credential ADD CONSTRAINT credential_of_advertiser UNIQUE (id, advertiser_id);
ALTER TABLE onboarding_notice ADD CONSTRAINT notice_of_same_advertiser
    FOREIGN KEY (credential_id, advertiser_id) REFERENCES onboarding_credential (id, advertiser_id);
ALTER TABLE onboarding_notice ADD CONSTRAINT notice_of_same_partner
    FOREIGN KEY (advertiser_id, partner_id) REFERENCES tenants_advertiser (id, partner_id);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("onboarding", "0002_row_level_security"),
        ("tenants", "0002_row_level_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="GraphOutage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("refused", models.PositiveIntegerField()),
                ("good", models.PositiveIntegerField()),
                ("advertisers", models.PositiveIntegerField()),
                ("outcome", models.CharField(blank=True, max_length=16)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        models.Value(1),
                        condition=models.Q(("ended_at", None)),
                        name="graph_outage_one_open",
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="Notice",
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
                            ("expiring", "Expiring"),
                            ("died", "refused by Meta"),
                            ("access_lost", "sharing withdrawn"),
                        ],
                        max_length=16,
                    ),
                ),
                ("days", models.PositiveSmallIntegerField(default=0)),
                ("about", models.DateTimeField()),
                ("is_guess", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("sending", "Sending"),
                            ("sent", "Sent"),
                            ("dropped", "no longer true"),
                            ("doubt", "sent or not"),
                            ("failed", "not taken by the mail server"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("recipients", models.PositiveSmallIntegerField(default=0)),
                (
                    "advertiser",
                    models.ForeignKey(
                        blank=True,
                        null=True,
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
                        related_name="notices",
                        to="onboarding.credential",
                    ),
                ),
                (
                    "partner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.partner"
                    ),
                ),
                (
                    "partner_credential",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.partnercredential",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["waiting", "sending"])),
                        fields=["due_at"],
                        name="notice_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("credential", "kind", "days", "about"), name="notice_once_a_credential"
                    ),
                    models.UniqueConstraint(
                        fields=("partner_credential", "kind", "days", "about"),
                        name="notice_once_a_partner_credential",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("advertiser__isnull", False),
                                ("credential__isnull", False),
                                ("partner_credential", None),
                            ),
                            models.Q(
                                ("advertiser", None),
                                ("credential", None),
                                ("partner_credential__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="notice_of_one_credential",
                    ),
                ],
            },
        ),
        migrations.RemoveIndex(model_name="credential", name="credential_refused"),
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=models.Q(("refused_at", None), _negated=True),
                fields=["refused_at"],
                name="credential_refused",
            ),
        ),
        migrations.RunSQL(SAME_ADVERTISER),
        protect(POLICIES),
    ]
