"""The flow picture: every part that is not nothing is seen, inside the frame, and the ribbons lie end to end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from events.flow_chart import HEIGHT, flow_chart

COUNTS = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=5)


@given(counts=COUNTS)
def test_parts_are_seen_apart_and_within_the_frame(counts: list[int]) -> None:
    chart = flow_chart(sum(counts), [(str(n), str(n), "neutral", count) for n, count in enumerate(counts)])

    shown = [ribbon for ribbon in chart.ribbons if ribbon.count]
    assert [ribbon.count for ribbon in chart.ribbons] == counts
    assert all(ribbon.height >= 4 and ribbon.path for ribbon in shown)
    assert all(above.y + above.height < below.y for above, below in pairwise(shown))
    assert all(ribbon.y + ribbon.height <= HEIGHT for ribbon in shown)
    assert chart.start_height == (sum(ribbon.height for ribbon in shown) or HEIGHT)


def test_a_part_is_as_high_as_it_is_many() -> None:
    first, second, none = flow_chart(
        4, [("a", "A", "working", 3), ("b", "B", "late", 1), ("c", "C", "late", 0)]
    ).ribbons

    assert (first.height, second.height, none.path) == (142, 50, "")
