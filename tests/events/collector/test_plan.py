"""What becomes of a group, decided without a database."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from events.collector.plan import SERVER, Batch, CountKey, Ends, Known, plan_group
from events.models import Origin
from events.payload import PreparedEvent


def key(number: int) -> bytes:
    """The 16 bytes of a key."""
    return number.to_bytes(16, "big")


def event(identity: int, content: int = 0, *, name: str = "Purchase") -> PreparedEvent:
    """A prepared event of this id and content."""
    return PreparedEvent(
        event_name=name,
        event_id=f"id-{identity}",
        event_time=1_795_000_000,
        expires_at=1_795_600_000,
        fragment=b"{}",
        repeat_key=key(identity),
        content_key=key(content),
        notices=(),
    )


def batch(*events: PreparedEvent, pixel_id: int = 1, advertiser_id: int = 10) -> Batch:
    return Batch(pixel_id, advertiser_id, events)


def counted(plan: Any) -> dict[str, tuple[int, int]]:
    """Taken and repeated, by event name."""
    return {by.event_name: (count.taken, count.repeated) for by, count in plan.counts.items()}


def test_the_origin_is_the_models() -> None:
    assert Origin(SERVER) is Origin.SERVER


def test_offsets_follow_the_head_across_batches() -> None:
    logs = {1: Ends(10, 7, awake=True), 2: Ends(20, 0, awake=True)}
    group = [batch(event(1), event(2)), batch(event(3), pixel_id=2, advertiser_id=20), batch(event(4))]

    plan = plan_group(group, logs, [])

    assert [(row.pixel_id, row.log_offset, row.event_id) for row in plan.events] == [
        (1, 7, "id-1"),
        (1, 8, "id-2"),
        (2, 0, "id-3"),
        (1, 9, "id-4"),
    ]
    assert plan.heads == {1: 10, 2: 1}
    assert [(row.pixel_id, row.log_offset) for row in plan.repeats] == [(1, 7), (1, 8), (2, 0), (1, 9)]


def test_a_repeat_is_counted_and_not_stored() -> None:
    plan = plan_group([batch(event(1), event(2))], {1: Ends(10, 3, awake=True)}, [Known(1, key(1), key(0))])

    assert [row.event_id for row in plan.events] == ["id-2"]
    assert counted(plan) == {"Purchase": (1, 1)}


def test_a_repeat_within_the_group_is_counted_and_not_stored() -> None:
    plan = plan_group([batch(event(1), event(1)), batch(event(1))], {1: Ends(10, 0, awake=True)}, [])

    assert (len(plan.events), counted(plan), plan.clashes) == (1, {"Purchase": (1, 2)}, [])


def test_other_content_under_the_same_id_is_stored_as_a_clash_once() -> None:
    known = [Known(1, key(1), key(0))]

    plan = plan_group([batch(event(1, 5), event(1, 5))], {1: Ends(10, 3, awake=True)}, known)

    assert [(row.log_offset, row.event_id) for row in plan.events] == [(3, "id-1")]
    assert [(clash.log_offset, clash.event_id) for clash in plan.clashes] == [(3, "id-1")]
    assert counted(plan) == {"Purchase": (1, 1)}


def test_the_same_id_at_another_pixel_is_another_event() -> None:
    logs = {1: Ends(10, 0, awake=True), 2: Ends(10, 0, awake=True)}

    plan = plan_group([batch(event(1)), batch(event(1, 5), pixel_id=2)], logs, [])

    assert (len(plan.events), plan.clashes) == (2, [])


def test_a_pixel_that_had_no_work_is_woken_once() -> None:
    logs = {1: Ends(10, 0, awake=False), 2: Ends(10, 0, awake=True), 3: Ends(10, 0, awake=False)}
    group = [
        batch(event(1)),
        batch(event(2)),
        batch(event(3), pixel_id=2),
        batch(event(4), pixel_id=3),
    ]

    plan = plan_group(group, logs, [Known(3, key(4), key(0))])

    assert plan.woken == [1]


def test_a_foreign_or_missing_pixel_fails_alone() -> None:
    logs = {1: Ends(10, 0, awake=True), 2: Ends(99, 0, awake=True)}
    group = [batch(event(1), pixel_id=2), batch(event(2)), batch(event(3), pixel_id=3)]

    plan = plan_group(group, logs, [])

    assert plan.strangers == {0, 2}
    assert [row.event_id for row in plan.events] == ["id-2"]
    assert list(plan.counts) == [CountKey(10, 1, "Purchase", SERVER)]


events = st.builds(event, st.integers(0, 5), st.integers(0, 2), name=st.sampled_from(["Lead", "Purchase"]))
groups = st.lists(
    st.builds(
        lambda items, pixel_id: batch(*items, pixel_id=pixel_id),
        st.lists(events, min_size=1, max_size=6),
        st.integers(1, 2),
    ),
    max_size=6,
)


@given(groups, st.integers(0, 100))
def test_every_event_is_stored_or_a_repeat_and_offsets_are_dense(group: list[Batch], head: int) -> None:
    logs = {1: Ends(10, head, awake=False), 2: Ends(10, 0, awake=False)}

    plan = plan_group(group, logs, [])

    assert sum(count.taken + count.repeated for count in plan.counts.values()) == sum(
        len(one.events) for one in group
    )
    assert sum(count.taken for count in plan.counts.values()) == len(plan.events) == len(plan.repeats)
    for pixel_id, first in ((1, head), (2, 0)):
        offsets = [row.log_offset for row in plan.events if row.pixel_id == pixel_id]
        assert offsets == list(range(first, first + len(offsets)))
    stored = [(row.pixel_id, row.repeat_key, row.content_key) for row in plan.repeats]
    assert len(set(stored)) == len(stored)
    identities = {(row.pixel_id, row.repeat_key) for row in plan.repeats}
    assert len(plan.clashes) == len(stored) - len(identities)
