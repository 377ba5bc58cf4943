"""Lanes of entries on an injected clock: who gets a thread, when, and who has to leave it to others."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyqs.worker.batches import DEFERRED, Batches
from pyqs.worker.settlement import Lane, Senders


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


def test_who_is_busy_is_joined_by_another_even_for_one_entry(clock: Any) -> None:
    """A lane whose calls do not return must not hold up the first entry of another one."""
    calls: list[int] = []
    batches: Batches[str, int] = Batches(8, linger=0.0, clock=clock, short_of=lambda: calls.append(1))
    batches.put("a", 1)
    assert len(calls) == 1, "nobody waits"
    assert batches.take() is not None
    batches.put("b", 1)
    assert len(calls) == 2
    batches.put("b", 2)
    assert len(calls) == 2, "it was asked for already"


def test_what_is_left_behind_finds_somebody(clock: Any) -> None:
    calls: list[int] = []
    batches: Batches[str, int] = Batches(8, linger=0.0, clock=clock, short_of=lambda: calls.append(1))
    for lane in ("a", "b"):
        batches.put(lane, 1)
    before = len(calls)
    assert batches.take() is not None
    assert len(calls) == before + 1


def test_one_thread_keeps_the_time_and_the_others_sleep() -> None:
    """Entries of many lanes, one at a time: each is taken although nobody is woken for it."""
    batches: Batches[str, int] = Batches(8, linger=0.02)
    taken: list[Any] = []
    all_taken = threading.Event()

    def work() -> None:
        while (found := batches.take()) is not None:
            taken.append(found)
            batches.done(found[0])
            if len(taken) == 50:
                all_taken.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        batches.put(f"lane {number}", number)
    assert all_taken.wait(10)
    batches.close()
    for thread in threads:
        thread.join(10)
    assert sorted(entries for _, entries in taken) == [[number] for number in range(50)]


def test_senders_are_started_as_they_are_needed() -> None:
    released, working = threading.Event(), threading.Semaphore(0)

    def work(lane: Any, entries: Any) -> None:
        working.release()
        released.wait(10)

    batches: Batches[Any, Any] = Batches(8, linger=0.0, short_of=lambda: senders.add())
    senders = Senders(8, batches, work, lambda *_: None)
    senders.start()
    assert len(senders._started) == Senders.FIRST
    for number in range(6):  # each call hangs
        batches.put(Lane("delete", f"queue {number}"), None)
        assert working.acquire(timeout=10), number
    assert len(senders._started) >= 6
    released.set()
    batches.close()
    for sender in senders._started:
        assert sender.join(10)
    assert not senders.alive
