"""Tokens and proofs, by the clock."""

from __future__ import annotations

import pytest

from partnerhub.sandbox.nodes import App, Token
from partnerhub.sandbox.world import World
from tests.sandbox.cast import APP_ID, APP_SECRET, TOKEN, proof_of

NOW = 1_790_000_000.0


def make_world() -> tuple[World, Token]:
    world, token = World(), Token(value=TOKEN, app_id=APP_ID)
    world.apps[APP_ID] = App(id=APP_ID, secret=APP_SECRET)
    world.tokens[TOKEN] = token
    return world, token


@pytest.mark.parametrize(
    ("age", "holds"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)]
)
def test_timed_proof_lives_for_five_minutes(age: int, holds: bool) -> None:
    world, token = make_world()
    made_at = str(int(NOW) - age)
    proof = proof_of(f"{TOKEN}|{made_at}", APP_SECRET)

    assert (world.proof_refusal(token, proof, made_at, NOW) is None) is holds


@pytest.mark.parametrize("made_at", ["", "soon", "1.5", "٣"])
def test_time_of_a_proof_is_a_whole_number(made_at: str) -> None:
    world, token = make_world()
    proof = proof_of(f"{TOKEN}|{made_at}", APP_SECRET)

    assert world.proof_refusal(token, proof, made_at, NOW) is not None


def test_untimed_proof_does_not_pass_as_a_timed_one() -> None:
    world, token = make_world()

    assert world.proof_refusal(token, proof_of(TOKEN, APP_SECRET), str(int(NOW)), NOW) is not None


def test_app_token_needs_the_apps_secret() -> None:
    world, _ = make_world()

    found = world.find(f"{APP_ID}|{APP_SECRET}")

    assert found is not None
    assert (found.type, found.app_id, found.pixels) == ("APP", APP_ID, frozenset())
    assert world.find(f"{APP_ID}|wrong") is None
    assert world.find(f"1|{APP_SECRET}") is None


def test_secrets_stay_out_of_representations() -> None:
    world, token = make_world()

    assert TOKEN not in repr(token)
    assert APP_SECRET not in repr(world.apps[APP_ID])
