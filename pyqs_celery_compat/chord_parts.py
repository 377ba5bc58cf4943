"""Chords as a result backend sees them: counting the header's tasks, sending the body once all have ended, or failing it.

Owns: ``ChordParts``, a part of every backend: Celery's counter for those that have one (``implements_incr``),
``celery.chord_unlock`` for the others, errors of a chord. Runs where a chord is called, at the end of each task of its header,
and in the host for one that was killed. The body has a fixed id. Who sends it holds a claim that expires, sends it, and only
then says that the chord is over: whoever dies in between, another copy of a task or of the unlocking comes and sends it again,
under the same id. A task that comes twice counts once.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import of_task, states
from pyqs_celery_compat.exceptions import ChordError
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.request import Context

logger = logging.getLogger("celery.backends.base")

#: Seconds for which a claim holds: a body is sent within them, or somebody else sends it.
CLAIM = 20.0
#: Seconds between two looks at a claim that another one holds.
_LOOK = 0.5


class ChordParts:
    """What a backend does for chords."""

    if TYPE_CHECKING:
        app: Celery
        expires: Any

        def store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None) -> Any:
            """The backend's."""

        def fail_from_current_stack(self, task_id: Any, exc: BaseException | None = None) -> Any:
            """The backend's."""

        def get_state(self, task_id: str) -> str:
            """The backend's."""

        def get_key_for_chord(self, group_id: str, key: str = "") -> Any:
            """Of one that keeps values under keys."""

        def incr(self, key: Any) -> int:
            """Of one that counts."""

    #: Whether there is a counter: then each task of a header counts itself when it has ended.
    implements_incr = False

    # -- beginning --------------------------------------------------------------------------------------------------
    def ensure_chords_allowed(self) -> None:
        """Raises where nothing could count the tasks of a chord."""

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """So many results are waited for; each task's message says it, too."""

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """A task joins a chord that runs."""
        raise NotImplementedError("Backend does not support add_to_chord")

    def apply_chord(self, header_result_args: tuple[Any, ...], body: Any, **kwargs: Any) -> None:
        """A chord is about to be published.

        Parameters:
            header_result_args: id and results of its header. kwargs: of ``celery.chord_unlock``.
        """
        self.ensure_chords_allowed()
        header_result = self.app.GroupResult(*header_result_args)
        if self.implements_incr:
            header_result.save(backend=self)
        else:
            self.fallback_chord_unlock(header_result, body, **kwargs)

    def fallback_chord_unlock(self, header_result: Any, body: Any, countdown: float = 1, **kwargs: Any) -> None:
        """Send ``celery.chord_unlock``, which asks until the header has ended and comes again as long as it has not."""
        options = body.options
        task = self.app.tasks.get(body.task)
        queue = options.get("queue") or getattr(task, "queue", None)
        if queue is None:
            queue = self.app.amqp.router.route(kwargs, body.name)["queue"].name
        stamps = options.get("stamped_headers") or ()
        names = ("exchange", "exchange_type", "routing_key", "headers")
        routing = {name: options[name] for name in names if name not in stamps and options.get(name) is not None}
        if "exchange_type" not in routing:
            known = self.app.amqp.queues.get(queue) if isinstance(queue, str) else queue
            kind = getattr(getattr(known, "exchange", None), "type", None)
            if kind is not None:
                routing["exchange_type"] = kind
        if "exchange_type" in routing:
            kwargs["_chord_unlock_exchange_type"] = routing["exchange_type"]
        kwargs["result"] = [result.as_tuple() for result in header_result]
        priority = options.get("priority", getattr(task, "priority", 0))
        self.app.tasks["celery.chord_unlock"].apply_async(
            (header_result.id, body), kwargs, countdown=countdown, queue=queue, priority=priority, **routing
        )

    # -- counting ---------------------------------------------------------------------------------------------------
    def on_chord_part_return(self, request: Context, state: str, result: Any, **kwargs: Any) -> None:
        """One task of a chord's header has ended; its result is kept already."""
        if not self.implements_incr or not request.group:
            return
        group_id = request.group
        with of_task.directly():
            callback = self._body(request.chord)
            count = self.count_chord_part(request)
            if count is None:
                return
            deps = self._header(group_id, callback)
            if deps is None:
                return
            size = (request.chord or {}).get("chord_size")
            size = len(deps) if size is None else size
            if count > size:
                logger.warning("Chord counter incremented too many times for %r", group_id)
            if count >= size and self._wait_for_claim(lambda: self.claim_chord(group_id, CLAIM)):
                self.finish_chord(group_id, deps, callback, request)

    def count_chord_part(self, request: Context) -> int | None:
        """How many have ended with this one; None if the chord is over. A store with conditional writes counts a copy of it
        once."""
        return self.incr(self.get_key_for_chord(str(request.group)))

    def claim_chord(self, group_id: str, seconds: float = CLAIM) -> bool | None:
        """Whether it is this one that sends the body: False if another one claims to, None if it is sent."""
        return True

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        """The body is sent, or has failed: nothing more is to be done for this chord."""

    def _wait_for_claim(self, claim: Callable[[], bool | None]) -> bool:
        """Whether this one is to send the body. Who claims it may have died: then the claim ends, and so does this wait.

        Raises:
            TimeoutError: another one still claims it, longer than a claim holds.
        """
        until = time.monotonic() + 2 * CLAIM
        while (claimed := claim()) is False:
            if time.monotonic() >= until:
                raise TimeoutError("another process claims to send the chord's body, and does not say that it has")
            time.sleep(_LOOK)
        return bool(claimed)

    def _header(self, group_id: str, callback: Any) -> Any:
        """The saved header; None if there is none, and then the body has failed."""
        try:
            deps = self.app.GroupResult.restore(group_id, backend=self)
            if deps is None:
                raise ValueError(group_id)
        except Exception as exc:
            gone = isinstance(exc, ValueError) and exc.args == (group_id,)
            logger.exception("Chord %r raised: %r", group_id, exc)
            said = f"GroupResult {group_id} no longer exists" if gone else f"Cannot restore group: {exc!r}"
            self.chord_error_from_stack(callback, ChordError(said))
            return None
        return deps

    # -- the body -----------------------------------------------------------------------------------------------------
    def finish_chord(self, group_id: str, deps: Any, callback: Any, request: Context | None = None) -> None:
        """All have ended: send the body, or fail it with the first that failed.

        Raises:
            kombu.exceptions.OperationalError: it could not be sent now, and ``request`` will come again.
        """
        from pyqs_celery_compat.result import allow_join_result

        join = deps.join_native if deps.supports_native_join else deps.join
        try:
            with allow_join_result():
                values = join(timeout=self.app.conf.result_chord_join_timeout, propagate=True)
        except Exception as exc:
            culprit = next(deps._failed_join_report(), None)
            reason = repr(exc) if culprit is None else f"Dependency {culprit.id} raised {exc!r}"
            logger.exception("Chord %r raised: %r", group_id, exc)
            self.chord_error_from_stack(callback, chord_error(reason, exc))
        else:
            self.send_chord_body(group_id, callback, values, request)
        self.chord_is_over(group_id, deps)

    def send_chord_body(self, group_id: str, callback: Any, values: Any, request: Context | None = None) -> None:
        """Send it; see ``finish_chord``."""
        from kombu.exceptions import OperationalError

        try:
            callback.delay(values)
        except Exception as exc:
            if isinstance(exc, OperationalError) and self._comes_again(request):
                raise
            logger.exception("Chord callback for %r raised: %r", group_id, exc)
            self.chord_error_from_stack(callback, chord_error(f"Callback error: {exc!r}", exc))

    def _comes_again(self, request: Context | None) -> bool:
        task = None if request is None else self.app.tasks.get(str(request.get("task")))
        return bool(task is not None and task.acks_late)

    def _body(self, chord: Any) -> Any:
        from pyqs_celery_compat.signatures import maybe_signature

        return maybe_signature(chord, app=self.app)

    # -- failing ------------------------------------------------------------------------------------------------------
    def chord_error_from_stack(self, callback: Any, exc: BaseException | None = None) -> Any:
        """The body of a chord fails without having run, and so does what follows it; its errbacks are called."""
        error = exc or sys.exc_info()[1]
        assert error is not None
        callback = self._body(callback)
        errbacks, chains = _errbacks_of(callback), [callback.options.get("chain")]
        while callback.get("subtask_type") == "chord" and callback.body is not None:  # its body's result is its result
            callback = callback.body
            chains.append(callback.options.get("chain"))
        task = self.app.tasks.get(callback.task)
        backend: Any = self if task is None else task.backend
        einfo = None
        if callback.get("subtask_type") == "group":
            self._fail_group(callback, errbacks, backend, error)
        else:
            task_id = callback.id
            if not task_id:
                task_id = callback.options["task_id"] = uuid()
            self._call_errbacks(task_id, callback.task, errbacks, error)
            einfo = backend.fail_from_current_stack(task_id, exc=error)
            request = _of_step(callback)
            if request.chord:  # it is in the header of another chord, which would wait for it for ever (as Celery 5.7's does)
                backend.on_chord_part_return(request, states.FAILURE, error)
        for chain in chains:
            backend._fail_chain(chain, error)
        return einfo

    def _fail_group(self, callback: Any, of_group: list[Any], backend: Any, error: BaseException) -> None:
        """Each member of a body that is a group fails with what the header failed with."""
        error = error.__cause__ or error
        frozen = callback.freeze()
        for member, result in zip(callback.tasks, frozen.results, strict=True):
            own = _errbacks_of(member)
            errbacks = own + [errback for errback in of_group if errback not in own]
            self._call_errbacks(result.id, member.task, errbacks, error)
            backend.fail_from_current_stack(result.id, exc=error)
        backend.store_result(frozen.id, error, states.FAILURE)

    def _call_errbacks(self, task_id: str, name: str, errbacks: Any, error: BaseException) -> None:
        from pyqs_celery_compat import continuations
        from pyqs_celery_compat.einfo import ExceptionInfo
        from pyqs_celery_compat.request import Context

        if errbacks:
            request = Context(id=task_id, task=name, errbacks=_listed(errbacks), delivery_info={})
            continuations.on_failure(self.app, name, request, error, ExceptionInfo.of(error))

    def _fail_chain(
        self, chain: Iterable[Mapping[str, Any]] | None, exc: BaseException, traceback: str | None = None,
        store_result: bool = True, state: str = states.FAILURE,
    ) -> None:  # fmt: skip
        """What should have followed a task in its chain has failed with it; of a chord that is its body."""
        todo = list(chain or ())
        for signature in todo:
            body = (signature.get("kwargs") or {}).get("body") if signature.get("subtask_type") == "chord" else None
            if body is not None:
                todo.append(body)
        steps = [_of_step(signature) for signature in todo]
        # asked before any is stored
        known = {step.id for step in steps if step.chord and step.id and self.get_state(step.id) in states.PROPAGATE_STATES}
        for step in steps:
            if step.id and store_result and state in states.PROPAGATE_STATES:
                self.store_result(step.id, exc, state, traceback=traceback, request=step)
            if step.chord and step.id not in known:
                self.on_chord_part_return(step, state, exc)


def chord_error(message: str, cause: BaseException | None) -> ChordError:
    """The error of a chord, with what brought it about."""
    error = ChordError(message)
    if isinstance(cause, Exception):
        error.__cause__ = cause
    return error


def _errbacks_of(member: Any) -> list[Any]:
    """Of a task of a body; a chord in it has those of its own body, whose result is its result."""
    own = _listed(member.options.get("link_error"))
    body = member.body if member.get("subtask_type") == "chord" else None
    return own if body is None else own + [errback for errback in _errbacks_of(body) if errback not in own]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _of_step(signature: Mapping[str, Any]) -> Context:
    """The request of a chain's step that will never run, as far as its signature tells."""
    from pyqs_celery_compat.request import Context

    options = signature.get("options") or {}
    said = {name: signature.get(name) for name in ("task", "args", "kwargs")}
    return Context({**said, **options, "id": options.get("task_id"), "group": options.get("group_id")})
