"""Row-level security under the tenants' tables, and the functions that say what a person reaches.

The functions run as the tables' owner, for a policy may not read a table that it protects. Each is evaluated
once a statement (a sub-select in the policy), not once a row.
"""

from django.db import migrations

from partnerhub.lib.locks import Policies, protect

FUNCTIONS = """
CREATE FUNCTION tenants_person() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('partnerhub.person_id', true), '')::bigint $$;

CREATE FUNCTION tenants_advertiser() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('partnerhub.advertiser_id', true), '')::bigint $$;

CREATE FUNCTION tenants_taken_partner() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('partnerhub.partner_id', true), '')::bigint $$;

CREATE FUNCTION tenants_link() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('partnerhub.link_hash', true), '') $$;

CREATE FUNCTION tenants_invitation() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('partnerhub.invitation_hash', true), '') $$;

-- Partners at which the person holds a role; for an operator, all.
CREATE FUNCTION tenants_reached_partners() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT coalesce(array_agg(id), '{}') FROM (
        SELECT partner_id AS id FROM tenants_partnermembership WHERE person_id = tenants_person()
        UNION
        SELECT id FROM tenants_partner WHERE EXISTS (
            SELECT FROM tenants_person WHERE id = tenants_person() AND is_superuser AND is_active)
    ) AS reached
$$;

-- Advertisers at which the person holds a role, and all of the partners above.
CREATE FUNCTION tenants_reached_advertisers() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT coalesce(array_agg(id), '{}') FROM (
        SELECT advertiser_id AS id FROM tenants_advertisermembership WHERE person_id = tenants_person()
        UNION
        SELECT id FROM tenants_advertiser WHERE partner_id = ANY (tenants_reached_partners())
    ) AS reached
$$;

-- The above, and the partners of the advertisers: their name and looks are shown to the advertiser's people.
CREATE FUNCTION tenants_seen_partners() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT coalesce(array_agg(id), '{}') FROM (
        SELECT unnest(tenants_reached_partners()) AS id
        UNION
        SELECT partner_id FROM tenants_advertiser WHERE id = ANY (tenants_reached_advertisers())
        UNION
        SELECT partner_id FROM tenants_invitation WHERE token_hash = tenants_invitation()
    ) AS seen
$$;

-- The partner whose address Meta calls in this unit of work.
CREATE FUNCTION tenants_called_partner() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT id FROM tenants_partner
    WHERE callback_key = nullif(current_setting('partnerhub.callback_key', true), '')
$$;

-- What a worker has taken up: the advertiser's partner, or a partner itself.
CREATE FUNCTION tenants_worked_partners() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT coalesce(array_agg(id), '{}') FROM (
        SELECT tenants_taken_partner() AS id WHERE tenants_taken_partner() IS NOT NULL
        UNION
        SELECT partner_id FROM tenants_advertiser WHERE id = tenants_advertiser()
    ) AS worked
$$;

-- For the workers' sweeps: who there is, and nothing of them.
CREATE FUNCTION tenants_all_partners() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$ SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM tenants_partner $$;

-- People with a role at what the worker has taken up: whom its mails may reach.
CREATE FUNCTION tenants_worked_people() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT coalesce(array_agg(person_id), '{}') FROM (
        SELECT person_id FROM tenants_advertisermembership WHERE advertiser_id = tenants_advertiser()
        UNION
        SELECT person_id FROM tenants_partnermembership WHERE partner_id = ANY (tenants_worked_partners())
    ) AS worked
$$;

-- Whether the open invitation of this unit of work offers this role to this person, by a verified address.
CREATE FUNCTION tenants_is_invited(partner bigint, advertiser bigint, offered text)
RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM tenants_invitation AS invitation
        JOIN account_emailaddress AS address
          ON address.user_id = tenants_person() AND address.verified
         AND lower(address.email) = invitation.email
        WHERE invitation.token_hash = tenants_invitation()
          AND invitation.accepted_at IS NULL AND invitation.revoked_at IS NULL
          AND invitation.expires_at > now()
          AND invitation.role = offered
          AND (invitation.advertiser_id = advertiser
               OR invitation.advertiser_id IS NULL AND advertiser IS NULL
                  AND invitation.partner_id = partner))
$$;

-- The advertiser that the link of this unit of work invites to: its name is shown before it is accepted.
CREATE FUNCTION tenants_invited_advertiser() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS
$$ SELECT advertiser_id FROM tenants_invitation WHERE token_hash = tenants_invitation() $$;

-- Whether the person was an operator before this statement.
CREATE FUNCTION tenants_is_operator(person bigint) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS
$$ SELECT EXISTS (SELECT FROM tenants_person WHERE id = person AND is_superuser) $$;
"""

# An invitation to an advertiser is its own partner's: no link shows another partner's name.
SAME_PARTNER = """
ALTER TABLE tenants_advertiser ADD CONSTRAINT advertiser_of_partner UNIQUE (id, partner_id);
ALTER TABLE tenants_invitation ADD CONSTRAINT invitation_of_same_partner
    FOREIGN KEY (advertiser_id, partner_id) REFERENCES tenants_advertiser (id, partner_id);
"""

REACHED_PARTNER = "partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])"
REACHED_ADVERTISER = "advertiser_id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
OWN = "person_id = (SELECT tenants_person())"
SHOWN_KEY = "key_hash = (SELECT tenants_link())"
INVITED_BY_LINK = "token_hash = (SELECT tenants_invitation())"
WORKED = "((SELECT tenants_worked_partners())::bigint[])"

# An operator sees every tenant, so the web site can make none: `manage.py operator create` does.
NO_NEW_OPERATOR = "NOT (is_superuser OR is_staff) OR tenants_is_operator(id)"

POLICIES: Policies = {
    "tenants_person": [
        ("app", "SELECT", "true", None),
        ("app", "INSERT", None, NO_NEW_OPERATOR),
        ("app", "UPDATE", "true", NO_NEW_OPERATOR),
        ("worker", "SELECT", "id = ANY ((SELECT tenants_worked_people())::bigint[])", None),
    ],
    # A person's own; or the one that a request of the API shows.
    "tenants_apikey": [("app", "ALL", f"{OWN} OR {SHOWN_KEY}", f"{OWN} OR {SHOWN_KEY}")],
    "tenants_partner": [
        (
            "app",
            "SELECT",
            "id = ANY ((SELECT tenants_seen_partners())::bigint[]) OR id = (SELECT tenants_called_partner())",
            None,
        ),
        (
            "app",
            "UPDATE",
            "id = ANY ((SELECT tenants_reached_partners())::bigint[])",
            "id = ANY ((SELECT tenants_reached_partners())::bigint[])",
        ),
        ("worker", "SELECT", f"id = ANY {WORKED}", None),
        ("worker", "UPDATE", f"id = ANY {WORKED}", f"id = ANY {WORKED}"),
    ],
    "tenants_logo": [
        ("app", "SELECT", "partner_id = ANY ((SELECT tenants_seen_partners())::bigint[])", None),
        ("app", "INSERT", None, REACHED_PARTNER),
        ("app", "UPDATE", REACHED_PARTNER, REACHED_PARTNER),
        ("app", "DELETE", REACHED_PARTNER, None),
    ],
    "tenants_partnercredential": [
        # Meta's signatures are checked with the app secret, before anybody has signed in.
        (
            "app",
            "SELECT",
            f"{REACHED_PARTNER} OR kind = 'app_secret' AND partner_id = (SELECT tenants_called_partner())",
            None,
        ),
        ("app", "INSERT", None, REACHED_PARTNER),
        ("app", "UPDATE", REACHED_PARTNER, REACHED_PARTNER),
        ("worker", "SELECT", f"partner_id = ANY {WORKED}", None),
        ("worker", "INSERT", None, f"partner_id = ANY {WORKED}"),
        ("worker", "UPDATE", f"partner_id = ANY {WORKED}", f"partner_id = ANY {WORKED}"),
    ],
    "tenants_advertiser": [
        (
            "app",
            "SELECT",
            (
                "id = ANY ((SELECT tenants_reached_advertisers())::bigint[])"
                " OR partner_id = ANY ((SELECT tenants_reached_partners())::bigint[])"
                " OR id = (SELECT tenants_invited_advertiser())"
            ),
            None,
        ),
        ("app", "INSERT", None, REACHED_PARTNER),
        (
            "app",
            "UPDATE",
            "id = ANY ((SELECT tenants_reached_advertisers())::bigint[])",
            "id = ANY ((SELECT tenants_reached_advertisers())::bigint[])",
        ),
        (
            "worker",
            "SELECT",
            "id = (SELECT tenants_advertiser()) OR partner_id = (SELECT tenants_taken_partner())",
            None,
        ),
        ("door", "SELECT", "true", None),
    ],
    "tenants_partnermembership": [
        ("app", "SELECT", f"{REACHED_PARTNER} OR {OWN}", None),
        (
            "app",
            "INSERT",
            None,
            f"{REACHED_PARTNER} OR {OWN} AND tenants_is_invited(partner_id, NULL, role)",
        ),
        ("app", "UPDATE", REACHED_PARTNER, REACHED_PARTNER),
        ("app", "DELETE", REACHED_PARTNER, None),
        ("worker", "SELECT", f"partner_id = ANY {WORKED}", None),
    ],
    "tenants_advertisermembership": [
        ("app", "SELECT", f"{REACHED_ADVERTISER} OR {OWN}", None),
        (
            "app",
            "INSERT",
            None,
            f"{REACHED_ADVERTISER} OR {OWN} AND tenants_is_invited(NULL, advertiser_id, role)",
        ),
        ("app", "UPDATE", REACHED_ADVERTISER, REACHED_ADVERTISER),
        ("app", "DELETE", REACHED_ADVERTISER, None),
        ("worker", "SELECT", "advertiser_id = (SELECT tenants_advertiser())", None),
    ],
    "tenants_invitation": [
        ("app", "SELECT", f"{REACHED_PARTNER} OR {REACHED_ADVERTISER} OR {INVITED_BY_LINK}", None),
        ("app", "INSERT", None, f"advertiser_id IS NULL AND {REACHED_PARTNER} OR {REACHED_ADVERTISER}"),
        (
            "app",
            "UPDATE",
            f"{REACHED_PARTNER} OR {REACHED_ADVERTISER} OR {INVITED_BY_LINK}",
            f"{REACHED_PARTNER} OR {REACHED_ADVERTISER} OR {INVITED_BY_LINK}",
        ),
    ],
}


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial"), ("account", "0009_emailaddress_unique_primary_email")]

    operations = [migrations.RunSQL(FUNCTIONS), migrations.RunSQL(SAME_PARTNER), protect(POLICIES)]
