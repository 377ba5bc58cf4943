"""A group and the task that gets its results: ``chord``.

Owns: ``_chord``, which ``chord`` is. Runs where one is built and called. It is the result backend that counts the header's
tasks and sends the body: without one that can, calling it is an error and nothing is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.groups import OfTasks, flattened, group
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.signatures import Signature, as_list, each_signature, maybe_signature, said, signature
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


@Signature.register_type("chord")
class _chord(Signature):  # noqa: N801 - Celery's name
    """The header's tasks beside one another, then the body with the list of their results.

    Parameters:
        header: a group, or signatures. body: one signature; it may be given when the chord is called.
        options: for the body.
    """

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Celery | None = None,
        **options: Any,
    ) -> None:
        members = header.tasks if isinstance(header, group) else [header] if isinstance(header, Signature) else header
        members = [signature(member, app=app) for member in members]  # copies: what is linked to them is linked here only
        parts = {"kwargs": dict(kwargs or {}), "header": members, "body": maybe_signature(body, app=app)}
        super().__init__(task, args, parts, app=app, subtask_type="chord", **options)

    @property
    def tasks(self) -> Any:
        """The header: the list that was given, and the group that it is once it is frozen."""
        return self.kwargs.get("header") or ()

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self["kwargs"]["header"] = value

    @property
    def _members(self) -> Any:
        header = self.tasks
        return header.tasks if isinstance(header, group) else header

    @property
    def body(self) -> Any:
        """The task that gets the results, or None."""
        return self.kwargs.get("body")

    @body.setter
    def body(self, value: Any) -> None:
        self["kwargs"]["body"] = value

    def _restore_parts(self) -> None:
        parts = self.kwargs
        header = parts.get("header") or ()
        if isinstance(header, dict):
            header = maybe_signature(header, app=self._app)
        else:
            header = list(each_signature(header, self._app))
        self["kwargs"] = {**parts, "header": header, "body": maybe_signature(parts.get("body"), app=self._app)}

    def _copy_parts(self) -> None:
        header, body = self.kwargs["header"], self.body
        header = header.clone() if isinstance(header, group) else [member.clone() for member in header]
        self["kwargs"] = {**self.kwargs, "header": header, "body": None if body is None else body.clone()}

    @property
    def app(self) -> Celery:
        """The app it is called with: its own, its first task's, or its body's."""
        parts = [part for part in (*self._members[:1], self.body) if isinstance(part, Signature)]
        return self._app or next((part._app for part in parts if part._app), None) or (parts[0].app if parts else super().app)

    # -- calling ------------------------------------------------------------------------------------------------
    def __call__(self, body: Any = None, **options: Any) -> Any:
        return self.apply_async((), {"body": body} if body else {}, **options)

    def apply_async(  # type: ignore[override]  # Celery's signature
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        **options: Any,
    ) -> Any:
        """Publish the header's tasks; answers the body's result, whose ``parent`` is the header's.

        Parameters:
            args: for each of the header's tasks, in front of its own. kwargs: for each of them, too; ``body`` is the body.

        Raises:
            NotImplementedError: there is no result backend.
        """
        header, body, args, given = self._parts(args, kwargs)
        options = {**self.options, **said(options)}
        frozen_id = options.pop("task_id", None)
        task_id = task_id or frozen_id
        body = body.clone()
        _link(body, options.pop("link", None), options.pop("link_error", None))
        if self.app.conf.task_always_eager:
            return self.apply(args, given, body=body, task_id=task_id, **options)
        return self.run(header.clone(), body, args, task_id=task_id, app=self.app, kwargs=given, **options)

    def apply(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        propagate: bool = True,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Run it here; answers the body's result.

        Parameters:
            body: instead of its own, with all that is linked to it.
        """
        header, own, args, given = self._parts(args, kwargs)
        options = {**self.options, **said(options)}
        task_id = options.pop("task_id", None)
        if body is None:
            body = own.clone()
            _link(body, options.get("link"), options.get("link_error"))
        of_header = header.apply(args, given)
        result = body.apply((of_header.get(),), **({"task_id": task_id} if task_id else {}))
        result.parent = of_header
        return result

    def _parts(self, args: Any, kwargs: Mapping[str, Any] | None) -> tuple[group, Any, tuple[Any, ...], dict[str, Any]]:
        """Header, body, and the header's arguments and keywords of a call."""
        given = self.kwargs.get("kwargs") or {}
        while set(given) == {"kwargs"} and isinstance(given["kwargs"], Mapping):  # Celery 4 wraps them each time it reads them
            given = given["kwargs"]
        given = {**given, **(kwargs or {})}
        body = maybe_signature(given.pop("body", None) or self.body, app=self._app)
        args = () if self.immutable else (*tuple(args or ()), *tuple(self.args))
        return self._header(), body, args, given

    def _header(self) -> group:
        """The header as a group; one that is frozen keeps its id, which its tasks have."""
        header = self.kwargs.get("header")
        return header if isinstance(header, group) else group(list(self._members), app=self.app)

    def run(
        self,
        header: group,
        body: Any,
        partial_args: Any,
        app: Celery | None = None,
        interval: float | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        eager: bool = False,
        task_id: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """The same with its parts given.

        Parameters:
            interval, max_retries: how often a backend that cannot count asks, in seconds, and how many times.
            countdown: of the header's tasks.
        """
        app = app or self.app
        delay = {name: options.pop(name) for name in ("eta",) if options.get(name) is not None}
        if countdown is not None:
            delay["countdown"] = countdown
        for name in ("parent_id", "add_to_parent"):  # of the header's tasks and of the call, not of the body
            options.pop(name, None)
        root_id = body.options.get("root_id") or options.get("root_id")
        _link(body, options.pop("link", None), options.pop("link_error", None))
        body.options.update(options)
        result = body.freeze(task_id, root_id=root_id)
        if not any(True for _ in flattened(header.tasks)):
            body.delay([])
            result.parent = app.GroupResult(uuid(), [])
            return result
        for_message(body)
        backend: Any = app.backend
        backend.ensure_chords_allowed()
        body["chord_size"] = sum(member.tasks_counted() for member in flattened(header.tasks))
        of_header = header.freeze(chord=body, root_id=root_id)
        backend.set_chord_size(of_header.id, body["chord_size"])
        backend.apply_chord((of_header.id, of_header.results), body, interval=interval, max_retries=max_retries)
        header.apply_async(partial_args, kwargs, **delay)
        result.parent = of_header
        return result

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the ids of body and header; answers the body's result, whose ``parent`` is the header's."""
        header = self._header()
        of_header = header.freeze(parent_id=parent_id, root_id=root_id, chord=self.body)
        self["kwargs"]["header"] = header
        if self.body is None:
            self.options["task_id"] = _id or uuid()
            return of_header
        result = self.body.freeze(_id, group_id=group_id, chord=chord, root_id=root_id, group_index=group_index)
        put_behind(result, of_header)
        # Not the body's: a Celery worker that fails what follows in a chain does the chord first, and takes a body with the
        # same id for one that was told already.
        self.options["task_id"] = of_header.id
        return result

    _freeze = freeze

    # -- changing -----------------------------------------------------------------------------------------------
    def link(self, callback: Any) -> Any:
        """Have the callback called with the body's result; answers the callback."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Have the errback called if the body fails, or the header does; with ``task_allow_error_cb_on_chord_header`` also once
        for each of the header's tasks that does."""
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for member in self._members:
                member.link_error(maybe_signature(errback).clone(immutable=True))
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """For the body, too, the results of the header are ignored."""
        self["immutable"] = immutable
        if self.body is not None:
            self.body.set_immutable(immutable)

    def __length_hint__(self) -> int:
        """How many results its header has to give."""
        return sum(member.tasks_counted() if isinstance(member, Signature) else 1 for member in flattened(self._members))

    def tasks_counted(self) -> int:
        """What its body counts."""
        return self.body.tasks_counted() if self.body is not None else 1

    def __repr__(self) -> str:
        body = self.body
        if body is None:
            return f"<chord without body: {self._members!r}>"
        if body.get("subtask_type") == "chain" and body.tasks:
            return f"%({' | '.join([body.tasks[0].reprcall(self._members), *map(repr, body.tasks[1:])])})"
        return f"%{body.reprcall(self._members)}"


def _link(body: Any, link: Any, link_error: Any) -> None:
    """What a call of a chord links to, its body does; errbacks of a body that is a group are its tasks', unless it has some."""
    for callback in as_list(link):
        if isinstance(body, group) and not body.tasks:
            body.append_to_list_option("link", callback)
        else:
            body.link(callback)
    for errback in as_list(link_error):
        if isinstance(body, group) and "link_error" not in body.options:
            body.link_error(errback)
        else:
            body.append_to_list_option("link_error", errback)


def for_message(sig: Any) -> Any:
    """A frozen canvas as messages carry it: no header in it says which chord it belongs to.

    Whoever calls the chord says so. A Celery worker gives a header another id then, and would wait for ever for tasks that
    still have the one from before.
    """
    if isinstance(sig, _chord):
        for member in flattened(sig._members):
            _leave(member)
            for_message(member)
        for_message(sig.body)
    elif isinstance(sig, OfTasks):
        for task in each_signature(sig.tasks):
            for_message(task)
    return sig


def _leave(sig: Any) -> None:
    """It, or what ends it, is in no chord's header."""
    for name in ("group_id", "chord"):
        sig.options.pop(name, None)
    if isinstance(sig, _chord):
        if sig.body is not None:
            _leave(sig.body)
    elif isinstance(sig, OfTasks):
        for task in sig.tasks if isinstance(sig, group) else sig.tasks[-1:]:
            _leave(task)


def put_behind(result: Any, earlier: Any) -> None:
    """Have a result come after another one: of a chord it is the header's that does."""
    while result.parent is not None:
        result = result.parent
    result.parent = earlier


chord = _chord
belongs_to("celery.canvas", _chord)
