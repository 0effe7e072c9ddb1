"""The log and the repeats' table, partitioned by the day of receipt (UTC).

The door copies straight into a day's partition, on which it has INSERT and no SELECT; everybody reads through the
parent, under row-level security. Partitions are made ahead by a function that acts as the owner: no running
process is the owner. There is no DEFAULT partition: it would have to be scanned, locked, at each new day.
"""

from typing import Any

from django.db import migrations
from django.db.migrations.state import StateApps
from psycopg import sql

from partnerhub.lib.db import role_names

TABLES = """
CREATE TABLE events_event (
    advertiser_id bigint NOT NULL,
    pixel_id bigint NOT NULL,
    log_offset bigint NOT NULL,
    received_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    origin smallint NOT NULL,
    event_name text NOT NULL,
    event_id text NOT NULL,
    payload bytea NOT NULL,
    notices text NOT NULL,
    PRIMARY KEY (advertiser_id, pixel_id, log_offset, received_at)
) PARTITION BY RANGE (received_at);

-- One row an event, to recognise a repeat of (pixel, event_name, event_id) for 48 hours and to find an event by its
-- id as long as the log is kept. Hashes are 128 bits, stored as uuid for its size and speed.
CREATE TABLE events_repeat (
    advertiser_id bigint NOT NULL,
    pixel_id bigint NOT NULL,
    repeat_key uuid NOT NULL,
    content_key uuid NOT NULL,
    log_offset bigint NOT NULL,
    received_at timestamptz NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX events_repeat_key ON events_repeat (pixel_id, repeat_key);
"""

FUNCTION = """
CREATE FUNCTION events_make_partitions(first date, days integer) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    day date;
    made integer := 0;
    parent text;
    leaf text;
BEGIN
    -- Two callers at once would both find a day missing.
    PERFORM pg_advisory_xact_lock(hashtext('events_make_partitions'));
    FOR day IN SELECT generate_series(first, first + days - 1, interval '1 day')::date LOOP
        FOREACH parent IN ARRAY ARRAY['events_event', 'events_repeat'] LOOP
            leaf := parent || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass(leaf) IS NOT NULL;
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                leaf, parent, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
            EXECUTE format('GRANT INSERT ON %I TO %I', leaf, {door});
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
"""

# What a claim of a partner with a ceiling asks: no worker sees all of a partner's rows. Nothing but a number and
# a key come out, and of pixels, which every worker may see.
OF_PARTNER = """
CREATE FUNCTION events_leases_of_partner(partner bigint) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM events_delivery AS delivery
    JOIN tenants_advertiser AS advertiser ON advertiser.id = delivery.advertiser_id
    WHERE delivery.state IN ('claimed', 'sending') AND delivery.lease_until > clock_timestamp()
      AND advertiser.partner_id = partner
$$;
CREATE FUNCTION events_next_of_partner(partner bigint) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT log.pixel_id
    FROM events_pixellog AS log
    JOIN tenants_advertiser AS advertiser ON advertiser.id = log.advertiser_id
    JOIN onboarding_pixel AS pixel ON pixel.id = log.pixel_id
    WHERE advertiser.partner_id = partner AND log.awake AND log.due_at <= clock_timestamp()
      AND pixel.held_at IS NULL
      AND NOT EXISTS (
        SELECT FROM events_delivery AS live
        WHERE live.pixel_id = log.pixel_id AND live.state IN ('claimed', 'sending')
          AND live.lease_until > clock_timestamp())
    ORDER BY log.due_at LIMIT 1
$$;
"""

# What retention asks and does, as the owner: no running process may detach or drop. None of them touches a day that
# is not over by a day at least, or that holds what is not settled; `partner` limits them to one partner's rows.
RETENTION = """
CREATE FUNCTION events_retention_of_partners() RETURNS TABLE (partner_id bigint, days integer) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id, log_retention_days::integer FROM tenants_partner ORDER BY id
$$;
CREATE FUNCTION events_day_is_settled(day date, partner bigint) RETURNS boolean LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH ends AS (SELECT (day + 1)::timestamp AT TIME ZONE 'UTC' AS at),
    waits AS (
        SELECT log.advertiser_id FROM events_pixellog AS log, ends
        WHERE log.tail < log.head AND log.tail_received_at < ends.at
        UNION ALL
        SELECT backlog.advertiser_id FROM events_backlog AS backlog, ends
        WHERE backlog.drained_at IS NULL AND backlog.next_received_at < ends.at
        UNION ALL
        SELECT delivery.advertiser_id FROM events_delivery AS delivery, ends
        WHERE delivery.state IN ('waiting', 'doubt') AND delivery.first_received_at < ends.at
        UNION ALL
        SELECT delivery.advertiser_id FROM events_delivery AS delivery, ends
        WHERE delivery.state IN ('claimed', 'sending') AND delivery.first_received_at < ends.at)
    SELECT day < (now() AT TIME ZONE 'UTC')::date - 1 AND NOT EXISTS (
        SELECT FROM waits JOIN tenants_advertiser AS advertiser ON advertiser.id = waits.advertiser_id
        WHERE partner IS NULL OR advertiser.partner_id = partner)
$$;
CREATE FUNCTION events_ends_of_day(day date, partner bigint)
RETURNS TABLE (pixel_id bigint, next_offset bigint) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    leaf text := 'events_event_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(leaf) IS NOT NULL THEN
        RETURN QUERY EXECUTE format(
            'SELECT event.pixel_id, max(event.log_offset) + 1 FROM %I AS event'
            ' JOIN tenants_advertiser AS advertiser ON advertiser.id = event.advertiser_id'
            ' WHERE $1 IS NULL OR advertiser.partner_id = $1 GROUP BY event.pixel_id ORDER BY 1', leaf)
            USING partner;
    END IF;
END
$$;
-- Detaches the day's tables, or drops them where they are detached: two commits, so that the lock on the log as a
-- whole, which a door needs for a moment at each commit, lasts no longer than taking the day out of its list. Who
-- does not get it in a tenth of a second gives up, and those behind it in the line go on.
CREATE FUNCTION events_drop_day(day date) RETURNS text LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    done text := 'gone';
    parent text;
    leaf text;
BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    IF NOT events_day_is_settled(day, NULL) THEN
        RETURN 'unsettled';
    END IF;
    FOREACH parent IN ARRAY ARRAY['events_event', 'events_repeat'] LOOP
        leaf := parent || '_' || to_char(day, 'YYYYMMDD');
        IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(leaf)) THEN
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, leaf);
            done := 'detached';
        END IF;
    END LOOP;
    IF done = 'detached' THEN
        RETURN done;
    END IF;
    FOREACH parent IN ARRAY ARRAY['events_event', 'events_repeat'] LOOP
        leaf := parent || '_' || to_char(day, 'YYYYMMDD');
        IF to_regclass(leaf) IS NOT NULL THEN
            EXECUTE format('DROP TABLE %I', leaf);
            done := 'dropped';
        END IF;
    END LOOP;
    RETURN done;
END
$$;
-- A partner that keeps its events for less than others do: its rows leave the day, which stays.
CREATE FUNCTION events_trim_day(day date, partner bigint) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone bigint := 0;
    parent text;
    leaf text;
    count bigint;
BEGIN
    IF partner IS NULL OR NOT events_day_is_settled(day, partner) THEN
        RETURN 0;
    END IF;
    FOREACH parent IN ARRAY ARRAY['events_event', 'events_repeat'] LOOP
        leaf := parent || '_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(leaf) IS NULL;
        EXECUTE format(
            'DELETE FROM %I WHERE advertiser_id IN (SELECT id FROM tenants_advertiser WHERE partner_id = $1)', leaf)
            USING partner;
        GET DIAGNOSTICS count = ROW_COUNT;
        gone := gone + count;
    END LOOP;
    RETURN gone;
END
$$;
"""

SAME_ADVERTISER = "".join(
    f"ALTER TABLE {table} ADD CONSTRAINT {table}_of_same_advertiser"
    " FOREIGN KEY (pixel_id, advertiser_id) REFERENCES onboarding_pixel (id, advertiser_id);"
    for table in (
        "events_ingesttoken",
        "events_pixellog",
        "events_backlog",
        "events_delivery",
        "events_attempt",
        "events_deliveryfinding",
        "events_rejection",
        "events_hourlycount",
        "events_doubtpolicy",
        "events_doubtdecision",
        "events_replay",
        "events_erasure",
        "events_doorrefusal",
    )
)

# For App Review's count: one day's requests with tokens of each partner's own app. Counts, and nothing else of anybody.
# Attempts are appended in the order of their time: a BRIN index costs their writer next to nothing.
CALLS = """
CREATE INDEX attempt_started ON events_attempt USING brin (started_at);

CREATE FUNCTION events_calls_of_day(asked date) RETURNS TABLE (partner_id bigint, succeeded bigint, failed bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT advertiser.partner_id,
           count(*) FILTER (WHERE attempt.outcome = 'accepted'),
           count(*) FILTER (WHERE attempt.outcome IN ('refused', 'doubt'))
    FROM events_attempt AS attempt
    JOIN tenants_advertiser AS advertiser ON advertiser.id = attempt.advertiser_id
    WHERE attempt.started_at >= asked::timestamp AT TIME ZONE 'UTC'
      AND attempt.started_at < (asked + 1)::timestamp AT TIME ZONE 'UTC'
      AND EXISTS (
          SELECT FROM onboarding_credential AS credential
          WHERE credential.pixel_id = attempt.pixel_id AND credential.option <> 'pasted_token'
            AND credential.created_at <= attempt.started_at
            AND (credential.retired_at IS NULL OR credential.retired_at > attempt.started_at))
    GROUP BY 1
$$;
"""

# Whose erasures are under way: the sweep takes each up in its advertiser's scope.
ERASURES = """
CREATE FUNCTION events_open_erasures() RETURNS TABLE (erasure_id bigint, advertiser_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id, events_erasure.advertiser_id FROM events_erasure WHERE state <> 'done' ORDER BY id
$$;
"""

# For the ledger check's L8, also by a worker, who sees one advertiser's rows: how many rows of each table name another
# advertiser than their pixel's.
MISOWNED_ROWS = """
    SELECT pixel.id, '{table}', count(*)
    FROM {table} AS owned JOIN onboarding_pixel AS pixel ON pixel.id = owned.pixel_id
    WHERE pixel.id = ANY (asked) AND owned.advertiser_id <> pixel.advertiser_id GROUP BY pixel.id
"""
MISOWNED = """
CREATE FUNCTION events_misowned(asked bigint[]) RETURNS TABLE (pixel_id bigint, relation text, found bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
{rows}
$$;
""".replace(
    "{rows}",
    "UNION ALL".join(
        MISOWNED_ROWS.format(table=table)
        for table in (
            "events_event",
            "events_repeat",
            "events_backlog",
            "events_delivery",
            "events_attempt",
            "events_deliveryfinding",
            "events_rejection",
            "events_hourlycount",
            "events_ingesttoken",
            "events_doubtpolicy",
            "events_doubtdecision",
            "events_replay",
            "events_erasure",
            "events_doorrefusal",
        )
    ),
)

# PixelLog is updated at each commit: room for the new version on the same page, and a vacuum that keeps up.
HOT_ROWS = """
ALTER TABLE events_pixellog SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE events_hourlycount SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE events_delivery SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
"""


def make_function(apps: StateApps, schema_editor: Any) -> None:
    """Make the partitions' function, which grants to the door's role, and the first week's partitions."""
    door = sql.Literal(role_names().door).as_string()
    schema_editor.execute(FUNCTION.replace("{door}", door), params=None)
    schema_editor.execute(
        "SELECT events_make_partitions((now() AT TIME ZONE 'UTC')::date - 1, 9)", params=None
    )


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial"), ("onboarding", "0002_row_level_security")]

    operations = [
        migrations.RunSQL(TABLES),
        migrations.RunPython(make_function, migrations.RunPython.noop),
        migrations.RunSQL(OF_PARTNER),
        migrations.RunSQL(RETENTION),
        migrations.RunSQL(SAME_ADVERTISER),
        migrations.RunSQL(HOT_ROWS),
        migrations.RunSQL(CALLS),
        migrations.RunSQL(ERASURES),
        migrations.RunSQL(MISOWNED),
    ]
