"""What a type checker sees of a task: the signature of its function, in a call, in ``delay``, ``s`` and ``si``.

Owns: ``TypedTask``, the answer of ``@shared_task`` and ``@app.task`` in annotations. Empty at run time, where a task is a
``Task`` or a proxy for one. Never a base class to derive from: ``Task`` is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Generic, ParamSpec, TypeVar

    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.result import AsyncResult
    from pyqs_celery_compat.signatures import Signature

    P = ParamSpec("P")
    R = TypeVar("R")

    class TypedTask(Task, Generic[P, R]):
        """A task made of a ``Callable[P, R]``; of a bound one, without its ``self``."""

        run: Callable[P, R]

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

        def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult: ...

        def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature: ...

        def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature: ...
