"""What ``/stats`` shows: the worker at this moment, as JSON, for ``pyqs stats``.

Owns: the shape of that document. Runs in the health thread; everything in it belongs to others and may change while it is
read, so that each value is taken once. Shows names of tasks and queues and ids of messages and calls; never arguments,
bodies, keys, receipt handles or URLs.
"""

from __future__ import annotations

import json
import os
import platform
import time
from typing import Any

import pyqs
from pyqs.clock import boottime
from pyqs.message import Delivery
from pyqs.worker.memory import Memory, Reader
from pyqs.worker.pace import Pace
from pyqs.worker.running import Running
from pyqs.worker.slot import Slot
from pyqs.worker.watched import Watched

CONTENT_TYPE = "application/json"


def starting() -> bytes:
    """Before there is a worker."""
    return _encoded({**_process(), "state": "starting"})


def document(watched: Watched, pace: Pace, began: float) -> bytes:
    """The worker as it is; ``began`` is the boot-time second at which its process was there."""
    reader = Reader()
    totals, rates, now = watched.totals, pace.rates(), boottime()
    failing = watched.acker.failing()
    failing["renew"] = watched.leases.failing
    failing["receive"] = sum(state.failing_since is not None for state in watched.fetchers.states)
    return _encoded(
        {
            **_process(),
            "state": "stopping" if watched.stopping() else "running",
            "seconds": round(now - began, 1),
            "concurrency": watched.config.concurrency,
            "async_slots": watched.config.runtime.async_slots,
            "memory": _memory(reader.of(os.getpid())),
            "rates": {
                "seconds": round(rates.seconds, 3),
                "received": round(rates.received, 3),
                "started": round(rates.started, 3),
                "ended": {status: round(value, 3) for status, value in rates.ended.items()},
            },
            "totals": {
                "received": totals.received,
                "started": totals.started,
                "ended": dict(sorted(totals.done.copy().items())),
                "released": totals.released,
                "lost": totals.lost,
                "leases_lost": totals.lost_leases,
                "hops": totals.hops,
                "follow_ups": totals.follow_ups,
                "dead_letters": totals.dead_letters,
                "restarts": totals.restarts,
                "recycled": totals.recycled,
            },
            "held": watched.credit.held,
            "buffered": watched.pool.waiting,
            "verdicts_pending": watched.acker.pending,
            "calls_failing": dict(sorted(failing.items())),
            "queues": _queues(watched, now),
            "executors": [_executor(watched, slot, reader, now) for slot in watched.pool.slots],
        }
    )


def _process() -> dict[str, Any]:
    return {"pyqs": pyqs.__version__, "python": platform.python_version(), "pid": os.getpid(), "time": round(time.time(), 3)}


def _queues(watched: Watched, now: float) -> list[dict[str, Any]]:
    counted = dict(watched.totals.queues())
    full = set(watched.in_flight.full)
    found = []
    for state in sorted(watched.fetchers.states, key=lambda one: one.name):
        answered_at, failing_since, totals = state.answered_at, state.failing_since, counted.get(state.name)
        found.append(
            {
                "name": state.name,
                "up": answered_at is not None and failing_since is None,
                "answered": None if answered_at is None else round(now - answered_at, 1),
                "failing": None if failing_since is None else round(now - failing_since, 1),
                "at_in_flight_limit": state.name in full,
                "received": totals.received if totals else 0,
                "started": totals.started if totals else 0,
                "ended": dict(sorted(totals.done.items())) if totals else {},
            }
        )
    return found


def _executor(watched: Watched, slot: Slot, reader: Reader, now: float) -> dict[str, Any]:
    held = slot.held.copy()  # the pool thread changes it
    tasks = [_task(watched, held[number], one, now) for number, one in slot.running.copy().items() if number in held]
    state = "leaving" if slot.stopping else "starting" if not slot.ready else "busy" if held else "idle"
    return {
        "number": slot.number,
        "pid": slot.pid,
        "state": state,
        "holds": len(held),
        "memory": _memory(reader.of(slot.pid)),
        "tasks": tasks,
    }


def _task(watched: Watched, delivery: Delivery, running: Running, now: float) -> dict[str, Any]:
    deadline = watched.leases.deadline(delivery)
    return {
        "name": running.frame.task,
        "id": running.frame.call_id,
        "queue": delivery.queue,
        "message_id": delivery.message.message_id,
        "receives": delivery.receive_count,
        # A newer receipt may have taken the place of the one it began with: it has not run for longer than that is here.
        "seconds": round(max(0.0, min(now - running.at, now - delivery.received_at)), 1),
        "time_limit": running.frame.time_limit,
        "held": round(now - delivery.received_at, 1),
        "lease_left": round(deadline - now, 1) if deadline else None,  # none: it was acked when it started
    }


def _memory(memory: Memory | None) -> dict[str, int | None] | None:
    return None if memory is None else {"rss": memory.rss, "pss": memory.pss}


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii") + b"\n"
