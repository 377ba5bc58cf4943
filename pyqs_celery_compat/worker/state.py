"""``celery.worker.state``: what one process of Celery's knows of its worker.

Owns: nothing. A worker here has its state in several processes, none of which runs all tasks, so what is asked of this module
is an error that says where the answer is. It can be imported, for modules that do so at their top.
"""

from __future__ import annotations

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"celery.worker.state.{name} is not here: no process of a worker has it. Counts are at `pyqs worker --health`, "
        "what one process runs is in the signals of its tasks (task_prerun, task_postrun)"
    )
