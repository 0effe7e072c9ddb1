"""Connecting pixels in tests: two tenants, their world at Meta, and a driver that acts as the roles of production."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.utils import timezone

from onboarding.access import get_pixel_for, get_session_for
from onboarding.models import (
    Credential,
    OnboardingSession,
    Option,
    Pixel,
    Revocation,
    SealedToken,
    TokenLink,
)
from onboarding.services import revocations, session_work, sessions
from partnerhub.lib.db import tenant_scope
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.models import Advertiser, Partner, PartnerCredential, Person
from tenants.roles import Act, AdvertiserRole
from tenants.secrets import vault
from tests.support.factories import join_advertiser, make_advertiser, make_partner, make_person
from tests.support.sandbox import SandboxClient

REDIRECT_URI = "http://localhost:8000/connect/callback/"
APP, APP_SECRET = "900100", "app-secret-of-the-tests"
BUSINESS, CONFIGURATION = "7001", "55501"
ASSIGNER, SENDER, ASSIGNER_TOKEN = "12100", "12200", "EAAassignertoken0123456789"
SHOP, OTHER_SHOP, SECOND_SHOP = "8001", "8002", "8003"
ANNA, BEN, CARLA = "3001", "3002", "3003"
PIXEL, SECOND_PIXEL, OTHER_PIXEL = "501", "502", "503"

WORLD: dict[str, Any] = {
    "apps": {
        APP: {
            "secret": APP_SECRET,
            "name": "Demo Hub",
            "business_id": BUSINESS,
            "redirect_uris": [REDIRECT_URI],
            "fbe": True,
            "require_proof": True,
            "configurations": {CONFIGURATION: {"scopes": ["ads_read", "business_management"]}},
        },
        "555": {"secret": "other-secret", "name": "Other app"},
    },
    "businesses": {
        BUSINESS: {"name": "Datapartner"},
        SHOP: {"name": "Shop"},
        OTHER_SHOP: {"name": "Other shop"},
        SECOND_SHOP: {"name": "Second shop"},
    },
    "people": {
        ANNA: {"name": "Anna", "businesses": [SHOP]},
        BEN: {"name": "Ben", "employee_of": [SHOP]},
        CARLA: {"name": "Carla", "businesses": [OTHER_SHOP, SECOND_SHOP]},
    },
    "system_users": {
        ASSIGNER: {"business_id": BUSINESS, "name": "Assigner", "role": "ADMIN", "apps": [APP]},
        SENDER: {"business_id": BUSINESS, "name": "Sender"},
    },
    "pixels": {
        PIXEL: {"name": "Web shop", "owner_business": SHOP},
        SECOND_PIXEL: {"name": "Blog", "owner_business": SHOP},
        OTHER_PIXEL: {"name": "Other shop's", "owner_business": OTHER_SHOP},
    },
    "tokens": {
        ASSIGNER_TOKEN: {
            "app_id": APP,
            "user_id": ASSIGNER,
            "scopes": ["ads_management", "ads_read", "business_management"],
        }
    },
}


def make_set_up_partner(name: str | None = None) -> Partner:
    """A partner whose set-up is complete, but for the sending token."""
    partner = make_partner(name)
    Partner.objects.filter(pk=partner.pk).update(
        business_id=BUSINESS,
        login_config_id=CONFIGURATION,
        assigning_system_user_id=ASSIGNER,
        sending_system_user_id=SENDER,
        offers_business_extension=True,
        offers_login_for_business=True,
        offers_shared_pixel=True,
    )
    row = PartnerCredential(partner=partner, kind=PartnerCredential.Kind.ASSIGNING_TOKEN)
    row.sealed = vault().seal(Secret(ASSIGNER_TOKEN), identity=row.vault_identity)
    row.save(force_insert=True)
    partner.refresh_from_db()
    return partner


class Shop:
    """An advertiser and its admin, who connects a pixel: each act as the web's role, in the person's own scope."""

    def __init__(
        self,
        as_role: Callable[[str], AbstractContextManager[None]],
        meta: SandboxClient,
        graph: GraphClient,
        partner: Partner | None = None,
    ) -> None:
        self.as_role, self.meta, self.graph = as_role, meta, graph
        self.partner = partner or make_set_up_partner()
        self.advertiser: Advertiser = make_advertiser(self.partner)
        self.person: Person = make_person()
        join_advertiser(self.person, self.advertiser, AdvertiserRole.ADMIN)
        self.browser = f"browser of {self.person.pk}"
        self.session_id = 0

    @property
    def session(self) -> OnboardingSession:
        """As it stands in the database."""
        return OnboardingSession.objects.get(pk=self.session_id)

    def act(self, service: Callable[..., Any], *, by: Person | None = None, **arguments: Any) -> Any:
        """What a person does to the session."""
        with self.as_role("app"):
            return self.do(service, by=by, **arguments)

    def do(self, service: Callable[..., Any], *, by: Person | None = None, **arguments: Any) -> Any:
        """The same, as whoever is logged in to the database."""
        by = by or self.person
        with tenant_scope(person_id=by.pk):
            return service(session=get_session_for(by, self.session_id, Act.CONNECT), **arguments)

    def disconnect(self, pixel: Pixel) -> None:
        """Disconnect the pixel."""
        with self.as_role("app"), tenant_scope(person_id=self.person.pk):
            sessions.disconnect_pixel(
                pixel=get_pixel_for(self.person, pixel.pk, Act.CONNECT), person=self.person
            )

    def begin(self, option: Option | None = None, *, pixel: Pixel | None = None, **typed: str) -> Shop:
        """A new session, and the option where one is given."""
        with self.as_role("app"), tenant_scope(person_id=self.person.pk):
            made = sessions.begin_session(advertiser=self.advertiser, pixel=pixel, created_by=self.person)
        self.session_id = made.pk
        if option is not None:
            arguments: dict[str, Any] = {"option": option, **typed}
            self.act(sessions.choose_option, **arguments)
        return self

    def open_dialog(self, **arguments: Any) -> str:
        """The dialog's address."""
        url: str = self.act(sessions.open_dialog, browser=self.browser, person=self.person, **arguments)
        return url

    def come_back(self, location: str, person: Person | None = None, browser: str | None = None) -> Any:
        """Take the callback to which Meta sent the browser."""
        with self.as_role("app"):
            return self.callback(location, person, browser)

    def callback(
        self, location: str, person: Person | None = None, browser: str | None = None
    ) -> OnboardingSession:
        """The same, as whoever is logged in to the database."""
        query = dict(parse_qsl(urlsplit(location).query))
        person = person or self.person
        with tenant_scope(person_id=person.pk):
            return sessions.take_callback(
                person=person,
                state=query.get("state", ""),
                browser=self.browser if browser is None else browser,
                code=query.get("code", ""),
                error=query.get("error", ""),
                error_reason=query.get("error_reason", ""),
            )

    def log_in(self, *, person: str = ANNA, rerequest: bool = False, **answers: Any) -> Shop:
        """To Meta's dialog and back."""
        url = self.open_dialog(rerequest=rerequest)
        self.come_back(self.meta.approve_dialog(url, person=person, **answers))
        return self

    def work_once(self) -> bool:
        """A worker's step for each session and revocation that is due; whether there was any."""
        now = timezone.now()
        due = list(OnboardingSession.objects.filter(due_at__lte=now).exclude(lease_until__gt=now))
        undone = list(Revocation.objects.filter(due_at__lte=now))
        with self.as_role("worker"):
            for session in due:
                session_work.run_session(session_id=session.pk, client=self.graph)
            for revocation in undone:
                revocations.run_revocation(revocation_id=revocation.pk, client=self.graph)
        return bool(due or undone)

    def work(self) -> Shop:
        """Workers until nothing is due now."""
        for _ in range(40):
            if not self.work_once():
                return self
        raise AssertionError("the workers never come to an end")

    def later(self) -> Shop:
        """Whatever waits is due now."""
        now = timezone.now()
        OnboardingSession.objects.exclude(due_at=None).update(due_at=now, lease_until=None)
        Revocation.objects.exclude(due_at=None).update(due_at=now)
        return self

    def stands(self) -> tuple[str, str]:
        """Its state and its problem."""
        session = self.session
        return session.state, session.problem

    def credential(self, meta_id: str = PIXEL) -> Credential:
        """The credential in use of the advertiser's pixel."""
        return Credential.objects.exclude(state="retired").get(
            pixel__advertiser=self.advertiser, pixel__meta_id=meta_id
        )

    def live_tokens(self, **match: str) -> list[str]:
        """The last four characters of the tokens that live at Meta beyond the day, but for the partner's own."""
        tomorrow = time.time() + 86_400
        return sorted(
            token["last_four"]
            for token in self.meta.tokens(state="live", **match)
            if token["user_id"] not in (ASSIGNER, SENDER)
            and (not token["expires_at"] or token["expires_at"] > tomorrow)
        )


def unreferenced_secrets() -> list[int]:
    """Sealed tokens that nothing refers to."""
    kept = set()
    for model, fields in (
        (Credential, ["secret_id"]),
        (OnboardingSession, ["grant_id", "candidate_id"]),
        (TokenLink, ["secret_id"]),
        (Revocation, ["secret_id"]),
    ):
        for row in model.objects.values_list(*fields):
            kept.update(row)
    return [pk for pk in SealedToken.objects.values_list("pk", flat=True) if pk not in kept]
