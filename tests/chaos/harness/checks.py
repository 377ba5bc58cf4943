"""What must hold, read from the ledger, the store and the endings.

Owns: the definitions of lost, held, repeated, explained, overlapping, stale and hidden. Pure reading, in the test's thread,
after the row or between its steps. Never waits. Each check answers what it found wrong as readable lines; ``hold`` fails with
them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.crew import Crew, Ending
from harness.ledger import Run
from harness.watched import Event, WatchedStore

#: Seconds by which two clocks' readings of one moment may differ: the record is written a little after the task has begun.
SKEW = 0.002
#: Seconds that an executor takes at most from saying that it starts a task, which acks an early one, to the task's first line.
ABOUT_TO_START = 0.1
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
    """For early acks: a task may be lost only if it ran when its processes were killed, one for each slot of an executor.

    A task whose start the executor has reported, so that it was acked, may have been killed before its first line: it counts as
    running too if the ack was so late that the line may just have been missing, or if others ran in its process, which may have
    kept it from that line by holding the GIL. No more tasks than slots do.
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
        elif not mine and crew.face.slots == 1 and not _acked_just_before(crew.store, number, kills[last.by]):
            wrong.append(f"task {number} is lost, and had not started at the kill: {history(crew.store, number)}")
        else:
            ran_at[last.by].append(number)
    most = crew.concurrency * crew.face.slots
    for worker, numbers in ran_at.items():
        if len(numbers) > most:
            texts = [f"{number} ({'started' if number in runs else 'no start'})" for number in numbers]
            wrong.append(f"{worker}: {len(numbers)} tasks lost at one kill of {most} slots: {texts}")
    return wrong


def _acked_just_before(store: WatchedStore, number: int, kill: Ending) -> bool:
    """Whether a message was deleted when its executor may still have been on its way to the task's first line."""
    deleted = last_of(store.events, number, "deleted")
    return deleted is not None and deleted.by == kill.worker and deleted.at >= kill.at - ABOUT_TO_START


def acked_near(store: WatchedStore, number: int, deaths: Iterable[float]) -> bool:
    """Whether a message was deleted near one of these moments."""
    deleted = last_of(store.events, number, "deleted")
    return deleted is not None and any(abs(deleted.at - death) <= ABOUT_TO_START for death in deaths)


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


def held_at(store: WatchedStore, run: Run, moment: float) -> bool:
    """Whether a run's worker was handed the message before a moment, and nobody had deleted it by then."""
    mine = [event for event in list(store.events) if event.number == run.number and event.at <= moment]
    received = any(event.kind == "received" and event.by == run.worker for event in mine)
    return received and not any(event.kind == "deleted" for event in mine)


def repeats_of_the_healthy(crew: Crew, dying: Iterable[int]) -> tuple[list[str], list[str]]:
    """Tasks that ran again although they took nobody down: those that a dying executor still held, and the others.

    One that ended is still held by its executor until its message has been deleted. It runs again after the death, not before.
    """
    deaths = deaths_of(crew.ledger.runs())
    runs = by_number(crew.ledger.runs())

    def explained(first: Run, second: Run) -> bool:
        death = deaths.get(first.pid)
        return death is not None and death <= second.start + SKEW and held_at(crew.store, first, death)

    held, others = [], []
    for number in sorted(set(repeats(crew)) - set(dying)):
        text = f"{[str(run) for run in runs[number]]}; {history(crew.store, number)}"
        (held if all(explained(*two) for two in pairwise(runs[number])) else others).append(text)
    return held, others


@dataclass(frozen=True)
class Freeze:
    """A worker's parent that was stopped for a while, in boot-time seconds."""

    worker: str
    stopped_at: float
    continued_at: float


def repeats_beyond_freezes(crew: Crew, freezes: Sequence[Freeze]) -> list[str]:
    """Repeats that no freeze explains; each explains one of what its worker had started and not deleted.

    Started before it thawed, as its executors run on, and not deleted before it froze.
    """
    runs, wrong = by_number(crew.ledger.runs()), []
    for number, count in repeats(crew).items():
        deleted = [event.at for event in list(crew.store.events) if event.number == number and event.kind == "deleted"]
        reasons = sum(
            any(run.worker == one.worker and run.start <= one.continued_at + SKEW for run in runs[number])
            and not any(at < one.stopped_at for at in deleted)
            for one in freezes
        )
        if count > reasons:
            wrong.append(
                f"{count} repeats, {reasons} freezes: {[str(run) for run in runs[number]]}; {history(crew.store, number)}"
            )
    return wrong


# -- at the same time -------------------------------------------------------------------------------------------------


def end_of(run: Run, endings: Mapping[str, Ending]) -> float:
    """When a run was over: by its own word, or when its worker's processes were seen dead; without either never."""
    if run.end is not None:
        return run.end
    ending = endings.get(run.worker)
    return ending.gone_at if ending is not None and run.pid in ending.pids else float("inf")


def struck(crew: Crew, ending: Ending) -> list[Run]:
    """What ran in a worker when it was killed."""
    return [
        run
        for run in crew.ledger.runs()
        if run.worker == ending.worker and run.start <= ending.at and (run.end is None or run.end > ending.at)
    ]


def deaths_of(runs: Iterable[Run]) -> dict[int, float]:
    """When a task took its process down, by its pid."""
    return {run.pid: run.end for run in runs if run.how == "die" and run.end is not None}


def overlaps(crew: Crew) -> list[str]:
    """Two runs of one task at the same time."""
    endings = {ending.worker: ending for ending in crew.endings}
    every = crew.ledger.runs()
    deaths = deaths_of(every)  # of all that ran beside it, too
    return [
        f"{first} and {second} overlap; {history(crew.store, number)}"
        for number, runs in by_number(every).items()
        for first, second in pairwise(runs)
        if min(end_of(first, endings), deaths.get(first.pid, float("inf"))) > second.start + SKEW
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
    """Tasks that started in a worker which no longer held their message: it was with another, free, or deleted by itself.

    What another deletes with an older receipt it cannot know. An early ack deletes the message of the run that it is for.
    """
    wrong = []
    events: dict[int, list[Event]] = defaultdict(list)
    for event in list(crew.store.events):
        if event.number is not None:
            events[event.number].append(event)
    began_before: dict[int, list[Run]] = defaultdict(list)
    for run in crew.ledger.runs():
        earlier, began_before[run.number] = began_before[run.number], [*began_before[run.number], run]
        before = [event for event in events[run.number] if event.at <= run.start + SKEW]
        received = [event for event in before if event.kind == "received"]
        if not received or received[-1].by != run.worker:
            wrong.append(f"{run}: its message was not this worker's; {history(crew.store, run.number)}")
            continue
        acked = crew.face.early and not any(one.worker == run.worker and one.start > received[-1].at for one in earlier)
        own_deletes = [event.at for event in before if event.kind == "deleted" and event.by == run.worker]
        if not acked and any(at < run.start - SKEW for at in own_deletes):
            wrong.append(f"{run}: its worker had deleted its message; {history(crew.store, run.number)}")
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
