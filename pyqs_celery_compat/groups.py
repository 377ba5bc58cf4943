"""Tasks beside one another: ``group``, and one task over many arguments: ``xmap``, ``xstarmap``, ``chunks``.

Owns: those classes. Runs where they are built and called. Publishes through the signatures in them; waits for nothing, but in
eager mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.signatures import Signature, each_signature, maybe_signature, said, signature
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class OfTasks(Signature):
    """A canvas that is a list of tasks: what chain and group have in common."""

    @property
    def tasks(self) -> Any:
        """The tasks in it."""
        return self["kwargs"].get("tasks") or ()

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self["kwargs"]["tasks"] = value

    def _restore_parts(self) -> None:
        self["kwargs"] = {**self.kwargs, "tasks": list(each_signature(self.kwargs.get("tasks"), self._app))}

    def _copy_parts(self) -> None:
        self["kwargs"] = {**self.kwargs, "tasks": [task.clone() for task in self.tasks]}

    @property
    def app(self) -> Celery:
        """The app it is called with: its own, or its first task's."""
        first = next(iter(self.tasks[:1]), None)
        return self._app or (first.app if isinstance(first, Signature) else super().app)


@Signature.register_type("group")
class group(OfTasks):  # noqa: N801 - Celery's name
    """Tasks that run beside one another.

    Parameters:
        tasks: signatures, or one list, generator or group of them.
        options: for each of them.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        members: Any = tasks[0] if len(tasks) == 1 else tasks
        if isinstance(members, group):
            members = members.tasks
        else:
            if isinstance(members, Signature):
                members = [members.clone()]
            if not isinstance(members, (list, tuple)):
                members = list(members)
            members = _as_signatures(members, options.get("app"))
        super().__init__("celery.group", (), {"tasks": members}, subtask_type="group", **options)

    # -- calling ------------------------------------------------------------------------------------------------
    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        return self.apply_async(partial_args, **options)

    def apply_async(  # type: ignore[override]  # Celery's signature
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Publish all of them; answers a GroupResult, its results in their order.

        Raises:
            TypeError: with ``link`` or ``link_error``: several tasks have no one result that could be linked to.
        """
        if link is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if link_error is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        app = self.app
        if app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        options = {**self.options, **said(options)}
        places = {key: options.pop(key, None) for key in ("root_id", "parent_id", "chord")}
        frozen = self.clone()
        result = frozen.freeze(options.pop("task_id", None) or options.pop("group_id", None), **places)
        for member in frozen.tasks:
            member.apply_async(args, kwargs, add_to_parent=False, producer=producer, **options)
        if len(result.results) == 1 and isinstance(result.results[0], app.GroupResult):
            result = result.results[0]  # as in Celery: the list of a chain's last group is not put into a list of one
        parent = app.current_worker_task
        if add_to_parent and parent is not None:
            parent.add_trail(result)
        return result

    def apply(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run them here, in their order; answers a GroupResult."""
        if not self.tasks:
            return self.freeze()
        given = {**self.options, **options}
        group_id = given.pop("task_id", None) or uuid()
        return self.app.GroupResult(group_id, [member.apply(args, kwargs, **given) for member in flattened(self.tasks)])

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix its id and those of its members, of which groups are opened; answers the GroupResult."""
        options = self.options
        own_id = options["task_id"] = options.get("task_id") or _id or uuid()
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        root_id, parent_id = options.setdefault("root_id", root_id), options.setdefault("parent_id", parent_id)
        chord = chord or options.get("chord")
        members = [member.clone() for member in flattened(self.tasks)]  # what the caller holds stays as it is
        of_group = options.get("group_id") or own_id  # a group that ends a chain of a chord's header: its members count there
        results = [
            member.freeze(group_id=of_group, chord=chord, root_id=root_id, parent_id=parent_id, group_index=index)
            for index, member in enumerate(members)
        ]
        self.tasks = members
        return self.app.GroupResult(own_id, results)

    _freeze = freeze

    # -- changing -----------------------------------------------------------------------------------------------
    def link(self, callback: Any) -> Any:
        """Have the callback called after the first of them, without its result."""
        if self.tasks:
            return self.tasks[0].link(callback.clone().set(immutable=True))
        return None

    def link_error(self, errback: Any) -> Any:
        """Have the errback called if one of them fails, once for each that does; answers what each of them has."""
        errback = maybe_signature(errback)
        return tuple(member.link_error(errback.clone()) for member in self.tasks)

    def set_immutable(self, immutable: bool) -> None:
        """For each of them."""
        for member in self.tasks:
            member.set_immutable(immutable)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """A countdown for each, one ``step`` of seconds after the other, round again at ``stop``."""
        at = start
        for member in self.tasks:
            member.set(countdown=at)
            at += step
            if stop is not None and at > stop:
                at = start
        return self

    def tasks_counted(self) -> int:
        """The sum of what they count."""
        return sum(member.tasks_counted() for member in self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        return f"group({self.tasks!r})" if self.tasks else "group(<empty>)"


class _Mapped(Signature):
    """One task called with each of many arguments, in one message.

    Parameters:
        task: the signature. it: the arguments, read at once.
    """

    task_name = ""
    form = ""

    def __init__(self, task: Any, it: Any, **options: Any) -> None:
        super().__init__(self.task_name, (), {"task": signature(task), "it": list(it)}, immutable=True, **options)

    def apply_async(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, route_name: str | None = None, **options: Any
    ) -> Any:
        """Publish it; it is routed as the task in it would be."""
        return super().apply_async(args, kwargs, route_name=route_name or self.kwargs["task"]["task"], **options)

    def __repr__(self) -> str:
        task, it = self.kwargs["task"], self.kwargs["it"]
        return f"[{task['task']}({self.form}) for x in {it!r}]"


class xmap(_Mapped):  # noqa: N801 - Celery's name
    """``task(x)`` for each ``x``."""

    task_name, form = "celery.map", "x"


class xstarmap(_Mapped):  # noqa: N801 - Celery's name
    """``task(*x)`` for each ``x``."""

    task_name, form = "celery.starmap", "*x"


class chunks(Signature):  # noqa: N801 - Celery's name
    """``xstarmap`` over parts of the arguments, ``n`` of them in each message.

    Raises:
        ValueError: ``n`` is less than 1.
    """

    def __init__(self, task: Any, it: Any, n: int, **options: Any) -> None:
        if n < 1:
            raise ValueError(f"a chunk of {n} arguments would never come to an end")
        super().__init__("celery.chunks", (), {"task": signature(task), "it": list(it), "n": n}, immutable=True, **options)

    def __call__(self, **options: Any) -> Any:
        return self.apply_async(**options)

    def apply_async(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, route_name: str | None = None, **options: Any
    ) -> Any:
        """Publish the parts; answers a GroupResult of lists."""
        return self.group().apply_async(args, kwargs, **options)

    def apply(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the parts here."""
        return self.group().apply(args, kwargs, **options)

    def group(self) -> group:
        """The parts as a group."""
        task, rest, n = self.kwargs["task"], iter(self.kwargs["it"]), self.kwargs["n"]
        parts = iter(lambda: list(islice(rest, n)), [])
        return group([xstarmap(task, part, app=self._app) for part in parts], app=self._app)

    @classmethod
    def apply_chunks(cls, task: Any, it: Any, n: int, app: Celery | None = None) -> Any:
        """Make one and publish it."""
        return cls(task, it, n, app=app)()


def flattened(members: Any) -> Iterator[Signature]:
    """The members of a group, and in place of a group among them its own."""
    for member in each_signature(members):
        if isinstance(member, group):
            yield from flattened(member.tasks)
        elif member.get("subtask_type") != "chain" or member.kwargs.get("tasks"):  # an empty chain has no result
            yield member


def unrolled(sig: Signature) -> Signature:
    """The one member of a group that has one; everything else as it is."""
    if isinstance(sig, group) and len(sig.tasks) == 1:
        member: Signature = maybe_signature(sig.tasks[0], app=sig._app)
        return member
    return sig


def _as_signatures(members: Any, app: Celery | None) -> Any:
    made = [maybe_signature(member, app=app) if type(member) is dict else member for member in members]
    return tuple(made) if isinstance(members, tuple) else made


belongs_to("celery.canvas", group, xmap, xstarmap, chunks)
