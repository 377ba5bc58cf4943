"""The faces of one task: native, compat with late acks, Celery's defaults, and real Celery for comparison.

Owns: how a call is written for each, and how its worker is called. Pure. Never starts anything.
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass
from typing import Any

from harness.report import pick
from pyqs.message import OutgoingMessage
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

QUEUE = "chaos"
TASKS = "chaos_tasks"


@dataclass(frozen=True)
class Face:
    """How tasks are written and workers called.

    Parameters:
        name: what ``CHAOS_FACE`` says in the worker.
        early: the message is deleted when its task starts, so that a task that runs at a SIGKILL may be lost.
        celery: real Celery, on the Python that ``PYQS_INTEROP_CELERY57`` names.
        slots: tasks that an executor runs at a time; with more than one they are coroutines.
    """

    name: str
    early: bool = False
    celery: bool = False
    slots: int = 1

    def __str__(self) -> str:
        return self.name

    @property
    def native(self) -> bool:
        """Whether messages are pyqs's own."""
        return self.name.startswith("native")

    def message(self, task: str, *args: Any, queue: str = QUEUE, group: str | None = None, **options: Any) -> OutgoingMessage:
        """A call of ``chaos.<task>``; ``options`` are Celery's (``eta=...``)."""
        if self.native:
            body = json.dumps({"task": f"chaos.{task}", "args": args, "kwargs": {}})
        else:
            body = seal_task(as_task_v2(str(uuid.uuid4()), f"chaos.{task}", args, {}, **options), routing_key=queue)
        return OutgoingMessage(body, group_id=group, dedup_id=None if group is None else uuid.uuid4().hex)

    def command(self, python: str | None, *args: str, concurrency: int, lease: int, queues: tuple[str, ...]) -> list[str]:
        """The worker's command line."""
        if self.celery:
            assert python is not None
            return [
                python, "-m", "celery", "-A", TASKS, "worker", "-Q", ",".join(queues), "-c", str(concurrency), "-l", "WARNING",
                "--without-gossip", "--without-mingle", "--without-heartbeat", *args,
            ]  # fmt: skip
        named = [part for queue in queues for part in ("-Q", queue)]
        tasks = ["--include", TASKS] if self.native else ["-A", TASKS]
        return [
            sys.executable, "-m", "pyqs", "worker", *tasks, *named, "-c", str(concurrency), "--lease", str(lease),
            "--async-slots", str(self.slots), *args,
        ]  # fmt: skip


NATIVE = Face("native")
LATE = Face("compat-late")
EARLY = Face("compat-early", early=True)
ASYNC = Face("native-async", slots=4)
ASYNC_LATE = Face("compat-async-late", slots=4)
ASYNC_EARLY = Face("compat-async-early", early=True, slots=4)
CELERY_EARLY = Face("celery-early", early=True, celery=True)
CELERY_LATE = Face("celery-late", celery=True)

#: Every row that says "0 lost" runs with each of these.
FACES = (NATIVE, LATE, EARLY)
#: Some also with these: in the short form with one that acks late.
ASYNC_FACES = pick(long=(ASYNC, ASYNC_LATE, ASYNC_EARLY), short=(ASYNC_LATE,))


def number_of(body: str) -> int | None:
    """The number of the task in a body that ``Face.message``, or a worker that sent it again, wrote; None for others."""
    from base64 import b64decode

    text = body if body.lstrip().startswith("{") else b64decode(body).decode()
    read = json.loads(text)
    if "properties" not in read:
        args = read["args"]
    else:
        inner = read["body"]
        if read["properties"].get("body_encoding") == "base64":
            inner = b64decode(inner).decode()
        args, kwargs, _ = json.loads(inner)
        args = [kwargs["number"]] if "number" in kwargs else args  # a chord's body has what its header gave before its own
    return args[0] if args and isinstance(args[0], int) else None
