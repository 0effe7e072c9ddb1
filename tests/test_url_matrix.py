"""Every address × everybody × GET and POST: the status, and that nothing changed and nothing was sent.

Requests are answered as the web's database role, over committed rows of two tenants; what a request does is
rolled back after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection, transaction
from django.urls import URLPattern, URLResolver, get_resolver, reverse

import onboarding.access
import tenants.access
from onboarding.models import PixelQuerySet
from tenants.branding import stylesheet_digest
from tenants.models import AdvertiserQuerySet, PartnerQuerySet, Person
from tenants.roles import PartnerRole
from tests.support.cast import Tenant, make_tenant
from tests.support.factories import make_person
from tests.support.site import Page, Site

# The columns of the matrix. The stranger owns another partner; nobody has an account and no role.
WHO = ("anonymous", "nobody", "stranger", "analyst", "admin", "support", "manager", "owner")
PEOPLES_PAGE = (302, 404, 404, 200, 200, 200, 200, 200)
PARTNERS_PAGE = (302, 404, 404, 404, 404, 200, 200, 200)
NOT_THAT_WAY = (405,) * 8
ACTS_AS_ADMIN = (302, 404, 404, 403, 302, 403, 302, 302)
FOR_ALL = (200,) * 8
NOT_SIGNED = (403,) * 8
WITHOUT_A_KEY = (401,) * 8


@dataclass(frozen=True, slots=True)
class Route:
    """An address, made of a tenant's rows, and the statuses of its answers in the order of WHO."""

    get: tuple[int, ...]
    post: tuple[int, ...]
    args: Callable[[Tenant], tuple[object, ...]] = lambda of: ()
    data: dict[str, object] = field(default_factory=dict)


def advertiser(of: Tenant) -> tuple[object, ...]:
    return (of.advertiser.pk,)


def partner(of: Tenant) -> tuple[object, ...]:
    return (of.partner.pk,)


def pixel(of: Tenant) -> tuple[object, ...]:
    return (of.pixel.pk,)


def session(of: Tenant) -> tuple[object, ...]:
    return (of.session.pk,)


PIXEL_TYPED: dict[str, object] = {
    "meta_id": "99887766554433",
    "pixel_name": "Second",
    "default_action_source": "website",
}
TOKEN_TYPED: dict[str, object] = {"access_token": "EAAcanary" + "x" * 60, "expiry": "unknown"}

MATRIX = {
    # Site and tenants.
    "home": Route((200, 200, 302, 302, 302, 302, 302, 302), NOT_THAT_WAY),
    "healthz": Route(FOR_ALL, NOT_THAT_WAY),
    "readyz": Route(FOR_ALL, NOT_THAT_WAY),
    # Whoever holds a link sees what it offers; none of these people was invited by it.
    "tenants:invitation": Route(
        FOR_ALL, (200, 409, 409, 409, 409, 409, 409, 409), lambda of: (of.advertiser_link,)
    ),
    "tenants:resend_invitation": Route(
        NOT_THAT_WAY, (302, 404, 404, 403, 302, 403, 302, 302), lambda of: (of.to_advertiser.pk,)
    ),
    "tenants:revoke_invitation": Route(
        NOT_THAT_WAY, (302, 404, 404, 404, 404, 403, 403, 302), lambda of: (of.to_partner.pk,)
    ),
    "tenants:invite_advertiser": Route(
        (302, 404, 404, 404, 404, 403, 200, 200),
        (302, 404, 404, 404, 404, 403, 302, 302),
        partner,
        {"name": "Another shop", "email": "new@shop.example"},
    ),
    "tenants:partner_people": Route(
        PARTNERS_PAGE,
        (302, 404, 404, 404, 404, 403, 403, 302),
        partner,
        {"email": "new@hub.example", "role": "owner"},
    ),
    "tenants:advertiser_people": Route(
        PEOPLES_PAGE,
        (302, 404, 404, 403, 302, 403, 302, 302),
        advertiser,
        {"email": "new@shop.example", "role": "admin"},
    ),
    "tenants:brand_css": Route(
        PEOPLES_PAGE, NOT_THAT_WAY, lambda of: (of.partner.pk, stylesheet_digest(of.partner.brand_colour))
    ),
    "tenants:logo": Route(PEOPLES_PAGE, NOT_THAT_WAY, lambda of: (of.partner.pk, of.partner.logo.digest)),
    "tenants:change_partner_member": Route(
        NOT_THAT_WAY,
        (302, 404, 404, 404, 404, 403, 403, 302),
        lambda of: (of.partner_member.pk,),
        {"role": "owner"},
    ),
    "tenants:change_advertiser_member": Route(
        NOT_THAT_WAY,
        (302, 404, 404, 403, 302, 403, 302, 302),
        lambda of: (of.advertiser_member.pk,),
        {"remove": "yes"},
    ),
    # Onboarding.
    "onboarding:connect": Route(NOT_THAT_WAY, ACTS_AS_ADMIN, advertiser),
    "onboarding:reconnect": Route(NOT_THAT_WAY, ACTS_AS_ADMIN, pixel),
    # A session with a colleague: what is not done there is answered with where it is (409).
    "onboarding:session": Route(PEOPLES_PAGE, NOT_THAT_WAY, session),
    "onboarding:log_in": Route(
        NOT_THAT_WAY, (302, 404, 404, 403, 409, 403, 409, 409), session, {"option": "pasted_token"}
    ),
    "onboarding:enter_token": Route(NOT_THAT_WAY, ACTS_AS_ADMIN, session, TOKEN_TYPED),
    "onboarding:forward": Route(NOT_THAT_WAY, (302, 404, 404, 403, 200, 403, 200, 200), session, PIXEL_TYPED),
    "onboarding:share": Route(NOT_THAT_WAY, (302, 404, 404, 403, 409, 403, 409, 409), session, PIXEL_TYPED),
    "onboarding:look": Route(NOT_THAT_WAY, (302, 404, 404, 403, 409, 403, 409, 409), session),
    "onboarding:confirm": Route(NOT_THAT_WAY, (302, 404, 404, 403, 404, 403, 409, 409), session),
    "onboarding:pick": Route(
        NOT_THAT_WAY, (302, 404, 404, 403, 409, 403, 409, 409), session, {"meta_id": "501"}
    ),
    "onboarding:recall": Route(NOT_THAT_WAY, ACTS_AS_ADMIN, session),
    "onboarding:leave": Route(NOT_THAT_WAY, ACTS_AS_ADMIN, session),
    "onboarding:abandon": Route(NOT_THAT_WAY, ACTS_AS_ADMIN, session),
    # Without Meta's `state` it belongs to no session.
    "onboarding:callback": Route((302, 400, 400, 400, 400, 400, 400, 400), NOT_THAT_WAY),
    "events:disconnect": Route(
        (302, 404, 404, 403, 200, 403, 200, 200), ACTS_AS_ADMIN, pixel, {"name": "Mine pixel"}
    ),
    "onboarding:test_connection": Route(NOT_THAT_WAY, (302, 404, 404, 403, 302, 302, 302, 302), pixel),
    "onboarding:test": Route(PEOPLES_PAGE, NOT_THAT_WAY, lambda of: (of.test.pk,)),
    "onboarding:tests": Route(PEOPLES_PAGE, NOT_THAT_WAY, pixel),
    "onboarding:test_schedule": Route(
        NOT_THAT_WAY, (302, 404, 404, 403, 302, 302, 302, 302), pixel, {"every_hours": "168"}
    ),
    "onboarding:test_advertiser": Route(NOT_THAT_WAY, (302, 404, 404, 403, 302, 302, 302, 302), advertiser),
    "onboarding:test_partner": Route(NOT_THAT_WAY, (302, 404, 404, 404, 404, 302, 302, 302), partner),
    # The API answers those with a key; signing in to the site gives none.
    "onboarding:api_pixels": Route(WITHOUT_A_KEY, NOT_THAT_WAY),
    "onboarding:api_pixel": Route(WITHOUT_A_KEY, NOT_THAT_WAY, pixel),
    "onboarding:api_pixel_tests": Route(WITHOUT_A_KEY, WITHOUT_A_KEY, pixel),
    "onboarding:api_tests": Route(NOT_THAT_WAY, WITHOUT_A_KEY),
    "onboarding:api_test": Route(WITHOUT_A_KEY, NOT_THAT_WAY, lambda of: (of.test.pk,)),
    "tenants:api_keys": Route(
        (302, 200, 200, 200, 200, 200, 200, 200),
        (302, 200, 200, 200, 200, 200, 200, 200),
        data={"name": "Nightly report"},
    ),
    "tenants:revoke_api_key": Route(
        NOT_THAT_WAY, (302, 404, 404, 404, 404, 404, 404, 302), lambda of: (of.api_key.pk,)
    ),
    # Tokens.
    "onboarding:advertiser_credentials": Route(PEOPLES_PAGE, NOT_THAT_WAY, advertiser),
    "onboarding:partner_credentials": Route(PARTNERS_PAGE, NOT_THAT_WAY, partner),
    "onboarding:graph_watch": Route((302, 404, 404, 404, 404, 404, 404, 404), NOT_THAT_WAY),
    # The partner's set-up: the owner's, and a manager sees it.
    "onboarding:setup": Route((302, 404, 404, 404, 404, 403, 302, 302), NOT_THAT_WAY, partner),
    "onboarding:setup_step": Route(
        (302, 404, 404, 404, 404, 403, 200, 200),
        (302, 404, 404, 404, 404, 403, 403, 302),
        lambda of: (of.partner.pk, "agent"),
        {"partner_agent": "another"},
    ),
    "onboarding:check_setup": Route(
        NOT_THAT_WAY, (302, 404, 404, 404, 404, 403, 403, 302), lambda of: (of.partner.pk, "app")
    ),
    "onboarding:app_review": Route(
        (302, 404, 404, 404, 404, 403, 200, 200), (302, 404, 404, 404, 404, 403, 403, 302), partner
    ),
    # Meta's calls: whoever signs, signed in or not; these are unsigned.
    "onboarding:webhook": Route(NOT_SIGNED, NOT_SIGNED, lambda of: (of.partner.callback_key,)),
    "onboarding:deauthorise": Route(NOT_THAT_WAY, NOT_SIGNED, lambda of: (of.partner.callback_key,)),
    "onboarding:data_deletion": Route(NOT_THAT_WAY, NOT_SIGNED, lambda of: (of.partner.callback_key,)),
    "onboarding:deletion_status": Route(
        FOR_ALL, NOT_THAT_WAY, lambda of: (of.partner.callback_key, of.callback.confirmation_code)
    ),
    # Events.
    "events:partner_home": Route(PARTNERS_PAGE, NOT_THAT_WAY, partner),
    "events:advertiser_home": Route(PEOPLES_PAGE, NOT_THAT_WAY, advertiser),
    "events:pixel": Route(PEOPLES_PAGE, NOT_THAT_WAY, pixel),
    "events:log": Route(PEOPLES_PAGE, NOT_THAT_WAY, pixel),
    "events:detail": Route(PEOPLES_PAGE, NOT_THAT_WAY, lambda of: (of.pixel.pk, of.event.log_offset)),
    "events:issue_ingest_token": Route(
        NOT_THAT_WAY, (302, 404, 404, 403, 200, 403, 200, 200), pixel, {"name": "Second server"}
    ),
    "events:revoke_ingest_token": Route(
        NOT_THAT_WAY, (302, 404, 404, 403, 302, 403, 302, 302), lambda of: (of.token.pk,)
    ),
    # Sending once more, doubts, erasures. The cast's replay waits to be confirmed, and has nothing to send.
    "events:replays": Route(PEOPLES_PAGE, ACTS_AS_ADMIN, pixel),
    "events:replay": Route(PEOPLES_PAGE, ACTS_AS_ADMIN, lambda of: (of.replay.pk,), {"act": "cancel"}),
    "events:dry_run": Route(PEOPLES_PAGE, NOT_THAT_WAY, pixel),
    "events:doubts": Route(PEOPLES_PAGE, ACTS_AS_ADMIN, pixel, {"event_name": "Lead", "action": "hold"}),
    # Without a decision in the address it leads back to the list.
    "events:decide_doubts": Route(
        (302, 404, 404, 403, 302, 403, 302, 302), ACTS_AS_ADMIN, pixel, {"decision": "again"}
    ),
    "events:erasures": Route(
        PEOPLES_PAGE, ACTS_AS_ADMIN, advertiser, {"kind": "em", "value": "ada@shop.example"}
    ),
    "events:erasure": Route(PEOPLES_PAGE, NOT_THAT_WAY, lambda of: (of.erasure.pk,)),
    "events:api_replays": Route(WITHOUT_A_KEY, WITHOUT_A_KEY, pixel),
    "events:api_replay": Route(WITHOUT_A_KEY, WITHOUT_A_KEY, lambda of: (of.replay.pk,)),
    "events:api_dry_run": Route(WITHOUT_A_KEY, NOT_THAT_WAY, pixel),
    "events:api_erasures": Route(WITHOUT_A_KEY, WITHOUT_A_KEY, advertiser),
    "events:api_erasure": Route(WITHOUT_A_KEY, NOT_THAT_WAY, lambda of: (of.erasure.pk,)),
    # An operator's: for everybody else it does not exist.
    "events:operator_log": Route((302, 404, 404, 404, 404, 404, 404, 404), NOT_THAT_WAY),
}

# Addresses whose pages are not a tenant's, each with where they are tested.
ELSEWHERE = {
    "onboarding:colleague": "whoever holds the link: tests/onboarding/test_views_connecting.py",
    "admin": "the operator's admin: tests/tenants/test_admin.py",
    "account_login": "sign-in, allauth's: tests/tenants/test_adapter.py",
    "account_logout": "sign-in",
    "account_inactive": "sign-in",
    "account_signup": "sign-in",
    "account_reauthenticate": "sign-in",
    "account_email": "one's own addresses",
    "account_email_verification_sent": "sign-in",
    "account_confirm_email": "sign-in, by a signed key",
    "account_change_password": "one's own password",
    "account_set_password": "one's own password",
    "account_reset_password": "sign-in",
    "account_reset_password_done": "sign-in",
    "account_reset_password_from_key": "sign-in, by a signed key",
    "account_reset_password_from_key_done": "sign-in",
    "account_confirm_login_code": "sign-in; nothing is there, for codes are off",
}

# What a request may change for anybody: its own session.
ANYBODYS = {"django_session"}


@dataclass(frozen=True, slots=True)
class Cast:
    """The tenant whose rows are asked for, and who asks."""

    tenant: Tenant
    who: dict[str, Person | None]


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: Any) -> Iterator[Cast]:
    """Committed rows of two tenants; gone afterwards."""
    with django_db_blocker.unblock():
        tenant, other = make_tenant("Mine"), make_tenant("Other")
        yield Cast(
            tenant,
            {
                "anonymous": None,
                "nobody": make_person("nobody@else.example"),
                "stranger": other.people["owner"],
                **tenant.people,
            },
        )
        connection.close()
        call_command("flush", verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE events_event, events_repeat")


@pytest.fixture
def site(cast: Cast, as_role: Callable[[str], AbstractContextManager[None]]) -> Site:
    return Site(as_role)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Hints that were given."""
    hints: list[tuple[object, ...]] = []
    monkeypatch.setattr("partnerhub.lib.after_commit.send_hint", lambda *hint: hints.append(hint))
    return hints


def content() -> dict[str, str]:
    """A digest of each table, as the owner reads it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname"
        )
        tables = [name for (name,) in cursor.fetchall() if name not in ANYBODYS]
        digests = " UNION ALL ".join(
            f"SELECT '{table}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t"  # noqa: S608 - names from the catalogue
            for table in tables
        )
        cursor.execute(digests)
        return dict(cursor.fetchall())


def ask(site: Site, method: str, path: str, data: dict[str, object]) -> Page:
    """The answer, whatever it is."""
    return site.get(path) if method == "get" else site.post(path, data)


def names(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    """The names of all addresses; a namespace that is on ELSEWHERE as a whole by its own."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            if inner.rstrip(":") in ELSEWHERE:
                yield inner.rstrip(":")
            else:
                yield from names(pattern.url_patterns, inner)
        else:
            yield f"{prefix}{pattern.name}"


def test_every_address_is_in_the_matrix_or_has_its_reason() -> None:
    assert sorted(set(names(get_resolver().url_patterns))) == sorted({*MATRIX, *ELSEWHERE})


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("name", MATRIX)
def test_each_gets_the_answer_that_is_theirs_and_changes_what_is_theirs(
    cast: Cast, site: Site, sent: list[object], name: str, method: str
) -> None:
    route = MATRIX[name]
    path = reverse(name, args=route.args(cast.tenant))
    expected = dict(zip(WHO, getattr(route, method), strict=True))
    statuses: dict[str, int] = {}

    for who in WHO:
        savepoint = transaction.savepoint()
        site.sign_in(cast.who[who])
        before, mails, hints = content(), len(mail.outbox), len(sent)
        page = ask(site, method, path, route.data)
        statuses[who] = page.status_code
        acted = content() != before or len(mail.outbox) > mails or len(sent) > hints
        transaction.savepoint_rollback(savepoint)

        is_to_sign_in = page.status_code == 302 and page.url.startswith("/accounts/login/")
        assert is_to_sign_in == (who == "anonymous" and expected[who] == 302), (who, page)
        is_theirs = method == "post" and page.status_code in (200, 302) and who != "anonymous"
        assert acted == is_theirs, who

    assert statuses == expected


def without_csrf(page: Page) -> bytes:
    """The page's bytes; the token against forged requests is another each time."""
    return re.sub(rb'name="csrfmiddlewaretoken" value="[^"]*"', b"", page.content)


FOREIGN = [
    (name, method)
    for name, route in MATRIX.items()
    for method in ("get", "post")
    if getattr(route, method)[WHO.index("stranger")] == 404
]


@pytest.mark.parametrize(("name", "method"), FOREIGN)
def test_a_foreign_row_is_answered_as_a_missing_one(cast: Cast, site: Site, name: str, method: str) -> None:
    route = MATRIX[name]
    args = route.args(cast.tenant)
    site.sign_in(cast.who["stranger"])

    foreign = ask(site, method, reverse(name, args=args), route.data)
    missing = ask(site, method, reverse(name, args=[2**40, *args[1:]][: len(args)]), route.data)

    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert without_csrf(foreign) == without_csrf(missing)
    ours = dict(foreign.headers) | {"X-Request-Id": ""}
    assert ours == dict(missing.headers) | {"X-Request-Id": ""}


@pytest.mark.parametrize("lock", ["access", "row-level security"])
@pytest.mark.parametrize(("name", "method"), FOREIGN)
def test_either_lock_alone_keeps_a_stranger_out(
    cast: Cast,
    site: Site,
    sent: list[object],
    monkeypatch: pytest.MonkeyPatch,
    lock: str,
    name: str,
    method: str,
) -> None:
    route = MATRIX[name]
    path = reverse(name, args=route.args(cast.tenant))
    if lock == "access":
        # As the tables' owner, whom row-level security does not bind.
        site = Site(lambda role: nullcontext())
    else:
        for queryset in (PartnerQuerySet, AdvertiserQuerySet, PixelQuerySet):
            monkeypatch.setattr(queryset, "for_person", lambda self, person: self)
        for module, function in (
            (tenants.access, "partner_roles"),
            (tenants.access, "advertiser_roles"),
            (onboarding.access, "advertiser_roles"),
        ):
            monkeypatch.setattr(module, function, lambda person, of: {PartnerRole.OWNER})
    site.sign_in(cast.who["stranger"])
    before = content()

    page = ask(site, method, path, route.data)

    assert page.status_code == 404
    assert (content(), mail.outbox, sent) == (before, [], [])
