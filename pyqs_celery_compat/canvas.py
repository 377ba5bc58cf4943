"""A task call that has not been made yet: what ``link=`` takes and messages carry.

Owns: ``Signature`` (a dict, as in Celery, so that it serializes as what it is) and the ways to make one. Runs where
tasks are called. Building chains, groups and chords is not here yet: ``a | b`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs.errors import Unsupported
from pyqs_celery_compat._state import app_or_default
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.result import AsyncResult, EagerResult

CANVAS_LATER = (
    "{} is not there yet: building chains, groups and chords comes in a later version of pyqs_celery_compat; "
    "`link=` and `link_error=` work, and chains and groups that Celery has sent are run"
)


class Signature(dict[str, Any]):
    """Task name, arguments and options of one future call.

    Parameters:
        task: a task, its name, or a dict that is a signature already.
        args, kwargs, options: as for ``apply_async``.
        type: the task itself, if known.
        subtask_type: "chain", "group", ... on signatures of canvases.
        immutable: True ignores the arguments given when it is called.
    """

    _app: Celery | None = None
    _type: Task | None = None

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

    # -- parts --------------------------------------------------------------------------------------------------
    @property
    def task(self) -> str:
        """The task's name."""
        return self["task"]  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """The task's name."""
        return self["task"]  # type: ignore[no-any-return]

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self.get("args") or ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return self.get("kwargs") or {}

    @property
    def options(self) -> dict[str, Any]:
        """Options for ``apply_async``."""
        return self.setdefault("options", {})  # type: ignore[no-any-return]

    @property
    def subtask_type(self) -> str | None:
        """What kind of canvas it is, None for a plain task."""
        return self.get("subtask_type")

    @property
    def immutable(self) -> bool:
        """True if the arguments it is called with are ignored."""
        return bool(self.get("immutable"))

    @property
    def id(self) -> str | None:
        """The task id, once frozen."""
        return self.options.get("task_id")

    @property
    def app(self) -> Celery:
        """The app it is called with."""
        return self._app or app_or_default()

    @property
    def type(self) -> Task:
        """The task; KeyError if this process does not have it."""
        return self._type or self.app.tasks[self["task"]]

    # -- calling ------------------------------------------------------------------------------------------------
    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        args, kwargs, _ = self._merge(partial_args, partial_kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult | EagerResult:
        """Publish it with these arguments in front."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, route_name: str | None = None, **options: Any
    ) -> AsyncResult | EagerResult:
        """Publish it: arguments given here come first, options given here win."""
        if self.subtask_type:
            raise Unsupported(CANVAS_LATER.format(f"calling a {self.subtask_type}"))
        args, kwargs, options = self._merge(args, kwargs, options)
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
        new_options = {key: value for key, value in (options or {}).items() if value is not None}
        merged = {**self.options, **{k: v for k, v in new_options.items() if k != "group_id" or not self.options.get(k)}}
        if self.immutable and not force:
            return tuple(self.args), dict(self.kwargs), merged
        return (*tuple(args or ()), *tuple(self.args)), {**self.kwargs, **(kwargs or {})}, merged

    # -- changing -----------------------------------------------------------------------------------------------
    def clone(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """A copy with more arguments and options."""
        new_args, new_kwargs, new_options = self._merge(args, kwargs, options)
        copy = Signature(dict(self), app=self._app)
        copy._type = self._type
        copy.update(args=new_args, kwargs=new_kwargs, options=new_options)
        return copy

    partial = clone

    def replace(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> Signature:
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
            self["immutable"] = immutable
        self.options.update(options)
        return self

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult:
        """Fix the task id now; answers the result it will have."""
        options = self.options
        task_id = options.setdefault("task_id", _id or uuid())
        if _id:
            task_id = options["task_id"] = _id
        options.setdefault("reply_to", self.app.thread_oid)
        extra = {
            "root_id": root_id, "parent_id": parent_id, "group_id": group_id, "chord": chord, "group_index": group_index,
        }  # fmt: skip
        options.update({key: value for key, value in extra.items() if value is not None})
        return self.app.AsyncResult(task_id)

    def link(self, callback: Any) -> Any:
        """Have ``callback`` called with the result; answers the callback."""
        return self._append("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Have ``errback`` called if the task fails; answers the errback."""
        return self._append("link_error", errback)

    def on_error(self, errback: Any) -> Signature:
        """``link_error`` that answers the signature itself."""
        self.link_error(errback)
        return self

    def _append(self, key: str, value: Any) -> Any:
        items = self.options.get(key)
        known = list(items) if isinstance(items, (list, tuple)) else [] if items is None else [items]
        if value not in known:
            known.append(value)
        self.options[key] = known
        return value

    def __or__(self, other: Any) -> Any:
        raise Unsupported(CANVAS_LATER.format("`|` between signatures"))

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature:
        return self.clone()

    def __repr__(self) -> str:
        arguments = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"{self['task']}({', '.join(arguments)})"


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task, a task's name, a dict, or (as a copy) another signature."""
    app = kwargs.get("app")
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, dict):
        return Signature(varies, app=app)
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Celery | None = None) -> Signature | None:
    """A dict as a signature; a signature as itself; None as None."""
    if isinstance(d, Signature) or d is None:
        return d
    if isinstance(d, dict):
        return Signature(d, app=app)
    return d  # type: ignore[no-any-return]
