"""Row-level security under pixels, credentials and tests, and keys that bind each to its pixel's advertiser."""

from django.db import migrations

from partnerhub.lib.locks import Policies, protect

REACHED = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
TAKEN_UP = "advertiser_id = (SELECT tenants_advertiser())"

CALLED = "partner_id = (SELECT tenants_called_partner())"
WORKED = "partner_id = ANY ((SELECT tenants_worked_partners())::bigint[])"
# Who holds a forwarded link reaches that one row, and may put one secret beside it.
BY_LINK = "token_hash = (SELECT tenants_link())"
LINKED = "advertiser_id = (SELECT onboarding_link_advertiser())"

FUNCTIONS = """
CREATE FUNCTION onboarding_link_advertiser() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS
$$ SELECT advertiser_id FROM onboarding_tokenlink WHERE token_hash = tenants_link() AND state = 'open' $$;
"""

POLICIES: Policies = {
    # Dispatch looks over all pixels: the worker's sweep reads whether one is held. No secret, no payload.
    "onboarding_pixel": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
        ("door", "SELECT", "true", None),
    ],
    # Dates and states for sweeps, and no secret.
    "onboarding_credential": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
    # The app's grants leave the sealed bytes out: it puts secrets in, and takes none out.
    "onboarding_sealedtoken": [
        ("app", "ALL", f"{REACHED} OR {LINKED}", f"{REACHED} OR {LINKED}"),
        ("worker", "ALL", TAKEN_UP, TAKEN_UP),
    ],
    "onboarding_credentialevent": [
        ("app", "SELECT", REACHED, None),
        ("app", "INSERT", None, REACHED),
        ("worker", "ALL", TAKEN_UP, TAKEN_UP),
    ],
    # A task is told a session's number only.
    "onboarding_onboardingsession": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
    "onboarding_tokenlink": [
        ("app", "ALL", f"{REACHED} OR {BY_LINK}", f"{REACHED} OR {BY_LINK}"),
        ("worker", "ALL", TAKEN_UP, TAKEN_UP),
    ],
    # Dates and states for the sweep, and no secret.
    "onboarding_revocation": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
    "onboarding_metacallback": [
        (
            "app",
            "SELECT",
            f"{CALLED} OR partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])",
            None,
        ),
        ("app", "INSERT", None, CALLED),
        ("worker", "SELECT", "true", None),
        ("worker", "UPDATE", WORKED, WORKED),
    ],
    # A task is told a test's number only; whose it is, it reads here.
    "onboarding_connectiontest": [
        ("app", "ALL", REACHED, REACHED),
        ("worker", "SELECT", "true", None),
        ("worker", "INSERT", None, TAKEN_UP),
        ("worker", "UPDATE", TAKEN_UP, TAKEN_UP),
    ],
}

SAME_ADVERTISER = """
ALTER TABLE onboarding_pixel ADD CONSTRAINT pixel_of_advertiser UNIQUE (id, advertiser_id);
ALTER TABLE onboarding_credential ADD CONSTRAINT credential_of_same_advertiser
    FOREIGN KEY (pixel_id, advertiser_id) REFERENCES onboarding_pixel (id, advertiser_id);
ALTER TABLE onboarding_connectiontest ADD CONSTRAINT connection_test_of_same_advertiser
    FOREIGN KEY (pixel_id, advertiser_id) REFERENCES onboarding_pixel (id, advertiser_id);
ALTER TABLE onboarding_onboardingsession ADD CONSTRAINT session_of_same_advertiser
    FOREIGN KEY (pixel_id, advertiser_id) REFERENCES onboarding_pixel (id, advertiser_id);
ALTER TABLE onboarding_sealedtoken ADD CONSTRAINT sealed_token_of_advertiser UNIQUE (id, advertiser_id);
ALTER TABLE onboarding_credential ADD CONSTRAINT credential_secret_of_same_advertiser
    FOREIGN KEY (secret_id, advertiser_id) REFERENCES onboarding_sealedtoken (id, advertiser_id);
ALTER TABLE onboarding_onboardingsession ADD CONSTRAINT session_grant_of_same_advertiser
    FOREIGN KEY (grant_id, advertiser_id) REFERENCES onboarding_sealedtoken (id, advertiser_id);
ALTER TABLE onboarding_onboardingsession ADD CONSTRAINT session_candidate_of_same_advertiser
    FOREIGN KEY (candidate_id, advertiser_id) REFERENCES onboarding_sealedtoken (id, advertiser_id);
ALTER TABLE onboarding_onboardingsession ADD CONSTRAINT session_of_advertiser UNIQUE (id, advertiser_id);
ALTER TABLE onboarding_tokenlink ADD CONSTRAINT token_link_of_same_advertiser
    FOREIGN KEY (session_id, advertiser_id) REFERENCES onboarding_onboardingsession (id, advertiser_id);
ALTER TABLE onboarding_tokenlink ADD CONSTRAINT token_link_secret_of_same_advertiser
    FOREIGN KEY (secret_id, advertiser_id) REFERENCES onboarding_sealedtoken (id, advertiser_id);
ALTER TABLE onboarding_revocation ADD CONSTRAINT revocation_secret_of_same_advertiser
    FOREIGN KEY (secret_id, advertiser_id) REFERENCES onboarding_sealedtoken (id, advertiser_id);
"""


class Migration(migrations.Migration):
    dependencies = [("onboarding", "0001_initial"), ("tenants", "0002_row_level_security")]

    operations = [migrations.RunSQL(FUNCTIONS), migrations.RunSQL(SAME_ADVERTISER), protect(POLICIES)]
