"""Lanes of entries on an injected clock: who gets a thread, when, and who has to leave it to others."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyqs.worker.batches import DEFERRED, Batches


@pytest.fixture
def batches(clock: Any) -> Batches[str, int]:
    return Batches(8, linger=0.0, clock=clock)


def under_way(batches: Batches[str, int], lane: str, entries: int) -> int:
    """How many batches of a lane can be taken one after the other while none of them ends."""
    for number in range(entries):
        batches.put(lane, number)
    taken: list[Any] = []

    def take() -> None:
        while (found := batches.take()) is not None:
            taken.append(found)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    last = -1
    while last != len(taken):  # what it can take it takes at once
        last = len(taken)
        thread.join(0.3)
    batches.abandon()
    return len(taken)


def test_one_lane_has_half_of_the_threads(batches: Batches[str, int]) -> None:
    assert under_way(batches, "a", 200) == 4


def test_lanes_share_and_leave_some_to_others(batches: Batches[str, int]) -> None:
    for lane in ("a", "b", "c"):
        for number in range(100):
            batches.put(lane, number)
    taken = []
    for _ in range(6):
        found = batches.take()
        assert found is not None
        taken.append(found[0])
    assert sorted(taken) == ["a", "a", "b", "b", "c", "c"]


def test_a_batch_that_ends_makes_room(batches: Batches[str, int]) -> None:
    for number in range(100):
        batches.put("a", number)
    for _ in range(4):
        assert batches.take() is not None
    batches.done("a")
    found = batches.take()
    assert found is not None
    assert len(found[1]) == 10


def test_after_the_close_all_is_taken_and_every_thread_ends(batches: Batches[str, int]) -> None:
    for number in range(200):
        batches.put("a", number)
    batches.close()
    taken: list[int] = []

    def work() -> None:
        while (found := batches.take()) is not None:
            taken.extend(found[1])
            batches.done(found[0])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == list(range(200))
    assert not any(thread.is_alive() for thread in threads)


def taken(batches: Batches[str, int]) -> list[int]:
    found = batches.take()
    assert found is not None
    batches.done(found[0])
    return found[1]


def test_what_failed_beside_what_worked_comes_again_behind_the_others(batches: Batches[str, int], clock: Any) -> None:
    for number in range(10):
        batches.put("a", number)
    assert taken(batches) == list(range(10))
    batches.retry("a", [1, 2])
    assert batches.failing("a")
    clock.now += 60
    assert taken(batches) == [1, 2]
    batches.defer("a", [2])
    assert not batches.failing("a"), "one was accepted"
    for number in range(10, 20):
        batches.put("a", number)
    assert taken(batches) == list(range(10, 20)), "at once"
    batches.put("a", 20)
    clock.now += DEFERRED
    assert taken(batches) == [20, 2]


def test_what_is_deferred_is_tried_once_more_at_the_end(batches: Batches[str, int]) -> None:
    batches.defer("a", [1])
    batches.close()
    assert taken(batches) == [1]
    batches.defer("a", [1])
    assert batches.abandon() == [1]
