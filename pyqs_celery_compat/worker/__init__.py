"""Celery's worker, of which there are names here that apps and libraries import; the worker itself is ``pyqs.worker``.

Owns: ``WorkController``. Loaded by those who ask for it only. Never runs a task.
"""

from __future__ import annotations

from pyqs_celery_compat.apps.worker import Worker as WorkController

__all__ = ["WorkController"]
