"""Row-level security under pixels, credentials and tests, and keys that bind each to its pixel's advertiser."""

from django.db import migrations

from partnerhub.lib.locks import protect

REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
TAKEN_UP = "advertiser_id = (SELECT tenants_advertiser())"

POLICIES = {
    # Dispatch looks over all pixels: the worker's sweep reads whether one is held. No secret, no payload.
    "onboarding_pixel": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
        ("door", "SELECT", "true", None),
    ],
    "onboarding_credential": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", TAKEN_UP, None),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
    # A task is told a test's number only; whose it is, it reads here.
    "onboarding_connectiontest": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
}

SAME_ADVERTISER = """
ALTER TABLE onboarding_pixel ADD CONSTRAINT pixel_of_advertiser UNIQUE (id, advertiser_id);
ALTER TABLE onboarding_credential ADD CONSTRAINT credential_of_same_advertiser
    FOREIGN KEY (pixel_id, advertiser_id) REFERENCES onboarding_pixel (id, advertiser_id);
ALTER TABLE onboarding_connectiontest ADD CONSTRAINT connection_test_of_same_advertiser
    FOREIGN KEY (pixel_id, advertiser_id) REFERENCES onboarding_pixel (id, advertiser_id);
"""


class Migration(migrations.Migration):
    dependencies = [("onboarding", "0001_initial"), ("tenants", "0002_row_level_security")]

    operations = [migrations.RunSQL(SAME_ADVERTISER), protect(POLICIES)]
