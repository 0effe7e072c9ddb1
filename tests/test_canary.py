"""A canary goes through the main job and turns up nowhere; and it is found wherever it is put on purpose."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection

from events.models import Delivery
from onboarding.models import Credential, Pixel, SealedToken
from onboarding.services import open_token
from partnerhub.dev.demo import story as demo_story
from partnerhub.dev.demo.connecting import Hub
from partnerhub.dev.demo.meta import world
from partnerhub.dev.demo.setting_up import set_up
from partnerhub.dev.demo.story import SHOPS, Story
from partnerhub.dev.visitor import LostVisitor, Page, Visitor
from partnerhub.lib.vault import new_key_line
from tenants.models import Partner, PartnerCredential, Person
from tenants.roles import AdvertiserRole, PartnerRole
from tenants.secrets import vault
from tests.support.brokers import prepared_broker
from tests.support.canary import Canary, new_secret
from tests.support.collector import CollectorProcess
from tests.support.environment import TestDatabase
from tests.support.factories import PASSWORD, join_advertiser, join_partner, make_advertiser, make_person
from tests.support.key_service import KeyServer
from tests.support.log import make_event
from tests.support.sandbox import SandboxClient, SandboxMail, SandboxProcess
from tests.support.vault import vault_settings
from tests.support.web import WebProcess
from tests.support.worker import WorkerProcess, wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
META_ID = "1000000000777"
LOUD = {"LOG_LEVEL": "DEBUG", "DEBUG": "true"}


@pytest.fixture
def rows(transactional_db: None) -> Iterator[None]:
    """Committed rows, that are gone afterwards."""
    yield
    with connection.cursor() as cursor:
        # Not Django's tables: its flush leaves them.
        cursor.execute("DELETE FROM events_event")
        cursor.execute("DELETE FROM events_repeat")


@dataclass
class Said:
    """What a process said that has ended."""

    log: str


def make_partner(app_secret: str) -> Said:
    """The operator's command, as its own process; the secret comes on standard input."""
    done = subprocess.run(
        [
            *(sys.executable, "manage.py", "partner", "create", "--name", "Datapartner"),
            *("--partner-agent", "datapartner", "--meta-app-id", "900100", "--app-secret-stdin"),
            *("--owner-email", "olga@datapartner.example"),
        ],
        cwd=CHECKOUT,
        env={**os.environ, **LOUD, "PROCESS": "operator"},
        input=f"{app_secret}\n",
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return Said(done.stdout + done.stderr)


def sign_in(visitor: Visitor, person: Person) -> Visitor:
    visitor.submit(visitor.open("/accounts/login/"), "login", login=person.email, password=PASSWORD)
    return visitor


def paste(visitor: Visitor, *, meta_id: str, access_token: str) -> Page:
    """The page after a pixel's number and its token were entered, at the person's own advertiser."""
    begun = visitor.submit(visitor.open("/"), "connect")
    page = visitor.open(f"{begun.path}?way=pasted_token")
    fields = {"meta_id": meta_id, "pixel_name": "Web shop", "expiry": "never"}
    return visitor.submit(page, "access_token", access_token=access_token, **fields)


def make_admin() -> Person:
    """The admin of a shop of the one partner."""
    admin = make_person("adam@shop.example")
    join_advertiser(admin, make_advertiser(Partner.objects.get(), name="Shop"), AdvertiserRole.ADMIN)
    return admin


def test_the_secrets_of_the_main_job_turn_up_nowhere(
    rows: None, database: TestDatabase, tmp_path: Path
) -> None:
    key_line = new_key_line("canary")
    canary = Canary(
        access_token=new_secret("EAAB"),
        mistyped_token=new_secret("EAAB"),
        app_secret=new_secret(),
        master_key=key_line.partition(":")[2].strip("="),
    )
    (tmp_path / "keys").write_text(key_line)
    token, mistyped = canary.secret("access_token"), canary.secret("mistyped_token")
    with ExitStack() as stack:
        stack.enter_context(vault_settings(VAULT_KEYS_COMMAND=f"cat {tmp_path}/keys"))
        sandbox = stack.enter_context(SandboxProcess())
        settings = {
            **stack.enter_context(prepared_broker("pgmq")).environment,
            **LOUD,
            "GRAPH_API_BASE_URL": sandbox.base_url,
            "EMAIL_URL": f"smtp://127.0.0.1:{sandbox.smtp_port}",
        }
        for name, value in settings.items():
            stack.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)
        collector = stack.enter_context(CollectorProcess(settings))
        worker = stack.enter_context(WorkerProcess(settings))
        web = stack.enter_context(WebProcess(settings, COLLECTOR_URL=collector.base_url))
        sandbox.client.put_pixel(META_ID)
        sandbox.client.put_token(token, pixels=[META_ID])

        operator = make_partner(canary.secret("app_secret"))
        admin = sign_in(canary.visitor(web.base_url), make_admin())
        # First with a mistake, which brings the form back.
        with pytest.raises(LostVisitor, match="422"):
            paste(admin, meta_id="no number", access_token=mistyped)
        assert 'name="access_token"' in canary.last_page
        page = paste(admin, meta_id=META_ID, access_token=token)
        wait_until(lambda: Credential.objects.filter(state="working").exists(), what="the connection")
        admin.open(page.path)
        pixel = Pixel.objects.get()
        page = admin.submit(admin.open(f"/pixels/{pixel.pk}/"), "ingest-tokens", name="Shop server")
        [ingest_token] = set(re.findall(r"pht_[A-Za-z0-9_-]{43}", page.html))
        canary.note(ingest_token=ingest_token)
        shown = {"ingest_token": page.path}

        def send(event_id: str) -> None:
            answer = requests.post(
                f"{collector.base_url}/v26.0/{META_ID}/events",
                params={"access_token": ingest_token},
                json={"data": [make_event(event_id=event_id)]},
                timeout=10,
            )
            assert answer.status_code == 200

        send("delivered")
        wait_until(lambda: Delivery.objects.filter(state="accepted").exists(), what="the delivery")
        # With a token that died, and tokens that never lived at the door.
        sandbox.client.set_token_state(token, "expired")
        send("held")
        wait_until(lambda: Pixel.objects.exclude(held_at=None).exists(), what="the hold")
        foreign = requests.post(
            f"{collector.base_url}/v26.0/{META_ID}/events",
            json={"data": [make_event()], "access_token": mistyped},
            timeout=10,
        )
        assert canary.text("the door's answer", foreign.text) == []

        owner = make_person("olga@datapartner.example")
        join_partner(owner, Partner.objects.get(), PartnerRole.OWNER)
        chief = make_person("chief@hub.example")
        Person.objects.filter(pk=chief.pk).update(is_staff=True, is_superuser=True)
        for visitor, start in [
            (admin, "/"),
            (sign_in(canary.visitor(web.base_url), owner), "/"),
            (sign_in(canary.visitor(web.base_url), chief), "/operator/"),
        ]:
            assert canary.crawl(visitor, start) > 5

        assert (
            canary.sightings(
                database=database,
                processes=[web, worker, collector, operator],
                mails=sandbox.client.mail(),
                shown=shown,
            )
            == []
        )


def test_the_secrets_of_every_other_option_turn_up_nowhere(
    rows: None, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partner's set-up, both log-ins and a shared pixel: what was typed, what Meta gave, what we made."""
    canary = Canary(app_secret=new_secret(), assigning_token=new_secret("EAAC"))
    monkeypatch.setattr(demo_story, "APP_SECRET", canary.secret("app_secret"))
    told = Story("", "", canary.secret("assigning_token"))
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess())
        settings = {
            **stack.enter_context(prepared_broker("pgmq")).environment,
            **LOUD,
            "GRAPH_API_BASE_URL": sandbox.base_url,
            "EMAIL_URL": f"smtp://127.0.0.1:{sandbox.smtp_port}",
        }
        for name, value in settings.items():
            stack.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)
        web = WebProcess(settings)
        # The worker's exchange of a code must name the address that the dialog was given.
        worker = stack.enter_context(WorkerProcess({**settings, "PUBLIC_URL": web.base_url}))
        stack.enter_context(web)
        redirect_uri = f"{web.base_url}/connect/callback/"
        sandbox.client.set_world(world(told, redirect_uri=redirect_uri))
        operator = make_partner(canary.secret("app_secret"))
        partner = Partner.objects.get()
        told.partner_path = f"/partners/{partner.pk}"
        hub = Hub(_Addresses(web.base_url), _Listening(sandbox.client, canary), told)  # type: ignore[arg-type]

        owner_person = make_person("olga@datapartner.example")
        join_partner(owner_person, partner, PartnerRole.OWNER)
        owner = sign_in(canary.visitor(web.base_url), owner_person)
        set_up(hub, owner, told)
        admins = []
        for shop in SHOPS[1:]:
            advertiser = make_advertiser(partner, name=shop.name)
            person = make_person(shop.admin)
            join_advertiser(person, advertiser, AdvertiserRole.ADMIN)
            told.advertiser_paths[shop.option] = f"/advertisers/{advertiser.pk}/"
            admins.append(sign_in(canary.visitor(web.base_url), person))
            hub.connect(admins[-1], shop)

        # What Meta gave, and what we had it make: only the vault knows these.
        for row in SealedToken.objects.all():
            canary.note(**{f"token_{row.pk}": open_token(row).reveal()})
        for kept in PartnerCredential.objects.all():
            secret = vault().open(bytes(kept.sealed), identity=kept.vault_identity)
            canary.note(**{f"partners_{kept.kind}": secret.reveal()})
        assert Credential.objects.filter(state="working").count() == 3
        for visitor in (owner, *admins):
            assert canary.crawl(visitor, "/") > 5

        assert (
            canary.sightings(
                database=database,
                processes=[web, worker, operator],
                mails=sandbox.client.mail(),
                # Meta puts the code into our address; it works once, and nothing of ours repeats it.
                shown={f"code_of_{shop.person}": "/connect/callback/" for shop in SHOPS[1:3]},
            )
            == []
        )


@dataclass
class _Addresses:
    """As much of a platform as a hub asks for."""

    web: str

    @property
    def ports(self) -> _Addresses:
        return self

    def url(self, name: str) -> str:
        return self.web


class _Listening:
    """The stand-in's client, by which the dialog's codes are heard of."""

    def __init__(self, client: SandboxClient, canary: Canary) -> None:
        self._client = client
        self._canary = canary

    def approve_dialog(self, url: str, **answers: Any) -> str:
        back = self._client.approve_dialog(url, **answers)
        [code] = parse_qs(urlsplit(back).query)["code"]
        self._canary.note(**{f"code_of_{answers['person']}": code})
        return back

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_no_report_of_an_exception_shows_the_token_that_was_pasted(
    rows: None, database: TestDatabase
) -> None:
    canary = Canary(access_token=new_secret("EAAB"))
    plugged = {"VAULT_KEY_SERVICE": "tests.support.key_service:from_environment"}
    with (
        KeyServer() as server,
        vault_settings(KEY_SERVICE_URL=server.url, **plugged),
        WebProcess(LOUD) as web,
    ):
        make_partner(new_secret())
        admin = sign_in(canary.visitor(web.base_url), make_admin())
        # Sealing fails where the token stands in the locals of each frame, in the form and in the request.
        server.status = 503

        with pytest.raises(LostVisitor, match="answered 500"):
            paste(admin, meta_id=META_ID, access_token=canary.secret("access_token"))

        assert canary.sightings(database=database, processes=[web]) == []
        # It is Django's own page, with its frames.
        assert "KeyServiceAwayError" in canary.last_page
        assert "seal_token" in canary.last_page
        assert "KeyServiceAwayError" in web.log


# Where it is put on purpose, it is found.


@pytest.fixture
def canary() -> Canary:
    return Canary(bird=new_secret())


@pytest.mark.parametrize("disguise", ["whole", "piece", "hex", "base64", "base64 with a neighbour"])
def test_a_disguised_canary_is_found(canary: Canary, disguise: str) -> None:
    text = canary.secret("bird")
    hidden = {
        "whole": text,
        "piece": text[:20],
        "hex": text.encode().hex(),
        "base64": base64.b64encode(text.encode()).decode(),
        "base64 with a neighbour": base64.b64encode(json.dumps({"token": text}).encode()).decode(),
    }[disguise]

    assert canary.text("here", f"before {hidden} after") == ["here: bird"]
    assert canary.text("here", f"before {new_secret()} after") == []


@pytest.mark.parametrize("column", ["text", "jsonb", "bytea"])
def test_a_canary_in_any_table_is_found(
    canary: Canary, rows: None, database: TestDatabase, column: str
) -> None:
    secret: Any = canary.secret("bird")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE nest (egg {column})")
        try:
            value = json.dumps({"deep": [secret]}) if column == "jsonb" else secret
            cursor.execute("INSERT INTO nest VALUES (%s)", [secret.encode() if column == "bytea" else value])

            assert canary.sightings(database=database) == ["table public.nest: bird"]
        finally:
            cursor.execute("DROP TABLE nest")


def test_a_canary_in_a_message_of_the_broker_is_found(
    canary: Canary, rows: None, database: TestDatabase
) -> None:
    with prepared_broker("pgmq") as broker:
        broker.send_hint("events.deliver", canary.secret("bird"))

        [sighting] = canary.sightings(database=database)

    assert re.fullmatch(r"table pgmq\.q_.*hints: bird", sighting)


def test_a_canary_in_a_session_is_found(canary: Canary, rows: None, database: TestDatabase) -> None:
    session = SessionStore()
    # Long enough to be compressed.
    session["notes"] = [canary.secret("bird")] + ["and so on"] * 100
    session.save()

    assert canary.sightings(database=database) == ["a session: bird"]


def test_a_canary_in_a_log_or_a_mail_is_found(canary: Canary, rows: None, database: TestDatabase) -> None:
    secret = canary.secret("bird")
    mail = SandboxMail(1, ["a@shop.example"], "hub@hub.example", "News", f"see /?token={secret}", "")

    assert canary.sightings(database=database, processes=[Said(f"x {secret}")], mails=[mail]) == [
        "log of Said: bird",
        "mail 'News': bird",
    ]


@pytest.mark.parametrize("place", ["cmdline", "environ"])
def test_a_canary_in_a_process_list_is_found_but_in_the_one_variable_of_the_master_keys(
    canary: Canary, place: str
) -> None:
    secret = canary.secret("bird")
    words = ["sleep", "30"] if place == "environ" else ["sh", "-c", "sleep 30; true", secret]
    environment = {"PATH": os.environ["PATH"], "VAULT_KEYS": f"k1:{secret}"}
    if place == "environ":
        environment["TOKEN"] = secret
    with subprocess.Popen(words, env=environment, start_new_session=True) as process:
        try:
            wait_until(lambda: bool(canary.processes()), what="the process")

            assert f"{place} of process {process.pid}: bird" in canary.processes()
            assert {sighting.partition(" ")[0] for sighting in canary.processes()} == {place}
        finally:
            os.killpg(process.pid, 9)


def test_what_a_page_may_show_once_it_may_not_show_again(canary: Canary, rows: None) -> None:
    shown = {"bird": "/nest/"}
    assert canary.pages(shown) == ["not seen where it is shown once: page /nest/: bird"]
    canary.remember("/nest/", f"<code>{canary.secret('bird')}</code>")
    assert canary.pages(shown) == []
    canary.remember("/nest/", f"<code>{canary.secret('bird')}</code>")
    assert canary.pages(shown) == ["page /nest/: bird"]
