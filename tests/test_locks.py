"""The two locks between tenants. Real roles, real commits: either lock alone keeps a stranger out."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.http import Http404
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

import events.access
import onboarding.access
import tenants.access
from partnerhub.lib.db import ScopeError, tenant_scope
from tenants.models import Advertiser, Invitation, Person
from tenants.roles import Act
from tests.support.cast import Tenant, make_tenant
from tests.support.environment import TestDatabase
from tests.support.factories import make_person
from tests.support.roles import logged_in_as

# Tables that no tenant owns, each with its reason.
NOBODYS = {
    "account_emailaddress": "sign-in: read before it is known who asks",
    "account_emailconfirmation": "sign-in",
    "auth_group": "Django's; empty",
    "auth_group_permissions": "Django's; empty",
    "auth_permission": "Django's list of what its admin can do",
    "django_admin_log": "what operators did in the admin; only they come there",
    "django_content_type": "Django's list of models",
    "django_migrations": "names of migrations",
    "django_session": "sign-in: found by a random key",
    "onboarding_graphoutage": "times at which Graph was not believed, of all together; operators read it",
    "tenants_apikey": "a person's, who may belong to many tenants; locked by the person",
    "tenants_person": "sign-in; a person may belong to many tenants (no web process can make an operator)",
    "tenants_person_groups": "Django's; empty",
    "tenants_person_user_permissions": "Django's; empty",
}
# Rows of each of these are a tenant's own by their key.
KEYED_BY_ID = {"tenants_partner", "tenants_advertiser"}
# The broker's queues hold hints: a task's name and ids. Its grants are partnerhub.lib.postgres_queue's.
BROKERS_SCHEMA = "pgmq"

# What a worker's sweep reads over all tenants: no payload, no secret.
DISPATCH = {
    "onboarding_pixel",
    "onboarding_credential",
    "onboarding_connectiontest",
    "onboarding_notice",
    "onboarding_onboardingsession",
    "onboarding_revocation",
    "onboarding_metacallback",
    "onboarding_setupcheck",
    "events_pixellog",
    "events_appflow",
    "events_backlog",
    "events_delivery",
    "events_replay",
    "events_ledgercheck",
}

# What a worker writes of all tenants: who is at what, and until when.
WORKED_OVER_ALL = {"events_pixellog", "events_appflow", "events_backlog", "events_delivery", "events_replay"}

TABLES = """
    SELECT class.relname, class.relrowsecurity AND class.relforcerowsecurity AS is_locked,
           EXISTS (SELECT FROM pg_attribute WHERE attrelid = class.oid AND attnotnull
                     AND attname IN ('advertiser_id', 'partner_id')) AS has_owner,
           (SELECT count(*) FROM pg_policy WHERE polrelid = class.oid) AS policies
    FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT class.relispartition AND space.nspname = 'public'
"""


@dataclass(frozen=True, slots=True)
class Cast:
    """Two tenants, and somebody with an account and no role."""

    mine: Tenant
    other: Tenant
    nobody: Person


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: Any) -> Iterator[Cast]:
    """Committed rows of two tenants in every table; gone afterwards."""
    with django_db_blocker.unblock():
        yield Cast(make_tenant("Mine"), make_tenant("Other"), make_person("nobody@else.example"))
        connection.close()
        call_command("flush", verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE events_event, events_repeat")


@pytest.fixture
def connect(database: TestDatabase) -> Iterator[Callable[[str], psycopg.Connection[Any]]]:
    """A connection that logs in as the role, in autocommit."""
    opened: list[psycopg.Connection[Any]] = []

    def connect(role: str) -> psycopg.Connection[Any]:
        opened.append(psycopg.connect(database.url(role), autocommit=True))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def as_app(cast: Cast, database: TestDatabase) -> Iterator[None]:
    """Django's own connection, logged in as the web's role for the test."""
    with logged_in_as(database, "app"):
        yield


def scope(link: psycopg.Connection[Any], **who: object) -> None:
    """What tenant_scope says at the beginning of its transaction."""
    settings = {"person_id": "", "advertiser_id": "", "invitation_hash": ""} | who
    for name, value in settings.items():
        link.execute("SELECT set_config(%s, %s, true)", [f"partnerhub.{name}", str(value)])


def tenants_tables() -> list[str]:
    """Every table that a tenant owns."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        return sorted(name for name, *_ in cursor.fetchall() if name not in NOBODYS)


def owner_column(table: str) -> str:
    """The column that says whose a row is."""
    if table in KEYED_BY_ID:
        return "id"
    with connection.cursor() as cursor:
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass", [table])
        columns = {name for (name,) in cursor.fetchall()}
    return "advertiser_id" if "advertiser_id" in columns and table != "tenants_invitation" else "partner_id"


def owners_seen(link: psycopg.Connection[Any], table: str) -> set[int]:
    """Whose rows a bare SELECT without any filter returns."""
    query = sql.SQL("SELECT DISTINCT {} FROM {}").format(
        sql.Identifier(owner_column(table)), sql.Identifier(table)
    )
    return {row[0] for row in link.execute(query).fetchall()}


def granted(role: str, privilege: str) -> list[str]:
    """The tenants' tables on which the role has the privilege, on the table or on some column of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE has_table_privilege(%s, name, %s)"
            # DELETE is of whole rows only.
            " OR CASE WHEN %s <> 'DELETE' THEN has_any_column_privilege(%s, name, %s) END",
            [tenants_tables(), role, privilege, privilege, role, privilege],
        )
        return sorted(row[0] for row in cursor.fetchall())


def changeable(role: str) -> dict[str, str]:
    """Of each table that the role may UPDATE, a column that it may change."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (table_name) table_name, column_name"
            " FROM information_schema.column_privileges WHERE grantee = %s AND privilege_type = 'UPDATE'"
            " ORDER BY table_name, column_name",
            [role],
        )
        return dict(cursor.fetchall())


# Every table.


def test_every_table_is_a_tenants_and_locked_or_has_its_reason(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        found = {name: rest for name, *rest in cursor.fetchall()}
        cursor.execute(
            "SELECT nspname FROM pg_namespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> %s",
            [BROKERS_SCHEMA],
        )
        schemas = [row[0] for row in cursor.fetchall()]

    unlocked = {
        name
        for name, (is_locked, has_owner, policies) in found.items()
        if not (is_locked and policies and (has_owner or name in KEYED_BY_ID))
    }

    assert unlocked - set(NOBODYS) == set()
    assert set(NOBODYS) - set(found) == set()
    assert schemas == ["public"]


def test_every_model_of_a_tenant_is_among_the_tables(cast: Cast) -> None:
    models = {model._meta.db_table for model in apps.get_models()}

    assert set(tenants_tables()) - models <= {"events_repeat"}


def test_the_cast_has_rows_of_both_tenants_in_every_table(cast: Cast, connect: Any) -> None:
    owner = connect("owner")

    for table in tenants_tables():
        kinds = (cast.mine.partner.pk, cast.other.partner.pk)
        if owner_column(table) == "advertiser_id" or table == "tenants_advertiser":
            kinds = (cast.mine.advertiser.pk, cast.other.advertiser.pk)
        assert owners_seen(owner, table) >= set(kinds), table


def test_row_security_is_active_for_every_running_process(cast: Cast, connect: Any) -> None:
    for role in ("app", "worker", "door"):
        link = connect(role)
        for table in tenants_tables():
            assert link.execute("SELECT row_security_active(%s)", [table]).fetchone() == (True,), (
                role,
                table,
            )


# With the querysets' scoping taken out: SELECT without WHERE, as the web's role.


def test_without_a_scope_nothing_is_read(cast: Cast, connect: Any) -> None:
    link = connect("app")

    for table in granted(link.info.user, "SELECT"):
        assert owners_seen(link, table) == set(), table


def test_without_scoping_somebody_without_a_role_reads_nothing(cast: Cast, connect: Any) -> None:
    link = connect("app")

    with link.transaction():
        scope(link, person_id=cast.nobody.pk)
        for table in granted(link.info.user, "SELECT"):
            assert owners_seen(link, table) == set(), table


@pytest.mark.parametrize("role", ["owner", "manager", "support"])
def test_without_scoping_a_partners_person_reads_its_own_partners_rows_only(
    cast: Cast, connect: Any, role: str
) -> None:
    link = connect("app")

    with link.transaction():
        scope(link, person_id=cast.mine.people[role].pk)
        for table in granted(link.info.user, "SELECT"):
            own = cast.mine.partner.pk if owner_column(table) == "partner_id" else cast.mine.advertiser.pk
            own = cast.mine.partner.pk if table == "tenants_partner" else own
            assert owners_seen(link, table) == {own}, table


@pytest.mark.parametrize("role", ["admin", "analyst"])
def test_without_scoping_an_advertisers_person_reads_its_own_advertisers_rows_only(
    cast: Cast, connect: Any, role: str
) -> None:
    person = cast.mine.people[role]
    link = connect("app")

    with link.transaction():
        scope(link, person_id=person.pk)
        seen = {table: owners_seen(link, table) for table in granted(link.info.user, "SELECT")}
        invitations = link.execute("SELECT id FROM tenants_invitation").fetchall()

    # The partner's own people, secret and invitations are not the advertiser's to see; its name is.
    assert seen.pop("tenants_partner") == {cast.mine.partner.pk}
    assert seen.pop("tenants_partnermembership") == set()
    assert seen.pop("tenants_partnercredential") == set()
    assert seen.pop("tenants_logo") == {cast.mine.partner.pk}
    assert seen.pop("onboarding_metacallback") == set()
    assert seen.pop("onboarding_setupcheck") == set()
    assert seen.pop("onboarding_setupsecret") == set()
    assert seen.pop("onboarding_graphcallcount") == set()
    assert seen.pop("events_appflow") == set()
    assert seen.pop("tenants_invitation") == {cast.mine.partner.pk}
    assert invitations == [(cast.mine.to_advertiser.pk,)]
    assert seen == {table: {cast.mine.advertiser.pk} for table in seen}


def test_without_scoping_a_stranger_changes_nothing(cast: Cast, connect: Any) -> None:
    link = connect("app")
    columns = changeable(link.info.user)

    for table in granted(link.info.user, "UPDATE"):
        with link.transaction():
            scope(link, person_id=cast.nobody.pk)
            column = sql.Identifier(columns[table])
            statement = sql.SQL("UPDATE {} SET {} = {}").format(sql.Identifier(table), column, column)
            assert link.execute(statement).rowcount == 0, table
    for table in granted(link.info.user, "DELETE"):
        with link.transaction():
            scope(link, person_id=cast.nobody.pk)
            statement = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
            assert link.execute(statement).rowcount == 0, table


def test_without_scoping_a_stranger_adds_nothing_to_a_foreign_tenant(cast: Cast, connect: Any) -> None:
    link, owner = connect("app"), connect("owner")

    for table in granted(link.info.user, "INSERT"):
        assert_adds_nothing_foreign(link, owner, table, cast, person_id=cast.mine.people["owner"].pk)


def assert_adds_nothing_foreign(
    link: psycopg.Connection[Any], owner: psycopg.Connection[Any], table: str, cast: Cast, **who: object
) -> None:
    """A copy of a row of the other tenant's is refused."""
    column = "partner_id" if table == "tenants_advertiser" else owner_column(table)
    foreign = cast.other.partner.pk if column == "partner_id" else cast.other.advertiser.pk
    query = sql.SQL("SELECT * FROM {} WHERE {} = %s LIMIT 1").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    cursor = owner.execute(query, [foreign])
    found = cursor.fetchone()
    assert cursor.description is not None
    assert found is not None
    row = dict(zip([item.name for item in cursor.description], found, strict=True))
    row.pop("id", None)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    values = [Jsonb(one) if isinstance(one, dict) else one for one in row.values()]
    with link.transaction(force_rollback=True):
        scope(link, **who)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            link.execute(statement, values)


def test_without_scoping_no_model_returns_a_foreign_row(cast: Cast, as_app: None) -> None:
    foreign = {cast.other.advertiser.pk, cast.other.partner.pk}

    with tenant_scope(person_id=cast.mine.people["owner"].pk):
        for model in apps.get_models():
            table = model._meta.db_table
            if table in NOBODYS:
                continue
            column = "pk" if table in KEYED_BY_ID else owner_column(table)
            seen = set(model._default_manager.values_list(column, flat=True))
            assert seen, table
            assert not seen & (
                {cast.other.partner.pk}
                if table == "tenants_partner" or column == "partner_id"
                else foreign - {cast.other.partner.pk}
            ), table


# With row-level security taken out: the owner's role is not bound by it, and access still says no.

ACCESS: dict[str, Callable[[Person, Tenant], object]] = {
    "tenants.access.get_partner_for": lambda person, of: tenants.access.get_partner_for(
        person, of.partner.pk
    ),
    "tenants.access.get_seen_partner_for": lambda person, of: tenants.access.get_seen_partner_for(
        person, of.partner.pk
    ),
    "tenants.access.get_logo_for": lambda person, of: tenants.access.get_logo_for(
        person, of.partner.pk, "0" * 64
    ),
    "tenants.access.get_advertiser_for": lambda person, of: tenants.access.get_advertiser_for(
        person, of.advertiser.pk
    ),
    "tenants.access.get_invitation_for": lambda person, of: [
        tenants.access.get_invitation_for(person, one.pk) for one in (of.to_partner, of.to_advertiser)
    ],
    "tenants.access.get_partner_member_for": lambda person, of: tenants.access.get_partner_member_for(
        person, of.partner_member.pk
    ),
    "tenants.access.get_advertiser_member_for": lambda person, of: tenants.access.get_advertiser_member_for(
        person, of.advertiser_member.pk
    ),
    "onboarding.access.get_pixel_for": lambda person, of: onboarding.access.get_pixel_for(
        person, of.pixel.pk
    ),
    "onboarding.access.get_connection_test_for": lambda person, of: onboarding.access.get_connection_test_for(
        person, of.test.pk
    ),
    "onboarding.access.get_session_for": lambda person, of: onboarding.access.get_session_for(
        person, of.session.pk
    ),
    "events.access.get_ingest_token_for": lambda person, of: events.access.get_ingest_token_for(
        person, of.token.pk, Act.SEE
    ),
    "events.access.get_replay_for": lambda person, of: events.access.get_replay_for(person, of.replay.pk),
    "events.access.get_erasure_for": lambda person, of: events.access.get_erasure_for(person, of.erasure.pk),
    "events.access.get_event_for": lambda person, of: events.access.get_event_for(
        person, of.pixel.pk, of.event.log_offset
    ),
}


def test_every_access_function_is_tried_here() -> None:
    modules = (tenants.access, onboarding.access, events.access)

    found = {
        f"{module.__name__}.{name}"
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("get_") and function.__module__ == module.__name__
    }

    assert found == set(ACCESS)


@pytest.mark.parametrize("name", ACCESS)
def test_without_row_security_a_stranger_finds_nothing(cast: Cast, connect: Any, name: str) -> None:
    link = connect("owner")
    strangers: Sequence[Person] = [cast.nobody, *cast.mine.people.values()]

    assert link.execute("SELECT row_security_active('tenants_partner')").fetchone() == (False,)
    assert ACCESS[name](cast.other.people["owner"], cast.other)
    for stranger in strangers:
        with pytest.raises(Http404):
            ACCESS[name](stranger, cast.other)


@pytest.mark.parametrize("name", ACCESS)
def test_with_both_locks_the_owner_finds_and_a_stranger_does_not(cast: Cast, as_app: None, name: str) -> None:
    owner, stranger = cast.other.people["owner"], cast.mine.people["owner"]

    with tenant_scope(person_id=owner.pk):
        assert ACCESS[name](owner, cast.other)
    with tenant_scope(person_id=stranger.pk), pytest.raises(Http404):
        ACCESS[name](stranger, cast.other)


# The setting.


def test_the_scope_ends_with_its_transaction(cast: Cast, as_app: None) -> None:
    with tenant_scope(person_id=cast.mine.people["owner"].pk):
        assert Advertiser.objects.get() == cast.mine.advertiser

    assert list(Advertiser.objects.all()) == []


def test_the_scope_ends_with_a_failed_transaction(cast: Cast, as_app: None) -> None:
    with pytest.raises(RuntimeError), tenant_scope(person_id=cast.mine.people["owner"].pk):
        raise RuntimeError

    assert list(Advertiser.objects.all()) == []


def test_an_inner_transaction_does_not_end_the_scope(cast: Cast, as_app: None) -> None:
    with tenant_scope(person_id=cast.mine.people["owner"].pk):
        with transaction.atomic():
            pass
        with pytest.raises(RuntimeError), transaction.atomic():
            raise RuntimeError

        assert Advertiser.objects.get() == cast.mine.advertiser


def test_a_scope_in_anothers_is_refused(cast: Cast, as_app: None) -> None:
    mine, other = cast.mine.people["owner"].pk, cast.other.people["owner"].pk

    with tenant_scope(person_id=mine):
        with tenant_scope(person_id=mine):
            assert Advertiser.objects.get() == cast.mine.advertiser
        with pytest.raises(ScopeError), tenant_scope(person_id=other):
            pass
        with pytest.raises(ScopeError), tenant_scope(advertiser_id=cast.mine.advertiser.pk):
            pass


def test_a_pooled_connection_carries_no_scope_from_one_to_the_next(
    cast: Cast, connect: Any, database: TestDatabase
) -> None:
    people = [(tenant.people["owner"].pk, tenant.advertiser.pk) for tenant in (cast.mine, cast.other)]
    wrong: list[object] = []

    def alternate(pool: ConnectionPool[Any], turn: int) -> None:
        for number in range(2_500):
            person, advertiser = people[(number + turn) % 2]
            with pool.connection() as link:
                before = owners_seen_bare(link)
                link.commit()
                scope(link, person_id=person)
                within = owners_seen_bare(link)
                link.rollback() if number % 3 else link.commit()
            if before or within != {advertiser}:
                wrong.append((before, within))

    with ConnectionPool(database.url("app"), min_size=2, max_size=2, open=True) as pool:
        threads = [threading.Thread(target=alternate, args=[pool, turn]) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []


def owners_seen_bare(link: psycopg.Connection[Any]) -> set[int]:
    """Whose advertisers a SELECT without a filter returns."""
    return {row[0] for row in link.execute("SELECT id FROM tenants_advertiser").fetchall()}


# The other roles.


def test_a_worker_reads_the_rows_of_the_advertiser_that_it_took_up(cast: Cast, connect: Any) -> None:
    link = connect("worker")
    own = cast.mine.advertiser.pk

    with link.transaction():
        scope(link, advertiser_id=own)
        for table in set(granted(link.info.user, "SELECT")) - DISPATCH:
            seen = owners_seen(link, table)
            if table == "tenants_person":
                assert seen == {person.pk for person in cast.mine.people.values()}, table
            elif table == "tenants_partner" or owner_column(table) == "partner_id":
                assert seen == {cast.mine.partner.pk}, table
            else:
                assert seen == {own}, table


def test_a_worker_without_an_advertiser_reads_the_dispatch_tables_only(cast: Cast, connect: Any) -> None:
    link = connect("worker")
    advertisers = {cast.mine.advertiser.pk, cast.other.advertiser.pk}
    partners = {cast.mine.partner.pk, cast.other.partner.pk}

    for table in granted(link.info.user, "SELECT"):
        seen = owners_seen(link, table)
        both = partners if owner_column(table) == "partner_id" else advertisers
        # Other tests of the run may have left tenants of theirs, which dispatch sees, too.
        assert seen >= both if table in DISPATCH else seen == set(), table


def test_a_worker_changes_rows_of_the_advertiser_that_it_took_up(cast: Cast, connect: Any) -> None:
    link = connect("worker")
    columns = changeable(link.info.user)

    with link.transaction(force_rollback=True):
        scope(link, advertiser_id=cast.mine.advertiser.pk)
        for table in set(granted(link.info.user, "UPDATE")) - WORKED_OVER_ALL:
            column, owner = sql.Identifier(columns[table]), owner_column(table)
            statement = sql.SQL("UPDATE {} SET {} = {} RETURNING {}").format(
                sql.Identifier(table), column, column, sql.Identifier(owner)
            )
            of_partner = owner == "partner_id" or table == "tenants_partner"
            own = cast.mine.partner.pk if of_partner else cast.mine.advertiser.pk
            assert {row[0] for row in link.execute(statement)} == {own}, table


def test_a_worker_adds_nothing_to_an_advertiser_that_it_did_not_take_up(cast: Cast, connect: Any) -> None:
    link, owner = connect("worker"), connect("owner")

    for table in set(granted(link.info.user, "INSERT")) - WORKED_OVER_ALL:
        assert_adds_nothing_foreign(link, owner, table, cast, advertiser_id=cast.mine.advertiser.pk)


def test_dispatch_tables_hold_no_payload_and_no_secret(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_name = ANY (%s) AND (data_type IN ('bytea', 'jsonb')"
            " OR column_name ~ 'token|secret|payload|sealed')",
            [list(DISPATCH)],
        )
        found = {f"{table}.{column}" for table, column in cursor.fetchall()}

    # The lease's token is a worker's own; a connection test keeps what it sent and got, without its token; a
    # secret's number opens nothing; what Meta called with is kept without the tokens in it.
    assert found == {
        "events_delivery.lease_token",
        # Counts.
        "events_replay.found",
        "onboarding_credential.scopes",
        "onboarding_credential.secret_id",
        "onboarding_revocation.secret_id",
        "onboarding_metacallback.body",
        "onboarding_onboardingsession.facts",
        "onboarding_setupcheck.wanted",
        "onboarding_setupcheck.facts",
        "onboarding_connectiontest.rungs",
        "onboarding_connectiontest.request",
        "onboarding_connectiontest.answer",
    }


def test_the_door_reads_no_event_and_no_person(cast: Cast, connect: Any) -> None:
    link = connect("door")

    for table in ("events_event", "tenants_person", "tenants_partner", "onboarding_credential"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))


def test_the_web_site_reads_nothing_that_it_seals(cast: Cast, connect: Any) -> None:
    link = connect("app")

    for table in ("onboarding_sealedtoken", "onboarding_setupsecret"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(sql.SQL("SELECT sealed FROM {}").format(sql.Identifier(table)))


# An invitation's link.


def test_a_link_shows_its_own_invitation_and_names_only(cast: Cast, connect: Any) -> None:
    link = connect("app")

    with link.transaction():
        scope(link, invitation_hash=cast.other.to_advertiser.token_hash)
        seen = {table: owners_seen(link, table) for table in granted(link.info.user, "SELECT")}

    assert {table: owners for table, owners in seen.items() if owners} == {
        "tenants_invitation": {cast.other.partner.pk},
        "tenants_partner": {cast.other.partner.pk},
        "tenants_logo": {cast.other.partner.pk},
        "tenants_advertiser": {cast.other.advertiser.pk},
    }


@pytest.mark.parametrize("kind", ["partner", "advertiser"])
def test_a_link_gives_no_role_to_who_was_not_invited(cast: Cast, connect: Any, kind: str) -> None:
    invitation = cast.other.to_partner if kind == "partner" else cast.other.to_advertiser
    tenant = cast.other.partner.pk if kind == "partner" else cast.other.advertiser.pk
    link = connect("app")
    statement = sql.SQL("INSERT INTO {} ({}, person_id, role) VALUES (%s, %s, %s)").format(
        sql.Identifier(f"tenants_{kind}membership"), sql.Identifier(f"{kind}_id")
    )

    with link.transaction(force_rollback=True):
        scope(link, person_id=cast.nobody.pk, invitation_hash=invitation.token_hash)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            link.execute(statement, [tenant, cast.nobody.pk, invitation.role])


def test_an_invitation_cannot_name_another_partner_than_its_advertisers(cast: Cast, as_app: None) -> None:
    admin = cast.mine.people["admin"]
    with pytest.raises(IntegrityError, match="invitation_of_same_partner"), tenant_scope(person_id=admin.pk):
        Invitation.objects.create(
            partner_id=cast.other.partner.pk,
            advertiser=cast.mine.advertiser,
            email="friend@mine.example",
            role="admin",
            token_hash="0" * 64,
            expires_at=cast.mine.to_advertiser.expires_at,
        )


# Operators.


def test_the_web_makes_no_operator(cast: Cast, connect: Any) -> None:
    link = connect("app")

    for column in ("is_superuser", "is_staff"):
        statement = sql.SQL("UPDATE tenants_person SET {} = true WHERE id = %s").format(
            sql.Identifier(column)
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            link.execute(statement, [cast.nobody.pk])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        link.execute(
            "INSERT INTO tenants_person (email, name, time_zone, password, is_active, is_staff, is_superuser,"
            " date_joined) VALUES ('x@y.example', '', '', '', true, false, true, now())"
        )
