"""The judge is judged: each check finds what it is there to find, in a ledger and a log written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness import checks, growth
from harness.crew import Crew, Ending
from harness.faces import CELERY_LATE, EARLY, FACES, LATE, NATIVE, QUEUE, Face, number_of
from harness.growth import Look
from harness.watched import Door, WatchedStore
from pyqs.clock import boottime


class Stage:
    """A crew whose workers are played."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.handles: dict[str, str] = {}

    def door(self, worker: str) -> Any:
        return Door(self.crew.store, worker)

    def receive(self, worker: str, seconds: int = 10) -> None:
        for one in self.door(worker).receive(QUEUE, max_messages=10, wait=0, visibility=seconds):
            self.handles[worker] = one.receipt_handle

    def delete(self, worker: str) -> None:
        assert self.door(worker).delete_batch(QUEUE, [self.handles[worker]]) == [None]

    def release(self, worker: str) -> None:
        assert self.door(worker).change_visibility_batch(QUEUE, [(self.handles[worker], 0)]) == [None]

    def ran(self, number: int, event: str, worker: str, *, pid: int = 100, at: float | None = None) -> None:
        record = {"n": number, "e": event, "pid": pid, "w": worker, "wall": 0.0, "t": boottime() if at is None else at}
        with self.crew.ledger.path.open("a") as ledger:
            ledger.write(json.dumps(record).ljust(127) + "\n")

    def killed(self, worker: str, held: list[int], pids: tuple[int, ...] = (100,), at: float | None = None) -> None:
        now = boottime() if at is None else at
        self.crew.endings.append(Ending("tree", worker, now, now, {QUEUE: held}, list(pids), -9))


@pytest.fixture
def play(make_crew: Callable[..., Crew]) -> Callable[..., Stage]:
    """A stage on which task 7 was sent."""

    def play(face: Face = NATIVE) -> Stage:
        crew = make_crew(face)
        crew.send([face.message("work", 7, 0.1)])
        return Stage(crew)

    return play


@pytest.mark.parametrize("face", [*FACES, CELERY_LATE], ids=str)
def test_a_task_is_known_by_its_message(face: Face) -> None:
    assert number_of(face.message("work", 7, 0.1).body) == 7


def test_lost_is_what_neither_ended_nor_is_kept(play: Callable[..., Stage]) -> None:
    stage = play()
    assert not checks.lost(stage.crew, [7])
    stage.receive("a")
    assert not checks.lost(stage.crew, [7])
    stage.delete("a")
    assert len(checks.lost(stage.crew, [7])) == 1
    stage.ran(7, "start", "a")
    assert len(checks.lost(stage.crew, [7])) == 1
    stage.ran(7, "end", "a")
    assert not checks.lost(stage.crew, [7])


def test_an_early_ack_may_lose_what_ran_at_a_kill(play: Callable[..., Stage]) -> None:
    stage = play(EARLY)
    stage.receive("a")
    stage.delete("a")
    stage.ran(7, "start", "a")
    assert "was not killed" in checks.lost_beyond_early_ack(stage.crew, [7])[0]
    stage.killed("a", [])
    assert not checks.lost_without_reason(stage.crew, [7])


def test_an_early_ack_may_not_lose_what_was_buffered(play: Callable[..., Stage]) -> None:
    stage = play(EARLY)
    stage.crew.send([EARLY.message("work", n, 0.1) for n in (8, 9)])
    for _ in range(3):
        handles = stage.door("a").receive(QUEUE, max_messages=1, wait=0, visibility=10)
        stage.door("a").delete_batch(QUEUE, [handles[0].receipt_handle])
    stage.killed("a", [])
    assert "3 tasks lost at one kill of 2 slots" in checks.lost_without_reason(stage.crew, [7, 8, 9])[0]


def test_an_early_ack_may_lose_what_was_about_to_start_and_not_what_was_acked_long_before(play: Callable[..., Stage]) -> None:
    stage = play(EARLY)
    stage.receive("a")
    stage.delete("a")
    stage.killed("a", [])
    assert not checks.lost_without_reason(stage.crew, [7])
    stage.crew.endings.clear()
    stage.killed("a", [], at=boottime() + 2 * checks.ABOUT_TO_START)
    assert "had not started at the kill" in checks.lost_without_reason(stage.crew, [7])[0]


def test_a_repeat_is_explained_by_one_kill_that_held_it(play: Callable[..., Stage]) -> None:
    stage = play()
    for worker in ("a", "b"):
        stage.ran(7, "start", worker)
        stage.ran(7, "end", worker)
    assert checks.repeats(stage.crew) == {7: 1}
    assert len(checks.repeated(stage.crew)) == 1
    stage.killed("a", [8])
    assert len(checks.unexplained_repeats(stage.crew)) == 1
    stage.killed("a", [7])
    assert not checks.unexplained_repeats(stage.crew)
    stage.ran(7, "start", "c")
    assert len(checks.unexplained_repeats(stage.crew)) == 1


def run_and_die(stage: Stage) -> float:
    """Task 7 ends in an executor of ``a``, which task 8 takes down; when."""
    stage.receive("a")
    stage.ran(7, "start", "a")
    stage.ran(7, "end", "a")
    stage.ran(8, "start", "a")
    stage.ran(8, "die", "a")
    return boottime()


def test_a_healthy_task_repeats_if_a_dying_executor_held_it(play: Callable[..., Stage]) -> None:
    stage = play()
    run_and_die(stage)
    stage.ran(7, "start", "a", pid=101)
    held, others = checks.repeats_of_the_healthy(stage.crew, {8})
    assert (len(held), len(others)) == (1, 0)
    stage.ran(7, "start", "a", pid=102)
    held, others = checks.repeats_of_the_healthy(stage.crew, {8})
    assert (len(held), len(others)) == (0, 1), "that executor lives"


def test_a_healthy_task_does_not_repeat_when_it_was_deleted_before_the_death(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.receive("a")
    stage.delete("a")
    while boottime() <= stage.crew.store.events[-1].at:
        pass
    run_and_die(stage)
    stage.ran(7, "start", "a", pid=101)
    assert len(checks.repeats_of_the_healthy(stage.crew, {8})[1]) == 1


def test_a_healthy_task_does_not_repeat_before_the_death(play: Callable[..., Stage]) -> None:
    stage = play()
    died = run_and_die(stage)
    stage.ran(7, "start", "a", pid=101, at=died - 1)
    assert len(checks.repeats_of_the_healthy(stage.crew, {8})[1]) == 1


def test_a_healthy_task_does_not_repeat_if_its_worker_was_never_handed_it(play: Callable[..., Stage]) -> None:
    stage = play()
    for event in ("start", "end"):
        stage.ran(7, event, "b")
    run_and_die(stage)
    stage.ran(7, "start", "a", pid=101)
    assert len(checks.repeats_of_the_healthy(stage.crew, {8})[1]) == 1


def test_a_freeze_explains_one_repeat_of_what_had_started_and_was_not_deleted(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.receive("a")
    now = boottime()
    freeze = checks.Freeze("a", now, now + 20)
    stage.ran(7, "start", "a", at=now + 1)
    stage.ran(7, "start", "b", pid=2, at=now + 15)
    assert not checks.repeats_beyond_freezes(stage.crew, [freeze])
    assert len(checks.repeats_beyond_freezes(stage.crew, [])) == 1
    assert len(checks.repeats_beyond_freezes(stage.crew, [checks.Freeze("c", now, now + 20)])) == 1
    assert len(checks.repeats_beyond_freezes(stage.crew, [checks.Freeze("a", now - 20, now)])) == 1, (
        "it started after it thawed"
    )
    stage.ran(7, "start", "c", pid=3, at=now + 16)
    assert len(checks.repeats_beyond_freezes(stage.crew, [freeze])) == 1, "one freeze, two repeats"


def test_a_freeze_explains_no_repeat_of_what_was_deleted_before(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.receive("a")
    stage.ran(7, "start", "a")
    stage.delete("a")
    later = boottime() + 1
    stage.ran(7, "start", "b", pid=2, at=later + 15)
    assert not checks.repeats_beyond_freezes(stage.crew, [checks.Freeze("a", later - 2, later + 20)])
    assert len(checks.repeats_beyond_freezes(stage.crew, [checks.Freeze("a", later, later + 20)])) == 1


def test_what_a_kill_has_struck(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.ran(7, "start", "a", pid=1, at=10.0)
    stage.ran(8, "start", "a", pid=2, at=10.0)
    stage.ran(8, "end", "a", pid=2, at=11.0)
    stage.ran(9, "start", "b", pid=3, at=10.0)
    stage.killed("a", [], at=12.0)
    assert [run.number for run in checks.struck(stage.crew, stage.crew.endings[0])] == [7]


def test_two_runs_at_the_same_time(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.ran(7, "start", "a", pid=1, at=10.0)
    stage.ran(7, "start", "b", pid=2, at=11.0)
    assert len(checks.overlaps(stage.crew)) == 1, "the first wrote no end"
    stage.ran(7, "end", "a", pid=1, at=10.5)
    assert not checks.overlaps(stage.crew)


def test_a_run_cut_off_ends_when_its_worker_was_seen_dead(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.ran(7, "start", "a")
    stage.killed("a", [7])
    stage.ran(7, "start", "b", pid=101, at=boottime() + 1)
    assert not checks.overlaps(stage.crew)


def test_handed_out_while_it_runs(play: Callable[..., Stage]) -> None:
    stage = play(LATE)
    stage.receive("a")
    stage.ran(7, "start", "a", at=boottime() + 0.01)
    stage.ran(7, "end", "a", at=boottime() + 5)
    assert not checks.handed_out_while_running(stage.crew)
    stage.release("a")
    while boottime() < checks.last_of(stage.crew.store.events, 7, "hidden").at + 0.02:  # type: ignore[union-attr]
        pass
    stage.receive("b")
    assert len(checks.handed_out_while_running(stage.crew)) == 1


def test_a_start_without_the_message(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.receive("a")
    stage.ran(7, "start", "a")
    assert not checks.stale_starts(stage.crew)
    stage.ran(7, "start", "b")
    assert "not this worker's" in checks.stale_starts(stage.crew)[0]
    stage.ran(7, "start", "a", at=boottime() + 11)
    assert "run out" in checks.stale_starts(stage.crew)[1]


def test_a_start_of_what_its_worker_has_deleted(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.receive("a")
    stage.ran(7, "start", "a")
    stage.ran(7, "end", "a")
    stage.delete("a")
    assert not checks.stale_starts(stage.crew)
    stage.ran(7, "start", "a", pid=2, at=boottime() + 0.1)
    assert "had deleted its message" in checks.stale_starts(stage.crew)[0]


def test_a_start_whose_message_an_early_ack_has_deleted(play: Callable[..., Stage]) -> None:
    stage = play(EARLY)
    stage.receive("a")
    stage.delete("a")
    stage.ran(7, "start", "a", at=boottime() + 0.1)
    assert not checks.stale_starts(stage.crew), "the ack is for this start"
    stage.ran(7, "start", "a", pid=2, at=boottime() + 0.2)
    assert len(checks.stale_starts(stage.crew)) == 1


def test_hidden_after_a_worker_has_left(play: Callable[..., Stage]) -> None:
    stage = play()
    stage.receive("a")
    ending = Ending("term", "a", 0.0, 1.0, {}, [], 0)
    assert len(checks.hidden_after(stage.crew, ending)) == 1
    stage.release("a")
    assert not checks.hidden_after(stage.crew, ending)
    stage.receive("b")
    assert not checks.hidden_after(stage.crew, ending), "somebody else has it now"


def test_a_dead_letter_that_never_started(play: Callable[..., Stage], store: WatchedStore) -> None:
    stage = play()
    store.create_queue("dead")
    store.send("dead", NATIVE.message("work", 8, 0.1))
    assert len(checks.dead_letters_never_started(stage.crew, "dead")) == 1
    assert not checks.lost(stage.crew, [8], ["dead"])
    stage.ran(8, "start", "a")
    assert not checks.dead_letters_never_started(stage.crew, "dead")


def test_hold_shows_what_is_wrong_and_how_much() -> None:
    checks.hold("lost", [])
    with pytest.raises(AssertionError, match=r"lost: 20\ntask 0\n(.*\n)+... and 5 more"):
        checks.hold("lost", [f"task {n}" for n in range(20)])


def looks(
    memory: Callable[[int], float] = lambda n: 50.0,
    files: Callable[[int], int] = lambda n: 20,
    threads: Callable[[int], int] = lambda n: 8,
    life: int = 1_000_000,
) -> list[Look]:
    """Six hundred looks; ``n`` counts from the beginning of the life that each is in, in which it is MiB that are resident."""
    return [Look(2.0 * n, n // life, int(memory(n % life) * 2**20), files(n % life), threads(n % life)) for n in range(600)]


def busy(n: int) -> int:
    """So many extra at any time, as the load wants it."""
    return n * 7919 % 11 // 3


def test_what_stays_as_it_is_has_not_grown() -> None:
    """It warms up, breathes, and has now a connection more and now one less."""
    flat = looks(lambda n: 50 + min(n, 100) * 0.1 + busy(n) * 0.1, lambda n: 20 + busy(n), lambda n: 8 + busy(n))
    assert not growth.grown(flat, 0.05)
    assert not growth.grown_in_lives(flat, 0.05)


def test_what_comes_in_a_busy_hour_and_leaves_has_not_grown() -> None:
    assert not growth.grown(looks(threads=lambda n: 8 + busy(n) + (3 if 400 < n < 500 else 0)), 0.05)


def test_memory_that_grows() -> None:
    assert growth.grown(looks(memory=lambda n: 50 + n * 0.01), 0.05) == ["memory grew from 5.45889e+07 by 6.5%"]


@pytest.mark.parametrize("leak", [1, 20, 60])
def test_descriptors_and_threads_that_leak_among_those_that_come_and_go(leak: int) -> None:
    leaking = looks(files=lambda n: 20 + busy(n) + n // leak, threads=lambda n: 8 + busy(n) + n // leak)
    assert [line.split()[0] for line in growth.grown(leaking, 0.05)] == ["descriptors", "threads"]


def test_what_grows_in_each_executor_is_not_hidden_by_replacing_them() -> None:
    replaced = looks(lambda n: 50 + n * 0.1, lambda n: 20 + n // 10, lambda n: 8 + n // 10, life=60)
    assert not growth.grown(replaced, 0.05), "over the whole time it stays what it was"
    assert [line.partition("; the first: ")[2].split()[0] for line in growth.grown_in_lives(replaced, 0.05)] == [
        "memory", "descriptors", "threads"
    ]  # fmt: skip
    assert growth.judged_lives(replaced) == 10
