"""One task after another: ``chain``, and what ``|`` makes of two signatures.

Owns: ``_chain`` and ``chain``, and the rule that a group which something follows is a chord. Runs where a chain is built and
called; what follows its first task travels in that one's message, last step first. Never waits, but in eager mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import states
from pyqs_celery_compat.chords import _chord, for_message, put_behind
from pyqs_celery_compat.groups import OfTasks, group, unrolled
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.signatures import Signature, as_list, each_signature, said

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
        of_last = {key: options.pop(key) for key in ("group_id", "group_index", "chord", "task_id") if key in options}
        link, link_error = options.pop("link", None), options.pop("link_error", None)
        steps, results = self.prepare_steps(
            (), {}, self.tasks, options.get("root_id"), options.get("parent_id"), link_error, app, of_last.get("task_id"),
            of_last.get("group_id"), of_last.get("chord"), group_index=of_last.get("group_index"), own_id=False,
        )  # fmt: skip
        if not steps:
            return None
        steps[0].extend_list_option("link", link)
        if self.immutable:
            args, kwargs = None, None
        first = steps.pop()
        rest = [*(options.pop("chain", None) or ()), *steps]
        first.apply_async(args, kwargs, **{**options, **({"chain": rest} if rest else {})})
        return results[0]

    def prepare_steps(
        self, args: Any, kwargs: Mapping[str, Any] | None, tasks: Any, root_id: str | None = None, parent_id: str | None = None,
        link_error: Any = None, app: Celery | None = None, last_task_id: str | None = None, group_id: str | None = None,
        chord_body: Any = None, clone: bool = True, from_dict: Any = None, group_index: int | None = None, own_id: bool = True,
    ) -> tuple[list[Signature], list[Any]]:  # fmt: skip
        """Its tasks as they are published, the last one first, with their ids fixed, and their results in the same order.

        Parameters:
            args, kwargs: for the first. link_error: for each. last_task_id, group_id, chord_body, group_index: for the last.
            own_id: the chain takes the last one's id.
        """
        steps = [part for step in self._steps(app, tasks, clone=clone) for part in _split(step)]
        if not steps:
            return [], []
        if args or kwargs:
            steps[0] = steps[0].clone(args, kwargs)
        of_last = {"group_id": group_id, "chord": chord_body, "group_index": group_index}
        results = _freeze(steps, last_task_id, root_id=root_id, parent_id=parent_id, **said(of_last))
        for step in steps:
            for errback in as_list(link_error):
                step.link_error(errback)
        if own_id:
            self.options["task_id"] = results[-1].id
        return [for_message(step) for step in reversed(steps)], results[::-1]

    def apply(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run them here, one after another; the result is the last one's."""
        last: Any = None
        none: list[Signature] = []
        steps = reduce(_and_next, each_signature(self.tasks, self._app), none)
        given = {**self.options, **said(options)}
        link = given.pop("link", None)
        for number, step in enumerate(steps, 1):
            first = (args, kwargs) if last is None else ((last.get(),), None)
            step = step.clone()
            for callback in as_list(link) if number == len(steps) else ():
                step.link(callback)
            result = step.apply(*first, **given)
            result.parent, last = last, result
            if getattr(result, "state", None) in (states.IGNORED, states.REJECTED):
                break  # nothing follows it
        return last

    def freeze(self, _id: str | None = None, *args: Any, **places: Any) -> Any:
        """Fix the ids of its tasks; the result is the last one's."""
        names = ("group_id", "chord", "root_id", "parent_id", "group_index")
        steps = self._steps()
        last_id = _id or self.options.get("task_id")
        results = _freeze(steps, last_id, **dict(zip(names, args, strict=False)), **places)
        self.tasks = steps
        if not results:
            return None
        self.options["task_id"] = results[-1].id
        return results[-1]

    _freeze = freeze

    # -- parts --------------------------------------------------------------------------------------------------
    def _steps(self, app: Celery | None = None, tasks: Any = None, clone: bool = True) -> list[Signature]:
        """Copies of its tasks, chains in it opened, groups that something follows as chords."""
        tasks = self.tasks if tasks is None else tasks
        return reduce(_followed, _opened(tasks, app or self._app, clone), [])

    def unchain_tasks(self) -> list[Signature]:
        """Copies of its tasks, which have its links now."""
        steps = [step.clone() for step in each_signature(self.tasks, self._app)]
        if steps:
            steps[-1].extend_list_option("link", self.options.get("link"))
        for step in steps:
            step.extend_list_option("link_error", [errback.clone() for errback in self._errbacks()])
        return steps

    def _errbacks(self) -> list[Any]:
        return list(each_signature(as_list(self.options.get("link_error"))))

    def set_immutable(self, immutable: bool) -> None:
        """For its first task: the others get what the one before gives."""
        self["immutable"] = immutable

    def tasks_counted(self) -> int:
        """What its last task counts."""
        return self.tasks[-1].tasks_counted() if self.tasks else 0

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        first, *others = map(repr, self.tasks)
        module = str(self.tasks[0].get("task") or "").rpartition(".")[0]
        return " | ".join([first, *(text.replace(f"{module}.", "") if module else text for text in others)])


class chain(_chain):  # noqa: N801 - Celery's name
    """``chain(a, b)`` is ``a | b``; of one task, or with an app or options, it is a chain of what was given."""

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if not options and tasks and (len(tasks) > 1 or _is_list(tasks[0])):
            steps = tasks[0] if len(tasks) == 1 else tasks
            empty: Signature = _chain()
            return reduce(joined, (step for step in each_signature(steps) if not _is_empty(step)), empty)
        return super().__new__(cls)


def joined(left: Signature, right: Any) -> Signature:
    """``left | right``. Raises TypeError for what is no signature."""
    if not isinstance(right, Signature) or not isinstance(left, Signature):
        raise TypeError(f"unsupported operand type(s) for |: {type(left).__name__!r} and {type(right).__name__!r}")
    right = unrolled(right)
    if isinstance(left, group):
        return left.clone() if _is_empty(right) else _chord(left, body=right, app=left._app)
    if isinstance(left, _chord) and not isinstance(right, (group, _chain, _chord)):
        return _followed([left], right)[0]
    if isinstance(left, _chord) and isinstance(right, group) and right.tasks and not isinstance(left.body, group):
        return _chain((left.clone(), right), app=left._app)
    steps = left.unchain_tasks()
    for step in right.unchain_tasks() if isinstance(right, _chain) else [right]:
        steps = _followed(steps, unrolled(step))
    if len(steps) == 1 and isinstance(left, _chain) and not left.tasks:
        return steps[0] if isinstance(steps[0], (group, _chord)) else _chain(steps, app=left._app)
    return _chain(tuple(steps) if len(steps) == 2 else steps, app=left._app)


def _and_next(steps: list[Signature], step: Signature) -> list[Signature]:
    """The steps and one more; an empty group is none, unless it is alone."""
    if _is_empty(step):
        return steps or [step]
    return [step] if len(steps) == 1 and _is_empty(steps[0]) else [*steps, step]


def _is_empty(step: Signature) -> bool:
    return isinstance(step, group) and not step.tasks


def _split(step: Signature) -> list[Signature]:
    """A chord whose body is a chain, as the chord of its first task, and the others: its header does not carry them."""
    body = step.body if isinstance(step, _chord) else None
    if not isinstance(body, _chain) or len(body.tasks) < 2 or isinstance(body.tasks[0], group):
        return [step]
    first, *others = body.unchain_tasks()
    options = {name: value for name, value in body.options.items() if name not in ("link", "link_error", "task_id")}
    first.set(**options)
    if body.options.get("task_id"):
        others[-1].options["task_id"] = body.options["task_id"]
    shorter = step.clone()
    shorter.body = first
    shorter.options.pop("task_id", None)
    return [shorter, *(part for other in others for part in _split(other))]


def _followed(steps: list[Signature], step: Signature) -> list[Signature]:
    """The steps and one more. A group that it follows becomes a chord, of a chord it continues the body."""
    if _is_empty(step) or (len(steps) == 1 and _is_empty(steps[0])):
        return _and_next(steps, step)
    last = steps[-1] if steps else None
    if isinstance(last, group):
        return [*steps[:-1], _chord(last, body=step, app=last._app)]
    if isinstance(last, _chord) and not isinstance(step, _chord):
        longer = last.clone()
        longer.body = step if longer.body is None else longer.body | step
        return [*steps[:-1], longer]
    return [*steps, step]


def _opened(tasks: Iterable[Any], app: Celery | None, clone: bool = True) -> Iterable[Signature]:
    for task in each_signature(tasks, app):
        if isinstance(task, _chain):
            yield from _opened(task.unchain_tasks(), app)
        else:
            yield unrolled(task.clone() if clone else task)


def _freeze(
    steps: list[Signature], last_id: str | None, root_id: str | None = None, parent_id: str | None = None, **of_last: Any
) -> list[Any]:
    """Fix the ids of the steps; their results, of which the ``parent`` is that of the one before."""
    results: list[Any] = []
    for number, step in enumerate(steps, 1):
        places: dict[str, Any] = {"root_id": root_id}
        if not results:
            places["parent_id"] = parent_id
        result = step.freeze(last_id, **places, **of_last) if number == len(steps) else step.freeze(**places)
        if results:
            put_behind(result, results[-1])
        results.append(result)
    return results


def _is_list(value: Any) -> bool:
    """Many tasks in one: anything that can be gone through but a signature, which is a dict."""
    return not isinstance(value, (dict, str)) and hasattr(value, "__iter__")


def _several(tasks: Any) -> Any:
    return tasks if isinstance(tasks, (list, tuple)) else list(tasks)


belongs_to("celery.canvas", _chain, chain)
