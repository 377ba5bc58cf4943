"""The message bodies that each peer reads: its own format, or Celery's.

Owns: the formats. Pure. Never sends; a body is written once and sent many times, which no peer can tell.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any, Literal

from pyqs_celery_compat.outgoing import as_task_v2, seal_task

Format = Literal["celery", "native", "dramatiq", "json"]
#: Of the task in every app of ``apps/``.
NOOP, SLEEP = "noop", "sleep"
_DIFFERENT = 2000


def bodies(form: Format, task: str, queue: str, argument: float) -> list[str]:
    """Some bodies that all call one task.

    Parameters:
        form: ``celery`` protocol 2, ``native`` of pyqs and PyQS, ``dramatiq``, or plain ``json``.
        argument: the task's only one.
    """
    return [_FORMS[form](task, queue, argument) for _ in range(_DIFFERENT)]


def _celery(task: str, queue: str, argument: Any) -> str:
    return seal_task(as_task_v2(str(uuid.uuid4()), f"bench.{task}", (argument,), {}), routing_key=queue)


def _native(task: str, queue: str, argument: Any) -> str:
    return json.dumps({"task": f"bench_tasks.{task}", "args": [argument], "kwargs": {}})


def _dramatiq(task: str, queue: str, argument: Any) -> str:
    message = {"queue_name": queue, "actor_name": task, "args": [argument], "kwargs": {}, "options": {}}
    message |= {"message_id": str(uuid.uuid4()), "message_timestamp": int(time.time() * 1000)}
    return base64.b64encode(json.dumps(message, separators=(",", ":")).encode()).decode()


def _json(task: str, queue: str, argument: Any) -> str:
    return json.dumps({"task": task, "args": [argument], "id": str(uuid.uuid4())})


_FORMS = {"celery": _celery, "native": _native, "dramatiq": _dramatiq, "json": _json}
