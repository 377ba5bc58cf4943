"""A task call that has not been made yet: what ``link=`` takes and messages carry.

Owns: ``Signature`` (a dict, as in Celery, so that it serializes as what it is) and the ways to make one. Runs where tasks are
called. What several signatures make together is in ``chains``, ``groups`` and ``chords``; ``canvas`` has all of it by Celery's
names. Never publishes but through its task or the app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pyqs_celery_compat._state import current_app
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.eager_result import EagerResult
    from pyqs_celery_compat.result import AsyncResult
    from pyqs_celery_compat.stamping import StampingVisitor

Kind = TypeVar("Kind", bound="type[Signature]")


class _Item(property):
    """A key of a signature as an attribute; what is not there reads as None."""

    def __init__(self, key: str, doc: str, default: Callable[[], Any] | None = None) -> None:
        def read(self: Signature) -> Any:
            found = self.get(key)
            if not found and default is not None:
                found = self[key] = default()
            return found

        super().__init__(read, lambda self, value: self.__setitem__(key, value), doc=doc)


class Signature(dict[str, Any]):
    """Task name, arguments and options of one future call.

    Parameters:
        task: a task, its name, or a dict that is a signature already.
        args, kwargs, options: as for ``apply_async``.
        type: the task itself, if known.
        subtask_type: "chain", "group", ... on signatures of canvases.
        immutable: True ignores the arguments given when it is called.
    """

    #: subtask_type -> the class that such a dict stands for.
    TYPES: ClassVar[dict[str, type[Signature]]] = {}
    #: Options that stay as they are once they are set.
    FIXED_OPTIONS: ClassVar[frozenset[str]] = frozenset({"group_id", "stamped_headers"})

    _app: Any = None
    _type: Any = None

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Task | None = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Celery | None = None,
        **ex: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        if not isinstance(task, str) and task is not None:
            type, task = task, task.name
        self._type = type
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options=dict(options or {}, **ex),
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[Kind], Kind]:
        """A decorator: signatures with this ``subtask_type`` are of the class that follows."""

        def register(kind: Kind) -> Kind:
            cls.TYPES[name or kind.__name__] = kind
            return kind

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Celery | None = None) -> Signature:
        """A dict that is a signature, as a message has it, as one of its class."""
        kind = cls._kinds().get(d.get("subtask_type") or "", Signature)
        kind = cls if issubclass(cls, kind) else kind
        made = kind.__new__(kind)
        Signature.__init__(made, dict(d), app=app)
        if kind is not Signature:
            made["args"] = tuple(made.args)
            made._restore_parts()
        return made

    @staticmethod
    def _kinds() -> dict[str, type[Signature]]:
        if not Signature.TYPES:
            from pyqs_celery_compat import canvas  # noqa: F401 - it registers them
        return Signature.TYPES

    def _restore_parts(self) -> None:
        """Have what is in it as signatures, too; for canvases."""

    def _copy_parts(self) -> None:
        """Have copies of what is in it; for canvases."""

    # -- parts --------------------------------------------------------------------------------------------------
    task: Any = _Item("task", "The task's name.")
    name: Any = _Item("task", "The task's name.")
    args: Any = _Item("args", "Positional arguments.", tuple)
    kwargs: Any = _Item("kwargs", "Keyword arguments.", dict)
    subtask_type: Any = _Item("subtask_type", "What kind of canvas it is, None for a plain task.")
    immutable: Any = _Item("immutable", "True if the arguments it is called with are ignored.", bool)

    @property
    def options(self) -> dict[str, Any]:
        """Options for ``apply_async``."""
        return self.setdefault("options", {})  # type: ignore[no-any-return]

    @options.setter
    def options(self, value: dict[str, Any]) -> None:
        self["options"] = value

    @property
    def id(self) -> str | None:
        """The task id, once frozen."""
        return self.options.get("task_id")

    @id.setter
    def id(self, value: str | None) -> None:
        self.options["task_id"] = value

    @property
    def parent_id(self) -> str | None:
        """The id of the task that has called it, where it is said."""
        return self.options.get("parent_id")

    @parent_id.setter
    def parent_id(self, value: str | None) -> None:
        self.options["parent_id"] = value

    @property
    def root_id(self) -> str | None:
        """The id of the first task of all, where it is said."""
        return self.options.get("root_id")

    @root_id.setter
    def root_id(self, value: str | None) -> None:
        self.options["root_id"] = value

    @property
    def app(self) -> Celery:
        """The app it is called with."""
        app: Celery = self._app or current_app
        return app

    @property
    def type(self) -> Task:
        """The task; KeyError if this process does not have it."""
        return self._type or self.app.tasks[self["task"]]  # type: ignore[no-any-return]

    @property
    def AsyncResult(self) -> Callable[..., AsyncResult]:  # noqa: N802 - Celery's public name
        """What makes the result of its task."""
        try:
            make: Callable[..., AsyncResult] = self.type.AsyncResult
        except KeyError:
            make = self.app.AsyncResult
        return make

    # -- calling ------------------------------------------------------------------------------------------------
    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        args, kwargs, _ = self._merge(partial_args, partial_kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Publish it with these arguments in front."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, route_name: str | None = None, **options: Any
    ) -> Any:
        """Publish it: arguments given here come first, options given here win."""
        args, kwargs, options = self._merge(args, kwargs, said(options))
        if route_name:
            options["route_name"] = route_name
        try:
            publish = self.type.apply_async
        except KeyError:
            return self.app.send_task(self["task"], args, kwargs, **options)
        return publish(args, kwargs, **options)

    def apply(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> EagerResult:
        """Run it here."""
        args, kwargs, options = self._merge(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)

    def _merge(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:  # fmt: skip
        merged = dict(self.options)
        stamps = frozenset(merged.get("stamped_headers") or ())
        for key, value in (options or {}).items():
            fixed = key in self.FIXED_OPTIONS and key in merged
            if not fixed and not (key in stamps and key in merged):
                merged[key] = value
        if self.immutable and not force:
            return tuple(self.args), dict(self.kwargs), merged
        return (*tuple(args or ()), *tuple(self.args)), {**self.kwargs, **(kwargs or {})}, merged

    # -- changing -----------------------------------------------------------------------------------------------
    def clone(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """A copy with more arguments and options; what is in a canvas is copied with it."""
        new_args, new_kwargs, new_options = self._merge(args, kwargs, options)
        copy = type(self).from_dict({**self, "args": new_args, "kwargs": new_kwargs, "options": new_options}, app=self._app)
        copy._type = self._type
        copy._copy_parts()
        return copy

    partial = clone

    def replace(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> Any:
        """A copy with these in place of its own."""
        copy = self.clone()
        if args is not None:
            copy["args"] = tuple(args)
        if kwargs is not None:
            copy["kwargs"] = dict(kwargs)
        if options is not None:
            copy["options"] = dict(options)
        return copy

    def set(self, immutable: bool | None = None, **options: Any) -> Signature:
        """Add options; answers itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether the arguments it is called with are ignored."""
        self["immutable"] = immutable

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the task id now; answers the result it will have."""
        options = self.options
        task_id = options.get("task_id") or _id or uuid()
        options["task_id"] = task_id
        options.setdefault("reply_to", self.app.thread_oid)
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        extra = {"root_id": root_id, "parent_id": parent_id, "chord": chord, "group_index": group_index}
        options.update({key: value for key, value in extra.items() if value is not None})
        return self.AsyncResult(task_id)

    _freeze = freeze

    # -- links --------------------------------------------------------------------------------------------------
    def link(self, callback: Any) -> Any:
        """Have ``callback`` called with the result; answers the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Have ``errback`` called if the task fails; answers the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Signature:
        """``link_error`` that answers the signature itself."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add to an option that is a list, once; answers what was added."""
        known = as_list(self.options.get(key))
        if value not in known:
            known.append(value)
        self.options[key] = known
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add each of these to an option that is a list, once."""
        for item in as_list(value):
            self.append_to_list_option(key, item)

    def flatten_links(self) -> list[Any]:
        """It, what it links to, what that links to, and so on."""
        found: list[Any] = [self]
        for link in as_list(self.options.get("link") or None):
            found += link.flatten_links() if isinstance(link, Signature) else Signature.from_dict(link).flatten_links()
        return found

    # -- stamps -------------------------------------------------------------------------------------------------
    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> None:
        """Add headers that travel with it and with what it links to; see ``StampingVisitor``."""
        from pyqs_celery_compat import stamping

        stamping.stamp(self, visitor, append_stamps, headers)

    def stamp_links(self, visitor: StampingVisitor | None, append_stamps: bool = False, **headers: Any) -> None:
        """The same for what it links to."""
        from pyqs_celery_compat import stamping

        stamping.stamp_links(self, visitor, append_stamps, headers)

    # -- together with others -----------------------------------------------------------------------------------
    def __or__(self, other: Any) -> Any:
        from pyqs_celery_compat import chains

        return chains.joined(self, other) if isinstance(other, Signature) else NotImplemented

    def __ior__(self, other: Any) -> Any:  # a dict's own would take the other one's keys
        return or_(self, other)

    def __invert__(self) -> Any:
        return self.apply_async().get()

    def unchain_tasks(self) -> list[Signature]:
        """The tasks one after another: of a chain several, else it alone."""
        return [self.clone()]

    def tasks_counted(self) -> int:
        """How many results a chord waits for if this is in its header."""
        return 1

    # -- as a value ---------------------------------------------------------------------------------------------
    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.clone()

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as text."""
        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        arguments = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
        return f"{self['task']}({', '.join(arguments)})"

    def __repr__(self) -> str:
        return self.reprcall()


def as_list(value: Any) -> list[Any]:
    """An option that is one or several, or None, as a list of its own."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def said(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are None: a call leaves to the signature what it does not say."""
    return {key: value for key, value in options.items() if value is not None}


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task, a task's name, a dict, or (as a copy) another signature."""
    app = kwargs.get("app")
    if isinstance(varies, Signature):
        copy: Signature = varies.clone()
        return copy
    if isinstance(varies, dict):
        return Signature.from_dict(varies, app=app)
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Celery | None = None, clone: bool = False) -> Any:
    """A dict as a signature; a signature as itself, of this app if one is given; anything else as it is."""
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
        if app is not None:
            d._app = app
        return d
    return Signature.from_dict(d, app=app) if isinstance(d, dict) else d


def each_signature(values: Any, app: Celery | None = None) -> Iterator[Signature]:
    """Those of a canvas as signatures."""
    return (maybe_signature(value, app=app) for value in values or ())


belongs_to("celery.canvas", Signature)
