"""Random and mutated bodies: nothing runs but tasks, nothing crashes, nothing is deleted that was not done.

First through the runtimes alone, in processes with an audit hook; then through a real worker. ``PYQS_CHAOS_SEED`` repeats a
run, ``python -m hostile.fuzz --seed S --only NUMBER`` one body (see ``hostile/fuzz.py``).
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.report import SEED, Report, pick
from harness.watched import WatchedStore
from hostile import bodies, fuzz, names
from processes import Project, environment, wait_until
from pyqs.local.server import LocalServer
from pyqs.local.service_error import ServiceError
from pyqs.message import Delete, OutgoingMessage
from pyqs.runtime import Outcome

HERE = Path(__file__).parent
SUPPORT = os.pathsep.join(map(str, (HERE, HERE.parent / "support")))
QUEUE = "hostile"
#: How a message ends that must stay on its queue.
LEFT = ("undecodable", "unknown", "refused", "unsupported")


class Fuzzer:
    """One process that reads its share of the bodies."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir()
        env = environment("http://127.0.0.1:9")
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, env["PYTHONPATH"]]))
        self.folder = folder
        self.output, self.errors = folder.with_suffix(".json"), folder.with_suffix(".err")
        command = [sys.executable, "-m", "hostile.fuzz", "--folder", str(folder), "--seed", str(SEED), *options]
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, env=env, stdout=output, stderr=errors)

    def result(self, timeout: float) -> Any:
        """What it found. A process that died says at which body."""
        try:
            code = self.process.wait(timeout)
        finally:
            self.process.kill()
            self.process.wait()
        if code:
            progress = self.folder / "progress"
            at = progress.read_text() if progress.exists() else "the start"
            pytest.fail(f"seed {SEED}: it ended with {code} at body {at}:\n{self.errors.read_text()[-3000:]}")
        return json.loads(self.output.read_text())


def test_hostile_bodies(tmp_path: Path, report: Report) -> None:
    count, processes = pick(long=200_000, short=5_000), 2
    shares = [
        Fuzzer(tmp_path / f"share-{share}", "--start", str(share), "--stop", str(count), "--step", str(processes))
        for share in range(processes)
    ]
    found = [one.result(1500) for one in shares]
    statuses: collections.Counter[str] = collections.Counter()
    for one in found:
        statuses.update(one["statuses"])
    findings = [finding for one in found for finding in one["findings"]]
    report.add(
        bodies=sum(one["bodies"] for one in found),
        peak_mib=max(one["peak_mib"] for one in found),
        slowest=max(one["slowest"][0] for one in found),
        findings=len(findings),
        statuses=dict(sorted(statuses.items())),
    )
    assert not findings, f"seed {SEED}: {json.dumps(findings[:20], indent=1)}"
    assert sum(one["bodies"] for one in found) == count
    assert not [name for one in found for name in one["files"]], "a body left a file behind"
    for status in ("ran, succeeded", "undecodable", "unknown", "refused", "unsupported", "expired", "postponed"):
        assert statuses[f"celery {status}"] > count / 1000, f"too few bodies come so far: {status}"


def test_the_watch_would_have_seen_it(tmp_path: Path) -> None:
    found = Fuzzer(tmp_path / "proof", "--prove").result(60)
    assert any("audit: os.system" in finding["wrong"] for finding in found["findings"])
    assert found["files"] == ["pwned"]


@pytest.mark.parametrize("status", ["expired", "failed", "refused"])
def test_a_deletion_of_what_is_no_task_would_have_been_seen(status: str) -> None:
    task = names.NATIVE[0] if status == "refused" else "os.system"
    assert fuzz.misfits(Outcome(Delete(), status, task=task), []) == [
        "deleted: refused, " if status == "refused" else f"deleted as {status}: 'os.system'"
    ]
    assert not fuzz.misfits(Outcome(Delete(), "failed", task=names.NATIVE[0]), [])


def test_hostile_bodies_through_a_worker(tmp_path: Path, store: WatchedStore, report: Report) -> None:
    count = pick(long=2_000, short=200)
    told = Fuzzer(tmp_path / "told", "--stop", str(count), "--tell").result(300)
    store.create_queue(QUEUE, {})
    ids = _sent(store, count)
    must_stay = {message_id for number, message_id in ids.items() if told["told"][number] in LEFT}
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tasks.py").write_text("import hostile.tasks\n")
    with LocalServer(store) as server:
        env = environment(server.endpoint_url)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, env["PYTHONPATH"]]))
        project = Project(folder, env)
        try:
            worker = project.start("-Q", QUEUE, "-c", "2", ready="ready: ")
            wait_until(lambda: len(worker.executors) == 2)
            executors = worker.executors
            wait_until(lambda: _received(store) >= set(ids.values()) and _all_told(worker.log(), must_stay), 30 + count / 10)
            assert worker.executors == executors, f"an executor died:\n{worker.log()[-3000:]}"
            worker.terminate(timeout=60)
        finally:
            project.end()
        log = worker.log()
    receives = [event for event in store.events if event.kind == "received"]
    deleted = {event.message_id for event in store.events if event.kind == "deleted"}
    lines = collections.Counter(word for line in log.splitlines() for word in set(line.split()) if word in must_stay)
    report.add(bodies=len(ids), stay=len(must_stay), deleted=len(deleted), receives=len(receives))
    assert not deleted & must_stay, "a message was deleted that could not be run"
    assert {one.message_id for one in store.kept(QUEUE)} >= must_stay
    assert set(lines.values()) == {1}, f"said more than once: {lines.most_common(3)}"
    assert not worker.lines("cannot be prepared|ended outside|CRITICAL"), log[-3000:]  # a task may fail of its arguments
    assert bodies.SECRET not in log
    assert max(collections.Counter(event.message_id for event in receives).values()) <= pick(long=6, short=3), "a hot loop"
    assert not (folder / "pwned").exists()


def _sent(store: WatchedStore, count: int) -> dict[int, str]:
    """The bodies that SQS takes: number -> message id."""
    ids = {}
    for number in range(count):
        text = bodies.body(SEED, number)[1]
        try:
            ids[number] = store.send(QUEUE, OutgoingMessage(text)).message_id
        except (ServiceError, UnicodeEncodeError):
            continue
    assert len(ids) > count * 0.8
    return ids


def _received(store: WatchedStore) -> set[str]:
    return {event.message_id for event in list(store.events) if event.kind == "received"}


def _all_told(log: str, ids: set[str]) -> bool:
    return ids <= set(log.split())
