"""All that is sealed, over every table: counted by key, opened to see that it opens, sealed anew.

The operator's acts, as the tables' owner: no running process reads the secrets of all tenants. What is sealed
stands in a field named `sealed`, bound to its row's `vault_identity`; whichever model has one is found here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction
from django.db.models import BinaryField, F, Func
from psycopg import sql

from partnerhub.lib.crashpoints import crash_point
from partnerhub.lib.vault import KeyServiceAwayError, VaultError, is_key_name
from tenants.secrets import vault

# In place of a key's name where what stands there is no sealed secret.
NO_KEY = "no key that can be told"

# Cut short, it says no length.
_NAMES = """
SELECT CASE WHEN octet_length(sealed) > 2 THEN substr(sealed, 3, get_byte(sealed, 1)) ELSE '' END, count(*)
FROM {} GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of some rows of one table: how many were sealed anew, and a sentence for each that does not open.

    The others were changed or erased by somebody else meanwhile.
    """

    table: str
    resealed: int
    faults: dict[int, str]


@dataclass(slots=True)
class Audit:
    """How many secrets open, by key, and a sentence for each that does not."""

    opened: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def sealed_models() -> list[Any]:
    """Every model whose rows hold a sealed secret."""
    return [model for model in apps.get_models() if hasattr(model, "sealed")]


def count_by_key() -> Counter[str]:
    """How many secrets stand under each master key, as they say themselves. Opens none."""
    counts: Counter[str] = Counter()
    with connection.cursor() as cursor:
        for model in sealed_models():
            cursor.execute(sql.SQL(_NAMES).format(sql.Identifier(_table(model))))
            for name, count in cursor.fetchall():
                counts[_key_name(bytes(name))] += count
    return counts


def check_secrets(*, batch: int) -> Audit:
    """Every secret of every table, opened. Raises KeyServiceAwayError where that cannot be done now."""
    audit = Audit()
    for model in sealed_models():
        for rows in _batches(model.objects.all(), batch):
            for row in rows:
                sealed = bytes(row.sealed)
                try:
                    vault().open(sealed, identity=row.vault_identity)
                except KeyServiceAwayError:
                    raise
                except VaultError as error:
                    audit.faults.append(_fault(row, error))
                else:
                    audit.opened[vault().key_name(sealed)] += 1
    return audit


def rotate(*, batch: int) -> Iterator[Step]:
    """Seals all anew that is not under the primary key, a step at a time, until a whole pass finds nothing to do.

    Each step is committed when it is yielded: whoever stops there, or is stopped anywhere, loses nothing, and the
    next run finds what is left. Raises KeyServiceAwayError.
    """
    progressed = True
    while progressed:
        progressed = False
        for model in sealed_models():
            for rows in _batches(left_behind(model), batch):
                step = reseal(rows)
                progressed = progressed or step.resealed > 0
                yield step


def left_behind(model: Any) -> models.QuerySet[Any]:
    """The rows of the model whose secret is not under the primary key."""
    head = vault().head
    start = Func(F("sealed"), 1, len(head), function="substr", output_field=BinaryField())
    rows: models.QuerySet[Any] = model.objects.annotate(start=start).exclude(start=head)
    return rows


def reseal(rows: Sequence[Any]) -> Step:
    """The rows, all of one table, under the primary key, in one transaction, in which no key service is asked.

    A row whose secret is another by now, or is gone, stays as it is. Raises KeyServiceAwayError.
    """
    model = type(rows[0])
    made: list[tuple[int, bytes, bytes]] = []
    faults: dict[int, str] = {}
    for row in rows:
        before = bytes(row.sealed)
        try:
            after = _sealed_anew(before, row.vault_identity)
        except KeyServiceAwayError:
            raise
        except VaultError as error:
            faults[row.pk] = _fault(row, error)
        else:
            made.append((row.pk, before, after))
    resealed = 0
    with transaction.atomic():
        # In the order of their keys, so that two rotations do not wait for each other.
        for pk, before, after in made:
            resealed += model.objects.filter(pk=pk, sealed=before).update(sealed=after)
            crash_point("mid_rotate")
    crash_point("after_rotate")
    return Step(_table(model), resealed, faults)


def _sealed_anew(before: bytes, identity: str) -> bytes:
    secret = vault().open(before, identity=identity)
    after = vault().seal(secret, identity=identity)
    # It will stand where the only copy stood.
    if vault().open(after, identity=identity) != secret:
        raise VaultError(f"The secret of {identity} is another one when it is sealed anew.")
    return after


def _batches(rows: models.QuerySet[Any], size: int) -> Iterable[list[Any]]:
    """The rows by their key, so many at a time, each time as they are by then."""
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:size]):
        yield batch
        last = batch[-1].pk


def _table(model: Any) -> str:
    return str(model._meta.db_table)  # noqa: SLF001  (Django documents it under this name)


def _fault(row: Any, error: VaultError) -> str:
    return f"{_table(type(row))} {row.pk}: {error}"


def _key_name(name: bytes) -> str:
    text = name.decode("ascii", "replace")
    return text if is_key_name(text) else NO_KEY
