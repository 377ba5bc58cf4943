"""The task with which ``start_worker`` sees that a worker runs tasks.

Owns: ``celery.ping``, in every app of the process that is finalized after this was imported. Runs in tests.
"""

from __future__ import annotations

from pyqs_celery_compat import shared_task


@shared_task(name="celery.ping")
def ping() -> str:
    """The answer that ``start_worker`` waits for."""
    return "pong"
