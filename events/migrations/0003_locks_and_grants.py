"""Row-level security under the events' tables, and the grants of each role on every table of the database.

This is the one list of grants; tests hold the database to it. What is not on it, a role does not have.
"""

from django.db import migrations

from partnerhub.lib.locks import Grants, Policies, grant, protect

REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
TAKEN_UP = "advertiser_id = (SELECT tenants_advertiser())"

READ_BY_APP = ("app", "SELECT", REACHED, None)
POLICIES: Policies = {
    "events_ingesttoken": [("app", "ALL", REACHED, REACHED), ("door", "SELECT", "true", None)],
    # Dispatch tables: the worker's sweep looks over all of them. No payload, no secret.
    "events_pixellog": [
        ("app", "SELECT", REACHED, None),
        ("app", "INSERT", None, REACHED),
        ("worker", "ALL", "true", "true"),
        ("door", "SELECT", "true", None),
        ("door", "UPDATE", "true", "true"),
    ],
    "events_appflow": [
        ("app", "SELECT", "partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])", None),
        ("worker", "ALL", "true", "true"),
    ],
    "events_backlog": [READ_BY_APP, ("worker", "ALL", "true", "true")],
    "events_delivery": [
        READ_BY_APP,
        # A person's decision about what is in doubt.
        ("app", "UPDATE", REACHED, REACHED),
        ("worker", "ALL", "true", "true"),
    ],
    "events_attempt": [READ_BY_APP, ("worker", "ALL", TAKEN_UP, TAKEN_UP)],
    "events_deliveryfinding": [READ_BY_APP, ("worker", "ALL", TAKEN_UP, TAKEN_UP)],
    "events_rejection": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "ALL", TAKEN_UP, TAKEN_UP),
        ("door", "INSERT", None, "true"),
    ],
    "events_event": [
        READ_BY_APP,
        ("worker", "SELECT", TAKEN_UP, None),
        # Erasure empties payloads: the one update that the log knows.
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
    "events_repeat": [READ_BY_APP, ("door", "SELECT", "true", None)],
    "events_hourlycount": [
        READ_BY_APP,
        ("worker", "SELECT", TAKEN_UP, None),
        ("door", "ALL", "true", "true"),
    ],
    "events_doubtpolicy": [("app", "ALL", REACHED, REACHED), ("worker", "SELECT", TAKEN_UP, None)],
    "events_doubtdecision": [("app", "ALL", REACHED, REACHED)],
    "events_replay": [("app", "ALL", REACHED, REACHED), ("worker", "ALL", "true", "true")],
    # A hash of what is looked for stands in it: the sweep finds open ones by a function that gives ids alone.
    "events_erasure": [("app", "ALL", REACHED, REACHED), ("worker", "ALL", TAKEN_UP, TAKEN_UP)],
    "events_doorrefusal": [READ_BY_APP, ("door", "ALL", "true", "true")],
    # When whose books were looked at, and how many rules did not hold.
    "events_ledgercheck": [
        READ_BY_APP,
        ("worker", "SELECT", "true", None),
        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
}

ALL_ROWS = "SELECT, INSERT, UPDATE, DELETE"
GRANTS: Grants = {
    # Sign-in, before anybody's tenant is known: not tenants' tables.
    "tenants_person": {
        "app": "SELECT, INSERT, UPDATE",
        "worker": "SELECT (id, email, name, time_zone, is_active)",
    },
    "tenants_person_groups": {"app": "SELECT"},
    "tenants_person_user_permissions": {"app": "SELECT"},
    "account_emailaddress": {"app": ALL_ROWS},
    "account_emailconfirmation": {"app": ALL_ROWS},
    "auth_group": {"app": "SELECT"},
    "auth_group_permissions": {"app": "SELECT"},
    "auth_permission": {"app": "SELECT"},
    "django_admin_log": {"app": "SELECT, INSERT"},
    "django_content_type": {"app": "SELECT", "worker": "SELECT"},
    "django_session": {"app": ALL_ROWS},
    "django_migrations": {"app": "SELECT", "worker": "SELECT", "door": "SELECT"},
    "tenants_apikey": {"app": "SELECT, INSERT, UPDATE (last_used_at, revoked_at)"},
    # Tenants.
    "tenants_partner": {
        "app": "SELECT, UPDATE (name, partner_agent, meta_app_id, business_id, app_mode,"
        " assigning_system_user_id, sending_system_user_id, login_config_id, own_pixel_id,"
        " offers_business_extension, offers_login_for_business, offers_pasted_token, offers_shared_pixel,"
        " brand_colour, callback_key, webhook_verify_token)",
        "worker": "SELECT, UPDATE (meta_app_id, assigning_system_user_id, sending_system_user_id)",
    },
    "tenants_logo": {"app": ALL_ROWS},
    "tenants_partnercredential": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, INSERT, UPDATE"},
    "tenants_advertiser": {
        "app": "SELECT, INSERT, UPDATE (name, default_country)",
        "worker": "SELECT",
        "door": "SELECT (id, default_country)",
    },
    "tenants_partnermembership": {"app": "SELECT, INSERT, UPDATE (role), DELETE", "worker": "SELECT"},
    "tenants_advertisermembership": {"app": "SELECT, INSERT, UPDATE (role), DELETE", "worker": "SELECT"},
    # Whom it invites to what is never changed: a link that is out opens what its mail said.
    "tenants_invitation": {
        "app": "SELECT, INSERT,"
        " UPDATE (token_hash, sent_at, expires_at, accepted_at, accepted_by_id, revoked_at)"
    },
    # Onboarding.
    "onboarding_pixel": {
        "app": "SELECT, INSERT, UPDATE",
        "worker": "SELECT, INSERT, UPDATE",
        "door": "SELECT (id, advertiser_id, meta_id, default_action_source)",
    },
    "onboarding_credential": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, INSERT, UPDATE"},
    # The web site seals and erases, and never reads what is sealed.
    "onboarding_sealedtoken": {
        "app": "SELECT (id, advertiser_id, vault_identity, last_four, created_at), INSERT, DELETE",
        "worker": "SELECT, INSERT, DELETE",
    },
    "onboarding_credentialevent": {"app": "SELECT, INSERT", "worker": "SELECT, INSERT"},
    "onboarding_onboardingsession": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, UPDATE"},
    "onboarding_tokenlink": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, UPDATE"},
    "onboarding_revocation": {"app": "SELECT, INSERT", "worker": "SELECT, INSERT, UPDATE"},
    "onboarding_metacallback": {"app": "SELECT, INSERT", "worker": "SELECT, UPDATE"},
    "onboarding_connectiontest": {"app": "SELECT, INSERT", "worker": "SELECT, INSERT, UPDATE"},
    "onboarding_notice": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "onboarding_setupcheck": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, UPDATE"},
    "onboarding_setupsecret": {
        "app": "SELECT (id, partner_id, step, last_four, created_at), INSERT, DELETE",
        "worker": "SELECT, DELETE",
    },
    "onboarding_graphcallcount": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "onboarding_graphoutage": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    # Events.
    "events_ingesttoken": {
        "app": "SELECT, INSERT, UPDATE",
        "door": "SELECT (id, pixel_id, advertiser_id, token_hash, revoked_at)",
    },
    "events_pixellog": {"app": "SELECT, INSERT", "worker": "SELECT, UPDATE", "door": "SELECT, UPDATE"},
    "events_appflow": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "events_backlog": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "events_delivery": {
        "app": "SELECT, UPDATE (state, due_at, settled_at)",
        "worker": "SELECT, INSERT, UPDATE",
    },
    "events_attempt": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    "events_deliveryfinding": {"app": "SELECT", "worker": "SELECT, INSERT"},
    # What a replay brought to Meta after all is rejected no more.
    "events_rejection": {
        "app": "SELECT, INSERT, DELETE",
        "worker": "SELECT, INSERT, UPDATE (field), DELETE",
        "door": "INSERT",
    },
    "events_event": {"app": "SELECT", "worker": "SELECT, UPDATE (payload)"},
    "events_repeat": {"app": "SELECT", "door": "SELECT"},
    "events_hourlycount": {"app": "SELECT", "worker": "SELECT", "door": "SELECT, INSERT, UPDATE"},
    "events_doubtpolicy": {"app": "SELECT, INSERT, UPDATE, DELETE", "worker": "SELECT"},
    "events_doubtdecision": {"app": "SELECT, INSERT"},
    "events_replay": {"app": "SELECT, INSERT, UPDATE", "worker": "SELECT, UPDATE"},
    "events_erasure": {"app": "SELECT, INSERT", "worker": "SELECT, UPDATE"},
    "events_doorrefusal": {"app": "SELECT", "door": "SELECT, INSERT, UPDATE"},
    "events_ledgercheck": {"app": "SELECT", "worker": "SELECT, INSERT, UPDATE"},
    # Functions. The policies of a role call them as that role.
    "FUNCTION tenants_person()": {"app": "EXECUTE", "worker": "EXECUTE"},
    "FUNCTION tenants_advertiser()": {"app": "EXECUTE", "worker": "EXECUTE"},
    "FUNCTION tenants_invitation()": {"app": "EXECUTE", "worker": "EXECUTE"},
    "FUNCTION tenants_reached_partners()": {"app": "EXECUTE"},
    "FUNCTION tenants_reached_advertisers()": {"app": "EXECUTE"},
    "FUNCTION tenants_seen_partners()": {"app": "EXECUTE"},
    "FUNCTION tenants_taken_partner()": {"app": "EXECUTE", "worker": "EXECUTE"},
    "FUNCTION tenants_link()": {"app": "EXECUTE"},
    "FUNCTION tenants_called_partner()": {"app": "EXECUTE"},
    "FUNCTION tenants_worked_partners()": {"worker": "EXECUTE"},
    "FUNCTION tenants_worked_people()": {"worker": "EXECUTE"},
    "FUNCTION tenants_all_partners()": {"worker": "EXECUTE"},
    "FUNCTION onboarding_link_advertiser()": {"app": "EXECUTE"},
    "FUNCTION tenants_is_invited(bigint, bigint, text)": {"app": "EXECUTE"},
    "FUNCTION tenants_invited_advertiser()": {"app": "EXECUTE"},
    "FUNCTION tenants_is_operator(bigint)": {"app": "EXECUTE"},
    "FUNCTION events_make_partitions(date, integer)": {"worker": "EXECUTE"},
    "FUNCTION events_calls_of_day(date)": {"worker": "EXECUTE"},
    "FUNCTION events_retention_of_partners()": {"worker": "EXECUTE"},
    "FUNCTION events_day_is_settled(date, bigint)": {"worker": "EXECUTE"},
    "FUNCTION events_ends_of_day(date, bigint)": {"worker": "EXECUTE"},
    "FUNCTION events_drop_day(date)": {"worker": "EXECUTE"},
    "FUNCTION events_trim_day(date, bigint)": {"worker": "EXECUTE"},
    "FUNCTION events_leases_of_partner(bigint)": {"worker": "EXECUTE"},
    "FUNCTION events_next_of_partner(bigint)": {"worker": "EXECUTE"},
    "FUNCTION events_open_erasures()": {"worker": "EXECUTE"},
    "FUNCTION events_misowned(bigint[])": {"worker": "EXECUTE"},
}


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0002_log"),
        ("onboarding", "0004_partner_setup"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sessions", "0001_initial"),
    ]

    operations = [protect(POLICIES), grant(GRANTS)]
