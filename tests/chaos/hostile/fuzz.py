"""Reads hostile bodies with the real runtimes under the audit hook, and says what went wrong: ``python -m hostile.fuzz``.

Runs in a process of its own, in an empty folder with decoys in it. Prints one line of JSON. ``--only NUMBER`` reads one body
and says what came out. Whatever is not as it must be is a finding: an exception, an audit event, a message deleted that was
not too late, a task run that is not registered, an outcome that does not fit through the pipe, a body that takes longer than
two seconds, or much memory.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import logging
import os
import resource
import sys
import sysconfig
import time
import traceback
from pathlib import Path
from typing import Any

from hostile import bodies, names, specimens
from hostile.bodies import SECRET
from hostile.watch import Watch
from pyqs import wire
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor import work as executor
from pyqs.executor.process import done
from pyqs.message import Delete, Delivery, Hide, ReceivedMessage, Resend
from pyqs.native import NativeRuntime
from pyqs.runtime import Outcome
from pyqs_celery_compat.runtime import CeleryRuntime
from pyqs_celery_compat.serialization import Accept

#: Address space of this process, the extra memory that one body may take, and the CPU time it may take.
MEMORY, GROWTH, SECONDS = 1536 << 20, 400 << 20, 2.0
#: A process that hangs is ended with a traceback.
_HANGS = 60
DECOYS = {
    "decoy/__init__.py": "def plain(*args): open('pwned', 'w')\nopen('imported', 'w')\n",
    "decoy/inner.py": "from os import system\ndef plain(*args): open('pwned', 'w')\nopen('imported', 'w')\n",
    "decoy/__main__.py": "def main(): open('pwned', 'w')\nopen('imported', 'w')\nmain()\n",
    "script.py": "def main(): open('pwned', 'w')\nopen('imported', 'w')\nmain()\n",
    "setup.py": "open('imported', 'w')\n",
    "namespace_only/mod.py": "def plain(): pass\nopen('imported', 'w')\n",
    "site-packages/x.py": "open('imported', 'w')\n",
}


class Fuzz:
    """The runtimes, and what was found."""

    def __init__(self, folder: Path) -> None:
        for name, source in DECOYS.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(source)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        self.before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
        self.folder = folder
        config = RuntimeConfig(include=("hostile.tasks",), working_directory=str(folder))
        self.runtimes = {"celery": CeleryRuntime(config), "native": NativeRuntime(config)}
        for runtime in self.runtimes.values():
            runtime.boot()
            runtime.after_fork()
        from hostile import tasks

        self.ran = tasks.RAN
        self.watch = Watch(
            str(folder), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parents[3])
        )
        self.statuses: collections.Counter[str] = collections.Counter()
        self.findings: list[dict[str, Any]] = []
        self.slowest: list[tuple[float, int, str]] = []
        self.last: dict[str, str] = {}

    def warm_up(self) -> None:
        """Read every recorded message, so that whatever is loaded late is loaded: the list of imports is complete after it."""
        self.watch.learning = True
        readable = [one.body for one in specimens.read(every=True)]
        readable += bodies.warm()
        for number, body in enumerate(readable):
            self.read(-1 - number, "specimen", body)
        self.watch.learning = False

    def read(self, number: int, kind: str, body: str) -> list[str]:
        """One body through every runtime; the outcomes."""
        told = []
        for name, runtime in self.runtimes.items():
            self.ran.clear()
            began, wrong = time.process_time(), []
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.watch.begin()
            try:
                end, status = self._decide(runtime, _delivery(number, body), wrong)
            except BaseException as exc:
                end, status = None, "raised"
                frame = traceback.extract_tb(exc.__traceback__)[-1]
                wrong.append(f"{type(exc).__name__} at {frame.filename.rpartition('/')[2]}:{frame.lineno}: {exc!s:.200}")
            hits = self.watch.end()
            seconds = time.process_time() - began
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) << 10
            wrong += [f"audit: {hit}" for hit in hits]
            if end is not None:
                wrong += misfits(end, self.ran)
                told.append(f"{name}: {status} {end.verdict} {end.reason}")
            if seconds > SECONDS:
                wrong.append(f"took {seconds:.1f} s of CPU")
            if grown > GROWTH:
                wrong.append(f"took {grown >> 20} MiB more than anything before")
            self.slowest = sorted([*self.slowest, (round(seconds, 2), number, kind)], reverse=True)[:5]
            self.statuses[f"{name} {status}"] += 1
            self.last[name] = status
            for one in wrong:
                told.append(f"{name}: {one}")
                if len(self.findings) < 100:
                    self.findings.append({"number": number, "kind": kind, "runtime": name, "wrong": one})
        return told

    def _decide(self, runtime: Any, delivery: Delivery, wrong: list[str]) -> tuple[Outcome, str]:
        """What an executor does with a delivery, up to the frames that it sends."""
        prepared = runtime.prepare(delivery)
        if not isinstance(prepared, Outcome):
            if prepared.task not in names.KNOWN:
                wrong.append(f"{prepared.task!r:.200} would run")
            wire.encode(executor._started(delivery.id, prepared, 0.0))
            end: Outcome = prepared.run()
            status = f"ran, {end.status}"
        else:
            end = prepared
            status = end.status
            if self.ran:
                wrong.append(f"{self.ran[0][0]} ran in prepare()")
        wire.encode(done(delivery.id, end, 0.1))
        return end, status

    def files(self) -> list[str]:
        """What is in the folder and was not."""
        found = sorted(path.relative_to(self.folder) for path in self.folder.rglob("*"))
        return [str(path) for path in found if path not in self.before]


def _delivery(number: int, body: str) -> Delivery:
    message = ReceivedMessage(f"m{number}", f"h{number}", body, {"ApproximateReceiveCount": str(1 + number % 7)})
    return Delivery(max(0, number), "q", "http://sqs/q", message, boottime(), time.time(), 120)


def misfits(end: Outcome, ran: list[Any]) -> list[str]:
    """What is wrong with an outcome."""
    found = []
    verdict = end.verdict
    # celery.map over an empty list runs no task, nor does one whose arguments it cannot use: its errbacks hear of that.
    by_itself = end.task in names.BUILT_IN and end.status in ("succeeded", "failed")
    if isinstance(verdict, Delete) and not ran and not by_itself and end.status not in ("expired", "failed"):
        found.append(f"deleted: {end.status}, {end.reason}")
    if isinstance(verdict, Delete) and end.status in ("expired", "failed") and end.task not in names.KNOWN:
        found.append(f"deleted as {end.status}: {end.task!r:.100}")
    if isinstance(verdict, Resend) and not (
        end.status == "postponed" and end.task in names.KNOWN and 0 <= verdict.delay <= 900
    ):
        found.append(f"sent again: {end.status} of {end.task!r:.100} in {verdict.delay} s")
    if isinstance(verdict, Hide) and not 0 <= verdict.seconds <= 43200:
        found.append(f"hidden for {verdict.seconds} s")
    if end.follow_ups and not ran and not by_itself:
        found.append(f"{len(end.follow_ups)} messages would be sent")
    if len(end.reason) > 1000:
        found.append(f"a reason of {len(end.reason)} characters")
    if "MemoryError" in end.reason:
        found.append(f"out of memory: {end.reason}")
    if SECRET in end.reason + end.call_id:
        found.append("its argument is told")
    if any(name not in names.KNOWN for name, _, _ in ran):
        found.append(f"ran {ran[0][0]!r}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--stop", type=int, default=1000)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--prove", action="store_true", help="read one gadget with trust, which must be found")
    parser.add_argument("--tell", action="store_true", help="add every body's status with the Celery runtime")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    fuzz = Fuzz(options.folder)
    fuzz.warm_up()
    if options.prove:
        fuzz.runtimes["celery"].accept = Accept.from_names(["pickle"])
        fuzz.read(0, "proof", bodies.gadget())
        print(json.dumps({"findings": fuzz.findings, "files": fuzz.files()}))
        return
    if options.only is not None:
        kind, body = bodies.body(options.seed, options.only)
        print(kind, ascii(body[:2000]), *fuzz.read(options.only, kind, body), sep="\n")
        return
    progress = os.open("progress", os.O_WRONLY | os.O_CREAT)
    kinds: collections.Counter[str] = collections.Counter()
    told: list[str] = []
    began = time.monotonic()
    for count, number in enumerate(range(options.start, options.stop, options.step)):
        if count % 64 == 0:
            faulthandler.dump_traceback_later(_HANGS, exit=True)
        kind, body = bodies.body(options.seed, number)
        os.pwrite(progress, b"%12d" % number, 0)  # read by whoever finds this process dead
        kinds[kind] += 1
        fuzz.read(number, kind, body)
        if options.tell:
            told.append(fuzz.last["celery"])
    print(json.dumps({
        "bodies": sum(kinds.values()), "seconds": round(time.monotonic() - began, 1),
        "kinds": kinds, "statuses": fuzz.statuses, "findings": fuzz.findings, "slowest": fuzz.slowest,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "told": told, "files": [name for name in fuzz.files() if name != "progress"],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
