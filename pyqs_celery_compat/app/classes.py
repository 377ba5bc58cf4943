"""Classes that belong to an app: subclasses of Celery's own whose instances know it.

Owns: ``Classes``, a part of ``Celery``. Runs in any process; a class is made, and its module imported, when it is asked for.
Never starts anything by itself.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pyqs_celery_compat.utils.imports import symbol_by_name


class Classes:
    """Classes of an app."""

    def subclass_with_self(
        self,
        Class: Any,  # noqa: N803 - Celery's name
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """A subclass whose ``attribute`` is this app.

        Parameters:
            Class: the class, or the path of one.
            name: its name, if not the same.
            reverse: the app's attribute that holds it. A pickled instance is made again by the current app's.
            keep_reduce: instances are pickled as those of ``Class`` are.
            kw: further attributes.
        """
        base = symbol_by_name(Class)
        attributes = {
            attribute: self,
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            **kw,
        }
        if not keep_reduce and callable(getattr(base, "__reduce_args__", None)):
            held = reverse or base.__name__

            def __reduce__(instance: Any) -> Any:  # noqa: N807 - it becomes the class's
                return _of_current_app, (held, instance.__reduce_args__())

            attributes["__reduce__"] = __reduce__
        return type(name or base.__name__, (base,), attributes)

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's public name
        """Results of this app's calls."""
        return self.subclass_with_self("pyqs_celery_compat.result:AsyncResult")

    @cached_property
    def ResultSet(self) -> Any:  # noqa: N802 - Celery's public name
        """Several results as one."""
        return self.subclass_with_self("pyqs_celery_compat.result_sets:ResultSet")

    @cached_property
    def GroupResult(self) -> Any:  # noqa: N802 - Celery's public name
        """The results of a group."""
        return self.subclass_with_self("pyqs_celery_compat.result_sets:GroupResult")

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's public name
        """The worker as an object that a program starts."""
        return self.subclass_with_self("pyqs_celery_compat.apps.worker:Worker")

    @cached_property
    def WorkController(self) -> Any:  # noqa: N802 - Celery's public name
        """The same, under its other name."""
        return self.subclass_with_self("pyqs_celery_compat.worker:WorkController")

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's public name
        """The scheduler as a program."""
        return self.subclass_with_self("pyqs_celery_compat.apps.beat:Beat")


def _of_current_app(held: str, arguments: tuple[Any, ...]) -> Any:
    """A pickled instance, made again."""
    from pyqs_celery_compat._state import get_current_app

    return getattr(get_current_app(), held)(*arguments)
