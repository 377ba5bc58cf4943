"""What becomes of a message that nobody here can read or run, by the operator's choice.

Owns: ``--on-undecodable``, ``--on-unknown`` and ``--on-refused`` as a change of an executor's verdict, and the last life of a
task that was stopped. Pure; called by the pool thread. Goes by the status that the executor has reported: the worker decodes
nothing. Never touches what needs a feature that is not there yet, nor anything that has run to an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pyqs.config import Policy, WorkerConfig
from pyqs.message import DeadLetter, Delete, Hide, Resend
from pyqs.wire import Done


def policies(config: WorkerConfig) -> Mapping[str, Policy]:
    """The choice for each status that has one."""
    return {"undecodable": config.on_undecodable, "unknown": config.on_unknown, "refused": config.on_refused}


def applied(config: WorkerConfig, frame: Done, *, last_life: bool = False) -> Done:
    """The frame with the verdict that the operator wants for its status.

    "leave" keeps the executor's verdict, which hides the message for longer each time. "dlq" falls back on that where the
    queue has no dead-letter queue, or nothing may be sent there. A task that has ended because the worker stops begins a new
    life where released it would go to the dead-letter queue (``last_life``).
    """
    if frame.status == "stopped" and frame.verdict == Hide(0) and last_life:
        return replace(frame, verdict=Resend(0))
    if frame.follow_ups or not isinstance(frame.verdict, Hide):
        return frame
    policy = policies(config).get(frame.status, "leave")
    if policy == "delete":
        return replace(frame, verdict=Delete())
    if policy == "dlq":
        return replace(frame, verdict=DeadLetter(f"{frame.status}: {_plain(frame.reason)}", otherwise=frame.verdict.seconds))
    return frame


def _plain(text: str) -> str:
    """As SQS takes it in an attribute: a reason may quote a name from the message."""
    return text.encode("ascii", "backslashreplace").decode()
