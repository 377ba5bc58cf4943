"""Tasks that are called when Django's transaction is committed.

Owns: ``DjangoTask``, which the Django fixup makes the class of an app's tasks. Runs in any process that calls tasks. Never
calls one whose transaction was rolled back.
"""

from __future__ import annotations

import functools
from typing import Any

from django.db import transaction

from pyqs_celery_compat.app.task import Task
from pyqs_celery_compat.naming import belongs_to

__all__ = ["DjangoTask"]


class DjangoTask(Task):
    """A task with two more ways to be called. Outside of a transaction both call at once."""

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """``delay`` after the commit. There is no result yet, so none is returned.

        Parameters: the task's own. Raises what publishing raises, out of the commit, which has happened by then.
        """
        transaction.on_commit(functools.partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """``apply_async`` after the commit. Parameters, and what it raises: as there."""
        transaction.on_commit(functools.partial(self.apply_async, *args, **kwargs))


belongs_to("celery.contrib.django.task", DjangoTask)
