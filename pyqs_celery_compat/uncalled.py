"""What code has set up for a worker of Celery's, and this one never calls.

Owns: the lines that say so. Runs where an app is loaded, once all of its tasks are known. Never changes an app.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


def without_effect(app: Celery) -> list[str]:
    """Lines to log once: a task's ``Request`` or ``Strategy`` of its own, and remote control commands."""
    notes = []
    for part, usual in (("Request", "celery.worker.request:Request"), ("Strategy", "celery.worker.strategy:default")):
        own = sorted(name for name, task in app.tasks.items() if getattr(type(task), part, usual) != usual)
        if own:
            notes.append(f"{part} of {', '.join(own)}: a worker's part of one's own is never called; signals and handlers are")
    panel = sys.modules.get("pyqs_celery_compat.worker.control")
    if panel is not None and panel.Panel.data:
        notes.append(f"remote control commands ({', '.join(sorted(panel.Panel.data))}): nobody can send them on SQS")
    return notes
