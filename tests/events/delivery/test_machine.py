"""Appends, claims, sends, crashes and late answers in any order: the books are right after each step, and at the
end, when the faults stop, everything comes to its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from events.delivery.claim import Claim, Idle, claim_next
from events.delivery.send import Parcel, take_up
from events.delivery.settle import settle
from events.delivery.sweep import take_over_expired
from events.ledger import AtMeta, Key, audit_ledger
from events.models import PixelLog
from events.pace import lanes
from onboarding.services import release_pixel
from partnerhub.lib.graph import GraphAnswer
from partnerhub.lib.graph.errors import (
    BatchRefused,
    CredentialRefused,
    GraphError,
    InDoubt,
    Transient,
    Unsent,
)
from tests.events.delivery.conftest import forget_events, is_drained, let_time_pass
from tests.support.factories import ConnectedPixel, make_connected_pixel
from tests.support.log import append_count

AsRole = Callable[[str], AbstractContextManager[None]]

Outcome = GraphAnswer | GraphError

# One event in seven is one that Meta refuses.
GUILTY = 7


class Machine(RuleBasedStateMachine):
    """Workers, a door and Meta, in one process."""

    target: ConnectedPixel
    as_role: AsRole
    claims: Bundle[Claim] = Bundle("claims")
    parcels: Bundle[Parcel] = Bundle("parcels")

    def __init__(self) -> None:
        super().__init__()
        self.pixel = make_connected_pixel(self.target.pixel.advertiser).pixel
        PixelLog.objects.filter(pk=self.pixel.pk).update(width=100)
        self.meta: dict[Key, AtMeta] = {}
        self.outcomes: dict[int, Outcome] = {}

    @rule(count=st.integers(1, 9))
    def append(self, count: int) -> None:
        append_count(self.pixel, count)

    @rule(target=claims, step=st.integers(0, 3))
    def claim(self, step: int):  # type: ignore[no-untyped-def]
        with self.as_role("worker"):
            claim = claim_next(self.pixel.pk, lanes(step))
        return claim if isinstance(claim, Claim) else multiple()

    @rule(target=parcels, claim=claims)
    def take_up(self, claim: Claim):  # type: ignore[no-untyped-def]
        """Also late, and also twice: its lease decides."""
        with self.as_role("worker"):
            return take_up(claim) or multiple()

    @rule(parcel=parcels)
    def answer(self, parcel: Parcel) -> None:
        self.settle(parcel, lambda: self.post(parcel))

    @rule(parcel=parcels, is_stored=st.booleans())
    def lose_the_answer(self, parcel: Parcel, is_stored: bool) -> None:
        def lose() -> GraphError:
            if is_stored:
                self.post(parcel)
            return InDoubt("nothing came back")

        self.settle(parcel, lose)

    @rule(parcel=parcels)
    def die_after_sending(self, parcel: Parcel) -> None:
        """Nobody settles; unless another rule does, later, for a worker that stood still meanwhile."""
        self.outcome(parcel, lambda: self.post(parcel))

    @rule(
        parcel=parcels,
        error=st.sampled_from(
            [Transient("later", code=2), Unsent("no line"), CredentialRefused("dead", code=190)]
        ),
    )
    def fail(self, parcel: Parcel, error: GraphError) -> None:
        self.settle(parcel, lambda: error)

    @rule()
    def mend(self) -> None:
        release_pixel(pixel_id=self.pixel.pk)

    @rule()
    def let_leases_end(self) -> None:
        let_time_pass(self.pixel)
        with self.as_role("worker"):
            take_over_expired()

    @invariant()
    def the_books_are_right(self) -> None:
        audited = audit_ledger([self.pixel.pk], at_meta={self.pixel.pk: self.meta}, overdue_seconds=60)
        # What was sent and not settled is at Meta more often than the books know yet: they say so when the lease ends.
        assert [finding for finding in audited.findings if finding.rule != "L7"] == []

    def teardown(self) -> None:
        """The faults stop: it drains, and every surplus copy has its doubt."""
        for _ in range(2_000):
            release_pixel(pixel_id=self.pixel.pk)
            self.let_leases_end()
            with self.as_role("worker"):
                claim = claim_next(self.pixel.pk)
                parcel = take_up(claim) if isinstance(claim, Claim) else None
            if parcel is not None:
                self.answer(parcel)
            elif claim is Idle.ASLEEP:
                break
        audited = audit_ledger([self.pixel.pk], at_meta={self.pixel.pk: self.meta})
        assert audited.findings == []
        account = audited.accounts[self.pixel.pk]
        assert (account.waiting, account.in_flight) == (0, 0)
        assert account.in_doubt or is_drained(self.pixel)

    def post(self, parcel: Parcel) -> Outcome:
        """What Meta does with it: one guilty event refuses all; else it keeps what it gets."""
        if any(is_guilty(piece.event_id) for piece in parcel.pieces):
            return BatchRefused("guilty", code=100)
        for piece in parcel.pieces:
            key = (piece.event_name, piece.event_id)
            copies = self.meta[key].copies + 1 if key in self.meta else 1
            self.meta[key] = AtMeta(copies, hashlib.blake2b(piece.payload, digest_size=16).hexdigest())
        return GraphAnswer(200, {}, "A-trace", len(parcel.pieces), None, 5)

    def outcome(self, parcel: Parcel, decide: Callable[[], Outcome]) -> Outcome:
        """What came of sending the parcel: decided once, for it is sent once."""
        if parcel.attempt_id not in self.outcomes:
            self.outcomes[parcel.attempt_id] = decide()
        return self.outcomes[parcel.attempt_id]

    def settle(self, parcel: Parcel, decide: Callable[[], Outcome]) -> None:
        with self.as_role("worker"):
            settle(parcel, self.outcome(parcel, decide))


def is_guilty(event_id: str) -> bool:
    return int(event_id.removeprefix("e-")) % GUILTY == 0


@pytest.fixture
def clean_tables(transactional_db: None) -> Iterator[None]:
    yield
    forget_events()


@pytest.mark.usefixtures("clean_tables")
def test_whatever_happens_in_whatever_order_the_books_are_right(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partnerhub.lib.graph.limits.EVENTS_PER_REQUEST", 5)
    monkeypatch.setattr("events.pace.PILE_REQUESTS", 1)
    Machine.target, Machine.as_role = make_connected_pixel(), staticmethod(as_role)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
