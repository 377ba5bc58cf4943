"""``@shared_task``: a task for every app there is and will be.

Owns: ``shared_task``. Runs at import of the user's modules, in any process. Each app gets a task of its own; the name in
the user's module stands for the current app's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from pyqs_celery_compat import _state as state
from pyqs_celery_compat.local import Proxy

if TYPE_CHECKING:
    from pyqs_celery_compat.typed import TypedTask

P = ParamSpec("P")
R = TypeVar("R")


@overload
def shared_task(fun: Callable[P, R], /) -> TypedTask[P, R]: ...


@overload
def shared_task(*, bind: Literal[True], **options: Any) -> Callable[[Callable[Concatenate[Any, P], R]], TypedTask[P, R]]: ...


@overload
def shared_task(*, bind: Literal[False] = False, **options: Any) -> Callable[[Callable[P, R]], TypedTask[P, R]]: ...


def shared_task(*args: Any, **kwargs: Any) -> Any:
    """Make a function a task of whatever app is current when it is used; with or without parentheses.

    Parameters: as for ``Celery.task``.
    """

    def create(**options: Any) -> Callable[[Callable[..., Any]], Any]:
        def wrap(fun: Callable[..., Any]) -> Any:
            if type(fun) is Proxy and hasattr(object.__getattribute__(fun, "_proxy_local"), "is_shared_task"):
                raise TypeError("@shared_task was applied more than once to the same function; once is enough")
            name = options.get("name")
            # The module is imported after an app was finalized as often as before.
            state.connect_on_app_finalize(lambda app: app._task_from_fun(fun, **options))
            for app in state.active_apps():
                if app.finalized:
                    with app._finalize_lock:
                        app._task_from_fun(fun, **options)

            def task_of_current_app() -> Any:
                app = state.get_current_app()
                return app.tasks[name or app.gen_task_name(fun.__name__, fun.__module__)]

            task_of_current_app.is_shared_task = True  # type: ignore[attr-defined]
            return Proxy(task_of_current_app)

        return wrap

    if len(args) == 1 and callable(args[0]):
        return create(**kwargs)(args[0])
    return create(*args, **kwargs)
