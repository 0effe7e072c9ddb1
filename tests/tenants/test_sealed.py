"""All that is sealed is found, opened, and sealed anew; what somebody else did meanwhile is never undone."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from onboarding.models import SealedToken
from onboarding.services.tokens import erase_token, seal_token
from partnerhub.lib.vault import MasterKeys, Secret, new_key_line
from tenants import sealed
from tenants.models import Advertiser, PartnerCredential
from tenants.secrets import vault
from tests.support.factories import make_advertiser
from tests.support.key_service import KeyServer
from tests.support.vault import master_keys, vault_settings

OLD, NEW, OTHER = new_key_line("old"), new_key_line("new"), new_key_line("other")
# Columns of bytes that hold no secret: what a partner shows to everybody, and what the door took in.
NO_SECRETS = {("tenants_logo", "content"), ("events_event", "payload"), ("events_event", "original")}


@pytest.fixture
def advertiser(db: None) -> Iterator[Advertiser]:
    """With an app secret at its partner, sealed under the old key, which is the only one."""
    with master_keys(OLD):
        yield make_advertiser()


def seal(advertiser: Advertiser, text: str) -> SealedToken:
    return seal_token(advertiser_id=advertiser.pk, token=Secret(text))


def open_again(row: Any) -> str:
    row.refresh_from_db()
    return vault().open(bytes(row.sealed), identity=row.vault_identity).reveal()


def run(*words: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("vault", *words, stdout=out)
    return out.getvalue()


def refused(*words: str) -> tuple[list[str], str]:
    """The lines that the command prints, and its last words, which go with exit code 1."""
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("vault", *words, stdout=out)
    assert error.value.returncode == 1
    return out.getvalue().splitlines(), str(error.value)


# Every table.


def test_every_column_that_may_hold_a_sealed_secret_is_looked_after(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT class.relname, attribute.attname, attribute.atttypid = 'bytea'::regtype"
            " FROM pg_attribute AS attribute JOIN pg_class AS class ON class.oid = attribute.attrelid"
            " WHERE class.relnamespace = 'public'::regnamespace AND class.relkind IN ('r', 'p')"
            " AND NOT class.relispartition AND attribute.attnum > 0 AND NOT attribute.attisdropped"
            " AND (attribute.attname ~ 'sealed' OR attribute.atttypid = 'bytea'::regtype)"
        )
        found = {(table, column): is_bytes for table, column, is_bytes in cursor.fetchall()}
    ours = {(model._meta.db_table, "sealed"): True for model in sealed.sealed_models()}

    assert {place: found[place] for place in found if place not in NO_SECRETS} == ours
    assert ("tenants_partnercredential", "sealed") in ours
    assert ("onboarding_sealedtoken", "sealed") in ours


def test_every_sealed_row_says_what_its_secret_is_bound_to(advertiser: Advertiser) -> None:
    assert all(hasattr(model, "vault_identity") for model in sealed.sealed_models())
    for row in (seal(advertiser, "EAAtoken"), PartnerCredential.objects.get()):
        assert open_again(row)


# check.


def test_all_that_opens_is_counted_by_key(advertiser: Advertiser) -> None:
    for number in range(5):
        seal(advertiser, f"EAAtoken-{number}")
    with master_keys(NEW, OLD):
        seal(advertiser, "EAAtoken-of-the-new-key")

        assert run("check", "--batch", "2") == "7 secrets open: 1 under new, 6 under old.\n"


def test_nothing_sealed_is_nothing_wrong(db: None) -> None:
    assert run("check") == "0 secrets open.\n"


def test_what_does_not_open_is_named_by_its_row_and_no_secret_is_shown(advertiser: Advertiser) -> None:
    altered, first, second, erased, whole = (seal(advertiser, f"EAAcanary-{number}") for number in range(5))
    with master_keys(OTHER):
        lost = seal(advertiser, "EAAcanary-5")
    SealedToken.objects.filter(pk=altered.pk).update(sealed=bytes(altered.sealed)[:-1] + b"x")
    # Two rows' secrets change places: each is whole, and neither stands where it belongs.
    SealedToken.objects.filter(pk=first.pk).update(sealed=second.sealed)
    SealedToken.objects.filter(pk=second.pk).update(sealed=first.sealed)
    SealedToken.objects.filter(pk=erased.pk).update(sealed=b"")

    lines, last_words = refused("check")

    begin = (
        "onboarding_sealedtoken {0.pk}: The secret of {0.vault_identity}, under {1}, cannot be opened. {2}"
    )
    assert lines == [
        begin.format(altered, "the master key old", "It was altered, or sealed for another row."),
        begin.format(first, "the master key old", "The master key old does not open it."),
        begin.format(second, "the master key old", "The master key old does not open it."),
        begin.format(erased, "no master key that can be told", "It was erased."),
        begin.format(lost, "the master key other", "The master key other is not among VAULT_KEYS."),
        "2 secrets open: 2 under old.",
    ]
    assert last_words == "5 cannot be opened."
    assert open_again(whole) == "EAAcanary-4"
    assert "canary" not in "".join(lines)


def test_another_key_by_the_same_name_is_found_out(advertiser: Advertiser) -> None:
    with master_keys(new_key_line("old")):
        lines, last_words = refused("check")

    credential = PartnerCredential.objects.get()
    assert lines[0] == (
        f"tenants_partnercredential {credential.pk}: The secret of {credential.vault_identity},"
        " under the master key old, cannot be opened. The master key old does not open it."
    )
    assert last_words == "1 cannot be opened."


@pytest.mark.parametrize("act", ["check", "rotate"])
def test_who_row_level_security_shows_nothing_is_not_told_that_all_is_well(
    act: str, advertiser: Advertiser, settings: Any
) -> None:
    settings.PROCESS = "web"

    assert refused(act) == ([], "This runs as the tables' owner: leave PROCESS unset.")


# rotate.


def test_all_is_sealed_anew_under_the_first_key_and_the_old_one_can_go(advertiser: Advertiser) -> None:
    rows = [seal(advertiser, f"EAAtoken-{number}") for number in range(5)]
    with master_keys(NEW, OLD):
        done = seal(advertiser, "EAAtoken-5")

        printed = run("rotate", "--batch", "2")

    assert printed.splitlines() == [
        "6 to seal anew under new: 6 under old.",
        "tenants_partnercredential: 1 sealed anew, 1 of 6 in all.",
        "onboarding_sealedtoken: 2 sealed anew, 3 of 6 in all.",
        "onboarding_sealedtoken: 2 sealed anew, 5 of 6 in all.",
        "onboarding_sealedtoken: 1 sealed anew, 6 of 6 in all.",
        "All 7 secrets are under new.",
    ]
    before = bytes(done.sealed)
    with master_keys(NEW):
        assert [open_again(row) for row in [*rows, done]] == [f"EAAtoken-{number}" for number in range(6)]
        assert run("check") == "7 secrets open: 7 under new.\n"
        # What was under the first key was left alone.
        assert bytes(done.sealed) == before
        assert run("rotate") == "0 to seal anew under new.\nAll 7 secrets are under new.\n"


def test_a_key_whose_name_begins_as_the_first_ones_does_is_not_taken_for_it(advertiser: Advertiser) -> None:
    row = seal(advertiser, "EAAtoken")

    # `old` is how `old-and-longer` begins, and the other way about.
    with master_keys(new_key_line("old-and-longer"), OLD):
        run("rotate")
        row.refresh_from_db()
        assert vault().key_name(bytes(row.sealed)) == "old-and-longer"


def test_what_does_not_open_stays_as_it_is_and_does_not_stop_the_rest(advertiser: Advertiser) -> None:
    with master_keys(OTHER):
        lost = seal(advertiser, "EAAtoken-of-a-lost-key")
    row = seal(advertiser, "EAAtoken")
    garbage = seal(advertiser, "EAAgarbage")
    SealedToken.objects.filter(pk=garbage.pk).update(sealed=b"\x01\xff\xff garbage")

    with master_keys(NEW, OLD):
        lines, last_words = refused("rotate")
        assert open_again(row) == "EAAtoken"

    assert lines[-3:] == [
        (
            f"onboarding_sealedtoken {lost.pk}: The secret of {lost.vault_identity}, under the master key other,"
            " cannot be opened. The master key other is not among VAULT_KEYS."
        ),
        (
            f"onboarding_sealedtoken {garbage.pk}: The secret of {garbage.vault_identity},"
            " under no master key that can be told, cannot be opened. It is not a sealed secret."
        ),
        "2 secrets are under new; left: 2: 1 under no key that can be told, 1 under other.",
    ]
    assert last_words == "Those that do not open stay as they are."
    with master_keys(OTHER):
        assert open_again(lost) == "EAAtoken-of-a-lost-key"


def test_what_was_sealed_or_erased_meanwhile_is_not_undone(advertiser: Advertiser) -> None:
    mended, erased, row = (seal(advertiser, f"EAAtoken-{number}") for number in range(3))
    with master_keys(NEW, OLD):
        taken = list(sealed.left_behind(SealedToken).order_by("pk"))
        assert [one.pk for one in taken] == [mended.pk, erased.pk, row.pk]
        # Before they are written, a process that still seals under the old key puts another secret in one row.
        with master_keys(OLD):
            other = vault().seal(Secret("EAAmended"), identity=mended.vault_identity)
        SealedToken.objects.filter(pk=mended.pk).update(sealed=other)
        erase_token(erased.pk)

        step = sealed.reseal(taken)

        assert (step.resealed, step.faults) == (1, {})
        assert open_again(mended) == "EAAmended"
        assert bytes(mended.sealed) == other
        assert set(SealedToken.objects.values_list("pk", flat=True)) == {mended.pk, row.pk}
        # The next pass finds it.
        assert sum(step.resealed for step in sealed.rotate(batch=10)) == 2
        assert open_again(mended) == "EAAmended"


def test_what_is_sealed_behind_its_back_is_found_by_another_pass(advertiser: Advertiser) -> None:
    seal(advertiser, "EAAtoken")
    credential = PartnerCredential.objects.get()
    with master_keys(NEW, OLD):
        steps = sealed.rotate(batch=10)
        assert [next(steps).table, next(steps).table] == [
            "tenants_partnercredential",
            "onboarding_sealedtoken",
        ]
        # A process that has not been started anew yet seals under the old key, in the table that was passed.
        with master_keys(OLD):
            late = vault().seal(Secret("EAAlate"), identity=credential.vault_identity)
        PartnerCredential.objects.update(sealed=late)

        assert [step.resealed for step in steps] == [1]
        assert open_again(credential) == "EAAlate"
        assert vault().key_name(bytes(credential.sealed)) == "new"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_step_and_it_goes_on_where_it_stopped(
    number: signal.Signals, advertiser: Advertiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [seal(advertiser, f"EAAtoken-{number}") for number in range(4)]
    passes: list[str] = []

    def interrupt(name: str) -> None:
        passes.append(name)
        if passes.count("mid_rotate") == 3 and name == "mid_rotate":
            os.kill(os.getpid(), number)

    monkeypatch.setattr(sealed, "crash_point", interrupt)
    handler = signal.getsignal(number)
    with master_keys(NEW, OLD):
        lines, last_words = refused("rotate", "--batch", "2")
        assert lines[-1] == "3 secrets are under new; left: 2: 2 under old."
        assert last_words == "Stopped. Run it again: it goes on where it stopped."
        assert signal.getsignal(number) == handler

        assert run("rotate").splitlines()[0] == "2 to seal anew under new: 2 under old."
        assert [open_again(row) for row in rows] == [f"EAAtoken-{number}" for number in range(4)]


def test_no_secret_is_written_that_could_not_be_opened_again(
    advertiser: Advertiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = seal(advertiser, "EAAtoken")
    wrap = MasterKeys.wrap
    with master_keys(NEW, OLD):
        vault()
        # A key service that loses its mind after the start.
        monkeypatch.setattr(MasterKeys, "wrap", lambda self, key, **more: wrap(self, key, **more)[:-1] + b"x")

        lines, _ = refused("rotate")

        monkeypatch.undo()
        assert open_again(row) == "EAAtoken"
    assert (
        f"onboarding_sealedtoken {row.pk}: The secret of {row.vault_identity}, under the master key new,"
        in ("\n".join(lines))
    )


def test_a_key_service_that_is_away_condemns_no_secret(advertiser: Advertiser) -> None:
    row = seal(advertiser, "EAAtoken")
    plugged = {"VAULT_KEY_SERVICE": "tests.support.key_service:from_environment"}
    with KeyServer() as server, vault_settings(KEY_SERVICE_URL=server.url, **plugged):
        vault()
        server.status = 503
        for act in ("check", "rotate"):
            lines, last_words = refused(act)

            assert lines == []
            assert last_words.endswith("The key service answered 503. Run it again later.")
    assert open_again(row) == "EAAtoken"
