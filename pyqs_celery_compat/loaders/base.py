"""What all loaders do: import task modules, read configuration, and be told what happens to the process.

Owns: ``BaseLoader`` and ``autodiscover_tasks``. Runs in every process that has an app; the methods that
begin with ``on_`` are there to be overridden, and run in the process whose beginning they are named after.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import lifecycle, signals
from pyqs_celery_compat.app import defaults
from pyqs_celery_compat.exceptions import reraise
from pyqs_celery_compat.utils.collections import DictAttribute
from pyqs_celery_compat.utils.imports import (
    NotAPackage,
    find_module,
    find_related_module,
    import_from_cwd,
    listed,
    symbol_by_name,
)

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["BaseLoader"]

_RACE_PROTECTION = False
unconfigured = object()

_TYPE = re.compile(r"\((\w+)\)")
#: How settings end that are numbers, where their default does not say.
_NUMBERS = ("_port", "_limit", "_concurrency", "_per_child", "_priority")
_LISTS = {"list": list, "tuple": tuple, "set": set}


class BaseLoader:
    """Base of loaders.

    Parameters:
        app: whose loader it is.
    """

    builtin_modules: frozenset[str] = frozenset()
    configured = False
    override_backends: Mapping[str, str] = {}
    worker_initialized = False
    _conf: Any = unconfigured

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        self.task_modules: set[str] = set()

    def now(self, utc: bool = True) -> datetime:
        """The time of day, without a time zone."""
        return datetime.now(timezone.utc).replace(tzinfo=None) if utc else datetime.now()

    # -- hooks --------------------------------------------------------------------------------------------------------
    def on_task_init(self, task_id: str, task: Any) -> None:
        """A task is about to run."""

    def on_process_cleanup(self) -> None:
        """A task has run."""

    def on_worker_init(self) -> None:
        """The worker begins; in the process of the worker signals, which runs no task."""

    def on_worker_shutdown(self) -> None:
        """The worker ends; where it began."""

    def on_worker_process_init(self) -> None:
        """An executor begins."""

    # -- modules ------------------------------------------------------------------------------------------------------
    def import_task_module(self, module: str) -> ModuleType:
        """Import a module of tasks, and remember that it is one."""
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """Import a module."""
        return importlib.import_module(module, package=package)

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> ModuleType:
        """Import a module, looked for in the working directory first."""
        return import_from_cwd(module, self.import_module if imp is None else imp, package=package)  # type: ignore[no-any-return]

    def import_default_modules(self) -> list[ModuleType]:
        """Import what was asked for by ``autodiscover_tasks``, ``imports`` and ``include``. Raises what the imports raise."""
        for _, answer in signals.import_modules.send(sender=self.app):
            if isinstance(answer, Exception):
                reraise(type(answer), answer, answer.__traceback__)
        return [self.import_task_module(module) for module in self.default_modules]

    @property
    def default_modules(self) -> tuple[str, ...]:
        """Names of modules with tasks."""
        return (*self.builtin_modules, *listed(self.app.conf.imports), *listed(self.app.conf.include))

    def find_module(self, module: str) -> Any:
        """A module, looked for in the working directory, too."""
        return find_module(module)

    def autodiscover_tasks(self, packages: Iterable[str], related_name: str | None = "tasks") -> None:
        """Import the module of this name beside each package that has one."""
        self.task_modules.update(module.__name__ for module in autodiscover_tasks(packages, related_name) or () if module)

    # -- processes ----------------------------------------------------------------------------------------------------
    def init_worker(self) -> None:
        """What the worker does first: the task modules, then ``on_worker_init``. A second call does nothing."""
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()
            self.on_worker_init()

    def shutdown_worker(self) -> None:
        """What the worker does last."""
        self.on_worker_shutdown()

    def init_worker_process(self) -> None:
        """What an executor does first."""
        self.on_worker_process_init()

    # -- configuration ------------------------------------------------------------------------------------------------
    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Take the configuration from an object or the name of one; False if it does not import and that is ``silent``."""
        if isinstance(obj, str):
            try:
                obj = self._smart_import(obj, imp=self.import_from_cwd)
            except AttributeError as exc:
                if silent:
                    return False
                raise ModuleNotFoundError(str(exc)) from exc
            except ImportError:
                if silent:
                    return False
                raise
        # Django's settings stay what they are, which may be another object tomorrow.
        self._conf = obj if isinstance(obj, Mapping) else DictAttribute(obj)
        if self._conf.get("override_backends") is not None:
            self.override_backends = self._conf["override_backends"]
        return True

    def _smart_import(self, path: str, imp: Any = None) -> Any:
        load = self.import_module if imp is None else imp
        if ":" in path:  # an attribute, said so
            return symbol_by_name(path, imp=load)
        try:
            return load(path)
        except ImportError:
            return symbol_by_name(path, imp=load)  # one that is written as a submodule is

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        """What the module that this variable names has; None where there is none."""
        name = os.environ.get(env)
        if not name:
            return None
        return DictAttribute(self._import_config_module(name))

    def _import_config_module(self, name: str) -> Any:
        try:
            self.find_module(name)
        except NotAPackage as exc:
            if not name.endswith(".py"):
                raise
            raise NotAPackage(f"{name!r} is a file: give the module's name, {name[:-3]!r}") from exc
        return self.import_from_cwd(name)

    @property
    def conf(self) -> Any:
        """The configuration that was read."""
        if self._conf is unconfigured:
            self._conf = self.read_configuration()
        return self._conf

    def cmdline_config_parser(self, args: Iterable[str], namespace: str = "celery", **kwargs: Any) -> dict[str, Any]:
        """Settings from a command line: ``broker.port=5672``, ``worker.prefetch_multiplier=(int)4``.

        Parameters:
            namespace: what a key without one belongs to; none for "celery".

        Raises:
            ValueError: a value that is not of its type, or an argument that is no setting.
        """
        return dict(_setting(argument, namespace) for argument in args)


def has_task_hooks(loader: Any) -> bool:
    """Whether it wants to know when a task begins and has ended; most do not."""
    kind = type(loader)
    return any(getattr(kind, name, own) is not own for name, own in _TASK_HOOKS.items())


_TASK_HOOKS = {"on_task_init": BaseLoader.on_task_init, "on_process_cleanup": BaseLoader.on_process_cleanup}


@lifecycle.hosted.add
def _hosted(app: Celery) -> None:
    def ended(**_: Any) -> None:
        app.loader.shutdown_worker()

    signals.worker_shutdown.connect(ended, weak=False, dispatch_uid=("loader", id(app)))
    app.loader.on_worker_init()


@lifecycle.forked.add
def _forked(app: Celery) -> None:
    app.loader.init_worker_process()


def _setting(argument: str, namespace: str) -> tuple[str, Any]:
    name, separator, text = argument.partition("=")
    if not separator or not name.strip("."):
        raise ValueError(f"{argument!r} is no setting: namespace.key=value")
    name = _whole_name(name.lower(), namespace, argument)
    kind, value = _typed(text)
    try:
        return name, _converted(name, kind, value)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{argument!r}: {exc}") from None


def _typed(text: str) -> tuple[str | None, str]:
    """``(int)3`` in its two parts; a value alone has no type."""
    match = _TYPE.match(text)
    return (match[1], text[match.end() :]) if match else (None, text)


def _whole_name(name: str, namespace: str, argument: str) -> str:
    """``worker.concurrency`` and, in the namespace ``worker``, ``.concurrency`` are ``worker_concurrency``."""
    group, dot, key = name.partition(".")
    if not dot:
        if name not in defaults.DEFAULTS:
            import difflib

            near = difflib.get_close_matches(name, defaults.DEFAULTS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{argument!r}: there is no setting {name!r}{hint}")
        return name
    group = group or namespace.lower()
    return key if group == "celery" else f"{group}_{key}"


def _converted(name: str, kind: str | None, value: str) -> Any:
    known = defaults.DEFAULTS.get(name)
    if kind is None:
        kind = type(known).__name__ if known is not None else "int" if name.endswith(_NUMBERS) else "str"
    if kind in _LISTS:
        return _LISTS[kind](value.split(","))
    from pyqs_celery_compat.utils.serialization import strtobool

    converters: dict[str, Any] = {"int": int, "float": float, "bool": strtobool, "dict": _dict}
    return converters.get(kind, str)(value)


def _dict(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a JSON object is wanted")
    return found


def autodiscover_tasks(packages: Iterable[str], related_name: str | None = "tasks") -> Any:
    """The modules of this name beside the packages; None for a package that has none."""
    global _RACE_PROTECTION
    if _RACE_PROTECTION:
        return ()
    _RACE_PROTECTION = True
    try:
        return [find_related_module(package, related_name) for package in packages]
    finally:
        _RACE_PROTECTION = False
