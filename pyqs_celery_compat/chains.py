"""One task after another: ``chain``, and what ``|`` makes of two signatures.

Owns: ``_chain`` and ``chain``, and the rule that a group which something follows is a chord. Runs where a chain is built and
called; what follows its first task travels in that one's message, last step first. Never waits, but in eager mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.chords import _chord, put_behind
from pyqs_celery_compat.groups import OfTasks, group, unrolled
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.signatures import Signature, each_signature, said

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


@Signature.register_type("chain")
class _chain(OfTasks):  # noqa: N801 - Celery's name
    """Tasks of which each gets the result of the one before.

    Parameters:
        tasks: signatures, or one list of them.
        options: for the first of them; ``link`` is for the last, ``link_error`` for each.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        listed = tasks[0] if len(tasks) == 1 and _is_list(tasks[0]) else tasks
        super().__init__("celery.chain", (), {"tasks": _several(listed)}, subtask_type="chain", **options)

    # -- calling ------------------------------------------------------------------------------------------------
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs) if self.tasks else None

    def apply_async(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, *_: Any, **options: Any) -> Any:
        """Publish its first task, the others in that one's message; the result is the last one's. None if it is empty."""
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        return self.run(args, kwargs, **options)

    def run(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, app: Celery | None = None, **options: Any) -> Any:
        """The same, whether or not ``task_always_eager`` is set."""
        options = {**self.options, **said(options)}
        steps = self._steps(app)
        if not steps:
            return None
        of_last = {key: options.pop(key) for key in ("group_id", "group_index", "chord", "task_id") if key in options}
        link, link_error = options.pop("link", None), options.pop("link_error", None)
        root_id, parent_id = options.get("root_id"), options.get("parent_id")
        result = _freeze(steps, of_last.pop("task_id", None), root_id=root_id, parent_id=parent_id, **of_last)
        steps[-1].extend_list_option("link", link)
        for step in steps:
            step.extend_list_option("link_error", link_error)
        rest = [*(options.pop("chain", None) or ()), *reversed(steps[1:])]
        if self.immutable:
            args, kwargs = None, None
        steps[0].apply_async(args, kwargs, **{**options, **({"chain": rest} if rest else {})})
        return result

    def apply(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run them here, one after another; the result is the last one's."""
        last: Any = None
        for step in each_signature(self.tasks, self._app):
            given = (args, kwargs) if last is None else ((last.get(),), None)
            result = step.clone().apply(*given, **{**self.options, **options})
            result.parent, last = last, result
        return last

    def freeze(self, _id: str | None = None, *args: Any, **places: Any) -> Any:
        """Fix the ids of its tasks; the result is the last one's."""
        names = ("group_id", "chord", "root_id", "parent_id", "group_index")
        steps = self._steps()
        result = _freeze(steps, _id or self.options.get("task_id"), **dict(zip(names, args, strict=False)), **places)
        self.tasks = steps
        if result is not None:
            self.options["task_id"] = result.id
        return result

    _freeze = freeze

    # -- parts --------------------------------------------------------------------------------------------------
    def _steps(self, app: Celery | None = None) -> list[Signature]:
        """Copies of its tasks, chains in it opened, groups that something follows as chords."""
        return reduce(_followed, _opened(self.tasks, app or self._app), [])

    def unchain_tasks(self) -> list[Signature]:
        """Copies of its tasks, which have its links now."""
        steps = [step.clone() for step in each_signature(self.tasks, self._app)]
        if steps:
            steps[-1].extend_list_option("link", self.options.get("link"))
        for step in steps:
            step.extend_list_option("link_error", self.options.get("link_error"))
        return steps

    def set_immutable(self, immutable: bool) -> None:
        """For its first task: the others get what the one before gives."""
        self["immutable"] = immutable

    def tasks_counted(self) -> int:
        """What its last task counts."""
        return self.tasks[-1].tasks_counted() if self.tasks else 0

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return " | ".join(map(repr, self.tasks))


class chain(_chain):  # noqa: N801 - Celery's name
    """``chain(a, b)`` is ``a | b``; of one task, or with an app or options, it is a chain of what was given."""

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if not options and tasks and (len(tasks) > 1 or _is_list(tasks[0])):
            steps = tasks[0] if len(tasks) == 1 else tasks
            empty: Signature = _chain()
            return reduce(joined, each_signature(steps), empty)
        return super().__new__(cls)


def joined(left: Signature, right: Signature) -> Signature:
    """``left | right``."""
    steps = left.unchain_tasks()
    for step in unrolled(right).unchain_tasks():
        steps = _followed(steps, step)
    if len(steps) == 1 and isinstance(steps[0], (group, _chord)):
        return steps[0]
    return _chain(tuple(steps) if len(steps) == 2 else steps, app=left._app)


def _followed(steps: list[Signature], step: Signature) -> list[Signature]:
    """The steps and one more. A group that it follows becomes a chord, of a chord it continues the body."""
    last = steps[-1] if steps else None
    if isinstance(last, group):
        return [*steps[:-1], _chord(last, body=step, app=last._app)]
    if isinstance(last, _chord) and not isinstance(step, group):
        longer = last.clone()
        longer.body = step if longer.body is None else longer.body | step
        return [*steps[:-1], longer]
    return [*steps, step]


def _opened(tasks: Iterable[Any], app: Celery | None) -> Iterable[Signature]:
    for task in each_signature(tasks, app):
        if isinstance(task, _chain):
            yield from _opened(task.unchain_tasks(), app)
        else:
            yield unrolled(task.clone())


def _freeze(
    steps: list[Signature], last_id: str | None, root_id: str | None = None, parent_id: str | None = None, **of_last: Any
) -> Any:
    """Fix the ids of the steps; the result of the last, whose ``parent`` is that of the one before, and so on."""
    previous: Any = None
    for number, step in enumerate(steps, 1):
        places: dict[str, Any] = {"root_id": root_id}
        if previous is None:
            places["parent_id"] = parent_id
        result = step.freeze(last_id, **places, **of_last) if number == len(steps) else step.freeze(**places)
        if previous is not None:
            put_behind(result, previous)
        previous = result
    return previous


def _is_list(value: Any) -> bool:
    """Many tasks in one: anything that can be gone through but a signature, which is a dict."""
    return not isinstance(value, (dict, str)) and hasattr(value, "__iter__")


def _several(tasks: Any) -> Any:
    return tasks if isinstance(tasks, (list, tuple)) else list(tasks)


belongs_to("celery.canvas", _chain, chain)
