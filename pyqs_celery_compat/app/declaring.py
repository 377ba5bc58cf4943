"""How an app comes by its tasks.

Owns: ``Declaring``, a part of ``Celery``: ``@app.task``, class-based tasks, finalizing, names, annotations. Runs at import of
the user's modules and at the first use of a task, in any process. Never makes a task before that, unless told to (``lazy``).
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from pyqs_celery_compat import _state as state
from pyqs_celery_compat.app import duplicates
from pyqs_celery_compat.app.annotations import prepare
from pyqs_celery_compat.app.autoretry import add_autoretry_behaviour
from pyqs_celery_compat.app.registry import TaskRegistry
from pyqs_celery_compat.app.task import Task as BaseTask
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.header import Header
from pyqs_celery_compat.local import PromiseProxy, maybe_evaluate
from pyqs_celery_compat.settings import Settings
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.utils.dispatch import Signal

if TYPE_CHECKING:
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.typed import TypedTask

P = ParamSpec("P")
R = TypeVar("R")


class Declaring:
    """The tasks of an app."""

    task_cls: Any = "pyqs_celery_compat.app.task:Task"
    main: str | None
    autofinalize: bool
    finalized: bool
    conf: Settings
    on_after_finalize: Signal
    _finalize_lock: threading.RLock
    _pending: deque[PromiseProxy]
    _tasks: TaskRegistry

    @cached_property
    def _duplicates(self) -> set[str]:
        """Names of which it was said that two tasks have them."""
        return set()

    @property
    def tasks(self) -> TaskRegistry:
        """All tasks by name; finalizes the app."""
        self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Make every task that was declared, the shared ones included."""
        with self._finalize_lock:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("Contract breach: app not finalized")
            self.finalized = True
            state.announce_app_finalized(cast("Celery", self))
            while self._pending:
                maybe_evaluate(self._pending.popleft())
            for task in self._tasks.values():
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    @overload
    def task(self, fun: Callable[P, R], /) -> TypedTask[P, R]: ...

    @overload
    def task(self, *, bind: Literal[True], **options: Any) -> Callable[[Callable[Concatenate[Any, P], R]], TypedTask[P, R]]: ...

    @overload
    def task(self, *, bind: Literal[False] = False, **options: Any) -> Callable[[Callable[P, R]], TypedTask[P, R]]: ...

    def task(self, *args: Any, **opts: Any) -> Any:
        """Make a function a task; with or without parentheses.

        Parameters:
            name, bind, base, typing: as in Celery. lazy: False makes it at once. shared: False keeps it to this app.
            filter: called with the task, answers what stands for it.
            any other keyword: an attribute of the task's class.
        """

        def create(
            lazy: bool = True, shared: bool = True, filter: Callable[[Any], Any] | None = None, **options: Any
        ) -> Callable[[Callable[..., Any]], Any]:
            def wrap(fun: Callable[..., Any]) -> Any:
                if shared:
                    state.connect_on_app_finalize(lambda app: app._task_from_fun(fun, **options))
                made: Any
                if not lazy or self.finalized:
                    made = self._task_from_fun(fun, **options)
                else:
                    made = PromiseProxy(self._task_from_fun, (fun,), options)
                    self._pending.append(made)
                return filter(made) if filter else made

            return wrap

        if len(args) == 1:
            if callable(args[0]):
                return create(**opts)(*args)
            raise TypeError("argument 1 to @task() must be a callable")
        if args:
            raise TypeError(f"@task() takes exactly 1 argument ({len(args) + len(opts)} given)")
        return create(**opts)

    def _task_from_fun(
        self, fun: Callable[..., Any], name: str | None = None, base: Any = None, bind: bool = False, **options: Any
    ) -> BaseTask:
        if not self.finalized and not self.autofinalize:
            raise RuntimeError("Contract breach: app not finalized")
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        body = fun
        if inspect.isasyncgenfunction(fun):
            # Celery takes it, calls it a success and never runs its body.
            raise ImproperlyConfigured(f"task {name}: an async generator cannot be a task: nobody would iterate")
        if name in self._tasks:
            known: BaseTask = self._tasks[name]
            duplicates.first_stays(self._duplicates, name, known, fun)
            return known
        header: Any = Header(fun, bound=bind)
        if options.get("pydantic"):
            from pyqs_celery_compat.pydantic_mode import Models

            told = {**(options.get("pydantic_context") or {}), "celery_app": self, "celery_task_name": name}
            options["_models"] = models = Models(
                fun, bound=bind, strict=bool(options.get("pydantic_strict")), context=told,
                dump=options.get("pydantic_dump_kwargs"),
            )  # fmt: skip
            # As in Celery, whether the arguments fit is seen where it runs.
            body, header = models.running(), None
        run = body if bind else staticmethod(body)
        attributes = {
            "app": self,
            "name": name,
            "run": run,
            "bind_self": bind,
            "__doc__": fun.__doc__,
            "__module__": fun.__module__,
            "__annotations__": fun.__annotations__,
            "__header__": None if header is None else staticmethod(header),
            "__wrapped__": run,
            "_decorated_fun": staticmethod(fun),
            **options,
        }
        task: BaseTask = type(fun.__name__, (base or self.Task,), attributes)()
        vars(task)["__qualname__"] = getattr(fun, "__qualname__", fun.__name__)
        self._tasks[name] = task
        task.bind(cast("Celery", self))
        add_autoretry_behaviour(task, **options)
        return task

    def register_task(self, task: Any, **options: Any) -> BaseTask:
        """Add a class-based task (a class is instantiated); one of the same name is replaced."""
        made: Any = task() if inspect.isclass(task) else task
        if not made.name:
            made.name = self.gen_task_name(type(made).__name__, type(made).__module__)
        add_autoretry_behaviour(made, **options)
        if (known := self.tasks.get(made.name)) is not None:
            duplicates.last_replaces(self._duplicates, made.name, known, made)
        self.tasks[made.name] = made
        type(made)._app = self
        made.bind(self)
        return cast("BaseTask", made)

    def gen_task_name(self, name: str, module: str | None) -> str:
        """``module.name``; ``__main__`` becomes the app's ``main``. For subclasses to change."""
        return imports.gen_task_name(self, name, module)

    @cached_property
    def Task(self) -> type[BaseTask]:  # noqa: N802 - Celery's public name
        """The base class of this app's tasks."""
        return self.create_task_cls()

    def create_task_cls(self) -> type[BaseTask]:
        """A class of ``task_cls`` that belongs to this app."""
        base = imports.symbol_by_name(self.task_cls)
        return type(base.__name__, (base,), {"app": self, "_app": self, "abstract": True, "__module__": base.__module__})

    @cached_property
    def annotations(self) -> Sequence[Any]:
        """``task_annotations`` as objects that can be asked."""
        return prepare(self.conf.task_annotations)
