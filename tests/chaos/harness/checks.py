"""What must hold, read from the ledger, the store and the endings.

Owns: the definitions of lost, repeated, explained, overlapping, stale and hidden. Pure reading, in the test's thread, after the
row or between its steps. Never waits. Each check answers what it found wrong as readable lines; ``hold`` fails with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from harness.crew import Crew, Ending
from harness.ledger import Run
from harness.watched import Event, WatchedStore

#: Seconds by which two clocks' readings of one moment may differ: the record is written a little after the task has begun.
SKEW = 0.002
_SHOWN = 15


def hold(what: str, wrong: Sequence[str], context: str = "") -> None:
    """Fail when a check has found something."""
    if wrong:
        more = f"\n... and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise AssertionError(f"{what}: {len(wrong)}\n" + "\n".join(wrong[:_SHOWN]) + more + (f"\n{context}" if context else ""))


def history(store: WatchedStore, number: int) -> str:
    """All that happened to one task's message, for a failure's text."""
    return "; ".join(
        f"{one.kind} {one.at:.3f} by {one.by}" + (f" until {one.until:.3f}" if one.until > one.at else "")
        for one in list(store.events)
        if one.number == number
    )


# -- lost -------------------------------------------------------------------------------------------------------------


def lost_numbers(crew: Crew, sent: Iterable[int], dead_letters: Iterable[str] = ()) -> set[int]:
    """Tasks that neither ended, nor are in their queue, nor in its dead-letter queue."""
    there = {one.number for queue in (*crew.queues, *dead_letters) for one in crew.store.kept(queue)}
    return set(sent) - crew.ledger.ended() - there


def lost(crew: Crew, sent: Iterable[int], dead_letters: Iterable[str] = ()) -> list[str]:
    """For native tasks and late acks: nothing may be lost."""
    runs = by_number(crew.ledger.runs())
    return [
        f"task {number} is lost: {[str(run) for run in runs.get(number, ())]}; {history(crew.store, number)}"
        for number in sorted(lost_numbers(crew, sent, dead_letters))
    ]


def lost_beyond_early_ack(crew: Crew, sent: Iterable[int], dead_letters: Iterable[str] = ()) -> list[str]:
    """For early acks: a task may be lost only if it ran when its processes were killed, one for each executor.

    A task whose start the executor has reported, so that it was acked, may have been killed before its first line: it counts as
    running too, but no more tasks than executors do, so nothing that was merely buffered can hide here.
    """
    wrong, ran_at = [], defaultdict(list)
    kills = {ending.worker: ending for ending in crew.endings if ending.kind != "term"}
    runs = by_number(crew.ledger.runs())
    for number in sorted(lost_numbers(crew, sent, dead_letters)):
        last = last_of(crew.store.events, number, "received")
        mine = [run for run in runs.get(number, ()) if run.worker == (last.by if last else "")]
        if last is None or last.by not in kills:
            wrong.append(f"task {number} is lost, and its worker was not killed: {history(crew.store, number)}")
        elif mine and mine[-1].end is not None:
            wrong.append(f"task {number} is lost, and did not run at the kill: {mine[-1]}; {history(crew.store, number)}")
        else:
            ran_at[last.by].append(number)
    for worker, numbers in ran_at.items():
        if len(numbers) > crew.concurrency:
            texts = [f"{number} ({'started' if number in runs else 'no start'})" for number in numbers]
            wrong.append(f"{worker}: {len(numbers)} tasks lost at one kill of {crew.concurrency} executors: {texts}")
    return wrong


def lost_without_reason(crew: Crew, sent: Iterable[int], dead_letters: Iterable[str] = ()) -> list[str]:
    """What is lost against the promise of this crew's face."""
    return (lost_beyond_early_ack if crew.face.early else lost)(crew, sent, dead_letters)


# -- repeats ----------------------------------------------------------------------------------------------------------


def by_number(runs: Iterable[Run]) -> dict[int, list[Run]]:
    """The runs of each task, in order."""
    found: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.number].append(run)
    return found


def repeats(crew: Crew) -> dict[int, int]:
    """How often each task ran beyond the first time."""
    return {number: len(runs) - 1 for number, runs in by_number(crew.ledger.runs()).items() if len(runs) > 1}


def repeated(crew: Crew) -> list[str]:
    """Every repeat, where none is allowed."""
    runs = by_number(crew.ledger.runs())
    return [f"{[str(run) for run in runs[number]]}; {history(crew.store, number)}" for number in repeats(crew)]


def unexplained_repeats(crew: Crew, endings: Iterable[Ending] | None = None) -> list[str]:
    """Repeats of what was not in flight with a worker when that was killed; each kill explains one repeat of each it held."""
    reasons: Counter[int] = Counter()
    for ending in crew.endings if endings is None else endings:
        if ending.kind != "term":
            reasons.update(number for held in ending.held.values() for number in held)
    runs = by_number(crew.ledger.runs())
    return [
        f"task {number}: {count} repeats, held at {reasons[number]} kills: {[str(run) for run in runs[number]]}; "
        + history(crew.store, number)
        for number, count in repeats(crew).items()
        if count > reasons[number]
    ]


# -- at the same time -------------------------------------------------------------------------------------------------


def end_of(run: Run, endings: Mapping[str, Ending]) -> float:
    """When a run was over: by its own word, or when its worker's processes were seen dead; without either never."""
    if run.end is not None:
        return run.end
    ending = endings.get(run.worker)
    return ending.gone_at if ending is not None and run.pid in ending.pids else float("inf")


def overlaps(crew: Crew) -> list[str]:
    """Two runs of one task at the same time."""
    endings = {ending.worker: ending for ending in crew.endings}
    return [
        f"{first} and {second} overlap; {history(crew.store, number)}"
        for number, runs in by_number(crew.ledger.runs()).items()
        for first, second in pairwise(runs)
        if end_of(first, endings) > second.start + SKEW
    ]


def handed_out_while_running(crew: Crew) -> list[str]:
    """Tasks that still ran when their message was handed out again."""
    endings = {ending.worker: ending for ending in crew.endings}
    handed_out: dict[int, list[Event]] = defaultdict(list)
    for event in list(crew.store.events):
        if event.kind == "received" and event.number is not None:
            handed_out[event.number].append(event)
    return [
        f"{run} ran on when its message was handed to {event.by} at {event.at:.3f}; {history(crew.store, run.number)}"
        for run in crew.ledger.runs()
        for event in handed_out[run.number]
        if run.start + SKEW < event.at < end_of(run, endings) - SKEW
    ]


def stale_starts(crew: Crew) -> list[str]:
    """Tasks that started in a worker which no longer held their message: it was with another, free, or deleted."""
    wrong = []
    last: dict[int, list[Event]] = defaultdict(list)
    for event in list(crew.store.events):
        if event.number is not None:
            last[event.number].append(event)
    for run in crew.ledger.runs():
        before = [event for event in last[run.number] if event.at <= run.start + SKEW]
        received = [event for event in before if event.kind == "received"]
        if not received or received[-1].by != run.worker:
            wrong.append(f"{run}: its message was not this worker's; {history(crew.store, run.number)}")
            continue
        hold_events = [event for event in before if event.kind in ("received", "hidden")]
        if hold_events[-1].until < run.start - SKEW:
            wrong.append(f"{run}: its lease had run out; {history(crew.store, run.number)}")
    return wrong


# -- queues -----------------------------------------------------------------------------------------------------------


def hidden_after(crew: Crew, ending: Ending) -> list[str]:
    """Messages that are still hidden because of a worker that has left. Ask some time after its end."""
    return [
        f"task {number} is hidden by {ending.worker}, which left {ending.seconds:.1f} s after its signal; "
        + history(crew.store, number)
        for queue in crew.queues
        for number in crew.store.held_by(ending.worker, queue)
    ]


def dead_letters_never_started(crew: Crew, dead_letter_queue: str) -> list[str]:
    """What went to the dead-letter queue without ever having been run."""
    started = crew.ledger.started()
    return [
        f"task {one.number} is in {dead_letter_queue} after {one.receives} receives and never started; "
        + history(crew.store, one.number or -1)
        for one in crew.store.kept(dead_letter_queue)
        if one.number not in started
    ]


def last_of(events: Sequence[Event], number: int, kind: str) -> Event | None:
    """The last event of a kind that befell a task's message."""
    return next((one for one in reversed(events) if one.number == number and one.kind == kind), None)


def summary(crew: Crew, sent: Sequence[int], dead_letters: Iterable[str] = ()) -> dict[str, int | float]:
    """The figures that every row reports."""
    started, gone = crew.ledger.started(), lost_numbers(crew, sent, dead_letters)
    kills = [ending for ending in crew.endings if ending.kind != "term"]
    terms = [ending for ending in crew.endings if ending.kind == "term"]
    found: dict[str, int | float] = {
        "tasks": len(sent),
        "ended": len(crew.ledger.ended() & set(sent)),
        "lost": len(gone),
        "lost_never_started": len(gone - started),
        "repeats": sum(repeats(crew).values()),
        "overlaps": len(overlaps(crew)),
        "lost_leases": len(crew.log_lines("its lease is lost")),
        "most_receives": max((event.receives for event in crew.store.events if event.kind == "received"), default=0),
    }
    if kills:
        held = sum(len(numbers) for ending in kills for numbers in ending.held.values())
        found |= {"kills": len(kills), "held_at_kills": held, "repeats_unexplained": len(unexplained_repeats(crew))}
    if terms:
        found |= {"sigterms": len(terms), "longest_exit": max(ending.seconds for ending in terms)}
    return found
