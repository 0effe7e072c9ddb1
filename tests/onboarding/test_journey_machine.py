"""People, workers and Meta in any order, over the sessions of two tenants: refusals, outages, workers that die.

From every state some person's act or the clock leads on; what ends keeps no secret, and what was obtained in vain is
ended at Meta; nobody reaches another tenant's session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.http import Http404
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from onboarding.journey import ENDS, TRANSITIONS, WORKING, Move, State
from onboarding.models import Credential, OnboardingSession, Option, Pixel, Revocation
from onboarding.options import ADAPTERS
from onboarding.services import session_work, sessions
from onboarding.services.sessions import SessionRefused
from partnerhub.lib.graph import GraphClient
from partnerhub.lib.vault import Secret
from tenants.models import PartnerCredential, Person
from tenants.roles import PartnerRole
from tests.onboarding.connecting import (
    ANNA,
    BEN,
    BUSINESS,
    CARLA,
    OTHER_PIXEL,
    OTHER_SHOP,
    PIXEL,
    REDIRECT_URI,
    SECOND_PIXEL,
    SHOP,
    WORLD,
    Shop,
    unreferenced_secrets,
)
from tests.support.factories import join_partner, make_person
from tests.support.sandbox import SandboxClient, SandboxError
from tests.support.size import FULL, sized

AsRole = Callable[[str], AbstractContextManager[None]]

TENANTS = st.integers(0, 1)
PIXELS = st.sampled_from([PIXEL, SECOND_PIXEL, OTHER_PIXEL])
OPTIONS = st.sampled_from(Option)
WHERE = ["session_leased", "session_advanced", "session_proven", "session_connecting"]
# What Graph says to one call.
FAULTS: list[dict[str, Any]] = [
    {"kind": "html"},
    {"kind": "error", "code": 2},
    {"kind": "error", "code": 190, "subcode": 460},
    {"kind": "error", "code": 100, "subcode": 33},
    {"kind": "error", "code": 200},
    {"kind": "error", "code": 100},
]


ACTS = [sessions.recall_link, sessions.look_now, sessions.leave_option, sessions.abandon_session]
# By how often they come.
TURNS = [
    *["lead_on"] * 8,
    *["work"] * 6,
    *["work_while_graph_fails"] * 2,
    *["work_and_die"] * 2,
    *["go_astray"] * 4,
    *["share"] * 2,
    *("replay", "reach_for_the_other_tenant", "disconnect", "let_a_week_pass"),
]
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Died(BaseException):
    """A worker's end, in the middle of its work."""


class Machine(RuleBasedStateMachine):
    """Two advertisers of one partner, whose people, colleagues and workers come in any order."""

    as_role: AsRole
    meta: SandboxClient
    graph: GraphClient
    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.meta.reset()
        self.meta.set_world(WORLD)
        first = Shop(self.as_role, self.meta, self.graph)
        self.shops = [first, Shop(self.as_role, self.meta, self.graph, first.partner)]
        self.owner = make_person()
        join_partner(self.owner, first.partner, PartnerRole.OWNER)
        for shop in self.shops:
            shop.begin()
        self.locations: list[tuple[Shop, str]] = []
        self.links: list[str] = []
        # Whether a worker died between Meta's answer and its own commit: what it was given, nobody knows.
        self.is_some_token_lost = False

    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        """One thing happens. One rule, so that no run goes without its people, its workers, or its faults."""
        getattr(self, data.draw(st.sampled_from(TURNS)))(data.draw)

    # People.

    def lead_on(self, draw: Draw) -> None:
        """What the page offers where the session is, done well."""
        tenant = draw(TENANTS)
        shop, pixel = self.shops[tenant], [PIXEL, OTHER_PIXEL][tenant]
        session = shop.session
        is_pasted = session.option == Option.PASTED_TOKEN
        match State(session.state):
            case State.CHOOSING:
                option = draw(OPTIONS)
                self.choose(shop, option, pixel if ADAPTERS[option].needs_meta_id else "")
                if option != Option.PASTED_TOKEN:
                    self.log_in(shop, tenant, draw(st.integers(1, 2)))
            case State.AT_META | State.SHARING | State.STUCK if not is_pasted:
                self.log_in(shop, tenant, draw(st.integers(1, 2)))
            case State.PICKING:
                with suppress(SessionRefused):
                    shop.act(sessions.pick, meta_id=pixel)
            case State.ENTERING | State.STUCK:
                if draw(st.booleans()):
                    self.paste(
                        shop, self.meta.generate_token(pixel), by=draw(st.sampled_from([None, self.owner]))
                    )
                else:
                    self.links.append(shop.act(sessions.forward_link, person=shop.person)[1])
            case State.WITH_COLLEAGUE:
                self.use_link(self.links[-1], self.meta.generate_token(pixel))
            case State.CONNECTED | State.ABANDONED:
                pixels = Pixel.objects.filter(advertiser=shop.advertiser)
                shop.begin(pixel=pixels.first() if draw(st.booleans()) else None)

    def choose(self, shop: Shop, option: Option, meta_id: str) -> None:
        with suppress(SessionRefused):
            shop.act(sessions.choose_option, option=option, meta_id=meta_id)

    def log_in(self, shop: Shop, tenant: int, count: int) -> None:
        """As the pixel's own admin, with one of the business's pixels ticked, or with two."""
        pixels = [[PIXEL, SECOND_PIXEL], [OTHER_PIXEL]][tenant][:count]
        if shop.session.option == Option.BUSINESS_EXTENSION:
            pixels = pixels[:1]
        self.go_to_meta(shop, person=[ANNA, CARLA][tenant], pixels=pixels)

    def go_to_meta(
        self, shop: Shop, *, person: str, pixels: list[str], is_taken: bool = True, **how: Any
    ) -> None:
        """To Meta, and back at once, or much later (`replay`)."""
        with suppress(SessionRefused, SandboxError):
            url = shop.open_dialog(rerequest=True)
            business = {ANNA: [SHOP], CARLA: [OTHER_SHOP], BEN: []}[person]
            location = self.meta.approve_dialog(url, person=person, businesses=business, pixels=pixels, **how)
            if location:
                self.locations.append((shop, location))
            if location and is_taken:
                shop.come_back(location)

    def paste(self, shop: Shop, token: str, by: Person | None = None) -> None:
        with suppress(SessionRefused):
            shop.act(sessions.submit_token, by=by, token=Secret(token), said_expiry="unknown")

    def use_link(self, link: str, token: str) -> None:
        with suppress(SessionRefused), self.as_role("app"):
            sessions.use_link(link_token=link, token=Secret(token), said_expiry="never")

    def go_astray(self, draw: Draw) -> None:
        """Any act at any time, with whatever pixel, token, person or answer."""
        shop, meta_id = self.shops[draw(TENANTS)], draw(PIXELS)
        match draw(st.integers(0, 7)):
            case 0:
                self.choose(shop, draw(OPTIONS), meta_id)
            case 1 | 2:
                self.go_to_meta(
                    shop,
                    person=draw(st.sampled_from([ANNA, BEN, CARLA])),
                    pixels=draw(st.lists(PIXELS, max_size=2, unique=True)),
                    is_taken=draw(st.booleans()),
                    decision=draw(st.sampled_from(["accept", "accept", "cancel", "never_return"])),
                    decline=draw(st.sampled_from([[], ["ads_management"], ["business_management"]])),
                )
            case 3:
                with suppress(SessionRefused):
                    shop.act(sessions.pick, meta_id=meta_id)
            case 4:
                self.paste(
                    shop, draw(st.sampled_from([self.meta.generate_token(meta_id), "EAAnonsense0123"]))
                )
            case 5 if self.links:
                self.use_link(draw(st.sampled_from(self.links)), self.meta.generate_token(meta_id))
            case _:
                with suppress(SessionRefused):
                    shop.act(draw(st.sampled_from(ACTS)))

    def disconnect(self, draw: Draw) -> None:
        shop = self.shops[draw(TENANTS)]
        pixel = Pixel.objects.filter(advertiser=shop.advertiser).first()
        if pixel is not None:
            shop.disconnect(pixel)

    def replay(self, draw: Draw) -> None:
        """Any callback of before, once more; by the other tenant's person, too, who is refused."""
        if self.locations:
            shop, location = draw(st.sampled_from(self.locations))
            other = next(one for one in self.shops if one is not shop)
            with pytest.raises(SessionRefused):
                other.come_back(location)
            with pytest.raises(SessionRefused):
                shop.come_back(location, other.person)
            with suppress(SessionRefused):
                shop.come_back(location)

    def reach_for_the_other_tenant(self, draw: Draw) -> None:
        tenant = draw(TENANTS)
        with pytest.raises(Http404):
            self.shops[tenant].act(draw(st.sampled_from(ACTS)), by=self.shops[1 - tenant].person)

    # Meta.

    def share(self, draw: Draw) -> None:
        """Or end the sharing."""
        meta_id = draw(PIXELS)
        with suppress(SandboxError):
            if draw(st.integers(0, 2)):
                self.meta.share_pixel(meta_id, BUSINESS)
            else:
                self.meta.withdraw_sharing(meta_id, BUSINESS)

    # Workers and the clock.

    def work(self, draw: Draw) -> None:
        self.shops[0].later()
        for _ in range(draw(st.integers(1, 5))):
            self.shops[0].work_once()

    def work_while_graph_fails(self, draw: Draw) -> None:
        knob = self.meta.add_knob(endpoint="*", count=1, **draw(st.sampled_from(FAULTS)))
        self.shops[0].later().work_once()
        with suppress(SandboxError):
            self.meta.remove_knob(knob)

    def work_and_die(self, draw: Draw) -> None:
        where = draw(st.sampled_from(WHERE))
        died: list[str] = []

        def die(name: str) -> None:
            if name == where:
                died.append(name)
                raise Died

        self.shops[0].later()
        with self.patch.context() as patch, suppress(Died):
            patch.setattr("onboarding.services.session_work.crash_point", die)
            self.shops[0].work_once()
        self.is_some_token_lost |= "session_advanced" in died

    def let_a_week_pass(self, draw: Draw) -> None:
        """Over one of the sessions: nobody came back to it."""
        shop = self.shops[draw(TENANTS)]
        OnboardingSession.objects.filter(pk=shop.session_id).update(
            changed_at=timezone.now() - timedelta(days=8)
        )
        with self.as_role("worker"):
            session_work.sweep_sessions()
        assert State(shop.session.state) in ENDS

    # What always holds.

    @invariant()
    def no_secret_is_left_behind(self) -> None:
        assert unreferenced_secrets() == []
        ended = OnboardingSession.objects.filter(state__in=[str(state) for state in ENDS])
        assert not ended.exclude(grant=None, candidate=None).exists()

    @invariant()
    def something_leads_on_from_everywhere(self) -> None:
        for session in OnboardingSession.objects.exclude(state__in=[str(state) for state in ENDS]):
            state = State(session.state)
            if state in WORKING or state == State.WITH_COLLEAGUE:
                assert session.due_at is not None, session
            assert Move.ABANDON in TRANSITIONS[state]

    @invariant()
    def every_row_is_its_own_tenants(self) -> None:
        for credential in Credential.objects.select_related("pixel", "secret"):
            assert credential.pixel.advertiser_id == credential.advertiser_id
            assert credential.secret is None or credential.secret.advertiser_id == credential.advertiser_id

    def teardown(self) -> None:
        """The faults stop: whatever state it is in, its person gets it connected, and nothing is left at Meta."""
        for shop in self.shops:
            shop.later().work()
            session = shop.session
            if State(session.state) in ENDS:
                continue
            meta_id = session.facts.get("meta_id") or PIXEL
            if session.state != State.CHOOSING:
                shop.act(sessions.leave_option)
            shop.act(sessions.choose_option, option=Option.PASTED_TOKEN, meta_id=meta_id)
            token = Secret(self.meta.generate_token(meta_id))
            shop.act(sessions.submit_token, token=token, said_expiry="unknown")
            shop.later().work()
            assert shop.stands() == ("connected", "")
        self.shops[0].later().work()
        assert not Revocation.objects.filter(state="waiting").exists()
        if not self.is_some_token_lost:
            self.assert_no_orphan_lives()
        OnboardingSession.objects.exclude(state__in=[str(state) for state in ENDS]).delete()

    def assert_no_orphan_lives(self) -> None:
        """Of Login for Business's tokens and the partner's only those live that a credential holds."""
        in_use = set(Credential.objects.exclude(state="retired").values_list("last_four", flat=True))
        # It outlives the pixels that are shared: disconnecting one never ends it.
        in_use |= set(PartnerCredential.objects.values_list("last_four", flat=True))
        for token in self.meta.tokens(state="live", type="SYSTEM_USER"):
            if token["business_id"] and "manage_business_extension" not in token["scopes"]:
                assert token["last_four"] in in_use, token


@pytest.mark.timeout(sized(300, full=1_800))
@pytest.mark.django_db
def test_connecting_finds_no_stuck_state_no_orphan_and_no_way_to_another_tenant(
    as_role: AsRole, meta: SandboxClient, graph: GraphClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onboarding.services.openings.redirect_uri", lambda: REDIRECT_URI)
    monkeypatch.setattr("onboarding.services.sessions.graph_client", lambda: graph)
    Machine.as_role, Machine.meta, Machine.graph = staticmethod(as_role), meta, graph
    Machine.patch = monkeypatch

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=sized(2, full=20),
            stateful_step_count=60,
            deadline=None,
            # The same walks in every run of CI; others in `make faults`.
            derandomize=not FULL,
            suppress_health_check=list(HealthCheck),
        ),
    )
