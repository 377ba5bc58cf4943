"""The app: configuration, tasks, and the way to publish.

Owns: ``Celery``: what it is made of, which one is current, its time. Its configuration, tasks and sending are in modules of
their own. Lives in every process that calls or runs tasks; making one does no I/O and reads no configuration. What is not
there yet of Celery's app is absent, not pretended.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from functools import cached_property
from types import GenericAlias, ModuleType
from typing import Any

from pyqs_celery_compat import _state as state
from pyqs_celery_compat import conf
from pyqs_celery_compat.app import builtins as builtin_tasks
from pyqs_celery_compat.app.classes import Classes
from pyqs_celery_compat.app.configuring import Configuring
from pyqs_celery_compat.app.connecting import Connecting
from pyqs_celery_compat.app.declaring import Declaring
from pyqs_celery_compat.app.registry import TaskRegistry
from pyqs_celery_compat.app.sending import Sending
from pyqs_celery_compat.app.task import Task as BaseTask
from pyqs_celery_compat.local import PromiseProxy
from pyqs_celery_compat.publisher import Publisher, default_broker
from pyqs_celery_compat.settings import Settings
from pyqs_celery_compat.signatures import Signature, signature
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.utils.dispatch import Signal
from pyqs_celery_compat.uuids import object_oid, thread_oid

builtin_tasks.register()

#: Celery's children may be started by exec and then name their tasks anew; here they are forked.
USING_EXECV = False


class Celery(Configuring, Declaring, Connecting, Sending, Classes):
    """A Celery app on SQS.

    Parameters:
        main: name of the main module, used for tasks defined in ``__main__``.
        broker: ``sqs://...``; like every value given here it beats the configuration object.
        backend: result backend.
        include: modules a worker imports.
        changes, and any further keyword: settings. config_source, namespace: as ``config_from_object``.
        set_as_current: make it this thread's current app.
        autofinalize: False makes the use of a task an error until ``finalize()`` was called.
        strict_typing: check arguments when tasks are called.
        fixups: functions of the app, or their dotted names, applied now; None means ``builtin_fixups``.
        loader, amqp, tasks, task_cls: classes, or where they are, of what makes up the app; made when they are needed.
        config_source_silent: no error if ``config_source`` does not import.
    """

    __class_getitem__: Any = classmethod(GenericAlias)

    registry_cls: Any = TaskRegistry
    #: Classes, or where they are, of what ``control``, ``events`` and ``log`` are.
    control_cls: Any = "pyqs_celery_compat.app.control:Control"
    events_cls: Any = "pyqs_celery_compat.app.events:Events"
    log_cls: Any = "pyqs_celery_compat.app.log:Logging"
    #: What an app does for the framework around it.
    builtin_fixups: Iterable[Any] = frozenset({"pyqs_celery_compat.fixups.django:fixup"})
    IS_WINDOWS = os.name == "nt"
    IS_macOS = sys.platform == "darwin"
    #: Subclasses may have a method of this name, which is called before the configuration is read.
    on_configure: Any = None

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
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        self.main = main
        self.set_as_current = set_as_current
        self.namespace = namespace
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.finalized = False
        self.task_cls = task_cls or type(self).task_cls
        self._custom_task_cls_used = bool(task_cls) or type(self).task_cls is not Celery.task_cls
        self.control_cls = control or self.control_cls
        self.events_cls = events or self.events_cls
        self.log_cls = log or self.log_cls
        #: What a project adds to its worker: "worker" or "consumer" -> step classes (``bootsteps``).
        self.steps: defaultdict[str, set[Any]] = defaultdict(set)
        #: Options that a project adds to commands, by the command's name.
        self.user_options: defaultdict[str, set[Any]] = defaultdict(set)
        self.loader_cls = loader or self.loader_cls
        self.amqp_cls = amqp or self.amqp_cls
        self._config_source = config_source
        self._config_source_silent = config_source_silent
        self._finalize_lock = threading.RLock()
        self._pending: deque[PromiseProxy] = deque()
        self._pending_defaults: list[Any] = []
        self._pending_periodic_tasks: list[tuple[str, dict[str, Any], str | None]] = []
        self._tasks: TaskRegistry = tasks if isinstance(tasks, TaskRegistry) else self._new_registry(tasks)
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf = Settings(
            self._load_config,
            {**(changes or {}), **kwargs, **{k: v for k, v in given.items() if v is not None}},
            self._config_loaded,
        )
        if self.on_configure is None:
            self.on_configure = Signal(name="app.on_configure")
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args=("source",))
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")
        self.publisher = Publisher(
            lambda: conf.read_transport(self.conf, default_url=default_broker()),
            create_missing=lambda: bool(self.conf.task_create_missing_queues),
        )
        if set_as_current:
            self.set_current()
        self.fixups: set[Any] = set(self.builtin_fixups) if fixups is None else set(fixups)
        self._fixups: list[Any] = [imports.symbol_by_name(each)(self) for each in self.fixups]
        self.on_init()
        state.register_app(self)

    def _new_registry(self, tasks: Any) -> TaskRegistry:
        registry: TaskRegistry = imports.symbol_by_name(self.registry_cls)(tasks or {})
        return registry

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
        self.close_connections()
        state.deregister_app(self)

    def __enter__(self) -> Celery:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    # -- time ---------------------------------------------------------------------------------------------------------
    @property
    def timezone(self) -> tzinfo:
        """``timezone``, else UTC, else (``enable_utc`` off) local time. Read once; ``del app.timezone`` has it read again."""
        if self._timezone is None:
            from pyqs_celery_compat.utils.time import timezone as zones

            name = self.conf.timezone
            self._timezone = zones.get_timezone(name) if name else zones.utc if self.conf.enable_utc else zones.local
        return self._timezone

    @timezone.setter
    def timezone(self, zone: tzinfo) -> None:
        self._timezone = zone

    @timezone.deleter
    def timezone(self) -> None:
        self._timezone = None

    _timezone: tzinfo | None = None

    def now(self) -> datetime:
        """The moment, in the app's timezone."""
        return datetime.now(timezone.utc).astimezone(self.timezone)

    def uses_utc_timezone(self) -> bool:
        """Whether the app's timezone is UTC."""
        from pyqs_celery_compat.utils.time import timezone as zones

        return self.timezone == zones.utc

    # -- what runs, and what came of it -------------------------------------------------------------------------------
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
        """The result backend, as ``result_backend`` says; raises ImproperlyConfigured if that names none."""
        return self._get_backend()

    def _get_backend(self) -> Any:
        """A new one; for subclasses."""
        from pyqs_celery_compat.app.backends import backend_of

        return backend_of(self)

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A call to be made later."""
        kwargs["app"] = self
        return signature(*args, **kwargs)

    @cached_property
    def log(self) -> Any:
        """How processes of a worker log: see ``app.log``."""
        return imports.symbol_by_name(self.log_cls)(app=self)

    # -- the command line ---------------------------------------------------------------------------------------------
    def start(self, argv: Sequence[str] | None = None) -> int:
        """Run a command line of Celery's on this app (``sys.argv[1:]`` if None): ``["worker", "-c", "4"]``. Its exit code."""
        from pyqs_celery_compat import program

        return program.run(self, sys.argv[1:] if argv is None else argv)

    def worker_main(self, argv: Sequence[str] | None = None) -> int:
        """Run a worker of this app until it is told to stop. Its exit code, which is 0.

        Parameters:
            argv: with the word ``worker``; ``sys.argv`` if None.

        Raises:
            ValueError: it is another command.
            SystemExit: it did not start, or something of it has crashed.
        """
        argv = sys.argv[1:] if argv is None else list(argv)
        if "worker" not in argv:
            raise ValueError("worker_main() runs a worker: argv must have the word 'worker'; start() runs the other commands")
        code = self.start(argv)
        if code:
            raise SystemExit(code)
        return code

    @cached_property
    def lambda_handler(self) -> Any:
        """``handler(event, context)`` of an AWS Lambda function that runs this app's tasks (docs/lambda.md).

        Reading it loads the task modules and makes this process one that runs tasks; what is wrong is raised then.
        """
        from pyqs_celery_compat.aws_lambda import handler_of

        return handler_of(self)

    # -- workers from afar --------------------------------------------------------------------------------------------
    @cached_property
    def control(self) -> Any:
        """Remote control, which SQS cannot carry: see ``app.control``."""
        return imports.symbol_by_name(self.control_cls)(app=self)

    @cached_property
    def events(self) -> Any:
        """Monitoring events, of which there are none: see ``app.events``."""
        return imports.symbol_by_name(self.events_cls)(app=self)

    @cached_property
    def oid(self) -> str:
        """An id of this app in this process."""
        return object_oid(self)

    @property
    def thread_oid(self) -> str:
        """An id of this app in this thread; stands in ``reply_to``."""
        return thread_oid(self)

    @cached_property
    def clock(self) -> Any:
        """A logical clock. Nothing here ticks it: it orders events, of which there are none."""
        from kombu.clocks import LamportClock

        return LamportClock()

    def bugreport(self) -> str:
        """Versions and settings, secrets starred out, for an issue."""
        from pyqs_celery_compat.app.utils import bugreport

        return bugreport(self)

    # -- pickling -----------------------------------------------------------------------------------------------------
    @property
    def Pickler(self) -> Any:  # noqa: N802 - Celery's public name
        """What makes a pickled app again whose class has a ``__reduce_args__`` of its own."""
        from pyqs_celery_compat.app.utils import AppPickler

        return AppPickler

    def __reduce__(self) -> tuple[Any, ...]:
        from pyqs_celery_compat.app import utils

        if type(self).__reduce_args__ is not Celery.__reduce_args__:  # older than Celery 4
            return utils._unpickle_app, (type(self), self.Pickler, *self.__reduce_args__())
        return utils._unpickle_app_v2, (type(self), self.__reduce_keys__())

    def __reduce_keys__(self) -> dict[str, Any]:
        """The arguments that make this app again, elsewhere; for subclasses with more of them."""
        source = self._config_source
        return {
            "main": self.main,
            "changes": dict(self.conf.changes),
            "loader": self.loader_cls,
            "amqp": self.amqp_cls,
            "events": self.events_cls,
            "log": self.log_cls,
            "control": self.control_cls,
            "fixups": self.fixups,
            "config_source": source.__name__ if isinstance(source, ModuleType) else source,
            "config_source_silent": self._config_source_silent,
            "task_cls": self.task_cls,
            "autofinalize": self.autofinalize,
            "namespace": self.namespace,
            "strict_typing": self.strict_typing,
        }

    def __reduce_args__(self) -> tuple[Any, ...]:
        """The same in the order of ``AppPickler.build_standard_kwargs``, for subclasses that are older than Celery 4."""
        keys = self.__reduce_keys__()
        head = keys["main"], keys["changes"], keys["loader"], None, keys["amqp"]
        return (*head, keys["events"], keys["log"], keys["control"], False, keys["config_source"],
                keys["config_source_silent"])  # fmt: skip

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}>"
