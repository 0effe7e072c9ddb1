"""Row-level security under the events' tables, and the grants of each role on every table of the database.

This is the one list of grants; tests hold the database to it. What is not on it, a role does not have.
"""

from django.db import migrations

from partnerhub.lib.locks import grant, protect

REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
TAKEN_UP = "advertiser_id = (SELECT tenants_advertiser())"

READ_BY_APP = ("app", "SELECT", REACHED, None)
POLICIES = {
    "events_ingesttoken": [("app", "ALL", REACHED, REACHED), ("door", "SELECT", "true", None)],
    # Dispatch tables: the worker's sweep looks over all of them. No payload, no secret.
    "events_pixellog": [
        ("app", "SELECT", REACHED, None),
        ("app", "INSERT", None, REACHED),
        ("worker", "ALL", "true", "true"),
        ("door", "SELECT", "true", None),
        ("door", "UPDATE", "true", "true"),
    ],
    "events_delivery": [READ_BY_APP, ("worker", "ALL", "true", "true")],
    "events_attempt": [READ_BY_APP, ("worker", "ALL", TAKEN_UP, TAKEN_UP)],
    "events_rejection": [
        READ_BY_APP,
        ("worker", "ALL", TAKEN_UP, TAKEN_UP),
        ("door", "INSERT", None, "true"),
    ],
    "events_event": [READ_BY_APP, ("worker", "SELECT", TAKEN_UP, None)],
    "events_repeat": [READ_BY_APP, ("door", "SELECT", "true", None)],
    "events_hourlycount": [
        READ_BY_APP,
        ("worker", "SELECT", TAKEN_UP, None),
        ("door", "ALL", "true", "true"),
    ],
}

ALL_ROWS = "SELECT, INSERT, UPDATE, DELETE"
GRANTS = {
    # Sign-in, before anybody's tenant is known: not tenants' tables.
    "tenants_person": {"app": "SELECT, INSERT, UPDATE"},
    "tenants_person_groups": {"app": ALL_ROWS},
    "tenants_person_user_permissions": {"app": ALL_ROWS},
    "account_emailaddress": {"app": ALL_ROWS},
    "account_emailconfirmation": {"app": ALL_ROWS},
    "auth_group": {"app": "SELECT"},
    "auth_group_permissions": {"app": "SELECT"},
    "auth_permission": {"app": "SELECT"},
    "django_admin_log": {"app": "SELECT, INSERT"},
    "django_content_type": {"app": "SELECT", "worker": "SELECT"},
    "django_session": {"app": ALL_ROWS},
    "django_migrations": {"app": "SELECT", "worker": "SELECT", "door": "SELECT"},
    # Tenants.
    "tenants_partner": {"app": "SELECT, UPDATE", "worker": "SELECT"},
    "tenants_partnercredential": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT"},
    "tenants_advertiser": {
        "app": "SELECT, INSERT, UPDATE",
        "worker": "SELECT",
        "door": "SELECT (id, default_country)",
    },
    "tenants_partnermembership": {"app": ALL_ROWS},
    "tenants_advertisermembership": {"app": ALL_ROWS},
    "tenants_invitation": {"app": "SELECT, INSERT, UPDATE"},
    # Onboarding.
    "onboarding_pixel": {
        "app": "SELECT, INSERT, UPDATE",
        "worker": "SELECT, UPDATE",
        "door": "SELECT (id, advertiser_id, meta_id, default_action_source)",
    },
    "onboarding_credential": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, UPDATE"},
    "onboarding_connectiontest": {"app": "SELECT, INSERT", "worker": "SELECT, UPDATE"},
    # Events.
    "events_ingesttoken": {
        "app": "SELECT, INSERT, UPDATE",
        "door": "SELECT (id, pixel_id, advertiser_id, token_hash, revoked_at)",
    },
    "events_pixellog": {"app": "SELECT, INSERT", "worker": "SELECT, UPDATE", "door": "SELECT, UPDATE"},
    "events_delivery": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "events_attempt": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "events_rejection": {"app": "SELECT", "worker": "SELECT, INSERT", "door": "INSERT"},
    "events_event": {"app": "SELECT", "worker": "SELECT"},
    "events_repeat": {"app": "SELECT", "door": "SELECT"},
    "events_hourlycount": {"app": "SELECT", "worker": "SELECT", "door": "SELECT, INSERT, UPDATE"},
    "FUNCTION events_make_partitions(date, integer)": {"worker": "EXECUTE"},
}


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0002_log"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sessions", "0001_initial"),
    ]

    operations = [protect(POLICIES), grant(GRANTS)]
