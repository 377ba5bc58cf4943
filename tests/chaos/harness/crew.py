"""Workers, one after another or side by side, and the ways in which they end.

Owns: the processes of one row, each with a door of its own to the watched SQS, and what was held when one was ended. Runs in
the test's thread. Never leaves a process behind: ``close`` ends all that it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from harness.faces import QUEUE, Face
from harness.ledger import Ledger
from harness.watched import Door, WatchedStore
from processes import RunningWorker, environment, wait_until
from pyqs.clock import boottime
from pyqs.local.server import LocalServer
from pyqs.local.store import Store

TASKS = Path(__file__).parents[1] / "tasks"


@dataclass
class Member(RunningWorker):
    """One worker of the crew."""

    name: str
    server: LocalServer
    started_at: float
    face: Face

    @property
    def door(self) -> Door:
        return cast(Door, self.server.store)

    def session(self) -> list[int]:
        """Pids of everything it has started that still runs, itself included: all of one session."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.pid and fields[0] not in "ZX":
                        found.append(int(entry))
        return found

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def lost_leases(self) -> list[str]:
        """Log lines of leases that it thinks it has lost."""
        return self.lines(r"its lease is lost")


@dataclass(frozen=True)
class Ending:
    """How a worker was ended.

    Parameters:
        kind: ``tree``, ``parent`` or ``term``.
        at, gone_at: boot-time seconds of the signal, and at which nothing of it ran any more.
        held: queue -> numbers of tasks that were in flight with it when it was gone.
        executors: pids that were there.
        code: exit code of the parent.
    """

    kind: str
    worker: str
    at: float
    gone_at: float
    held: dict[str, list[int]]
    pids: list[int]
    code: int

    @property
    def seconds(self) -> float:
        return self.gone_at - self.at


@dataclass
class Crew:
    """All workers of one row.

    Parameters:
        folder: for logs and the ledger.
        face: of their tasks.
        queues: that they consume.
        lease: seconds.
        python: real Celery's, for its faces.
    """

    folder: Path
    store: WatchedStore
    face: Face
    queues: tuple[str, ...] = (QUEUE,)
    concurrency: int = 2
    lease: int = 10
    python: str | None = None
    members: list[Member] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.folder / "ledger.jsonl")

    # -- beginning ------------------------------------------------------------------------------------------------

    def start(
        self,
        *args: str,
        env: dict[str, str] | None = None,
        concurrency: int | None = None,
        through: Callable[[str], str] | None = None,
        wrap: Sequence[str] = (),
        face: Face | None = None,
    ) -> Member:
        """One more worker, of this crew's face unless another is named; does not wait until it is ready (``wait_ready`` does).

        ``through`` answers the endpoint that it is to use instead of its server's; ``wrap`` is a command that becomes the
        worker's own.
        """
        name = f"worker-{len(self.members)}"
        server = LocalServer(cast(Store, Door(self.store, name))).start()
        endpoint = server.endpoint_url if through is None else through(server.endpoint_url)
        log_file = self.folder / f"{name}.log"
        face = face or self.face
        command = face.command(
            self.python, *args, concurrency=concurrency or self.concurrency, lease=self.lease, queues=self.queues
        )
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*wrap, *command], cwd=self.folder, env=self._environment(name, endpoint, face) | (env or {}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        member = Member(process, log_file, self.ledger.path, name, server, boottime(), face)
        self.members.append(member)
        return member

    def _environment(self, name: str, endpoint: str, face: Face) -> dict[str, str]:
        env = environment(endpoint) | {
            "CHAOS_FACE": face.name,
            "CHAOS_LEDGER": str(self.ledger.path),
            "CHAOS_WORKER": name,
            "CHAOS_LEASE": str(self.lease),
            "CHAOS_BROKER": endpoint.removeprefix("http://"),
            "PYQS_CLIENT": os.environ.get("PYQS_CHAOS_CLIENT", "auto"),
        }
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TASKS), env["PYTHONPATH"]]))
        if face.celery:  # it must not find our package
            env |= {"PYTHONPATH": str(TASKS), "C_FORCE_ROOT": "1", "AWS_ENDPOINT_URL_SQS": endpoint}
            env |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        return env

    def wait_ready(self, member: Member, timeout: float = 60.0) -> Member:
        """Wait for its start line; real Celery has none at this log level, so for its first receive."""
        if member.face.celery:
            wait_until(lambda: member.server.seen["ReceiveMessage"] or not member.running, timeout)
        else:
            member.wait_log("ready: ", timeout)
        return member

    def write(
        self, script: str, text: str, *, face: Face | None = None, python: str | None = None, env: dict[str, str] | None = None
    ) -> str:
        """Run a program from the tasks' folder as a client, of this crew's face unless another is named; what it prints."""
        face = face or self.face
        python = (python or self.python) if face.celery else sys.executable
        with LocalServer(cast(Store, Door(self.store, "writer"))) as server:
            made = self._environment("writer", server.endpoint_url, face) | (env or {})
            return subprocess.run(
                [str(python), str(TASKS / script)], input=text, text=True, env=made, check=True, timeout=600, cwd=self.folder,
                stdout=subprocess.PIPE,
            ).stdout  # fmt: skip

    # -- ending ---------------------------------------------------------------------------------------------------

    def kill_tree(self, member: Member) -> Ending:
        """SIGKILL to all of its processes at once, as a container's end or the OOM killer with a cgroup does it."""
        at, pids = boottime(), member.session()
        doomed = pids
        while doomed:
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
            doomed = member.session()
        return self._ended("tree", member, at, pids)

    def kill_parent(self, member: Member, timeout: float = 5.0) -> Ending:
        """SIGKILL to the parent alone; waits until all the others have ended by themselves."""
        at, pids = boottime(), member.session()
        os.kill(member.pid, signal.SIGKILL)
        try:
            wait_until(lambda: not member.session(), timeout)
        except TimeoutError:
            left = member.session()
            self.kill_tree(member)
            raise AssertionError(f"{member.name}: {len(left)} processes outlive their worker by {timeout} s: {left}") from None
        return self._ended("parent", member, at, pids)

    def terminate(self, member: Member, timeout: float) -> Ending:
        """SIGTERM, and wait until it has left."""
        at, pids = boottime(), member.session()
        member.send_signal(signal.SIGTERM)
        try:
            member.process.wait(timeout)
        except subprocess.TimeoutExpired:
            last = member.log()[-5000:]
            self.kill_tree(member)
            raise AssertionError(f"{member.name} has not left {timeout} s after SIGTERM:\n{last}") from None
        return self._ended("term", member, at, pids)

    def _ended(self, kind: str, member: Member, at: float, pids: Sequence[int]) -> Ending:
        code, gone_at = member.process.wait(), boottime()
        member.server.stop()  # what the server was about to answer has been handed out or not by now
        held = {queue: self.store.held_by(member.name, queue) for queue in self.queues}
        ending = Ending(kind, member.name, at, gone_at, held, list(pids), code)
        self.endings.append(ending)
        return ending

    def close(self) -> None:
        """End whatever still runs."""
        for member in self.members:
            for pid in member.session():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            if member.running or member.session():
                self.kill_tree(member)
            member.process.wait()
            member.server.stop()

    # -- waiting --------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Any], queue: str = QUEUE) -> None:
        """Put messages (of ``face.message``) into the queue."""
        for start in range(0, len(messages), 10):
            self.store.send_batch(queue, messages[start : start + 10])

    def left(self, queue: str | None = None) -> int:
        """How many messages the queues hold, hidden and delayed ones counted."""
        return sum(len(self.store.kept(one)) for one in ([queue] if queue else self.queues))

    def drain(self, timeout: float) -> None:
        """Wait until the queues hold nothing; fails with the end of the last log."""
        try:
            wait_until(lambda: not self.left(), timeout)
        except TimeoutError:
            kept = [one for queue in self.queues for one in self.store.kept(queue)]
            some = [(one.number, one.in_flight, one.receives, one.by) for one in kept[:20]]
            running = [member.name for member in self.members if member.running]
            raise AssertionError(
                f"{len(kept)} messages left after {timeout} s; running: {running}\n"
                f"(number, in flight, receives, by): {some}\n{self.members[-1].log()[-3000:]}"
            ) from None

    def log_lines(self, pattern: str) -> list[str]:
        """Lines of all workers' logs that match."""
        return [f"{m.name}: {line}" for m in self.members for line in m.log().splitlines() if re.search(pattern, line)]
