"""What a worker with ten executors weighs, how soon it runs its first task, and how soon a replaced executor runs one.

Owns: the apps and what is measured of one worker. Runs in the benchmark's main thread. PSS counts a page that n processes share
as one nth for each, so that the sum over the tree is what the worker takes. Never measures before ten executors are there.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from kit import peers, procfs
from kit.bodies import NOOP, bodies
from kit.near import Near, fill
from kit.notes import Notes
from kit.options import Options
from kit.peers import Peer, running
from kit.results import record
from kit.rounds import turns
from kit.servers import Site, site
from kit.summary import show

EXECUTORS = 10
PADDED_TO = 150
_PATIENCE = 90.0
_BARE = Peer("bare tree", "", "celery", ("{apps}/bare_tree.py", "{c}"), 0)
#: More than enough modules of ``_module``'s size to fill ``PADDED_TO`` MB.
_MODULES, _FUNCTIONS = 400, 220
_queues = count(1)


@dataclass(frozen=True, slots=True)
class App:
    """What the workers hold.

    Parameters:
        module: for ``-A``.
        tasks: run before memory is measured.
    """

    name: str
    module: str
    tasks: int


TWO_TASKS = App("two-task app", "bench_app", 100)
DJANGO = App(f"Django app of {PADDED_TO} MB", "django_app", 1000)


def weigh(peer: Peer, app: App, at: Site, folder: Path) -> dict[str, Any]:
    """Seconds to the first task; MB of the tree before and after the app's number of tasks."""
    queue = f"memory-{next(_queues)}"
    near = Near(at.near)
    url = near.create(queue)
    near.send_batch(url, bodies("celery", "note", queue, 1)[:1])
    notes = Notes(folder / f"{queue}.notes")
    more = {"BENCH_NOTES": str(notes.path), "BENCH_PADDING": str(PADDED_TO), "BENCH_PADDING_FOLDER": str(folder)}
    log = folder / f"{queue}.log"
    began = time.monotonic()
    with running(peer, at, queue, url, log, concurrency=EXECUTORS, **more) as process:
        try:
            first = notes.wait(1, _PATIENCE)[0].at - began
            before = _settled(process.pid)
            fill(at.near, url, bodies("celery", NOOP, queue, 1), app.tasks)
            _drained(near, url)
            after = _settled(process.pid)
        except RuntimeError as exc:
            raise RuntimeError(f"{peer.name}: {exc}\n{log.read_text()[-2000:]}") from None
    near.delete(url)
    return {
        "pss_mb": after.pss,
        "pss_before_mb": before.pss,
        "parent_rss_mb": after.rss_of_root,
        "first_task_s": first,
        "processes": after.processes,
    }


def weigh_bare(at: Site, folder: Path) -> dict[str, Any]:
    """MB of a tree of such processes that does nothing: how close a worker could come."""
    queue = f"memory-{next(_queues)}"
    near = Near(at.near)
    url = near.create(queue)
    with running(_BARE, at, queue, url, folder / f"{queue}.log", concurrency=EXECUTORS) as process:
        found = _settled(process.pid)
    near.delete(url)
    return {"pss_mb": found.pss, "pss_before_mb": found.pss, "parent_rss_mb": found.rss_of_root, "processes": found.processes}


def recycle(peer: Peer, at: Site, tasks: int, folder: Path) -> dict[str, Any]:
    """Milliseconds from one task's start to the next one's, when the only executor is replaced after each."""
    queue = f"recycle-{next(_queues)}"
    near = Near(at.near)
    url = near.create(queue)
    fill(at.near, url, bodies("celery", "note", queue, 1), tasks)
    notes = Notes(folder / f"{queue}.notes")
    log = folder / f"{queue}.log"
    args = ("--max-tasks-per-child", "1")
    with running(peer, at, queue, url, log, concurrency=1, args=args, BENCH_NOTES=str(notes.path)):
        try:
            found = notes.wait(tasks, _PATIENCE)
        except RuntimeError as exc:
            raise RuntimeError(f"{peer.name}: {exc}\n{log.read_text()[-2000:]}") from None
    near.delete(url)
    gaps = [(after.at - before.at) * 1000 for before, after in pairwise(found) if after.pid != before.pid]
    return {"gap_ms": statistics.median(gaps), "worst_ms": max(gaps), "executors": len({note.pid for note in found})}


def _settled(pid: int) -> procfs.Memory:
    """The tree's memory when its processes and their size have been the same for a second."""
    deadline, last = time.monotonic() + _PATIENCE, procfs.memory(pid)
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = procfs.memory(pid)
        if now.processes > EXECUTORS and now.processes == last.processes and abs(now.pss - last.pss) < 1.0:
            return now
        last = now
    raise RuntimeError(f"not settled in {_PATIENCE:.0f} s: {last}")


def _drained(near: Near, url: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while near.left(url):
        if time.monotonic() >= deadline:
            raise RuntimeError(f"{near.left(url)} messages left after {_PATIENCE:.0f} s")
        time.sleep(0.1)


def _module(number: int) -> str:
    """A module's text: what an application's own look like, as far as memory goes."""
    lines = [f'"""Padding, module {number}."""', "import functools", "import os"]
    for index in range(_FUNCTIONS):
        name = f"handle_{number}_{index}"
        lines += [
            f"def {name}(request, *args, option_{index}=None, **kwargs):",
            f'    """Answer request {index} of module {number}; a sentence that says what it is for, and when."""',
            f"    found = [item for item in args if item != 'value {number} {index}']",
            f"    return {{'name': '{name}', 'found': found, 'option': option_{index}, 'path': os.sep}}",
        ]
        if index % 10 == 0:
            lines += [
                f"class Model{index}:",
                f"    field_{index} = 'column {number} {index}'",
                "    def save(self): return self",
            ]
    return "\n".join(lines) + "\n"


def for_app(peer: Peer, app: App) -> Peer:
    """The peer with this app, in the environment that has what the app needs."""
    home = "celery57django" if peer.home == "celery57" and app is DJANGO else peer.home
    return replace(peer, home=home, words=tuple(word.replace("bench_app", app.module) for word in peer.words))


def main(options: Options) -> None:
    """On the embedded server: nothing here depends on it."""
    field = options.choose((peers.PYQS, peers.CELERY))
    with site("embedded") as at, tempfile.TemporaryDirectory(prefix="pyqs-bench-") as name:
        for app in (TWO_TASKS, DJANGO):
            if options.wants(app.module):
                if app is DJANGO:
                    for number in range(_MODULES):
                        Path(name, f"padding_{number}.py").write_text(_module(number))
                _weigh_all([for_app(peer, app) for peer in field], app, at, Path(name), options)
        if options.wants("recycle"):
            _recycle_all(peers.at_hand(field), at, Path(name), options)


def _weigh_all(field: Sequence[Peer], app: App, at: Site, folder: Path, options: Options) -> None:
    print(f"\nmemory: {app.name}, {EXECUTORS} executors, after {app.tasks} tasks")
    lines, ready = [], peers.at_hand(field)
    if app is DJANGO:  # the padding is compiled once
        for peer in ready:
            weigh(peer, app, at, folder)
    for number, peer in turns(ready, options.rounds):
        figures = weigh(peer, app, at, folder)
        lines.append(record("memory", case=app.name, peer=peer.name, round=number, **figures))
        print(
            f"  {number} {peer.name:12} PSS {figures['pss_mb']:6.1f} MB ({figures['pss_before_mb']:.1f} before them) in"
            f" {figures['processes']} processes, first task after {figures['first_task_s']:.2f} s",
            flush=True,
        )
    if app is TWO_TASKS:
        figures = weigh_bare(at, folder)
        record("memory", case=app.name, peer=_BARE.name, round=0, **figures)
        print(f"    {_BARE.name:12} PSS {figures['pss_mb']:6.1f} MB in {figures['processes']} processes", flush=True)
    show(lines, "pss_mb", "MB", digits=1, also=("pss_before_mb", "first_task_s"))


def _recycle_all(field: Sequence[Peer], at: Site, folder: Path, options: Options) -> None:
    print("\nmemory: an executor is replaced after each task")
    lines = []
    for number, peer in turns(field, options.rounds):
        figures = recycle(peer, at, 5 if options.short else 30, folder)
        lines.append(record("memory", case="replaced executor", peer=peer.name, round=number, **figures))
    show(lines, "gap_ms", "ms from task to task", digits=1, also=("worst_ms",))
