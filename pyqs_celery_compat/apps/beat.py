"""Beat as a program.

Owns: ``Beat``, which says on use what there is instead. Never starts anything.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Beat"]


class Beat:
    """Celery's scheduler: not there yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "beat comes in a later version of pyqs_celery_compat: until then Celery's own `celery beat` sends periodic tasks, "
            "with PYQS_AS_CELERY=0"
        )
