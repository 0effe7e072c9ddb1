"""What tells a worker that has nothing to do from one that is stuck, and one that hears from one that is deaf."""

from __future__ import annotations

import pytest

from events.delivery.progress import Progress


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(clock=clock)


def test_idle_is_the_time_since_work_was_taken_whatever_looks_found(progress: Progress, clock: Clock) -> None:
    clock.now += 5
    progress.looked(has_worked=False)
    assert progress.idle_seconds() == 5

    progress.took_work()
    assert progress.idle_seconds() == 0


def test_stuck_is_the_time_since_work_was_taken_or_a_look_came_to_its_end(
    progress: Progress, clock: Clock
) -> None:
    clock.now += 5
    assert progress.stuck_seconds() == 5

    progress.looked(has_worked=False)
    assert progress.stuck_seconds() == 0

    clock.now += 3
    progress.took_work()
    clock.now += 1
    assert progress.stuck_seconds() == 1


def test_a_message_is_no_progress(progress: Progress, clock: Clock) -> None:
    clock.now += 5
    progress.heard()

    assert progress.stuck_seconds() == 5


def test_deaf_is_the_time_since_looks_began_to_find_work_that_no_message_told_of(
    progress: Progress, clock: Clock
) -> None:
    assert progress.deaf_seconds() == 0
    progress.looked(has_worked=True)
    clock.now += 4
    progress.looked(has_worked=True)
    assert progress.deaf_seconds() == 4

    progress.heard()
    assert progress.deaf_seconds() == 0

    progress.looked(has_worked=True)
    clock.now += 4
    progress.looked(has_worked=False)
    assert progress.deaf_seconds() == 0
