"""Celery's command line, which is not here: the worker is ``pyqs worker``.

Owns: what to say of it. The modules below can be imported, as monitors and instrumentation do, and say so when they are used.
Never starts anything.
"""

from __future__ import annotations

NO_COMMAND = (
    "there is no `celery` command on SQS here: `pyqs worker -A proj -Q queue` runs the tasks, `pyqs beat -A proj` sends "
    "periodic ones, `pyqs --help` has the rest; "
    "Celery's own command is there with PYQS_AS_CELERY=0 where Celery is installed"
)
