"""The app: configuration, tasks, and the way to publish.

Owns: ``Celery``. Lives in every process that calls or runs tasks; making one does no I/O and reads no configuration. What
is not there yet of Celery's app is absent, not pretended.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timezone, tzinfo
from functools import cached_property
from typing import Any, cast

from pyqs_celery_compat import _state as state
from pyqs_celery_compat import conf, publishing, retrying
from pyqs_celery_compat.app import builtins as builtin_tasks
from pyqs_celery_compat.app.amqp import AMQP
from pyqs_celery_compat.app.registry import TaskRegistry
from pyqs_celery_compat.app.task import Task as BaseTask
from pyqs_celery_compat.canvas import Signature, signature
from pyqs_celery_compat.exceptions import DuplicateTaskNameWarning, ImproperlyConfigured
from pyqs_celery_compat.header import Header
from pyqs_celery_compat.local import PromiseProxy, maybe_evaluate
from pyqs_celery_compat.publisher import Publisher, batching, default_broker
from pyqs_celery_compat.result import AsyncResult, DisabledBackend, EagerResult
from pyqs_celery_compat.settings import AttributeMapping, Settings
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.utils.dispatch import Signal
from pyqs_celery_compat.uuids import object_oid, thread_oid

builtin_tasks.register()

#: What Celery's apps have and ours do not yet.
NOT_YET = frozenset(
    {"Beat", "Worker", "WorkController", "bugreport", "connection", "connection_for_read", "connection_for_write"}
    | {"connection_or_acquire", "control", "events", "GroupResult", "log", "pool", "producer_or_acquire", "producer_pool"}
    | {"ResultSet", "start", "steps", "user_options", "worker_main"}
)


class Celery:
    """A Celery app on SQS.

    Parameters:
        main: name of the main module, used for tasks defined in ``__main__``.
        broker: ``sqs://...``; like every value given here it beats the configuration object.
        backend: result backend; none is built yet.
        include: modules a worker imports.
        changes, and any further keyword: settings. config_source, namespace: as ``config_from_object``.
        set_as_current: make it this thread's current app.
        autofinalize: False makes the use of a task an error until ``finalize()`` was called.
        strict_typing: check arguments when tasks are called.
    """

    registry_cls: Any = TaskRegistry
    task_cls: Any = "pyqs_celery_compat.app.task:Task"
    amqp_cls: Any = AMQP
    IS_WINDOWS = os.name == "nt"

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        **kwargs: Any,
    ) -> None:
        self.main = main
        self.set_as_current = set_as_current
        self.namespace = namespace
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.finalized = False
        self.task_cls = task_cls or type(self).task_cls
        self._config_source = config_source
        self._finalize_lock = threading.RLock()
        self._pending: deque[PromiseProxy] = deque()
        self._pending_defaults: list[Any] = []
        registry = self.registry_cls if tasks is None else tasks
        self._tasks: TaskRegistry = registry() if callable(registry) else TaskRegistry(registry)
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf = Settings(
            self._load_config, {**(changes or {}), **kwargs, **{k: v for k, v in given.items() if v is not None}}
        )
        self.on_configure: Any = Signal(name="app.on_configure")
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args=("source",))
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")
        self.publisher = Publisher(
            lambda: conf.read_transport(self.conf, default_url=default_broker()),
            create_missing=lambda: bool(self.conf.task_create_missing_queues),
        )
        if set_as_current:
            self.set_current()
        self.on_init()
        state.register_app(self)

    def on_init(self) -> None:
        """Called at the end of making an app; for subclasses."""

    # -- current app ------------------------------------------------------------------------------------------------
    def set_current(self) -> None:
        """Make this the calling thread's app."""
        state.set_current_app(self)

    def set_default(self) -> None:
        """Make this the app of all threads that have none."""
        state.set_default_app(self)

    def close(self) -> None:
        """Forget the connections and the app itself."""
        self.publisher.close()
        state.deregister_app(self)

    def __enter__(self) -> Celery:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    # -- configuration ------------------------------------------------------------------------------------------------
    def config_from_object(self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None) -> None:
        """Take the configuration from a module, class, instance, dict or the dotted path of one, on first use.

        Parameters:
            silent: no error if the path does not import.
            force: read it now.
            namespace: only keys that start with it (``CELERY`` -> ``CELERY_X``) are settings.
        """
        self._config_source = obj
        self._config_silent = silent
        self.namespace = namespace or self.namespace
        if self.conf.loaded:
            self.conf.reload(self._load_config)
        if force:
            self.conf.finalize()

    _config_silent = False

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> None:
        """The same with the path in an environment variable. Raises ImproperlyConfigured if it is not set."""
        path = os.environ.get(variable_name)
        if path:
            self.config_from_object(path, silent=silent, force=force)
        elif not silent:
            raise ImproperlyConfigured(f"the environment variable {variable_name!r}, which names the configuration, is not set")

    def add_defaults(self, fun: Any) -> None:
        """Settings (a mapping, or a function that answers one later) that beat the configuration object."""
        if self.conf.loaded:
            self.conf.add_defaults(fun() if callable(fun) else fun)
        else:
            self._pending_defaults.append(fun)

    def setup_security(self, *args: Any, **kwargs: Any) -> None:
        """Refused: signed messages are not supported."""
        raise ImproperlyConfigured("signed messages (setup_security, the auth serializer) are not supported")

    def _load_config(self, settings: Settings) -> None:
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()
        source = self._config_source
        if source is not None:
            try:
                source = imports.symbol_by_name(source)
            except ImportError:
                if not self._config_silent:
                    raise
                source = {}
            mapping = source if isinstance(source, Mapping) else AttributeMapping(source)
            settings.use(mapping, self.namespace)
        for defaults in self._pending_defaults:
            settings.add_defaults(defaults() if callable(defaults) else defaults)
        conf.check_settings(settings)
        self.on_after_configure.send(sender=self, source=settings)

    # -- time ---------------------------------------------------------------------------------------------------------
    @property
    def timezone(self) -> tzinfo:
        """``timezone``, else UTC, else (``enable_utc`` off) local time."""
        name = self.conf.timezone
        if isinstance(name, tzinfo):
            return name
        if name:
            from zoneinfo import ZoneInfo

            return timezone.utc if str(name).upper() == "UTC" else ZoneInfo(str(name))
        if self.conf.enable_utc:
            return timezone.utc
        return datetime.now().astimezone().tzinfo or timezone.utc

    def now(self) -> datetime:
        """The moment, in the app's timezone."""
        return datetime.now(timezone.utc).astimezone(self.timezone)

    # -- tasks --------------------------------------------------------------------------------------------------------
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
            state.announce_app_finalized(self)
            while self._pending:
                maybe_evaluate(self._pending.popleft())
            for task in self._tasks.values():
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """Put an entry into ``beat_schedule``; its key is the answer. Sending it stays with Celery's beat for now."""
        signature = sig.clone(args, kwargs or {}, **opts)
        key = name or repr(signature)
        entry = {"schedule": schedule, "task": signature.name, "args": tuple(signature.args)}
        entry |= {"kwargs": dict(signature.kwargs), "options": dict(signature.options)}
        self.conf.beat_schedule = {**(self.conf.beat_schedule or {}), key: entry}
        logging.getLogger("celery.beat").warning("periodic task %s is noted; Celery's own beat has to send it for now", key)
        return key

    def __getattr__(self, name: str) -> Any:
        # An AttributeError still, so that hasattr() of a library that feels its way gets its answer.
        later = " comes in a later version of pyqs_celery_compat (docs/differences.md)" if name in NOT_YET else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}" + (f": it{later}" if later else ""))

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
        if options.pop("pydantic", False):
            raise ImproperlyConfigured(f"task {name or fun.__name__}: pydantic=True is not there yet")
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        if inspect.iscoroutinefunction(fun) or inspect.isasyncgenfunction(fun):
            # Celery takes it, calls it a success and never runs its body.
            raise ImproperlyConfigured(f"task {name}: an async function cannot be a task; call asyncio.run() in a plain one")
        if name in self._tasks:
            known: BaseTask = self._tasks[name]
            if getattr(known, "_decorated_fun", None) not in (None, fun):
                warnings.warn(
                    DuplicateTaskNameWarning(f"task name {name!r} is used by two functions; the first one stays"), stacklevel=3
                )
            return known
        run = fun if bind else staticmethod(fun)
        attributes = {
            "app": self,
            "name": name,
            "run": run,
            "bind_self": bind,
            "__doc__": fun.__doc__,
            "__module__": fun.__module__,
            "__header__": staticmethod(Header(fun, bound=bind)),
            "__wrapped__": run,
            "_decorated_fun": staticmethod(fun),
            **options,
        }
        task: BaseTask = type(fun.__name__, (base or self.Task,), attributes)()
        vars(task)["__qualname__"] = getattr(fun, "__qualname__", fun.__name__)
        self._tasks[name] = task
        task.bind(self)
        retrying.add_autoretry(task, **options)
        return task

    def register_task(self, task: Any, **options: Any) -> BaseTask:
        """Add a class-based task (a class is instantiated); one of the same name is replaced."""
        made: Any = task() if inspect.isclass(task) else task
        if not made.name:
            made.name = self.gen_task_name(type(made).__name__, type(made).__module__)
        retrying.add_autoretry(made, **options)
        self.tasks[made.name] = made
        type(made)._app = self
        made.bind(self)
        return cast("BaseTask", made)

    def gen_task_name(self, name: str, module: str | None) -> str:
        """``module.name``; ``__main__`` becomes the app's ``main``. For subclasses to change."""
        if module == "__main__" and self.main:
            return f"{self.main}.{name}"
        return f"{module}.{name}" if module else name

    @cached_property
    def Task(self) -> type[BaseTask]:  # noqa: N802 - Celery's public name
        """The base class of this app's tasks."""
        return self.create_task_cls()

    def create_task_cls(self) -> type[BaseTask]:
        """A class of ``task_cls`` that belongs to this app."""
        base = imports.symbol_by_name(self.task_cls)
        return type(base.__name__, (base,), {"app": self, "_app": self, "abstract": True, "__module__": base.__module__})

    def annotations_for(self, task: type[BaseTask]) -> Iterable[dict[str, Any]]:
        """What ``task_annotations`` says of a task: for all first, then by name."""
        given = self.conf.task_annotations or ()
        for entry in given if isinstance(given, (list, tuple)) else (given,):
            entry = imports.symbol_by_name(entry)
            if isinstance(entry, Mapping):
                yield from (entry[key] for key in ("*", task.name) if key in entry)
            else:
                found = (entry.annotate_any(), entry.annotate(task))
                yield from (each for each in found if each)

    def autodiscover_tasks(self, packages: Any = None, related_name: str = "tasks", force: bool = False) -> Any:
        """Have ``<package>.tasks`` of each package imported when a worker loads its modules, or now (``force``).

        Parameters:
            packages: names, or a function that answers them; none means Django's installed apps.
        """
        from pyqs_celery_compat import signals

        def discover(**_: Any) -> Any:
            names = packages() if callable(packages) else packages
            return imports.autodiscover(names or imports.django_packages(), related_name)

        if force:
            return discover()
        signals.import_modules.connect(discover, weak=False, sender=self, dispatch_uid=(id(discover), related_name))
        return None

    # -- publishing ---------------------------------------------------------------------------------------------------
    @cached_property
    def amqp(self) -> AMQP:
        """The sending side."""
        return self.amqp_cls(self)  # type: ignore[no-any-return]

    @cached_property
    def native_refused_on(self) -> frozenset[str]:
        """SQS names of the queues that the app declares, where Celery workers may listen, which delete what they do not
        know: native tasks are refused there unless ``allow_native`` is set."""
        if self.conf.get("allow_native") or not self.conf.broker_url:
            return frozenset()
        return frozenset(self.publisher.transport.sqs_name(name) for name in self.amqp.queues.consume_from)

    def send_task(
        self, name: str, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult | EagerResult:
        """Publish a call of a task by name, whether or not this process has it. Options as ``Task.apply_async``."""
        return publishing.send_task(self, name, args, kwargs, **options)

    def batch(self) -> AbstractContextManager[None]:
        """``with app.batch():`` sends what this thread publishes inside at its end: ten to a request, several at once.

        Celery has none. What was published before an exception is sent all the same. Raises ``pyqs.errors.SendFailed`` at the
        end when not all of it was accepted; it names the calls.
        """
        return batching()

    @property
    def current_task(self) -> BaseTask | None:
        """The task running in this thread."""
        return state.get_current_task()

    @property
    def current_worker_task(self) -> BaseTask | None:
        """The task that the worker runs in this thread."""
        return state.get_current_worker_task()

    @cached_property
    def backend(self) -> Any:
        """The result backend: none yet."""
        return DisabledBackend(self)

    def AsyncResult(self, task_id: str, *args: Any, **kwargs: Any) -> AsyncResult:  # noqa: N802
        """The result with this id."""
        kwargs.setdefault("app", self)
        return AsyncResult(task_id, *args, **kwargs)

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A call to be made later."""
        kwargs["app"] = self
        return signature(*args, **kwargs)

    @cached_property
    def oid(self) -> str:
        """An id of this app in this process."""
        return object_oid(self)

    @property
    def thread_oid(self) -> str:
        """An id of this app in this thread; stands in ``reply_to``."""
        return thread_oid(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}>"
